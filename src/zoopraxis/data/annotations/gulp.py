"""The annotations that a gulp folder carries with its clips: read into an index, and made from one.

A folder of the EPIC-KITCHENS-100 baselines has the data set's own columns with each clip. A folder written here has them too,
and beside them the index's columns, so that reading it gives the index back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.annotations.labels import ClassNames, build_index
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.data.stores.gulp import GulpStore, read_gulp_info
from zoopraxis.epic.vocabulary import NOUNS, VERBS
from zoopraxis.errors import AnnotationError, did_you_mean

__all__ = ["gulp_metadata", "read_gulp"]

_EPIC_HEADS = ("verb", "noun")
_LABEL = "label:"
_TIMESTAMP = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def read_gulp(
    path: str | Path,
    *,
    modality: str = "rgb",
    class_names: ClassNames | None = None,
    split: str | None = None,
) -> ClipIndex:
    """Read the index of a gulp folder from the annotations stored in it, in the order of its files.

    Clips are named by their narration_id where it is stored, else by their key; where the two differ the key is kept as
    `source`, by which `GulpStore` finds them.

    Args:
        path: The gulp folder.
        modality: Of the folder; decides how stored EPIC frame numbers are understood (RGB: the stop frame belongs to the
            clip; flow: it does not).
        class_names: Names of a head's classes. Default: those stored with the folder, else EPIC-KITCHENS-100's where
            clips have a verb_class and noun_class, or a narration_id and no label.
        split: Keep the clips of this split where splits are stored with them, else the name of all clips' split;
            default: as stored, or as the folder's name tells.

    Raises:
        DataError: If the folder is no whole gulp folder.
        AnnotationError: If a clip lacks a label that others have, a head has no class names, or no clip is of the split.
    """
    store = GulpStore(path, modality)
    rows = [_Row(key, stored) for key, stored in store.metadata()]
    names = {**_class_names(Path(path), rows), **(class_names or {})}
    spans = [_frame_span(row.stored, modality) for row in rows]
    splits = [row.stored.get("split") for row in rows]
    return build_index(
        clip_id=[row.clip_id for row in rows],
        source=[row.source for row in rows],
        labels={head: (_labels(Path(path), rows, head), classes) for head, classes in names.items()},
        splits=None if set(splits) <= {None} else splits,
        split=split,
        path=path,
        start_seconds=[_seconds(row.stored, "start") for row in rows],
        stop_seconds=[_seconds(row.stored, "stop") for row in rows],
        start_frame=[start for start, _ in spans],
        stop_frame=[stop for _, stop in spans],
        participant_id=[row.stored.get("participant_id") for row in rows],
        domain=[row.stored.get("domain") for row in rows],
    )


def gulp_metadata(index: ClipIndex, row: int, *, modality: str = "rgb") -> dict[str, Any]:
    """The annotations to store with the clip of one row: EPIC's columns as far as they are known, and the index's own.

    `start_frame` and `stop_frame` are stored as EPIC counts them (from 1; for RGB the stop frame is the last one of the
    clip, for flow the one after), `verb_class` and `noun_class` only where they are known.
    """
    columns = index.table.slice(row, 1).to_pylist()[0]
    stored: dict[str, Any] = {"narration_id": columns["clip_id"], "video_id": PurePosixPath(columns["source"]).stem}
    for name in ("participant_id", "source", "split", "domain"):
        stored[name] = columns[name]
    for end in ("start", "stop"):
        seconds, frame = columns[f"{end}_seconds"], columns[f"{end}_frame"]
        stored[f"{end}_seconds"] = seconds
        stored[f"{end}_timestamp"] = None if seconds is None else _timestamp(seconds)
        stored[f"{end}_frame"] = None if frame is None else frame + (end == "start" or modality == "flow")
    for head in index.class_names:
        label = columns[_LABEL + head]
        stored[_LABEL + head] = label
        if head in _EPIC_HEADS and label != UNLABELLED:
            stored[f"{head}_class"] = label
    return {name: value for name, value in stored.items() if value is not None}


class _Row:
    """One clip's key and stored annotations."""

    def __init__(self, key: str, stored: dict[str, Any]) -> None:
        self.stored = stored
        self.clip_id = str(stored.get("narration_id") or key)
        self.source = str(stored.get("source") or _epic_source(stored) or key)
        if self.clip_id != key:
            self.source = key


def _class_names(path: Path, rows: Sequence[_Row]) -> ClassNames:
    stored = (read_gulp_info(path) or {}).get("class_names")
    if stored is not None:
        return {str(head): tuple(names) for head, names in stored.items()}
    heads = sorted({name.removeprefix(_LABEL) for row in rows for name in row.stored if name.startswith(_LABEL)})
    if heads:
        raise AnnotationError(f"{path} has labels of {', '.join(heads)} but no class names; restore its zoopraxis.json")
    if any("narration_id" in row.stored or "verb_class" in row.stored for row in rows):
        return {"verb": VERBS, "noun": NOUNS}
    return {}


def _labels(path: Path, rows: Sequence[_Row], head: str) -> npt.NDArray[np.int64]:
    """Labels of one head, `UNLABELLED` for all when no clip has one."""
    names = (_LABEL + head, f"{head}_class")
    labels = np.full(len(rows), UNLABELLED, dtype=np.int64)
    missing: list[str] = []
    for number, row in enumerate(rows):
        value = next((row.stored[name] for name in names if row.stored.get(name) is not None), None)
        if value is None:
            missing.append(row.clip_id)
        elif isinstance(value, bool) or not isinstance(value, int):
            raise AnnotationError(f"clip {row.clip_id!r} in {path} has {head} label {value!r}; it must be a whole number")
        else:
            labels[number] = int(value)
    if missing and len(missing) < len(rows):
        known = sorted({name for row in rows for name in row.stored})
        raise AnnotationError(
            f"{len(missing)} of {len(rows)} clips in {path} have no {head} label, the first {missing[0]!r}; "
            f"{did_you_mean(f'{head}_class', known)}"
        )
    return labels


def _frame_span(stored: Mapping[str, Any], modality: str) -> tuple[int | None, int | None]:
    start, stop = stored.get("start_frame"), stored.get("stop_frame")
    return (
        None if start is None else int(start) - 1,
        None if stop is None else int(stop) - (modality == "flow"),
    )


def _seconds(stored: Mapping[str, Any], end: str) -> float | None:
    seconds = stored.get(f"{end}_seconds")
    if seconds is not None:
        return float(seconds)
    match = _TIMESTAMP.fullmatch(str(stored.get(f"{end}_timestamp", "")))
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else None


def _timestamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _epic_source(stored: Mapping[str, Any]) -> str | None:
    if stored.get("participant_id") and stored.get("video_id"):
        return f"{stored['participant_id']}/{stored['video_id']}"
    return None
