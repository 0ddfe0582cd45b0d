"""Formats of annotations of segments in long videos: their readers, how a format is told, where a split's file is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from zoopraxis.data.annotations.activitynet import read_activitynet, read_mmaction, read_segments_json
from zoopraxis.data.annotations.detection import read_epic_segments
from zoopraxis.data.annotations.labels import ClassNames, normalize_split
from zoopraxis.data.annotations.long_videos import LongVideos
from zoopraxis.data.annotations.thumos import is_thumos14, read_thumos14
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.errors import AnnotationError

__all__ = ["SAME_SPLITS", "SEGMENT_READERS", "detect_segment_format", "file_of_split"]

SAME_SPLITS = {"thumos14": {"train": "val"}}
"""For a format splits that are called by another name."""

_SPLIT_FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "epic": {
        "train": ("EPIC_100_train.csv", "EPIC_100_train.pkl"),
        "val": ("EPIC_100_validation.csv", "EPIC_100_validation.pkl"),
        "test": ("EPIC_100_test_timestamps.csv", "EPIC_100_test_timestamps.pkl"),
    },
    "epic_30fps": {"train": ("train_30fps.csv",), "val": ("validation_30fps.csv", "val_30fps.csv")},
    "mmaction": {"train": ("anet_anno_train.json",), "val": ("anet_anno_val.json",), "test": ("anet_anno_test.json",)},
}
_ALL_SPLITS_FILES = {"activitynet": "activity_net*.json", "hacs": "HACS_segments*.json"}


def read_segment_index(path: str | Path, *, class_names: ClassNames | None = None) -> LongVideos:
    """Read a saved clip index (Parquet) whose sources are the ids of long videos.

    Raises:
        AnnotationError: If the file is no index, has other classes than those given, or clips without times.
    """
    index = ClipIndex.load(path)
    for head, names in (class_names or {}).items():
        if index.class_names.get(head) != tuple(names):
            raise AnnotationError(
                f"the index {path} has other classes of head {head!r} than those given; make it anew with them"
            )
    table = index.table.select(["clip_id", "source", "start_seconds", "stop_seconds", "split"]).to_pandas()
    table = table.set_axis(["clip_id", "video_id", "start", "stop", "split"], axis=1)
    videos = table.drop_duplicates("video_id").set_index("video_id")[["split"]]
    videos = videos.assign(duration=float("nan"), covered=float("nan"), fps=float("nan"))
    labels = index.labels()
    is_known = pd.DataFrame(labels).ne(UNLABELLED).any(axis=1).to_numpy() if labels else [True] * len(table)
    found = {head: (values[is_known], index.class_names[head]) for head, values in labels.items()}
    return LongVideos(videos, table[is_known].drop(columns="split").reset_index(drop=True), found)


SEGMENT_READERS: dict[str, Callable[..., LongVideos]] = {
    "epic": read_epic_segments,
    "epic_30fps": read_epic_segments,
    "activitynet": read_activitynet,
    "hacs": read_activitynet,
    "thumos14": read_thumos14,
    "mmaction": read_mmaction,
    "index": read_segment_index,
}


def detect_segment_format(path: Path) -> str:
    """The format of annotations, told from the suffix and what the file begins with, of folders from what is in them.

    Raises:
        AnnotationError: If it cannot be told.
    """
    if path.is_dir():
        return _format_of_folder(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return "activitynet" if "database" in read_segments_json(path) else "mmaction"
    if suffix == ".csv":
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            columns = {name.strip() for name in file.readline().split(",")}
        return "epic_30fps" if {"video", "start", "stop"} <= columns else "epic"
    found = {".parquet": "index", ".pkl": "epic", ".pickle": "epic"}.get(suffix)
    if found is None:
        raise AnnotationError(f"cannot tell the format of {path} from its name; name it: {', '.join(SEGMENT_READERS)}")
    return found


def file_of_split(path: Path, format: str, split: str | None) -> Path:
    """The annotations of a split: `path`, or where that is a folder, the file in it.

    Raises:
        AnnotationError: If there is none, or the folder has a file for each split and none is asked for.
    """
    if not path.is_dir() or format == "thumos14":
        return path
    if format in _ALL_SPLITS_FILES:
        names = tuple(file.name for file in sorted(path.glob(_ALL_SPLITS_FILES[format])))
    else:
        by_split = _SPLIT_FILES.get(format, {})
        if split is None or normalize_split(split) not in by_split:
            raise AnnotationError(f"{path} is a folder of several splits; give the file of one, or the split")
        names = by_split[normalize_split(split)]
    found = next((path / name for name in names if (path / name).is_file()), None)
    if found is None:
        wanted = _ALL_SPLITS_FILES.get(format) or " or ".join(names)
        raise AnnotationError(f"{path} has no {wanted}; give the file itself")
    return found


def _format_of_folder(path: Path) -> str:
    if is_thumos14(path):
        return "thumos14"
    for format, pattern in _ALL_SPLITS_FILES.items():
        if any(path.glob(pattern)):
            return format
    for format, by_split in _SPLIT_FILES.items():
        if any((path / name).is_file() for names in by_split.values() for name in names):
            return format
    raise AnnotationError(f"{path} is a folder without annotations that are known by their names; give the file itself")
