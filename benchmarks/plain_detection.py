"""Detection mAP the plain way: class by class, one detection after another, in Python.

`published` walks over the rows of pandas tables, as the published evaluators do; `lean` does the same with lists and small
arrays only, which is about as fast as such a loop gets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.evaluation.detections import Detections, Truth

__all__ = ["WAYS", "plain_detection_map"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Candidates = Iterator[tuple[list[int], FloatArray]]
"""For each detection, the best first: the rows of its video's segments in the class, and how much it overlaps them."""

_TASKS = ("verb", "noun", "action")
_ENDS = ["start", "stop"]


def plain_detection_map(
    truth: Truth, detections: Detections, thresholds: Sequence[float], *, num_nouns: int, way: str
) -> list[FloatArray]:
    """Mean average precisions of verbs, nouns and actions, each of shape (thresholds,)."""
    true, found = (_Rows(one.video_ids[one.video], one.segments) for one in (truth, detections))
    maps = []
    for task in _TASKS:
        true_labels, labels = (_labels(one.labels, task, num_nouns) for one in (truth, detections))
        precisions = []
        for number in np.unique(true_labels):
            rows = np.flatnonzero(labels == number)
            rows = rows[detections.scores[rows].argsort(kind="stable")[::-1]]
            of_class = true.take(np.flatnonzero(true_labels == number))
            precisions.append(_of_class(of_class, found.take(rows), thresholds, WAYS[way]))
        maps.append(np.asarray(np.mean(precisions, axis=0)))
    return maps


class _Rows(NamedTuple):
    videos: npt.NDArray[np.str_]
    segments: FloatArray

    def take(self, rows: IntArray) -> _Rows:
        return _Rows(self.videos[rows], self.segments[rows])

    def table(self) -> pd.DataFrame:
        return pd.DataFrame({"video": self.videos, **dict(zip(_ENDS, self.segments.T, strict=True))})


def _labels(labels: Mapping[str, IntArray], task: str, num_nouns: int) -> IntArray:
    return labels["verb"] * num_nouns + labels["noun"] if task == "action" else labels[task]


def _of_class(true: _Rows, found: _Rows, thresholds: Sequence[float], way: Callable[[_Rows, _Rows], Candidates]) -> FloatArray:
    num_found = len(found.videos)
    if num_found == 0:
        return np.zeros(len(thresholds))
    is_taken = np.zeros((len(thresholds), len(true.videos)), dtype=bool)
    is_hit = np.zeros((len(thresholds), num_found))
    for place, (rows, overlaps) in enumerate(way(true, found)):
        nearest = overlaps.argsort(kind="stable")[::-1]
        for level, threshold in enumerate(thresholds):
            for candidate in nearest:
                if overlaps[candidate] < threshold:
                    break
                if not is_taken[level, rows[candidate]]:
                    is_taken[level, rows[candidate]] = True
                    is_hit[level, place] = 1
                    break
    hits = is_hit.cumsum(axis=1)
    precision, recall = hits / np.arange(1, num_found + 1), hits / len(true.videos)
    return np.array([_area(*one) for one in zip(precision, recall, strict=True)])


def _published(true: _Rows, found: _Rows) -> Candidates:
    by_video = true.table().groupby("video")
    known = set(by_video.groups)
    for _, row in found.table().iterrows():
        if row["video"] in known:
            segments = by_video.get_group(row["video"]).reset_index()
            yield segments["index"].tolist(), _overlaps(row[_ENDS].to_numpy(dtype=float), segments[_ENDS].to_numpy())
        else:
            yield [], np.zeros(0)


def _lean(true: _Rows, found: _Rows) -> Candidates:
    of_video: dict[str, list[int]] = defaultdict(list)
    for row, video in enumerate(true.videos.tolist()):
        of_video[video].append(row)
    for video, segment in zip(found.videos.tolist(), found.segments, strict=True):
        rows = of_video.get(video)
        yield (rows, _overlaps(segment, true.segments[rows])) if rows else ([], np.zeros(0))


def _overlaps(segment: FloatArray, others: FloatArray) -> FloatArray:
    both = (np.minimum(segment[1], others[:, 1]) - np.maximum(segment[0], others[:, 0])).clip(0)
    return np.asarray(both / ((others[:, 1] - others[:, 0]) + (segment[1] - segment[0]) - both))


def _area(precision: FloatArray, recall: FloatArray) -> float:
    heights, widths = np.hstack([[0], precision, [0]]), np.hstack([[0], recall, [1]])
    for place in range(len(heights) - 1)[::-1]:
        heights[place] = max(heights[place], heights[place + 1])
    steps = np.where(widths[1:] != widths[:-1])[0] + 1
    return float(np.sum((widths[steps] - widths[steps - 1]) * heights[steps]))


WAYS: dict[str, Callable[[_Rows, _Rows], Candidates]] = {"published": _published, "lean": _lean}
"""Name to how the loop finds what a detection overlaps."""
