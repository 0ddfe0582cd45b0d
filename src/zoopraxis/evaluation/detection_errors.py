"""What kind of error costs detections how much.

A detection that is not right is of the first kind that holds, where t is the overlap (tIoU) asked for and "a little" is at
least 0.1, or half of t where that is less:

* `duplicate`: a segment of its class overlaps it by t, but a better detection has taken it;
* `label`: a segment of another class overlaps it by t;
* `boundary`: a segment of its class overlaps it a little;
* `both`: a segment of another class overlaps it a little;
* `background`: nothing overlaps it.

A segment is `missed` where no detection has taken it and none has it with an error of label or boundary. What a kind costs is
by how much the mean average precision rises when it alone is mended: wrong labels and boundaries are made those of the segment
that the detection overlaps most (the best such detection of a segment not yet taken; others are left out), duplicates and
detections of nothing are left out, missed segments are not asked for.

P detections, G segments of the truth, K thresholds, C classes.

Source: Alwassel et al., Diagnosing Error in Temporal Action Detectors, ECCV 2018 (the kinds); Bolya et al., TIDE, ECCV 2020
(what mending means).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from zoopraxis.evaluation.detection_map import (
    DetectionMap,
    Pairs,
    average_precision,
    best_first,
    overlapping_pairs,
    task_labels,
    video_rows,
)
from zoopraxis.evaluation.detections import Detections, Truth

__all__ = ["KINDS", "DetectionErrors", "detection_errors", "main_level"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
StrArray = npt.NDArray[np.str_]

KINDS = ("label", "boundary", "both", "duplicate", "background", "missed")
"""Kinds of errors; all but the last are of detections."""

_NUMBER = {kind: number for number, kind in enumerate((*KINDS, "right"))}
_A_LITTLE = 0.1
_MAIN_THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class DetectionErrors:
    """The errors of one task.

    Attributes:
        threshold: The overlap at which they were told apart and counted.
        kinds: Of each detection, "right" or one of `KINDS`, shape (P,).
        missed: Segments that are missed, rows of the truth.
        counts: Kind to how many there are.
        gains: Kind to what mending it adds to the mean average precision, points of percent, mean over all thresholds.
    """

    threshold: float
    kinds: StrArray
    missed: IntArray
    counts: Mapping[str, int]
    gains: Mapping[str, float]


class _Nearest(NamedTuple):
    """Of each detection: the segment that it overlaps most, of its class and of another one; row (-1: none) and tIoU."""

    same: IntArray
    same_tiou: FloatArray
    other: IntArray
    other_tiou: FloatArray


class _Level(NamedTuple):
    """What became of detections, the best first, at one threshold; target: the segment that mending gives them, row or -1."""

    kinds: IntArray
    missed: IntArray
    target: IntArray
    taken: BoolArray


def main_level(thresholds: FloatArray) -> int:
    """The place of the threshold that stands for all: 0.5 where there is one, else the middle one."""
    nearest = int(np.argmin(np.abs(thresholds - _MAIN_THRESHOLD)))
    return nearest if np.isclose(thresholds[nearest], _MAIN_THRESHOLD) else len(thresholds) // 2


def detection_errors(truth: Truth, detections: Detections, map: DetectionMap, task: str) -> DetectionErrors:
    """Tell the errors of a task apart, and what each kind costs.

    Args:
        truth: What is in the videos.
        detections: What was found in them.
        map: As `detection_map` judged the detections.
        task: One of the map's.
    """
    judged = map.tasks[task]
    labels = task_labels(detections.labels, task, map.num_nouns)
    true = np.searchsorted(judged.classes, task_labels(truth.labels, task, map.num_nouns))
    place = np.searchsorted(judged.classes, labels).clip(max=len(judged.classes) - 1)
    place = np.where(judged.classes[place] == labels, place, -1)
    order = best_first(detections.scores)
    matched, place = judged.matched[:, order], place[order]
    video, segments = video_rows(truth, detections)[order], detections.segments[order]
    pairs = overlapping_pairs(truth.video, truth.segments, video, segments, least=_little(float(map.thresholds[0])))
    is_same = true[pairs.segment] == place[pairs.detection]
    nearest = _Nearest(*_nearest(pairs.take(is_same), len(order)), *_nearest(pairs.take(~is_same), len(order)))
    levels = [_tell_apart(nearest, *one, len(truth)) for one in zip(matched, map.thresholds.tolist(), strict=True)]
    gains = {
        kind: 100 * float(np.mean([_gain(kind, level, judged.num_segments, true, place) for level in levels])) for kind in KINDS
    }
    chosen = levels[main_level(map.thresholds)]
    kinds = np.empty(len(order), dtype=np.int64)
    kinds[order] = chosen.kinds
    counts = {kind: int((kinds == number).sum()) for number, kind in enumerate(KINDS)} | {"missed": len(chosen.missed)}
    threshold = float(map.thresholds[main_level(map.thresholds)])
    return DetectionErrors(threshold, np.array([*KINDS, "right"])[kinds], chosen.missed, counts, gains)


def _nearest(pairs: Pairs, num_detections: int) -> tuple[IntArray, FloatArray]:
    """Of each detection the segment that it overlaps most (row, or -1 where it has no pair), and how much."""
    segment, tiou = np.full(num_detections, -1, dtype=np.int64), np.zeros(num_detections)
    segment[pairs.detection[::-1]] = pairs.segment[::-1]  # pairs with the most overlap come first: they are written last
    tiou[pairs.detection[::-1]] = pairs.tiou[::-1]
    return segment, tiou


def _tell_apart(nearest: _Nearest, matched: IntArray, threshold: float, num_segments: int) -> _Level:
    little = _little(threshold)
    holds = {
        "right": matched >= 0,
        "duplicate": nearest.same_tiou >= threshold,
        "label": nearest.other_tiou >= threshold,
        "boundary": nearest.same_tiou >= little,
        "both": nearest.other_tiou >= little,
    }
    kinds = np.select(list(holds.values()), [_NUMBER[kind] for kind in holds], default=_NUMBER["background"])
    targets = {"label": nearest.other, "boundary": nearest.same}
    target = np.select([kinds == _NUMBER[kind] for kind in targets], list(targets.values()), default=-1)
    taken = np.zeros(num_segments, dtype=np.bool_)
    taken[matched[matched >= 0]] = True
    reached = taken.copy()
    reached[target[target >= 0]] = True
    return _Level(kinds, np.flatnonzero(~reached), target, taken)


def _little(threshold: float) -> float:
    return min(_A_LITTLE, threshold / 2)


def _gain(kind: str, level: _Level, num_segments: IntArray, true: IntArray, place: IntArray) -> float:
    """By how much the mean average precision rises when one kind alone is mended, 0 to 1."""
    is_hit = level.kinds == _NUMBER["right"]
    before = _mean_precision(place, is_hit, num_segments)
    if kind == "missed":
        num_segments = num_segments - np.bincount(true[level.missed], minlength=len(num_segments))
        return _mean_precision(place, is_hit, num_segments) - before
    is_kind = level.kinds == _NUMBER[kind]
    rows = np.flatnonzero(is_kind & (level.target >= 0))
    rows = rows[~level.taken[level.target[rows]]]
    mended = rows[np.unique(level.target[rows], return_index=True)[1]]  # the best of each segment
    keep = ~is_kind
    keep[mended] = True
    is_hit[mended] = True
    place = place.copy()
    place[mended] = true[level.target[mended]]
    return _mean_precision(place[keep], is_hit[keep], num_segments) - before


def _mean_precision(place: IntArray, is_hit: BoolArray, num_segments: IntArray) -> float:
    """Mean over the classes that have segments."""
    asked, known = num_segments > 0, place >= 0
    if not asked.any():
        return 0.0
    return float(average_precision(place[known], is_hit[None, known], num_segments)[0, asked].mean())
