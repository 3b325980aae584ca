"""Revisions of the schema, one file for each group of tables, in one line."""
