"""Detections: segments of long videos with a score and, mostly, classes; and the truth that they are held against.

Files, told by the suffix:

* `.npz`: `video_ids` (strings), `video` (int64, rows of `video_ids`), `segments` (float64, seconds), `scores` (float64), one
  array `label:<head>` a head (int64) and `meta` (JSON).
* `.json`: `{"results": {video: [{"score", "segment": [start, stop], ...}]}}` with `verb`, `noun` and `action` ("verb,noun") as
  the EPIC-KITCHENS-100 challenge has it, with `label` (a class's name or number; TAdaConv writes "verb,noun" there) as
  ActivityNet has it, or with neither: proposals.
* `.pkl` and `.csv` (read only): the proposal table of the EPIC-KITCHENS-100 detection baseline, with columns `video_id`,
  `start_seconds`, `stop_seconds`, `score`, and perhaps `<head>_class`. Read without running anything.

Source: EPIC-KITCHENS C2-Action-Detection; ActivityNet, Evaluation/eval_detection.py; TAdaConv, runs/test_epic_localization.py.

Differs: NaN, reversed segments, ragged entries and an action that is not its verb and noun are refused instead of being scored.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.errors import DataError, did_you_mean
from zoopraxis.evaluation.detection_json import as_entries, class_names_of, read_columns
from zoopraxis.files import atomic_path, write_text
from zoopraxis.pickles import load_pickle

__all__ = [
    "DETECTION_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "Detections",
    "Truth",
    "from_results",
    "load_detections",
    "renumber_classes",
    "save_detections",
    "to_results",
]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
StrArray = npt.NDArray[np.str_]

_LABEL = "label:"


@dataclass(frozen=True, eq=False)
class Detections:
    """P segments found in V videos; sorted by video and, within a video, the best first (in the order given where tied).

    Attributes:
        video_ids: Ids without repeats, shape (V,), str; a video may have no segment.
        video: Which video each segment is of, row of `video_ids`, shape (P,), int64.
        segments: (start, stop) in seconds, shape (P, 2), float64, start before stop.
        scores: Finite, higher is better, shape (P,), float64.
        labels: Head to classes, shape (P,), int64, not negative; empty for proposals, which have no class.
        meta: How they came about, JSON-able; `class_names` (head to names) where they are known.

    Raises:
        DataError: If a video is repeated or unknown, lengths differ, a number is NaN or infinite, a segment does not stop after
            its start, a class is negative, or the class names are none.
    """

    video_ids: StrArray
    video: IntArray
    segments: FloatArray
    scores: FloatArray
    labels: Mapping[str, IntArray] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = _as_ids(self.video_ids)
        video, segments = _as_table("video", self.video, np.int64), _as_segments(self.segments)
        scores = _as_table("scores", self.scores, np.float64)
        labels = {head: _as_table(f"labels of {head}", values, np.int64) for head, values in self.labels.items()}
        _check_lengths(len(video), {"segments": len(segments), "scores": len(scores), **{h: len(x) for h, x in labels.items()}})
        _check_videos(video, len(ids))
        _refuse(~np.isfinite(segments).all(axis=1), ids, video, "have NaN or infinite times", segments)
        _refuse(~np.isfinite(scores), ids, video, "have NaN or infinite scores", scores)
        _refuse(segments[:, 1] <= segments[:, 0], ids, video, "do not stop after their start", segments)
        for head, values in labels.items():
            _refuse(values < 0, ids, video, f"have a negative {head} class", values)
        class_names_of(self.meta)
        order = np.lexsort((-scores, video))
        object.__setattr__(self, "video_ids", ids)
        object.__setattr__(self, "video", video[order])
        object.__setattr__(self, "segments", segments[order])
        object.__setattr__(self, "scores", scores[order])
        object.__setattr__(self, "labels", {head: values[order] for head, values in labels.items()})
        object.__setattr__(self, "meta", dict(self.meta))

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def num_videos(self) -> int:
        """How many videos there are, those without segments too."""
        return len(self.video_ids)

    @property
    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Head to the names of its classes, for the heads whose names are known."""
        return class_names_of(self.meta)

    def of_video(self, number: int) -> IntArray:
        """Rows of a video's segments, the best first."""
        first, last = np.searchsorted(self.video, [number, number + 1])
        return np.arange(first, last)

    def take(self, rows: npt.NDArray[Any]) -> Detections:
        """The detections of some rows (numbers or booleans), of the same videos."""
        labels = {head: values[rows] for head, values in self.labels.items()}
        return Detections(self.video_ids, self.video[rows], self.segments[rows], self.scores[rows], labels, self.meta)

    def ranks(self) -> IntArray:
        """Place of each segment among those of its video, 0 the best, shape (P,)."""
        firsts = np.searchsorted(self.video, np.arange(self.num_videos))
        return np.arange(len(self), dtype=np.int64) - firsts[self.video]


