"""The feature pickles that are published for domain adaptation on EPIC-KITCHENS-100, read in place.

# N clips, S features of each, W width of a modality
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.features.mapped import Buffers, Columns, MappedFeatures, MappedFile
from zoopraxis.errors import DataError
from zoopraxis.pickles import MappedPickle, map_pickle

__all__ = ["open_published"]

IntArray = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]

_LAYOUT = '{"features": {modality: (N, S, W) numbers}, "narration_ids": (N,)}'


def open_published(path: Path) -> MappedFeatures:
    """Open a pickle of features without loading its arrays.

    A modality is one array of shape (N, S, W), or (N, W) for one feature a clip, or a list of N arrays (S, W) or (W,); of
    float16, float32 or float64. Arrays that are not in one piece in the file (of protocol 2 and older, of torch's archives) are
    loaded.

    Raises:
        DataError: If it cannot be read, holds something else, or its parts do not fit each other.

    Differs: the published loader unpickles the file, which may run code, and keeps all of its 25 features a clip in memory, of
    which 5 are used, and all modalities side by side once more.
    """
    opened = map_pickle(path)
    content = opened.content
    if not isinstance(content, dict) or not {"features", "narration_ids"} <= content.keys():
        raise DataError(f"{path} holds no features: it is not {_LAYOUT}; check the path")
    features = content["features"]
    if not isinstance(features, dict) or not features or not all(isinstance(name, str) for name in features):
        raise DataError(f"{path} holds no features by modality: it is not {_LAYOUT}; check the path")
    clip_ids = _clip_ids(path, content["narration_ids"])
    parts: list[MappedFile | UInt8Array] = [MappedFile(path, opened.file_bytes.size)]
    columns: dict[str, Columns] = {}
    num_features: IntArray | None = None
    for name, values in features.items():
        arrays = _arrays(f"features {name} of {path}", values, len(clip_ids))
        counts = np.fromiter((len(array) for array in arrays), np.int64, len(arrays))
        if num_features is not None and not np.array_equal(counts, num_features):
            clip = int(np.flatnonzero(counts != num_features)[0])
            raise DataError(
                f"clip {clip_ids[clip]} of {path} has {num_features[clip]} features {next(iter(features))} and {counts[clip]} "
                f"features {name}; they must be as many"
            )
        num_features = counts
        columns[name] = _place(opened, arrays, parts)
    assert num_features is not None
    return MappedFeatures(path, clip_ids, num_features, columns, Buffers(parts))


def _clip_ids(path: Path, given: Any) -> npt.NDArray[np.str_]:
    if not hasattr(given, "__len__") or isinstance(given, str | bytes | dict):
        raise DataError(f"{path} has narration_ids of type {type(given).__name__}, not a list of ids")
    names = [name.decode(errors="replace") if isinstance(name, bytes) else name for name in given]
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise DataError(f"{path} has a narration id of type {type(wrong).__name__} ({wrong!r:.40}); ids must be text")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"narration id {name!r} occurs twice in {path}; ids must be unique")
        seen.add(name)
    if not names:
        raise DataError(f"{path} holds no clips; check the path")
    return np.asarray(names, dtype=np.str_)


def _arrays(what: str, values: Any, num_clips: int) -> Sequence[npt.NDArray[Any]]:
    """For each clip an array (S, W)."""
    if not hasattr(values, "__len__") or len(values) != num_clips:
        count = len(values) if hasattr(values, "__len__") else 0
        raise DataError(f"{what} are of {count} clips, its narration_ids {num_clips}; both must be as many")
    arrays = [array[None] if getattr(array, "ndim", 0) == 1 else array for array in values]
    first = next((array for array in arrays if not _is_rows(array)), arrays[0])
    if not _is_rows(first):
        shape, dtype = getattr(first, "shape", ()), getattr(first, "dtype", type(first).__name__)
        raise DataError(f"{what} are {dtype} in shape {shape} a clip; they must be floating-point numbers in shape (S, W)")
    for array in arrays:
        if array.shape[1] != first.shape[1] or array.dtype != first.dtype:
            raise DataError(
                f"{what} are {first.dtype} of width {first.shape[1]} and {array.dtype} of width {array.shape[1]}; "
                "all clips must have the same"
            )
    return arrays


def _is_rows(array: Any) -> bool:
    is_numeric = isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.kind == "f" and array.dtype.itemsize <= 8
    return is_numeric and array.size > 0


def _place(opened: MappedPickle, arrays: Sequence[npt.NDArray[Any]], parts: list[MappedFile | UInt8Array]) -> Columns:
    """Where a modality lies: in the file, or if any of it is in memory only, in a new part."""
    width, dtype = arrays[0].shape[1], arrays[0].dtype
    offsets = [opened.offset_of(array) for array in arrays]
    found = [offset for offset in offsets if offset is not None]
    if len(found) == len(offsets):
        in_file = np.zeros(len(arrays), np.int64)
        return Columns(in_file, np.asarray(found, np.int64), 0, width * dtype.itemsize, width, dtype)
    rows = np.concatenate(arrays)
    parts.append(rows.reshape(-1).view(np.uint8))
    in_part = np.full(len(arrays), len(parts) - 1, np.int64)
    first_rows = np.cumsum([0, *(len(array) for array in arrays[:-1])])
    return Columns(in_part, first_rows * rows[0].nbytes, 0, rows[0].nbytes, width, rows.dtype)
