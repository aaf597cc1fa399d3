"""The `warehouse` suite: a database with undocumented conventions, and a sandbox for SQL."""

from lineage.suites.warehouse.suite import Warehouse

__all__ = ["Warehouse"]
