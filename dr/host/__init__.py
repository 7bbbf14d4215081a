"""This machine, as far as dr deals with it: being told to stop, and answers that do not come."""
