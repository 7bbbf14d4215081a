"""The prediction platform's database in the lab: schema, roles, model, and a synthetic population or a dump."""
