"""Going into runs: which there are, what is in one, where an entry comes from."""
