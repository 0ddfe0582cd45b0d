"""What the readers of annotations share: labels to numbers, names of splits, ids of clips."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.errors import AnnotationError, did_you_mean

__all__ = [
    "VIDEO_SUFFIXES",
    "ClassNames",
    "build_index",
    "check_heads",
    "clip_ids_of",
    "encode_labels",
    "normalize_split",
    "split_of_name",
]

ClassNames = Mapping[str, Sequence[str]]
"""For each head the names of its classes, in label order."""

VIDEO_SUFFIXES = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})
"""Suffixes, in lower case, by which a file counts as a video."""

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def normalize_split(name: str) -> str:
    """`train`, `val` or `test` for the usual ways to write them; other names as they are."""
    return _SPLITS.get(name.lower(), name)


def split_of_name(path: str | Path) -> str | None:
    """The split that a file's name tells (`kinetics400_val_list.txt`: val), if it tells just one."""
    words = re.split(r"[^a-z0-9]+", Path(path).stem.lower())
    found = {_SPLITS[word] for word in words if word in _SPLITS}
    return found.pop() if len(found) == 1 else None


def clip_ids_of(sources: Sequence[str]) -> list[str]:
    """Ids of clips that are whole sources: their paths, without the suffix where they are videos."""
    return [
        source[: -len(suffix)] if (suffix := os.path.splitext(source)[1]).lower() in VIDEO_SUFFIXES else source
        for source in sources
    ]


def check_heads(given: ClassNames | None, heads: Sequence[str], path: str | Path) -> ClassNames:
    """The class names that the caller gave, none for heads left out.

    Raises:
        AnnotationError: If a head is named that the annotations do not have.
    """
    for head in given or {}:
        if head not in heads:
            raise AnnotationError(
                f"class names are given for head {head!r}, which {path} does not have; {did_you_mean(head, heads)}"
            )
    return given or {}


def encode_labels(
    values: Sequence[Any] | pd.Series[Any], head: str, path: str | Path, names: Sequence[str] | None = None
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Turn labels into class numbers: names by their place among `names`, whole numbers as they are.

    Args:
        values: Names or whole numbers; empty or missing where the class is not known.
        head: For messages.
        path: For messages.
        names: The classes in label order. Default: the names that occur, sorted; or the numbers from 0 to the highest.

    Returns:
        Labels, shape (N,), `UNLABELLED` where not known, and the class names; without any label and `names`, no names.

    Raises:
        AnnotationError: If a name is not among `names`; the message names the row.
    """
    codes, unique = pd.factorize(pd.Series(values, dtype=object).map(_text), use_na_sentinel=True)
    found = [str(value) for value in unique]
    if names is not None and set(found) <= set(names):
        numbers = {name: number for number, name in enumerate(names)}
    elif all(re.fullmatch(r"-?\d+", value) for value in found):
        numbers = {value: int(value) for value in found}
        names = [str(number) for number in range(max(numbers.values(), default=-1) + 1)] if names is None else names
    elif names is None:
        names = sorted(found)
        numbers = {name: number for number, name in enumerate(names)}
    else:
        wrong = next(number for number, value in enumerate(found) if value not in set(names))
        row = int(np.argmax(codes == wrong))
        raise AnnotationError(
            f"{path} row {row}: {found[wrong]!r} is no class of head {head!r}; {did_you_mean(found[wrong], names)}"
        )
    table = np.array([*(numbers[value] for value in found), UNLABELLED], dtype=np.int64)
    return table[codes], tuple(names)


def build_index(
    *,
    clip_id: Any,
    source: Any,
    labels: Mapping[str, tuple[npt.NDArray[np.int64], Sequence[str]]],
    splits: Sequence[str | None] | None,
    split: str | None,
    path: str | Path,
    **optional: Any,
) -> ClipIndex:
    """Build an index of one split: of the rows of `split` where the annotations have splits, else of all rows, named so.

    Args:
        clip_id: Ids of the clips, N texts.
        source: Where they lie, N texts.
        labels: For each head its labels and class names; heads without class names are left out.
        splits: The clips' splits as the annotations have them, N texts, or None if they have none.
        split: The split that is asked for.
        path: Of the annotations; its name tells the split if nothing else does.
        optional: Other columns of the index.

    Raises:
        AnnotationError: If no clip belongs to the split that is asked for.
    """
    known = {head: given for head, given in labels.items() if len(given[1])}
    wanted = None if split is None else normalize_split(split)
    column: Any = wanted or split_of_name(path)
    if splits is not None:
        column = [None if name is None else normalize_split(name) for name in splits]
    index = ClipIndex.from_columns(
        clip_id=clip_id,
        source=source,
        labels={head: numbers for head, (numbers, _) in known.items()},
        class_names={head: names for head, (_, names) in known.items()},
        split=column,
        **optional,
    )
    return index.of_split(wanted) if splits is not None and wanted is not None else index


def _text(value: Any) -> str | None:
    """A label as text; None if it is missing. Whole numbers that stand beside gaps are read as floats."""
    if value is None or value is pd.NA or value == "" or value != value:
        return None
    if isinstance(value, float | np.floating) and value == int(value):
        return str(int(value))
    return str(value).strip()
