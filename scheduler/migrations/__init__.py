"""Revisions of the database's schema, for Alembic; docs/reference/database.md says how one is added."""