@dataclass(frozen=True, eq=False)
class Truth:
    """G labelled segments of V videos.

    Attributes:
        video_ids: Ids without repeats, shape (V,), str; a video may have no segment.
        durations: Seconds each lasts, shape (V,), float64; NaN where unknown.
        video: Which video each segment is of, row of `video_ids`, shape (G,), int64.
        segments: (start, stop) in seconds, shape (G, 2), float64.
        labels: Head to classes, shape (G,), int64.
        class_names: Head to the names of its classes, where they are known.

    Raises:
        DataError: If a video is repeated or unknown, lengths differ, a time is NaN or infinite, a segment does not stop after
            its start, or a class is negative.
    """

    video_ids: StrArray
    durations: FloatArray
    video: IntArray
    segments: FloatArray
    labels: Mapping[str, IntArray] = field(default_factory=dict)
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = _as_ids(self.video_ids)
        video, segments = _as_table("video", self.video, np.int64), _as_segments(self.segments)
        durations = _as_table("durations", self.durations, np.float64)
        labels = {head: _as_table(f"labels of {head}", values, np.int64) for head, values in self.labels.items()}
        if len(durations) != len(ids):
            raise DataError(f"there are {len(durations)} durations, but {len(ids)} videos")
        _check_lengths(len(video), {"segments": len(segments), **{head: len(values) for head, values in labels.items()}})
        _check_videos(video, len(ids))
        _refuse(~np.isfinite(segments).all(axis=1), ids, video, "of the truth have NaN or infinite times", segments)
        _refuse(segments[:, 1] <= segments[:, 0], ids, video, "of the truth do not stop after their start", segments)
        for head, values in labels.items():
            _refuse(values < 0, ids, video, f"of the truth have a negative {head} class", values)
        object.__setattr__(self, "video_ids", ids)
        object.__setattr__(self, "durations", durations)
        object.__setattr__(self, "video", video)
        object.__setattr__(self, "segments", segments)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "class_names", {head: tuple(names) for head, names in self.class_names.items()})

    def __len__(self) -> int:
        return len(self.video)

    def of_video(self, number: int) -> IntArray:
        """Rows of a video's segments, in their order."""
        return np.flatnonzero(self.video == number)


def load_detections(path: str | Path, *, class_names: Mapping[str, Sequence[str]] | None = None) -> Detections:
    """Read a file of detections.

    Args:
        path: The file; the suffix tells its format.
        class_names: Head to names of classes, by which labels that are names become numbers; none: names are numbered in
            alphabetical order, and told in `meta`.

    Raises:
        DataError: If the file is missing, of no known format, or its content is refused by `Detections`; names the file.
    """
    file = Path(path)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise DataError(f"{file} is no file of detections; the suffix must be one of {', '.join(DETECTION_SUFFIXES)}")
    if not file.is_file():
        raise DataError(f"there is no file of detections {file}; write one with: zoopraxis test CHECKPOINT {file.name}")
    try:
        return reader(file, class_names)
    except DataError as error:
        message = str(error)
        raise DataError(message if str(file) in message else f"{file}: {message}") from error


