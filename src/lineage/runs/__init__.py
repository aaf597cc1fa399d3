"""A run: its plan, its arms, the controller of a lineage, and all lineages in flight."""
