"""Mean average precision of detections: how well segments are found, at several overlaps.

A detection is right where a segment of the truth of its video and class overlaps it by at least the threshold (intersection
over union, tIoU) and no better detection has taken that segment; of several such segments it takes the one that it overlaps
most. A class's average precision is the area under its precision-recall curve, made monotone; the mean is over the truth's
classes.

P detections, G segments of the truth, K thresholds, C classes.

Source: ActivityNet, Evaluation/eval_detection.py; EPIC-KITCHENS C2-Action-Detection, evaluate_detection_json_ek100.py;
TAdaConv, eval_epic_detection.py.

Differs: all detections of all classes are matched at once, by offers and refusals (Gale and Shapley, 1962), to the same end as
the published loop over detections. Of detections with equal scores the later one counts first, as the published reversed sort
has it for classes of few detections; beyond those its order is arbitrary.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import ConfigError, DataError, did_you_mean
from zoopraxis.evaluation.detections import Detections, Truth

__all__ = [
    "ACTIVITYNET_THRESHOLDS",
    "EPIC_THRESHOLDS",
    "THUMOS_THRESHOLDS",
    "DetectionMap",
    "Pairs",
    "TaskMap",
    "average_precision",
    "best_first",
    "check_detections",
    "default_thresholds",
    "detection_map",
    "match",
    "overlapping_pairs",
    "segment_tiou",
    "task_labels",
    "tasks_of",
    "video_rows",
]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

EPIC_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.1, 0.5, 5).tolist())
THUMOS_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.3, 0.7, 5).tolist())
ACTIVITYNET_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())

_BY_FORMAT = {"epic": EPIC_THRESHOLDS, "epic_30fps": EPIC_THRESHOLDS, "thumos14": THUMOS_THRESHOLDS}

_END_TOLERANCE = 1.0
"""Seconds by which detections may pass a video's end: durations are rounded, and counted in frames by some."""


@dataclass(frozen=True, eq=False)
class TaskMap:
    """What became of one task's classes.

    Attributes:
        classes: Those of the truth, ascending, shape (C,), int64; an action is verb * nouns + noun.
        ap: Average precision, 0 to 1, shape (K, C).
        num_segments: Segments of each class, shape (C,).
        num_detections: Detections of each class, shape (C,).
        matched: Which segment of the truth each detection found, row or -1, shape (K, P).
    """

    classes: IntArray
    ap: FloatArray
    num_segments: IntArray
    num_detections: IntArray
    matched: IntArray

    @property
    def map(self) -> FloatArray:
        """Mean over the classes, 0 to 1, shape (K,)."""
        return np.asarray(self.ap.mean(axis=1))

    @property
    def average(self) -> float:
        """Mean over the thresholds too."""
        return float(self.map.mean())


@dataclass(frozen=True, eq=False)
class DetectionMap:
    """The tasks' mean average precisions.

    Attributes:
        thresholds: Overlaps (tIoU), ascending, shape (K,).
        tasks: Task ("verb", "noun", "action", "label") to what became of it.
        num_nouns: By which an action's number is made of its verb and noun.
    """

    thresholds: FloatArray
    tasks: Mapping[str, TaskMap]
    num_nouns: int

    def as_dict(self) -> dict[str, float]:
        """Name to percent, as published: `verb_map_at_01` at tIoU 0.1, ..., `verb_map_avg`; at 0.55 `verb_map_at_055`."""
        digits = [f"{round(100 * threshold):03d}" for threshold in self.thresholds.tolist()]
        names = [text[:2] if text.endswith("0") else text for text in digits]
        table: dict[str, float] = {}
        for task, one in self.tasks.items():
            table |= {f"{task}_map_at_{name}": 100 * float(value) for name, value in zip(names, one.map, strict=True)}
            table[f"{task}_map_avg"] = 100 * one.average
        return table


class Pairs(NamedTuple):
    """N pairs of a detection and a segment of its video that overlap; a detection's pairs have the most overlap first."""

    detection: IntArray
    segment: IntArray
    tiou: FloatArray

    def take(self, rows: npt.NDArray[Any]) -> Pairs:
        """Some of them, numbers or booleans."""
        return Pairs(self.detection[rows], self.segment[rows], self.tiou[rows])


