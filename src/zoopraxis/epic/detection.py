"""The action detection challenge of EPIC-KITCHENS-100: its metrics, its submissions, and what it refuses.

A submission is a zip with one `test.json`: `{"version", "challenge", "sls_pt", "sls_tl", "sls_td", "results": {video_id:
[{"verb", "noun", "action": "verb,noun", "score", "segment": [start, stop]}, ...]}}`, times in seconds.

Source: EPIC-KITCHENS C2-Action-Detection, evaluate_detection_json_ek100.py; Damen et al., Rescaling Egocentric Vision, IJCV
2022, section 4.3.

Differs: what the published validator lets pass and its scores cannot mean is refused. The challenge must be named in full (it
takes any part of the name, as "action"); a segment must stop after its start and lie in its video; scores and times must be
finite, not only no NaN; an action must be its verb and its noun; classes and levels must be whole numbers (it takes 3.0 and
true); a video may stand once; where the split is known, all of its videos must be there and no others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from zoopraxis.epic.submission import MEMBER, VERSION, SupervisionLevels, read_member, write_member
from zoopraxis.epic.vocabulary import HEADS
from zoopraxis.errors import DataError, did_you_mean
from zoopraxis.evaluation.detection_map import EPIC_THRESHOLDS, DetectionMap, check_detections, detection_map
from zoopraxis.evaluation.detections import Detections, Truth, from_results, to_results

__all__ = [
    "DETECTION_CHALLENGE",
    "TASKS",
    "challenge_map",
    "check_detection_document",
    "check_detection_submission",
    "detection_document",
    "read_detection_submission",
    "write_detection_submission",
]

DETECTION_CHALLENGE = "action_detection"
TASKS = ("verb", "noun", "action")

_LEVELS = ("sls_pt", "sls_tl", "sls_td")


def challenge_map(truth: Truth, detections: Detections, thresholds: Sequence[float] = EPIC_THRESHOLDS) -> DetectionMap:
    """The challenge's mean average precisions of verbs, nouns and actions; `as_dict` names them as published.

    The challenge is ranked by `action_map_avg`. Each detection's one score is used for all three.

    Raises:
        DataError: If a head is missing, a video is unknown, or the truth is empty.
    """
    return detection_map(truth, detections, TASKS, thresholds)


def check_detection_submission(
    detections: Detections, *, videos: Mapping[str, float] | None = None, classes: Mapping[str, int] = HEADS
) -> None:
    """Refuse what the challenge would refuse, or could only score wrong.

    Args:
        detections: What to submit.
        videos: Id of each video of the split to its seconds (NaN: unknown); None where they are not known.
        classes: Head to number of classes, if not EPIC-KITCHENS-100's.

    Raises:
        DataError: If a head is missing, a class is out of range, videos are missing or unexpected, or a segment lies outside
            its video.
    """
    for head in classes:
        if head not in detections.labels:
            raise DataError(f"a submission needs {head} classes of each detection; {did_you_mean(head, detections.labels)}")
    found = detections.video_ids
    expected = found if videos is None else np.array(list(videos), dtype=np.str_)
    for problem, ids in (
        ("of the split are not in the detections", np.setdiff1d(expected, found)),
        ("of the detections are not in the split", np.setdiff1d(found, expected)),
    ):
        if len(ids):
            raise DataError(f"{len(ids)} videos {problem}, first {ids[0]!s}; detect in all videos of the split, and only those")
    durations = np.array([float("nan") if videos is None else videos[video] for video in expected.tolist()])
    nothing = np.zeros(0, dtype=np.int64)
    past = check_detections(Truth(expected, durations, nothing, np.zeros((0, 2))), detections, num_classes=classes)
    if past is not None:
        raise DataError(past)


def detection_document(detections: Detections, levels: SupervisionLevels) -> dict[str, Any]:
    """What `test.json` holds, with its keys in the published order; in each video the best detection first."""
    return {"version": VERSION, "challenge": DETECTION_CHALLENGE, **asdict(levels), "results": to_results(detections)}


def write_detection_submission(
    detections: Detections,
    path: str | Path,
    levels: SupervisionLevels,
    *,
    videos: Mapping[str, float] | None = None,
    classes: Mapping[str, int] = HEADS,
) -> None:
    """Write the zip to upload, in one step; the arguments are those of `check_detection_submission`.

    Raises:
        DataError: If `check_detection_submission` refuses the detections, or the file cannot be written.
    """
    check_detection_submission(detections, videos=videos, classes=classes)
    write_member(path, detection_document(detections, levels))


def read_detection_submission(
    path: str | Path, *, videos: Mapping[str, float] | None = None, classes: Mapping[str, int] = HEADS
) -> tuple[Detections, SupervisionLevels]:
    """Read a submission, whoever wrote it; the arguments and errors are those of `check_detection_document`."""
    try:
        return check_detection_document(read_member(path), videos=videos, classes=classes)
    except DataError as error:
        message = str(error)
        raise DataError(message if str(path) in message else f"{path}: {MEMBER}: {message}") from error


def check_detection_document(
    document: Any, *, videos: Mapping[str, float] | None = None, classes: Mapping[str, int] = HEADS
) -> tuple[Detections, SupervisionLevels]:
    """Validate the content of a `test.json`.

    Args:
        document: The JSON.
        videos: As for `check_detection_submission`.
        classes: As for `check_detection_submission`.

    Returns:
        The detections, the best first, and how much supervision they used.

    Raises:
        DataError: If version or challenge are others, a property is missing, entries are malformed, or
            `check_detection_submission` refuses them.
        ConfigError: If a supervision level is no whole number from 0 to 5.
    """
    if not isinstance(document, dict):
        raise DataError("a submission must be a JSON object with version and results; write one with: zoopraxis submit")
    for name, wanted in (("version", VERSION), ("challenge", DETECTION_CHALLENGE)):
        if document.get(name) != wanted:
            raise DataError(f"the submission has {name} {document.get(name)!r}; it must be {wanted!r}")
    for name in _LEVELS:
        if name not in document:
            raise DataError(f"the submission has no {name!r}; state a whole number from 0 to 5")
    levels = SupervisionLevels(*(document[name] for name in _LEVELS))
    if document.get("results") == {}:
        raise DataError("the submission's 'results' have no video; give each video of the split a list of detections")
    detections = from_results(document)
    for video, entries in document["results"].items():
        for number, entry in enumerate(entries):
            absent = [key for key in (*HEADS, "action") if key not in entry]
            if absent:
                raise DataError(f"detection {number} of video {video} has no {absent[0]!r}; give it to each detection")
            unknown = [key for key, value in entry.items() if isinstance(value, float) and math.isnan(value)]
            if unknown:
                raise DataError(f"detection {number} of video {video} has {unknown[0]!r} NaN; leave it out")
    if len(detections) == 0:
        detections = Detections(
            detections.video_ids,
            detections.video,
            detections.segments,
            detections.scores,
            {head: np.zeros(0, np.int64) for head in classes},
        )
    check_detection_submission(detections, videos=videos, classes=classes)
    return detections, levels