def save_detections(detections: Detections, path: str | Path) -> None:
    """Write a file of detections (`.npz` or `.json`), in one step.

    Raises:
        DataError: If the suffix is another, or the disk is full.
    """
    file = Path(path)
    writer = _WRITERS.get(file.suffix.lower())
    if writer is None:
        raise DataError(f"cannot write detections to {file}; the suffix must be one of {', '.join(WRITABLE_SUFFIXES)}")
    try:
        writer(detections, file)
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror or error}; free some space or choose another folder") from error


def from_results(content: Any, *, class_names: Mapping[str, Sequence[str]] | None = None) -> Detections:
    """The detections of a JSON document, as `load_detections` reads it.

    Raises:
        DataError: If it is no such document, or `Detections` refuses its content.
    """
    columns = read_columns(content, dict(class_names or {}))
    return Detections(columns.video_ids, columns.video, columns.segments, columns.scores, columns.labels, columns.meta)


def to_results(detections: Detections) -> dict[str, list[dict[str, Any]]]:
    """Video to its detections as JSON has them, the best first: verb, noun and action, or label (its name where known)."""
    results: dict[str, list[dict[str, Any]]] = {video: [] for video in detections.video_ids.tolist()}
    names = detections.video_ids[detections.video].tolist()
    entries = as_entries(detections.segments, detections.scores, detections.labels, detections.class_names)
    for video, entry in zip(names, entries, strict=True):
        results[video].append(entry)
    return results


def renumber_classes(detections: Detections, class_names: Mapping[str, Sequence[str]]) -> Detections:
    """The same detections with classes numbered as `class_names` has them, where both know their names.

    Classes that it does not have get the numbers after its own. Heads of which one of the two has numbers for names stay.
    """
    labels, names = dict(detections.labels), detections.class_names
    for head, own in detections.class_names.items():
        wanted = [str(name) for name in class_names.get(head, ())]
        numbered = all(name.isdecimal() for name in wanted) or all(name.isdecimal() for name in own)
        if head not in labels or numbered or len(own) <= int(labels[head].max(initial=-1)):
            continue
        every = tuple(dict.fromkeys([*wanted, *own]))
        place = {name: number for number, name in enumerate(every)}
        labels[head] = np.array([place[name] for name in own], dtype=np.int64)[labels[head]]
        names[head] = every
    meta = {**detections.meta, "class_names": names} if names else detections.meta
    return Detections(detections.video_ids, detections.video, detections.segments, detections.scores, labels, meta)


def _as_ids(values: Any) -> StrArray:
    ids: StrArray = np.asarray(values, dtype=np.str_)
    if ids.ndim != 1 or len(ids) == 0:
        raise DataError(f"there must be ids of at least one video in one dimension, not an array of shape {ids.shape}")
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        repeated = unique[counts > 1]
        raise DataError(f"{len(repeated)} videos are repeated, first {repeated[0]!s}; each may stand once")
    return ids


def _as_table(what: str, values: Any, dtype: type[Any]) -> npt.NDArray[Any]:
    try:
        given = np.asarray(values)
        is_other = given.dtype.kind in "bc" or (dtype is np.int64 and given.size and given.dtype.kind not in "iu")
        table = given if is_other else given.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"the {what} are not all numbers ({error})") from error
    if is_other:
        raise DataError(f"the {what} must be numbers of kind {np.dtype(dtype).name}, not {given.dtype}")
    if table.ndim != 1:
        raise DataError(f"the {what} must have one dimension, not the shape {table.shape}")
    return table


def _as_segments(values: Any) -> FloatArray:
    try:
        given = np.asarray(values)
        segments: FloatArray = given.astype(np.float64, casting="same_kind" if given.dtype.kind == "c" else "unsafe")
    except (TypeError, ValueError) as error:
        raise DataError("segments must be pairs of numbers, start and stop in seconds") from error
    if segments.size == 0:
        return segments.reshape(0, 2)
    if segments.ndim != 2 or segments.shape[1] != 2:
        raise DataError(f"segments must be pairs (start, stop), shape (segments, 2), not {segments.shape}")
    return segments


def _check_lengths(num_segments: int, lengths: Mapping[str, int]) -> None:
    for what, length in lengths.items():
        if length != num_segments:
            raise DataError(f"there are {length} {what}, but the videos of {num_segments} segments")