def default_thresholds(format: str, heads: Collection[str]) -> tuple[float, ...]:
    """The overlaps that a data set is judged at.

    Args:
        format: Of its annotations: of EPIC-KITCHENS 0.1 to 0.5, of THUMOS14 0.3 to 0.7, of others as the heads have it.
        heads: Of its labels: of verbs and nouns as of EPIC-KITCHENS, else as of ActivityNet, 0.5 to 0.95.
    """
    return _BY_FORMAT.get(format, EPIC_THRESHOLDS if {"verb", "noun"} <= set(heads) else ACTIVITYNET_THRESHOLDS)


def detection_map(
    truth: Truth,
    detections: Detections,
    tasks: Sequence[str],
    thresholds: Sequence[float] | FloatArray,
    *,
    num_nouns: int | None = None,
    drop_absent: str | None = None,
) -> DetectionMap:
    """Judge detections.

    Args:
        truth: What is in the videos.
        detections: What was found, in some of them.
        tasks: Heads of both, or "action", which is of the heads verb and noun.
        thresholds: Overlaps (tIoU) above 0, at most 1.
        num_nouns: By which actions are numbered; none: as few as there are.
        drop_absent: A task; detections of a class of it that the truth does not have are left out of all tasks (TAdaConv:
            "action"). None: they are wrong in their own task only where the truth has their class (the challenge).

    Raises:
        DataError: If detections are of a video that the truth does not have, a head is missing, or the truth is empty.
        ConfigError: If a threshold is out of range.
    """
    levels = np.sort(np.asarray(thresholds, dtype=np.float64))
    if levels.ndim != 1 or len(levels) == 0 or levels[0] <= 0 or levels[-1] > 1:
        raise ConfigError(f"thresholds of overlap ({levels.tolist()}) must be above 0 and at most 1; try 0.1 0.2 0.3 0.4 0.5")
    if len(truth) == 0:
        raise DataError("the annotations have no segment to be found; evaluate on a split with labels")
    video = video_rows(truth, detections)
    if num_nouns is None:
        nouns = [labels["noun"] for labels in (truth.labels, detections.labels) if "noun" in labels]
        num_nouns = max((int(values.max(initial=0)) + 1 for values in nouns), default=1)
    order = best_first(detections.scores)
    if drop_absent is not None:
        known = task_labels(truth.labels, drop_absent, num_nouns)
        order = order[np.isin(task_labels(detections.labels, drop_absent, num_nouns)[order], known)]
    pairs = overlapping_pairs(truth.video, truth.segments, video, detections.segments, least=float(levels[0]))
    rank = np.full(len(detections), -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    pairs = Pairs(rank[pairs.detection], pairs.segment, pairs.tiou).take(rank[pairs.detection] >= 0)
    pairs = pairs.take(_order(pairs.detection))
    done = {task: _judge(truth, detections, pairs, order, task, levels, num_nouns) for task in tasks}
    return DetectionMap(levels, done, num_nouns)


def task_labels(labels: Mapping[str, IntArray], task: str, num_nouns: int) -> IntArray:
    """The classes of a task: a head's, or those of actions, verb * `num_nouns` + noun.

    Raises:
        DataError: If the head is missing.
    """
    heads = ("verb", "noun") if task == "action" and "action" not in labels else (task,)
    for head in heads:
        if head not in labels:
            raise DataError(f"there are no labels of head {head!r} for the task {task}; {did_you_mean(head, labels)}")
    if len(heads) == 1:
        return labels[task]
    return labels["verb"] * num_nouns + labels["noun"]


def tasks_of(heads: Iterable[str]) -> list[str]:
    """What is judged of detections with classes of these heads: verb, noun and action, where there are verbs and nouns."""
    names = list(heads)
    return ["verb", "noun", "action"] if {"verb", "noun"} <= set(names) else names


def check_detections(truth: Truth, detections: Detections, *, num_classes: Mapping[str, int] | None = None) -> str | None:
    """Refuse detections that cannot be of these videos.

    Args:
        truth: The videos.
        detections: What was found in them.
        num_classes: Head to number of classes, for the heads of which it is known.

    Returns:
        A warning where segments start before 0 or stop over a second past their video's end, of which a part is right.

    Raises:
        DataError: If a video is unknown, a segment lies outside its video, or a class is out of range.
    """
    durations, names = truth.durations[video_rows(truth, detections)], detections.video_ids[detections.video]
    starts, stops = detections.segments.T

    def tell(bad: BoolArray, problem: str) -> str | None:
        rows = np.flatnonzero(bad)
        if len(rows) == 0:
            return None
        row = rows[0]
        return (
            f"{len(rows)} of {len(bad)} detections {problem}, first {starts[row]:.2f} to {stops[row]:.2f} s of {names[row]!s},"
            f" which lasts {durations[row]:.2f} s; are times in seconds?"
        )

    outside = tell((stops <= 0) | (starts >= durations), "lie outside their video")
    if outside is not None:
        raise DataError(outside)
    for head, number in (num_classes or {}).items():
        rows = np.flatnonzero(detections.labels[head] >= number) if head in detections.labels else np.zeros(0, np.int64)
        if len(rows):
            raise DataError(
                f"{len(rows)} detections have a {head} class out of range, first {detections.labels[head][rows[0]]} of"
                f" {names[rows[0]]!s}; there are {number} classes"
            )
    return tell((starts < 0) | (stops > durations + _END_TOLERANCE), "go past the ends of their video")


def overlapping_pairs(
    true_video: IntArray, true_segments: FloatArray, video: IntArray, segments: FloatArray, *, least: float
) -> Pairs:
    """Detections and segments of one video that overlap by at least `least`, whatever their classes.

    Of equal overlaps the later segment comes first, as in the published reversed sort.

    Args:
        true_video: Of each segment, shape (G,).
        true_segments: Seconds, shape (G, 2).
        video: Of each detection, shape (P,).
        segments: Seconds, shape (P, 2).
        least: tIoU above 0.
    """
    # on one line, video after video, the segments in the order of their starts that can overlap stand side by side
    low = min(segments.min(initial=0.0), true_segments.min(initial=0.0))
    span = max(segments.max(initial=0.0), true_segments.max(initial=0.0)) - low + 1
    true_starts, true_stops = (true_segments - low + span * true_video[:, None]).T
    starts, stops = (segments - low + span * video[:, None]).T
    by_start = np.argsort(true_starts, kind="stable")
    first = np.searchsorted(np.maximum.accumulate(true_stops[by_start]), starts, side="right")
    counts = np.maximum(np.searchsorted(true_starts[by_start], stops) - first, 0)
    detection = np.repeat(np.arange(len(video), dtype=np.int64), counts)
    segment = by_start[np.arange(len(detection)) + np.repeat(first - (np.cumsum(counts) - counts), counts)]
    starts, stops, true_starts, true_stops = (np.ascontiguousarray(one) for one in (*segments.T, *true_segments.T))
    both = np.minimum(stops[detection], true_stops[segment]) - np.maximum(starts[detection], true_starts[segment])
    both = np.where(video[detection] == true_video[segment], both.clip(0), 0.0)
    tiou = both / ((true_stops - true_starts)[segment] + (stops - starts)[detection] - both)
    enough = np.flatnonzero(tiou >= least)
    pairs = Pairs(detection[enough], segment[enough], tiou[enough])
    pairs = pairs.take(_order(pairs.segment)[::-1])
    return pairs.take(np.argsort(-pairs.tiou, kind="stable"))


def match(pairs: Pairs, thresholds: FloatArray, *, num_detections: int, num_segments: int) -> IntArray:
    """Which segment each detection takes, as if they chose one after the other; row or -1, shape (K, P).

    Each free detection asks for the segment that it overlaps most of those it has not asked for; a segment keeps the first
    detection that has asked. That all segments prefer the earlier detections makes the outcome that of choosing in turn.

    Args:
        pairs: Those of the same class, by detection; these are numbered in the order in which they choose.
        thresholds: tIoU, shape (K,).
        num_detections: P.
        num_segments: G.
    """
    found = np.full((len(thresholds), num_detections), -1, dtype=np.int64)
    sizes = np.bincount(pairs.detection, minlength=num_detections)
    firsts = np.cumsum(sizes) - sizes
    for level, threshold in enumerate(thresholds):
        # in each detection's row of pairs those at or above the threshold come first
        ends = firsts + np.bincount(pairs.detection[pairs.tiou >= threshold], minlength=num_detections)
        asking, free = firsts.copy(), np.flatnonzero(ends > firsts)
        holder = np.full(num_segments, num_detections, dtype=np.int64)
        while len(free):
            wanted = pairs.segment[asking[free]]
            before = holder[wanted]
            np.minimum.at(holder, wanted, free)
            after = holder[wanted]
            displaced = before[(after < before) & (after == free) & (before < num_detections)]
            refused = np.concatenate([free[after != free], displaced])
            asking[refused] += 1
            free = refused[asking[refused] < ends[refused]]
        taken = np.flatnonzero(holder < num_detections)
        found[level, holder[taken]] = taken
    return found


def average_precision(groups: IntArray, is_hit: BoolArray, num_segments: IntArray) -> FloatArray:
    """Interpolated average precision of each class, shape (K, C).

    Args:
        groups: Place of each detection's class among the C classes, the best detection first, shape (P,).
        is_hit: Whether it is right at each threshold, shape (K, P).
        num_segments: Segments of the truth of each class, shape (C,); the precision of a class with none is 0.
    """
    num_classes = len(num_segments)
    order = _order(groups)
    sizes = np.bincount(groups, minlength=num_classes)
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    level, hits = np.divmod(np.flatnonzero(is_hit), max(1, len(groups)))
    # one row of hits a threshold and class; only at hits can a precision be the highest of those that follow
    row, rank = level * num_classes + groups[hits], ranks[hits]
    by_row = _order(row)
    row, rank = row[by_row], rank[by_row]
    counts = np.bincount(row, minlength=len(is_hit) * num_classes)
    precision = (np.arange(len(row)) - (np.cumsum(counts) - counts)[row] + 1) / (rank + 1)
    values, height = np.unique(precision, return_inverse=True)
    climb = height - row * len(values)  # rows that follow lie lower, so that they do not count
    envelope = values[np.maximum.accumulate(climb[::-1])[::-1] + row * len(values)]
    total = np.bincount(row, weights=envelope, minlength=len(counts)).reshape(len(is_hit), num_classes)
    return np.asarray(total / np.maximum(num_segments, 1), dtype=np.float64)


def _order(numbers: IntArray) -> IntArray:
    """Stable order of whole numbers from 0; of small ones by counting, which is fast."""
    is_small = numbers.max(initial=0) <= np.iinfo(np.uint16).max
    return np.argsort(numbers.astype(np.uint16) if is_small else numbers, kind="stable")


def best_first(scores: FloatArray) -> IntArray:
    """Rows by descending score; of equal scores the later one first, as the published reversed sort has it for few."""
    return np.argsort(scores, kind="stable")[::-1]


def segment_tiou(segments_P2: FloatArray, others_Q2: FloatArray) -> FloatArray:
    """Intersection over union of each segment and each other one, shape (P, Q)."""
    starts, stops = segments_P2[:, :1], segments_P2[:, 1:]
    both = np.clip(np.minimum(stops, others_Q2[:, 1]) - np.maximum(starts, others_Q2[:, 0]), 0, None)
    return np.asarray(both / ((stops - starts) + (others_Q2[:, 1] - others_Q2[:, 0]) - both))


def video_rows(truth: Truth, detections: Detections) -> IntArray:
    """The truth's row of each detection's video, shape (P,).

    Raises:
        DataError: If the truth lacks a video; the message names it.
    """
    order = np.argsort(truth.video_ids)
    rows = order[np.searchsorted(truth.video_ids, detections.video_ids, sorter=order).clip(max=len(order) - 1)]
    absent = detections.video_ids[truth.video_ids[rows] != detections.video_ids]
    if len(absent):
        raise DataError(
            f"{len(absent)} of {len(rows)} videos of the detections are not in the annotations, first {absent[0]!s};"
            " are these the annotations of the split that was tested?"
        )
    return np.asarray(rows[detections.video], dtype=np.int64)


def _judge(
    truth: Truth,
    detections: Detections,
    pairs: Pairs,
    order: IntArray,
    task: str,
    thresholds: FloatArray,
    num_nouns: int,
) -> TaskMap:
    """One task; `order` are the rows of the detections that count, the best first, `pairs` those of them in this order."""
    true = task_labels(truth.labels, task, num_nouns)
    counts = np.append(np.bincount(true), 0)
    classes = np.flatnonzero(counts)
    num_segments, place_of = counts[classes], np.cumsum(counts > 0) - 1
    labels = np.minimum(task_labels(detections.labels, task, num_nouns)[order], len(counts) - 1)
    is_known, places, true = counts[labels] > 0, place_of[labels], place_of[true]
    of_class = pairs.take(is_known[pairs.detection] & (places[pairs.detection] == true[pairs.segment]))
    found = match(of_class, thresholds, num_detections=len(order), num_segments=len(truth))
    matched = np.full((len(thresholds), len(detections)), -1, dtype=np.int64)
    matched[:, order] = found
    places = places[is_known]
    ap = average_precision(places, found[:, is_known] >= 0, num_segments)
    return TaskMap(classes, ap, num_segments, np.bincount(places, minlength=len(classes)), matched)
