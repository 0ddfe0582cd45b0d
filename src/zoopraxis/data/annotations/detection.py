"""EPIC-KITCHENS annotations as segments of long videos."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from zoopraxis.data.annotations.labels import ClassNames, check_heads
from zoopraxis.data.annotations.long_videos import LongVideos
from zoopraxis.data.index import UNLABELLED
from zoopraxis.epic.annotations import class_labels, class_names_beside, read_table, segment_seconds
from zoopraxis.errors import AnnotationError

__all__ = ["read_epic_segments"]


def read_epic_segments(path: str | Path, *, class_names: ClassNames | None = None) -> LongVideos:
    """Read an EPIC file: the official ones by their timestamps, the detection baseline's by its frames at 30 a second.

    Segments without labels, of the official test file, are those of the recognition challenge: here they only tell which
    videos there are.

    Args:
        path: CSV or pickle.
        class_names: Names of the verbs and nouns; default: from the class files beside `path`, else the classes' numbers.

    Raises:
        AnnotationError: If the file is malformed; the message names the row.
        DataError: If a pickle is broken or would run code.
    """
    table = read_table(path)
    seconds = segment_seconds(table, path)
    if seconds is None:
        raise AnnotationError(f"{path} tells no times of the segments; give the columns start_timestamp and stop_timestamp")
    names = class_names_beside(path) | dict(check_heads(class_names, ("verb", "noun"), path))
    labels = {head: class_labels(table, head, path, unknown=UNLABELLED) for head in names}
    ids = table["video_id"].astype(str)
    videos = pd.DataFrame(index=pd.Index(ids.unique(), name="video_id"), columns=["duration", "covered", "fps", "split"])
    videos = videos.astype({"duration": float, "covered": float, "fps": float})
    is_known = pd.DataFrame(labels).ne(UNLABELLED).any(axis=1).to_numpy()
    segments = pd.DataFrame({"clip_id": table.index, "video_id": ids.to_numpy(), "start": seconds[0], "stop": seconds[1]})
    found = {head: (values[is_known], names[head]) for head, values in labels.items()}
    return LongVideos(videos, segments[is_known].reset_index(drop=True), found)
