"""Mean average precision of short and of long segments.

Of one range of lengths, segments outside it are not asked for: detections that have found one are left out, and so are wrong
detections whose own length lies outside.

P detections, G segments of the truth, K thresholds, L ranges of lengths.

Source: Lin et al., Microsoft COCO, ECCV 2014 (precision by area).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import ConfigError
from zoopraxis.evaluation.detection_map import DetectionMap, TaskMap, average_precision, best_first, task_labels
from zoopraxis.evaluation.detections import Detections, Truth

__all__ = ["LengthMap", "length_bounds", "map_by_length"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_NUM_RANGES = 5


@dataclass(frozen=True, eq=False)
class LengthMap:
    """Mean average precision by length.

    Attributes:
        bounds: Seconds between the ranges, ascending, shape (L - 1,); a range has its lower bound and not its upper one.
        names: What the ranges are called, L of them.
        num_segments: Segments of each range, shape (L,).
        maps: Task to mean average precision, 0 to 1, shape (L, K); NaN where there are no segments.
    """

    bounds: FloatArray
    names: tuple[str, ...]
    num_segments: IntArray
    maps: Mapping[str, FloatArray]


def length_bounds(segments_G2: FloatArray, *, num_ranges: int = _NUM_RANGES) -> FloatArray:
    """Bounds, of two digits, between ranges that hold about as many segments each; there may be fewer ranges."""
    lengths = segments_G2[:, 1] - segments_G2[:, 0]
    wanted = np.quantile(lengths, np.arange(1, num_ranges) / num_ranges)
    bounds = np.unique([float(f"{bound:.2g}") for bound in wanted])
    return np.asarray(bounds[(bounds > lengths.min()) & (bounds <= lengths.max())], dtype=np.float64)


def map_by_length(
    truth: Truth, detections: Detections, map: DetectionMap, *, bounds: Sequence[float] | FloatArray | None = None
) -> LengthMap:
    """Judge detections by length.

    Args:
        truth: What is in the videos.
        detections: What was found in them.
        map: As `detection_map` judged the detections.
        bounds: Seconds between the ranges; none: `length_bounds`.

    Raises:
        ConfigError: If bounds are not positive and ascending.
    """
    edges = length_bounds(truth.segments) if bounds is None else np.asarray(bounds, dtype=np.float64)
    if not (np.diff(edges, prepend=0) > 0).all():
        raise ConfigError(f"bounds of lengths ({edges.tolist()}) must be above 0 and ascend; try 1 2 5 10")
    true_ranges, ranges = (_ranges(segments, edges) for segments in (truth.segments, detections.segments))
    names = _names(edges)
    maps = {
        task: np.stack(
            [_map_of_range(one, number, true_ranges, ranges, truth, detections, map, task) for number in range(len(names))]
        )
        for task, one in map.tasks.items()
    }
    return LengthMap(edges, names, np.bincount(true_ranges, minlength=len(names)), maps)


def _ranges(segments: FloatArray, edges: FloatArray) -> IntArray:
    return np.searchsorted(edges, segments[:, 1] - segments[:, 0], side="right")


def _names(edges: FloatArray) -> tuple[str, ...]:
    texts = [f"{edge:g}" for edge in edges]
    if not texts:
        return ("all",)
    between = [f"{low} to {high} s" for low, high in itertools.pairwise(texts)]
    return (f"below {texts[0]} s", *between, f"from {texts[-1]} s")


def _map_of_range(
    judged: TaskMap,
    number: int,
    true_ranges: IntArray,
    ranges: IntArray,
    truth: Truth,
    detections: Detections,
    map: DetectionMap,
    task: str,
) -> FloatArray:
    true = task_labels(truth.labels, task, map.num_nouns)
    labels = task_labels(detections.labels, task, map.num_nouns)
    classes, num_segments = np.unique(true[true_ranges == number], return_counts=True)
    if len(classes) == 0:
        return np.full(len(map.thresholds), np.nan)
    place = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    means = []
    order = best_first(detections.scores)
    for matched in judged.matched:
        counts = np.where(matched >= 0, true_ranges[matched] == number, ranges == number) & (classes[place] == labels)
        rows = order[counts[order]]
        means.append(average_precision(place[rows], matched[None, rows] >= 0, num_segments).mean())
    return np.asarray(means)
