"""EPIC-KITCHENS annotations to a clip index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from zoopraxis.data.annotations.labels import ClassNames, build_index, check_heads
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.epic.annotations import class_labels, class_names_beside, read_table, segment_seconds, to_flow_frames
from zoopraxis.errors import AnnotationError

__all__ = ["read_epic"]


def read_epic(
    path: str | Path,
    *,
    modality: Literal["rgb", "flow"] = "rgb",
    split: str | None = None,
    class_names: ClassNames | None = None,
) -> ClipIndex:
    """Read an EPIC file, as `epic.annotations.read_table` does: sources are `<participant>/<video>`, as P01/P01_11.

    Seconds are those of the timestamps. Frames are counted from 0 and half-open: of RGB the stop frame belongs to the clip,
    so start..stop becomes [start - 1, stop); of flow, after the conversion of the frame numbers, it does not: [start - 1,
    stop - 1). The 30-fps segment file gives seconds only, since its frames are not those of the videos.

    Args:
        path: CSV or pickle.
        modality: Of the frames.
        split: The clips' split; default: as the file's name tells.
        class_names: Names of the verbs and nouns; default: from the class files beside `path`, else the classes' numbers.

    Raises:
        AnnotationError: If the file is malformed; the message names the row.
        DataError: If a pickle is broken or would run code.
    """
    table = read_table(path)
    if modality == "flow":
        table = to_flow_frames(table)
    seconds = segment_seconds(table, path) or (None, None)
    frames = _frames(table, modality)
    if seconds[0] is None and frames[0] is None:
        raise AnnotationError(f"{path} tells neither times nor frames; give the columns start_timestamp and stop_timestamp")
    names = class_names_beside(path) | dict(check_heads(class_names, ("verb", "noun"), path))
    return build_index(
        clip_id=table.index,
        source=table["participant_id"] + "/" + table["video_id"],
        labels={head: (class_labels(table, head, path, unknown=UNLABELLED), names[head]) for head in names},
        splits=None,
        split=split,
        path=path,
        start_seconds=seconds[0],
        stop_seconds=seconds[1],
        start_frame=frames[0],
        stop_frame=frames[1],
        participant_id=table["participant_id"],
        domain=_domain(path),
    )


def _frames(table: pd.DataFrame, modality: str) -> tuple[Any, Any]:
    if not {"start_frame", "stop_frame"} <= set(table.columns):
        return None, None
    return table["start_frame"] - 1, table["stop_frame"] - (modality == "flow")


def _domain(path: str | Path) -> str | None:
    """The domain that the name of a file of the adaptation challenge tells."""
    words = re.split(r"[^a-z0-9]+", Path(path).stem.lower())
    return next((word for word in words if word in ("source", "target")), None) if "uda" in words else None
