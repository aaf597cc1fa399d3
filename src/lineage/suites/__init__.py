"""Task suites by name. A new suite is one file here and one entry in `conf/suite/`."""

from __future__ import annotations

from lineage.config import SuiteConfig
from lineage.suites.codebook import Codebook
from lineage.tasks import Suite


def make_suite(config: SuiteConfig) -> Suite:
    """Return the suite that `config.name` names, with its difficulty, size and drift."""
    suites: dict[str, type[Codebook]] = {"codebook": Codebook}
    if config.name not in suites:
        raise ValueError(f"suite {config.name!r} is unknown: choose from {', '.join(suites)}")
    return suites[config.name](config)
