"""What is AWS's own, whichever of its services it is about."""
