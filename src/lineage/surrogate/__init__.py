"""The surrogate fitted to logged runs, its vectorised form, and what follows over many releases."""