def _check_videos(video: IntArray, num_videos: int) -> None:
    bad = (video < 0) | (video >= num_videos)
    if bad.any():
        raise DataError(f"{bad.sum()} segments are of videos that do not exist, first row {video[bad][0]} of {num_videos}")


def _refuse(bad: Any, ids: StrArray, video: IntArray, problem: str, values: npt.NDArray[Any]) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        first = rows[0]
        raise DataError(
            f"{len(rows)} of {len(bad)} segments {problem}, first of video {ids[video[first]]!s}: {values[first].tolist()};"
            " mend or leave them out"
        )


def _read_npz(file: Path, class_names: Mapping[str, Sequence[str]] | None) -> Detections:
    if not zipfile.is_zipfile(file):
        raise DataError("it is no .npz file, or a truncated one; make it again")
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"it cannot be read as .npz ({error})") from error
    for name in ("video_ids", "video", "segments", "scores"):
        if name not in arrays:
            raise DataError(f"it has no array {name!r}; {did_you_mean(name, arrays)}")
    try:
        meta = json.loads(str(arrays.get("meta", "{}")))
    except json.JSONDecodeError as error:
        raise DataError(f"its meta is no JSON ({error})") from error
    if not isinstance(meta, dict):
        raise DataError(f"its meta must be a JSON object, not {type(meta).__name__}")
    labels = {name.removeprefix(_LABEL): values for name, values in arrays.items() if name.startswith(_LABEL)}
    return Detections(arrays["video_ids"], arrays["video"], arrays["segments"], arrays["scores"], labels, meta)


def _write_npz(detections: Detections, file: Path) -> None:
    arrays: dict[str, Any] = {name: getattr(detections, name) for name in ("video_ids", "video", "segments", "scores")}
    arrays |= {_LABEL + head: values for head, values in detections.labels.items()}
    with atomic_path(file) as temporary:
        np.savez(temporary, **arrays, meta=np.array(json.dumps(dict(detections.meta))))


def _read_json(file: Path, class_names: Mapping[str, Sequence[str]] | None) -> Detections:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"it cannot be read as JSON ({error})") from error
    return from_results(content, class_names=class_names)


def _write_json(detections: Detections, file: Path) -> None:
    version = "0.2" if "verb" in detections.labels else "VERSION 1.3"  # as the challenge and ActivityNet ask for it
    content = {"version": version, "results": to_results(detections), "external_data": {}, "meta": dict(detections.meta)}
    write_text(file, json.dumps(content))


def _read_table(file: Path, class_names: Mapping[str, Sequence[str]] | None) -> Detections:
    is_csv = file.suffix.lower() == ".csv"
    try:
        table = pd.read_csv(file, dtype={"video_id": str}) if is_csv else load_pickle(file)
    except (OSError, ValueError) as error:
        raise DataError(f"it cannot be read as a table of proposals ({error})") from error
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"it must be a table of proposals, not {type(table).__name__}")
    for column in ("video_id", "start_seconds", "stop_seconds", "score"):
        if column not in table.columns:
            raise DataError(f"the table of proposals has no column {column!r}; {did_you_mean(column, map(str, table.columns))}")
    video_ids, video = np.unique(table["video_id"].to_numpy().astype(np.str_), return_inverse=True)
    heads = [str(column).removesuffix("_class") for column in table.columns if str(column).endswith("_class")]
    labels = {head: table[f"{head}_class"].to_numpy() for head in heads}
    return Detections(
        video_ids,
        video.astype(np.int64),
        table[["start_seconds", "stop_seconds"]].to_numpy(),
        table["score"].to_numpy(),
        labels,
    )


_READERS: dict[str, Callable[[Path, Mapping[str, Sequence[str]] | None], Detections]] = {
    ".npz": _read_npz,
    ".json": _read_json,
    ".pkl": _read_table,
    ".csv": _read_table,
}
_WRITERS: dict[str, Callable[[Detections, Path], None]] = {".npz": _write_npz, ".json": _write_json}
DETECTION_SUFFIXES = tuple(_READERS)
WRITABLE_SUFFIXES = tuple(_WRITERS)
