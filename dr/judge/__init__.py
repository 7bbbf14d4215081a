"""From evidence to a verdict. Pure: the same evidence gives the same verdict, on any machine, at any time."""
