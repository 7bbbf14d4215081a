"""What is looked at around a disaster, once before and once after."""
