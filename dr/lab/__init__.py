"""The embedded environment: PostgreSQL servers, an RDS endpoint and the prediction platform, all on loopback.

The rest of ``dr`` never imports it and talks to it as it talks to AWS; only the command line's ``dr lab`` does.
"""
