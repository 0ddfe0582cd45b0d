"""Features of clips, whatever they are kept in.

# B clips, S features of each, D width of a feature, all modalities side by side
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.data.features.folder import open_folder
from zoopraxis.data.features.named import SCORE_PREFIX
from zoopraxis.data.features.published import open_published
from zoopraxis.data.features.video_files import has_video_files, open_video_files
from zoopraxis.errors import DataError

__all__ = ["SCORE_PREFIX", "FeatureStore", "check_widths", "open_features", "rows_by_name"]

IntArray = npt.NDArray[np.int64]


class FeatureStore(Protocol):
    """Features of N clips, read in place. Stores are picklable and open their files at the first read of each process.

    Attributes:
        path: The folder or file.
        clip_ids: Shape (N,), unique.
        modalities: Widths by name, in the store's order.
        num_features: Features of each clip, shape (N,), positive.
        meta: What the features are, as far as the store tells; any JSON values.
    """

    path: Path
    clip_ids: npt.NDArray[np.str_]
    modalities: dict[str, int]
    num_features: IntArray
    meta: dict[str, Any]

    def __len__(self) -> int:
        """Clips, N."""
        ...

    def rows_of(self, clip_ids: Sequence[str] | npt.NDArray[np.str_]) -> IntArray:
        """Rows of clips, shape (B,).

        Raises:
            DataError: If some are not there; tells how many, and the first.
        """
        ...

    def widths(self, modalities: Sequence[str] = ()) -> dict[str, int]:
        """Names as the store has them, and widths, in the order asked for; none: all.

        Args:
            modalities: Names, in any case.

        Raises:
            ConfigError: If one is unknown or named twice.
        """
        ...

    def read(self, rows: IntArray, positions: IntArray, modalities: Sequence[str] = ()) -> npt.NDArray[np.float32]:
        """Some features of some clips; nothing else is read.

        Args:
            rows: Of the clips, shape (B,), in any order, repeats allowed.
            positions: Of the features in each clip, from 0, shape (B, S).
            modalities: Which, and in which order they stand side by side; none: all.

        Returns:
            Shape (B, S, D), float32.

        Raises:
            ValueError: If a row or a position is out of range, or shapes differ.
            ConfigError: If a modality is unknown or named twice.
            DataError: If a file cannot be read any more.
        """
        ...

    def seconds(self, row: int) -> npt.NDArray[np.float64] | None:
        """Where in its video each feature of a clip lies, in seconds, shape (num_features,); None if that was not stored."""
        ...


def open_features(path: str | Path) -> FeatureStore:
    """Features of clips: a folder of `FeatureWriter`, a published pickle, or a folder of published features of long videos.

    Such a pickle is `{"features": {modality: (N, S, D) numbers}, "narration_ids": (N,)}`. It is not loaded but looked at in
    place, and must not change while it is used. Folders of published features are told in `video_files.py`: they are read file
    by file, which is slow; `zoopraxis prepare features convert` makes one store of them.

    Raises:
        DataError: If there is nothing, or what is there is neither, broken, incomplete or repeats clips.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"there are no features {path}; check the path, or make them by `zoopraxis prepare features`")
    if not path.is_dir():
        return open_published(path)
    return open_video_files(path) if has_video_files(path) else open_folder(path)


def check_widths(store: FeatureStore, expected: Mapping[str, int], whose: str) -> None:
    """See that a store has modalities of the widths that something else has.

    Args:
        store: The store.
        expected: Widths by modality, names in any case.
        whose: What they are of, for the message: `the network`.

    Raises:
        ConfigError: If a modality is unknown.
        DataError: If a width differs.
    """
    found = store.widths(tuple(expected))
    for (name, width), wanted in zip(found.items(), expected.values(), strict=True):
        if width != wanted:
            raise DataError(
                f"features {name} of {store.path} have width {width}, those of {whose} {wanted}; "
                "take features of the same network"
            )


def rows_by_name(store: FeatureStore, clip_ids: npt.NDArray[np.str_], *, allow_missing: bool = False) -> IntArray:
    """Rows of clips, shape (B,), by their ids; where the store has none of these, by the last part of ids that are paths.

    Lists name clips by the path of another machine, official splits by class and video; features are often stored by video
    alone, and those of ActivityNet as `v_` and the video. Names have to be unique on both sides.

    Args:
        store: The features.
        clip_ids: Shape (B,).
        allow_missing: Whether clips may lack features; they have row -1.

    Raises:
        DataError: If clips are not there and may not lack; tells how many, and the first.
    """
    found = _rows_by_name(store, pd.Index(clip_ids))
    is_missing = found < 0
    if allow_missing or not is_missing.any():
        return found
    return store.rows_of(clip_ids if is_missing.all() else np.where(is_missing, clip_ids, store.clip_ids[found]))


def _rows_by_name(store: FeatureStore, clip_ids: pd.Index[str]) -> IntArray:
    """Rows of clips, -1 where they are not there."""
    as_they_are = np.asarray(pd.Index(store.clip_ids).get_indexer(clip_ids), dtype=np.int64)
    if (as_they_are >= 0).any():
        return as_they_are
    names, stored = (
        pd.Index([str(name).rstrip("/").rpartition("/")[2].removeprefix("v_") for name in ids])
        for ids in (clip_ids, store.clip_ids)
    )
    if not names.is_unique or not stored.is_unique:
        return as_they_are
    return np.asarray(stored.get_indexer(names), dtype=np.int64)
