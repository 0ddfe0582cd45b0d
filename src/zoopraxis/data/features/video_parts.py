"""The files that published features of long videos come in, each with features of a video or of a few seconds of it.

# n features in a file, W their width
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.errors import DataError
from zoopraxis.pickles import load_pickle

__all__ = [
    "FIRST_SECONDS",
    "SPACING_SECONDS",
    "Layout",
    "Part",
    "Span",
    "array_layout",
    "count_lines",
    "file_kind",
    "read_part",
]

Array = npt.NDArray[Any]
Layout = Literal["auto", "rows", "columns"]

_FPS, _INTERVAL, _FIRST_FRAME = 60, 8, 7
SPACING_SECONDS, FIRST_SECONDS = _INTERVAL / _FPS, _FIRST_FRAME / _FPS
"""TAdaConv's features of EPIC-KITCHENS: one every 8 frames at 60 a second, the first at frame 7."""

_MIN_PIECE_MS = 200
"""Shorter pieces, at the end of a video, are passed over."""

_PIECE = re.compile(r"(?P<video>.+)_(?P<start>\d+)_(?P<stop>\d+)\.pkl")
_CHUNK = re.compile(r"chunk_\d+\.npy")
_KEPT_FILES = 32


@dataclass(frozen=True)
class Span:
    """The part of a video that a file is of, in milliseconds."""

    video_id: str
    start: int
    stop: int

    @classmethod
    def of_name(cls, name: str) -> Span | None:
        """What a file's name tells, if it is one of a few seconds and not too short."""
        match = _PIECE.fullmatch(name)
        span = None if match is None else cls(match["video"], int(match["start"]), int(match["stop"]))
        return span if span is not None and span.stop - span.start >= _MIN_PIECE_MS else None

    @property
    def num_rows(self) -> int:
        """Features of the video whose moment lies in this part, both ends included."""
        first, last = (_FIRST_FRAME * 1000 - _FPS * self.start), (_FPS * self.stop - _FIRST_FRAME * 1000)
        return last // (_INTERVAL * 1000) - max(0, -(first // (_INTERVAL * 1000))) + 1


@dataclass(frozen=True)
class Part:
    """A file, and which of its video's features it holds.

    Attributes:
        path: The file.
        first_row: Number of its first feature in the video.
        num_rows: Its features.
        is_piece: Whether the file may hold one feature more, which is left out.
        has_columns: Whether the file holds a feature a column.
    """

    path: Path
    first_row: int
    num_rows: int
    is_piece: bool = False
    has_columns: bool = False


def file_kind(path: Path) -> str | None:
    """`.pkl`, `.npy` or `.csv` if a file is one of features, as far as its name and its first lines tell."""
    suffix = path.suffix.lower()
    if suffix == ".pkl":
        return suffix if _PIECE.fullmatch(path.name) else None
    if suffix == ".npy":
        return None if _CHUNK.fullmatch(path.name) else suffix
    return suffix if suffix == ".csv" and _is_numbers(_first_lines(path)[-1]) else None


def read_part(part: Part) -> dict[str, Array]:
    """A file's features by name (the empty name where the file has none), shape (n, W) each; a few files are kept.

    Raises:
        DataError: If the file cannot be read, or has another number of features than it should.
    """
    found: dict[str, Array] = {}
    for name, array in _read_file(part.path).items():
        rows = array.T if part.has_columns else array
        if len(rows) - part.num_rows not in ((0, 1) if part.is_piece else (0,)):
            rule = f" ({_INTERVAL} frames apart at {_FPS} a second)" if part.is_piece else ""
            raise DataError(
                f"{part.path} has {len(rows)} features, not {part.num_rows}{rule}; it is of another frame rate, or truncated: "
                "get or make it again"
            )
        found[name] = rows[: part.num_rows]
    return found


def array_layout(path: Path, shapes: list[tuple[int, ...]], layout: Layout) -> bool:
    """Whether arrays hold a feature a column: told from which axis is as long in all of them; if both are, the longer one.

    Raises:
        DataError: If arrays have no two axes, or neither axis is as long in all.
    """
    wrong = next((shape for shape in shapes if len(shape) != 2 or 0 in shape), None)
    if wrong is not None:
        raise DataError(f"the arrays in {path} must be of shape (n, W) or (W, n), not {wrong}; these are no features of videos")
    if layout != "auto":
        return layout == "columns"
    is_same = [len({shape[axis] for shape in shapes}) == 1 for axis in (0, 1)]
    if not any(is_same):
        raise DataError(
            f"the arrays in {path} differ in both axes (first: {shapes[0]}), so they are not of one width; "
            "take those of one network"
        )
    return is_same[0] and (not is_same[1] or shapes[0][0] > shapes[0][1])


def count_lines(path: Path) -> int:
    """The rows of numbers in a CSV file.

    Raises:
        DataError: If it cannot be read, or has none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    rows = lines - (not _is_numbers(content.partition(b"\n")[0].decode(errors="replace")))
    if rows == 0:
        raise DataError(f"{path} has no row of numbers; get or make it again")
    return rows


@lru_cache(maxsize=_KEPT_FILES)
def _read_file(path: Path) -> dict[str, Array]:
    try:
        content = _READERS[path.suffix.lower()](path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as features ({reason}); it may be truncated: get it again") from error
    named = content if isinstance(content, dict) else {"": content}
    if not named:
        raise DataError(f"{path} holds no features; get it again")
    for name, array in named.items():
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
            held = f"{array.dtype} in shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise DataError(f"{path} holds {held}{f' as {name}' * bool(name)}, not numbers in shape (n, W); get it again")
    return {str(name): array for name, array in named.items()}


def _read_csv(path: Path) -> Array:
    has_header = not _is_numbers(_first_lines(path)[0])
    table = pd.read_csv(path, header=0 if has_header else None, dtype=np.float32)
    return table.to_numpy()


def _read_npy(path: Path) -> Array:
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


_READERS: dict[str, Callable[[Path], Any]] = {".pkl": load_pickle, ".npy": _read_npy, ".csv": _read_csv}


def _first_lines(path: Path) -> list[str]:
    """The first two lines of a text file, or one if it has no more."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return [file.readline(), *([second] if (second := file.readline()) else [])]


def _is_numbers(line: str) -> bool:
    try:
        return bool([float(field) for field in line.split(",")])
    except ValueError:
        return False
