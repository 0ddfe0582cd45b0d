"""What a report on detection counts beyond the metrics: mean curves, recall by length, and which videos to show.

P detections, G segments of the truth, K thresholds, C classes, R levels of recall, L ranges of lengths.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoopraxis.evaluation.detection_map import TaskMap, video_rows
from zoopraxis.evaluation.detections import Detections, Truth

__all__ = ["Excerpt", "busiest_part", "choose_videos", "mean_precision", "recall_by_length"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_MAX_EXCERPT_SEGMENTS = 240
"""Segments of median length that the longest part shown would hold."""


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A part of a video that is shown.

    Attributes:
        start: Seconds.
        duration: Seconds.
        true_rows: Segments of the truth that reach into it, rows of the truth.
        rows: As many detections that reach into it, those with the best scores, rows of the detections.
    """

    start: float
    duration: float
    true_rows: IntArray
    rows: IntArray


def mean_precision(task_map: TaskMap, labels_P: IntArray, scores_P: FloatArray, recalls_R: FloatArray) -> FloatArray:
    """The mean over classes of their precision-recall curves, made monotone; 0 to 1, shape (K, R).

    A class has precision 0 at recalls that it does not reach. The area under a curve is the mean average precision.

    Args:
        task_map: What became of the task.
        labels_P: The task's class of each detection.
        scores_P: Of the detections.
        recalls_R: Levels, 0 to 1.
    """
    known = np.flatnonzero(np.isin(labels_P, task_map.classes))[::-1]  # of equal scores the later one first, as it is judged
    place = np.searchsorted(task_map.classes, labels_P[known])
    order = np.lexsort((-scores_P[known], place))
    rows, place = known[order], place[order]
    rank = np.arange(len(rows)) - np.searchsorted(place, place) + 1
    edges = np.searchsorted(place, np.arange(len(task_map.classes) + 1))
    total = np.zeros((len(task_map.matched), len(recalls_R)))
    for level, matched in enumerate(task_map.matched):
        is_hit = matched[rows] >= 0
        for number, (first, last) in enumerate(itertools.pairwise(edges.tolist())):
            ranks = rank[first:last][is_hit[first:last]]
            precision = np.arange(1, len(ranks) + 1) / ranks
            monotone = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
            needed = np.ceil(recalls_R * task_map.num_segments[number] - 1e-9).astype(np.int64)
            total[level] += monotone[np.clip(needed - 1, 0, len(ranks))]
    return total / max(1, len(task_map.classes))


def recall_by_length(task_map: TaskMap, segments_G2: FloatArray, bounds: FloatArray) -> FloatArray:
    """The part of each range's segments that is found, whatever the score, at each threshold.

    Args:
        task_map: What became of the task.
        segments_G2: Of the truth, seconds.
        bounds: Between the ranges of lengths, seconds, shape (L - 1,).

    Returns:
        0 to 1, NaN for a range without segments, shape (L, K).
    """
    ranges = np.searchsorted(bounds, segments_G2[:, 1] - segments_G2[:, 0], side="right")
    counts = np.bincount(ranges, minlength=len(bounds) + 1)
    totals = [np.bincount(ranges[np.unique(matched[matched >= 0])], minlength=len(counts)) for matched in task_map.matched]
    parts = np.full((len(counts), len(totals)), np.nan)
    np.divide(np.stack(totals, axis=1), counts[:, None], out=parts, where=counts[:, None] > 0)
    return parts


def choose_videos(truth: Truth, detections: Detections, matched_P: IntArray, count: int) -> list[tuple[int, float]]:
    """Videos from the best to the worst: rows of the truth and, of each, which part of its segments is found.

    Only as many of a video's best detections count as it has segments. Videos without segments are not chosen.

    Args:
        truth: What is in the videos.
        detections: What was found.
        matched_P: Which segment each detection found, row or -1.
        count: Videos at most.
    """
    num_segments = np.bincount(truth.video, minlength=len(truth.video_ids))
    own = video_rows(truth, detections)
    counted = detections.ranks() < num_segments[own]
    hits = np.bincount(own, weights=counted & (matched_P >= 0), minlength=len(num_segments))
    labelled = np.flatnonzero(num_segments)
    parts = hits[labelled] / num_segments[labelled]
    order = np.argsort(-parts, kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64))
    return [(int(labelled[order[place]]), float(parts[order[place]])) for place in places]


def busiest_part(truth: Truth, detections: Detections, video: int) -> Excerpt:
    """The part of a video that has the most segments, or all of it where it is not too long to be drawn."""
    true_rows = truth.of_video(video)
    segments = truth.segments[true_rows]
    found = np.flatnonzero(detections.video_ids == truth.video_ids[video])
    rows = detections.of_video(int(found[0])) if len(found) else np.zeros(0, np.int64)
    stop = max(segments[:, 1].max(), float(np.nan_to_num(truth.durations[video])))
    length = min(stop, float(np.ceil(_MAX_EXCERPT_SEGMENTS * np.median(segments[:, 1] - segments[:, 0]))))
    starts = np.append(np.clip(np.floor(segments[:, 0]), 0, stop - length), 0.0)
    counts = [int(((segments[:, 0] < start + length) & (segments[:, 1] > start)).sum()) for start in starts]
    start = float(starts[int(np.argmax(counts))])
    true_rows = true_rows[_reach_into(segments, start, length)]
    rows = rows[_reach_into(detections.segments[rows], start, length)][: len(true_rows)]
    return Excerpt(start, length, true_rows, rows)


def _reach_into(segments: FloatArray, start: float, length: float) -> npt.NDArray[np.bool_]:
    return np.asarray((segments[:, 0] < start + length) & (segments[:, 1] > start))
