"""The `warehouse` suite: a database with undocumented conventions, and a sandbox for SQL."""
