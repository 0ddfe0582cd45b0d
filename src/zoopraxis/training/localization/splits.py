"""The long videos of a split, and the segments in them, as a recipe names them, and as what detections are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from zoopraxis.config.localization import LocalizationDataConfig
from zoopraxis.data.annotations.segment_formats import SAME_SPLITS, detect_segment_format, file_of_split
from zoopraxis.data.index import UNLABELLED
from zoopraxis.data.segments import VideoSegments, read_segments
from zoopraxis.errors import AnnotationError, ConfigError
from zoopraxis.evaluation.detections import Truth

__all__ = ["SPLITS", "open_split", "truth_of"]

SPLITS = ("train", "val", "test")
"""The settings that name the annotations of a split."""

_WITH_SPLITS = ("activitynet", "hacs", "index")
"""Formats whose one file tells the split of each video."""


def open_split(
    data: LocalizationDataConfig, split: str, *, class_names: Mapping[str, Sequence[str]] | None = None
) -> VideoSegments | None:
    """Read the videos of a split.

    Args:
        data: The recipe's data section.
        split: train, val or test.
        class_names: For each head its classes in label order, as the training annotations have them.

    Returns:
        The videos with the labels that `data.heads` names; none if no annotations are named and none are found.

    Raises:
        ConfigError: If the split or a head is unknown, or annotations that are named do not exist.
        AnnotationError: If they are broken; see `read_segments`.
    """
    if split not in SPLITS:
        raise ConfigError(f"split {split} is not of networks of localization; give {', '.join(SPLITS)}")
    path = _annotations(data, split)
    if path is None:
        return None
    names = None if class_names is None else {head: tuple(found) for head, found in class_names.items()}
    read = read_segments(
        path, format=data.format, split=split, videos=data.videos, class_names=names, broken=data.broken_segments
    )
    found = read.of_heads(data.heads) if read.class_names else read
    _check_labels(found, path)
    return found


def truth_of(videos: VideoSegments) -> Truth:
    """What detections in the videos are held against: the segments, with the labels of the heads that all of them have."""
    labels = {head: values for head, values in videos.labels.items() if (values != UNLABELLED).all()}
    return Truth(videos.video_ids, videos.durations, videos.video, videos.times, labels, videos.class_names)


def _annotations(data: LocalizationDataConfig, split: str) -> Path | None:
    """The file (or folder) that has a split's segments.

    Raises:
        ConfigError: If it is named but not there.
    """
    base = Path(data.root if data.annotations is None else data.annotations)
    named: str | None = getattr(data, split)
    if named is not None:
        places = [Path(named)] if not base.is_dir() else [base / named, Path(named)]
        chosen = next((place for place in places if place.exists()), None)
        if chosen is None:
            raise ConfigError(f"data.{split}={named} does not exist; name the file of its segments")
        return chosen
    if data.annotations is not None and not base.exists():
        raise ConfigError(f"data.annotations={base} does not exist; name the file of the segments, or its folder")
    if not base.exists():
        return None
    if base.is_file() and split == "train":
        return base
    try:
        format = detect_segment_format(base) if data.format == "auto" else data.format
        found = file_of_split(base, format, split)
    except AnnotationError:
        return None  # the folder has none of this split
    is_of_training = split in SAME_SPLITS.get(format, {}).values()
    return None if is_of_training or (base.is_file() and format not in _WITH_SPLITS) else found


def _check_labels(found: VideoSegments, path: Path) -> None:
    """See that labels are among the classes.

    Raises:
        AnnotationError: With the first that is not.
    """
    for head, labels in found.labels.items():
        beyond = np.flatnonzero(labels >= found.heads[head])
        if len(beyond):
            raise AnnotationError(
                f"{path}: {found.index.clip_ids[beyond[0]]} has {head} {labels[beyond[0]]}, but there are {found.heads[head]} "
                "classes; name the annotations that belong to the network"
            )
