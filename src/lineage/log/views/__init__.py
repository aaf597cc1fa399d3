"""Runs and trainings as DuckDB views: what `lineage.open` gives."""
