"""ActivityNet's layout of segments in long videos, which HACS and others have taken over, and mmaction2's of the same.

{"database": {VIDEO: {"duration": s, "subset": "training", "annotations": [{"segment": [s, s], "label": NAME}]}}}
{VIDEO: {"duration_second": s, "duration_frame": n, "feature_frame": n, "annotations": [as above]}}     (mmaction2)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoopraxis.data.annotations.labels import ClassNames, check_heads, encode_labels
from zoopraxis.data.annotations.long_videos import LongVideos
from zoopraxis.epic.annotations import class_names_beside
from zoopraxis.errors import AnnotationError

__all__ = ["read_activitynet", "read_mmaction", "read_segments_json"]

Video = Mapping[str, float | str | None]

_VERB_NOUN = re.compile(r"\d+\s*,\s*\d+")
"""Labels of TAdaConv's files of EPIC-KITCHENS."""


def read_segments_json(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file of annotations.

    Raises:
        AnnotationError: If the file cannot be read, is no JSON, or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise AnnotationError(f"cannot read the annotations {path}: {error.strerror or error}; check the path") from error
    except ValueError as error:
        raise AnnotationError(f"{path} is no JSON file ({error}); it may be truncated: get it again") from error
    if not isinstance(content, dict):
        raise AnnotationError(f"{path} holds a JSON {type(content).__name__}, not an object with videos; is it the right file?")
    return content


def read_activitynet(path: str | Path, *, class_names: ClassNames | None = None) -> LongVideos:
    """Read ActivityNet's layout: `activity_net.v1-3.min.json`, `HACS_segments_v1.1.1.json`, `thumos14.json`, and so on.

    Head `label`; or, where all labels are two numbers (`"3,17"`, TAdaConv's files of EPIC-KITCHENS), heads verb and noun.

    Args:
        path: The file.
        class_names: The classes in label order; default: the labels that occur in any split, sorted.

    Raises:
        AnnotationError: If the file is malformed; the message names the video.
    """
    database = read_segments_json(path).get("database")
    if not isinstance(database, dict):
        raise AnnotationError(f'{path} has no "database" of videos; is it of the format mmaction?')
    return _read(path, database, _official, class_names)


def read_mmaction(path: str | Path, *, class_names: ClassNames | None = None) -> LongVideos:
    """Read mmaction2's files (`anet_anno_train.json`): head `label`.

    Features of a video were made of its first `feature_frame` frames, and it is this part of the video that they cover.

    Args:
        path: The file.
        class_names: The classes in label order; default: the labels that occur, sorted.

    Raises:
        AnnotationError: If the file is malformed; the message names the video.
    """
    return _read(path, read_segments_json(path), _mmaction, class_names)


def _official(entry: Mapping[str, Any]) -> Video:
    subset, duration = entry.get("subset"), entry.get("duration")
    return {
        "duration": None if duration is None else float(duration),
        "covered": None,
        "fps": float(entry["fps"]) if "fps" in entry else None,
        "split": None if subset is None else str(subset),
    }


def _mmaction(entry: Mapping[str, Any]) -> Video:
    duration = float(entry["duration_second"])
    is_partly_covered = {"feature_frame", "duration_frame"} <= entry.keys()
    part = float(entry["feature_frame"]) / float(entry["duration_frame"]) if is_partly_covered else 1.0
    return {
        "duration": duration,
        "covered": duration * part,
        "fps": float(entry["fps"]) if "fps" in entry else None,
        "split": None,
    }


def _read(
    path: str | Path, database: Mapping[str, Any], video_of: Callable[[Mapping[str, Any]], Video], names: ClassNames | None
) -> LongVideos:
    videos: dict[str, Video] = {}
    segments: list[tuple[str, str, float, float]] = []
    labels: list[str] = []
    for video_id, entry in database.items():
        try:
            videos[video_id] = video_of(entry)
            for number, item in enumerate(entry.get("annotations") or ()):
                start, stop = (float(moment) for moment in item["segment"])
                segments.append((f"{video_id}_{number}", video_id, start, stop))
                labels.append(str(item["label"]))
        except (LookupError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            reason = " ".join(str(error).split())
            raise AnnotationError(
                f"{path}: the entry of video {video_id!r} is malformed ({type(error).__name__}: {reason}); expected "
                '"annotations": [{"segment": [start, stop], "label": name}] and the duration in seconds'
            ) from error
    if not videos:
        raise AnnotationError(f"{path} has no videos; is it the right file?")
    return LongVideos.of_rows(videos, segments, _labels(path, labels, names))


def _labels(path: str | Path, labels: list[str], given: ClassNames | None) -> dict[str, Any]:
    if labels and all(_VERB_NOUN.fullmatch(label) for label in labels):
        names = class_names_beside(path) | dict(check_heads(given, ("verb", "noun"), path))
        numbers = np.array([label.split(",") for label in labels], dtype=np.int64)
        return {head: (numbers[:, place], names[head]) for place, head in enumerate(("verb", "noun"))}
    return {"label": encode_labels(labels, "label", path, check_heads(given, ("label",), path).get("label"))}
