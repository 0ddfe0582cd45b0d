"""Embeddings files: what a network for domain adaptation makes of the clips of two domains, for pictures and distances.

The format is `.npz`: `clip_ids` (strings), `domain` ("source" or "target" of each clip), `before` and `after` (float32, (clips,
features)), and, where the network weighs relations or frames by their domain, `attention` (float32, (clips, weights)) with
`attention_names` (strings).

N clips, D features of the input, V of the video, R relations or frames.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import DataError, did_you_mean
from zoopraxis.evaluation.projection import proxy_distance, sample_rows
from zoopraxis.files import atomic_path

__all__ = ["DOMAINS", "Embeddings", "domain_distances", "load_embeddings", "save_embeddings"]

FloatArray = npt.NDArray[np.float32]
StrArray = npt.NDArray[np.str_]

DOMAINS = ("source", "target")

_REQUIRED = ("clip_ids", "domain", "before", "after")
_OPTIONAL = ("attention", "attention_names")
_SUFFIX = ".npz"
_MAX_MEASURED = 2000
"""Clips of a domain by which distances are measured."""


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Features of N clips of two domains before and after adaptation.

    Attributes:
        clip_ids: Shape (N,), str, each once a domain.
        domain: "source" or "target" of each clip, shape (N,); there are clips of both.
        before: The mean input feature of each clip, shape (N, D), float32, finite.
        after: The video feature of each clip, shape (N, V), float32, finite.
        attention: Weights of each clip's relations or frames by their domain, shape (N, R), or None.
        attention_names: What the R weights are of, e.g. "5 frames"; none: their numbers from 1.

    Raises:
        DataError: If lengths differ, a domain is missing or unknown, an id is repeated, or a number is NaN or infinite.
    """

    clip_ids: StrArray
    domain: StrArray
    before: FloatArray
    after: FloatArray
    attention: FloatArray | None = None
    attention_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("clip_ids", "domain"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)).astype(np.str_))
        for name in ("before", "after", "attention"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _as_table(name, getattr(self, name), len(self.clip_ids)))
        _check_clips(self.clip_ids, self.domain)
        names = tuple(str(name) for name in self.attention_names)
        if self.attention is not None:
            width = self.attention.shape[1]
            names = names or tuple(str(number) for number in range(1, width + 1))
            if len(names) != width:
                raise DataError(f"there are {len(names)} names for {width} columns of attention; give one for each")
        elif names:
            raise DataError(f"there are {len(names)} names of attention but no attention; give both or none")
        object.__setattr__(self, "attention_names", names)

    def __len__(self) -> int:
        return len(self.clip_ids)

    @property
    def is_target(self) -> npt.NDArray[np.bool_]:
        """Whether each clip is of the target, shape (N,)."""
        is_target: npt.NDArray[np.bool_] = self.domain == "target"
        return is_target


def load_embeddings(path: str | Path) -> Embeddings:
    """Read an embeddings file.

    Raises:
        DataError: If the file is missing, no `.npz`, lacks an array, or its content is refused by `Embeddings`; names the file.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"there is no embeddings file {file}; write one with: zoopraxis test CHECKPOINT ... --embeddings FILE")
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file} cannot be read as embeddings ({error}); write it again") from error
    for name in _REQUIRED:
        if name not in arrays:
            raise DataError(f"{file} has no array {name!r}; {did_you_mean(name, arrays)}; is it an embeddings file?")
    given: dict[str, Any] = {name: arrays[name] for name in (*_REQUIRED, *_OPTIONAL) if name in arrays}
    try:
        return Embeddings(**given)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def save_embeddings(embeddings: Embeddings, path: str | Path) -> None:
    """Write an embeddings file, in one step.

    Raises:
        DataError: If the suffix is not `.npz`, or the file cannot be written.
    """
    file = Path(path)
    if file.suffix.lower() != _SUFFIX:
        raise DataError(f"cannot write embeddings to {file}; the suffix must be {_SUFFIX}")
    arrays: dict[str, Any] = {name: getattr(embeddings, name) for name in _REQUIRED}
    if embeddings.attention is not None:
        arrays |= {"attention": embeddings.attention, "attention_names": np.array(embeddings.attention_names)}
    try:
        with atomic_path(file) as temporary:
            np.savez(temporary, **arrays)
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror or error}; free some space or choose another folder") from error


def domain_distances(embeddings: Embeddings) -> dict[str, float]:
    """How far apart the domains are `before` and `after` adaptation: `projection.proxy_distance`, from 0 to 2."""
    rows = sample_rows(embeddings.is_target, _MAX_MEASURED)
    is_target = embeddings.is_target[rows]
    features = {"before": embeddings.before, "after": embeddings.after}
    return {name: proxy_distance(values[rows], is_target) for name, values in features.items()}


def _as_table(name: str, values: Any, num_clips: int) -> FloatArray:
    try:
        array = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name!r} is no table of numbers with one width") from error
    if array.ndim != 2 or len(array) != num_clips or array.shape[1] == 0:
        raise DataError(f"{name!r} has shape {array.shape}; it must be ({num_clips} clips, features)")
    num_bad = int((~np.isfinite(array)).any(axis=1).sum())
    if num_bad:
        raise DataError(f"{name!r} has NaN or infinite numbers for {num_bad} of {num_clips} clips; test again")
    return array


def _check_clips(clip_ids: StrArray, domain: StrArray) -> None:
    if clip_ids.ndim != 1 or clip_ids.shape != domain.shape:
        raise DataError(f"embeddings need one domain a clip, but there are {clip_ids.shape} ids and {domain.shape} domains")
    unknown = np.setdiff1d(domain, DOMAINS)
    if len(unknown):
        raise DataError(f"embeddings have a domain {unknown[0]!s}; a domain is {' or '.join(DOMAINS)}")
    for name in DOMAINS:
        ids, counts = np.unique(clip_ids[domain == name], return_counts=True)
        if not len(ids):
            raise DataError(f"embeddings need clips of both domains, but there are none of the {name}; test on both")
        if counts.max() > 1:
            raise DataError(f"embeddings have {int((counts > 1).sum())} repeated {name} clips, first {ids[counts > 1][0]!s}")
