"""One path's prober, or marker writer, as a process of its own."""
