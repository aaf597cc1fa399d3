"""The step log of a run: written as it goes, read back, opened in DuckDB (`log.views`)."""
