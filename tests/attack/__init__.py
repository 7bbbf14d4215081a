"""Attacks on ``dr`` from outside: bad answers of a provider, kills and signals at every place of every drill."""
