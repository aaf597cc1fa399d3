"""Which shelf of trained versions a configuration names: a folder, or one at a URL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lineage.core.config import Config
from lineage.core.urls import is_url
from lineage.models.shelf import Shelf, folder_of, named


def of(config: Config) -> Shelf:
    """Return the shelf that `config` names."""
    if not is_url(config.model.shelf):
        return Shelf(folder_of(config.model))
    # Arrow takes a moment to load, which folders need not wait for.
    from lineage.models.shared_shelf import SharedShelf

    return SharedShelf(config.model.shelf, config.run)


def relocated(config: Config) -> Config:
    """Return the saved `config` with its adapters where this machine has them.

    They may have been saved elsewhere, and the shelf that they are on is a URL. Raises as `named`.
    """
    lost = {
        name
        for name, one in config.model.versions.items()
        if one.digest and not Path(one.adapter).is_dir()
    }
    if not lost or not is_url(config.model.shelf):
        return config
    others = {name: one for name, one in config.model.versions.items() if name not in lost}
    here = named(replace(config.model, versions=others), lost, of(config))
    # What the shelf has otherwise by now stays as it is named, and is missing.
    same = {
        name: replace(one, adapter=here[name].adapter)
        for name in lost & here.keys()
        if (one := config.model.versions[name]).digest == here[name].digest
    }
    return replace(config, model=replace(config.model, versions={**config.model.versions, **same}))
