"""The six splits of the EPIC-KITCHENS-100 adaptation challenge: their files, and the clip index of each.

Source: epic-kitchens/epic-kitchens-100-annotations, folder `UDA_annotations`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from zoopraxis.data.annotations.epic import read_epic
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import AnnotationError, ConfigError, did_you_mean

__all__ = ["UDA_SPLITS", "find_uda_file", "read_uda_split", "uda_file_names"]

UDA_SPLITS = ("source_train", "source_val", "source_test", "target_train", "target_val", "target_test")
"""Splits of two domains: `source` is the footage of 2018, `target` that of 2020. `val` are other kitchens than `train` and
`test`, for the choice of settings. The files of `source_test`, `target_train` and `target_test` come without labels."""

_FOLDERS = ("", "uda")
_ENDINGS = ("_timestamps", "")
_SUFFIXES = (".csv", ".pkl")


def uda_file_names(split: str, *, has_labels: bool = False) -> tuple[str, ...]:
    """The names that the file of a split may have, in the order in which they are looked for.

    Args:
        split: One of `UDA_SPLITS`.
        has_labels: Look for the file with labels first (`..._target_train.csv` before `..._target_train_timestamps.csv`).

    Raises:
        ConfigError: If there is no such split.
    """
    if split not in UDA_SPLITS:
        raise ConfigError(f"the adaptation challenge has no split {split!r}; {did_you_mean(split, UDA_SPLITS)}")
    endings = reversed(_ENDINGS) if has_labels else _ENDINGS
    return tuple(f"EPIC_100_uda_{split}{ending}{suffix}" for ending in endings for suffix in _SUFFIXES)


def find_uda_file(folder: str | Path, split: str, *, has_labels: bool = False) -> Path | None:
    """The file of a split, in a folder or in `uda` in it; none if it is not there.

    Args:
        folder: Of annotations.
        split: One of `UDA_SPLITS`.
        has_labels: As for `uda_file_names`.

    Raises:
        ConfigError: If there is no such split.
    """
    names = uda_file_names(split, has_labels=has_labels)
    files = (Path(folder) / place / name for name in names for place in _FOLDERS)
    return next((file for file in files if file.is_file()), None)


def read_uda_split(
    folder: str | Path, split: str, *, modality: Literal["rgb", "flow"] = "rgb", has_labels: bool = False
) -> ClipIndex:
    """Read a split as `read_epic` does, with the classes' names from the files beside it or in the folder above.

    Args:
        folder: Of annotations.
        split: One of `UDA_SPLITS`.
        modality: Of the frames.
        has_labels: As for `uda_file_names`.

    Returns:
        The clips, whose column `domain` is `source` or `target`.

    Raises:
        ConfigError: If there is no such split.
        AnnotationError: If its file is missing or malformed.
        DataError: If a pickle is broken or would run code.
    """
    path = find_uda_file(folder, split, has_labels=has_labels)
    if path is None:
        names = " or ".join(uda_file_names(split, has_labels=has_labels))
        raise AnnotationError(f"no annotations of split {split!r} in {folder} or {Path(folder) / 'uda'}: looked for {names}")
    return read_epic(path, modality=modality)
