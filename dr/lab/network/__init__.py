"""Every wire of the lab: links that pass, fall silent, refuse or delay, one process for all of them."""
