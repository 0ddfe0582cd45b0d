"""From the maps of a window or of a whole video to scored proposals, and to the few that are kept.

A cell (d, t) of a map proposes the segment from step t to step t + d + 1. It becomes a proposal if t is a candidate for a start
and t + d + 1 one for an end: both are steps, so no proposal reaches the end of the last step.

T steps, D durations, P proposals.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from zoopraxis.localization.soft_nms import soft_nms

__all__ = ["Proposals", "candidates", "proposals", "suppress"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Proposals:
    """P proposals of one video.

    Attributes:
        durations: Cell of each proposal in the map, d: it lasts d + 1 steps, shape (P,), int64.
        steps: And t, the step at which it starts, shape (P,), int64.
        segments: Start and stop as parts of the video, shape (P, 2), float64: t / T and (t + d + 1) / T where no shift was
            predicted.
        start_scores: Probability of a start at t, shape (P,), float64.
        end_scores: Probability of an end at t + d + 1, shape (P,), float64.
        confidences: Probability of a great overlap, shape (P,), float64.
        overlaps: Predicted overlap, shape (P,), float64.
        scores: What they are ranked by, shape (P,), float64.
    """

    durations: IntArray
    steps: IntArray
    segments: FloatArray
    start_scores: FloatArray
    end_scores: FloatArray
    confidences: FloatArray
    overlaps: FloatArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: IntArray | BoolArray) -> Self:
        """Some of the proposals, in the order given."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def seconds(self, duration: float) -> FloatArray:
        """Start and stop of each in a video of `duration` seconds, clipped to it, shape (P, 2), float64."""
        return np.clip(self.segments, 0.0, 1.0) * duration


def candidates(start_T: npt.ArrayLike, end_T: npt.ArrayLike, *, peak: float = 0.5) -> tuple[BoolArray, BoolArray]:
    """Where segments may start and end: at local peaks, and wherever the probability is above `peak` times the highest.

    The first step is a start and the last one an end in any case; besides them, neither the first nor the last is anything.

    Args:
        start_T: Probability of a start at each step, shape (T,).
        end_T: Probability of an end.
        peak: Part of the highest probability.

    Returns:
        Whether each step is a candidate for a start, and for an end, both of shape (T,).

    Raises:
        ValueError: If the two do not have one number a step.

    Source: Lin et al., BSN, ECCV 2018, section 3.4.
    """
    starts, ends = np.asarray(start_T), np.asarray(end_T)
    if starts.ndim != 1 or starts.shape != ends.shape or not len(starts):
        raise ValueError(f"starts and ends must have one probability a step, not shapes {starts.shape} and {ends.shape}")
    is_start, is_end = _is_high(starts, peak), _is_high(ends, peak)
    is_start[0] = is_end[-1] = True
    return is_start, is_end


def proposals(
    start_T: npt.ArrayLike,
    end_T: npt.ArrayLike,
    confidence_2DT: npt.ArrayLike,
    *,
    peak: float = 0.5,
    start_power: float = 1.0,
    end_power: float = 1.0,
    confidence_power: float = 1.0,
    overlap_power: float = 1.0,
    min_score: float | None = None,
    shift_2DT: npt.ArrayLike | None = None,
) -> Proposals:
    """Score every pair of a candidate start and a candidate end that a map has a cell for.

    Args:
        start_T: Probability of a start at each step, shape (T,).
        end_T: Probability of an end.
        confidence_2DT: Predicted overlap, then probability of a great overlap, shape (2, D, T).
        peak: See `candidates`.
        start_power: Score: start^start_power * end^end_power * confidence^confidence_power * overlap^overlap_power.
        end_power: See there.
        confidence_power: See there.
        overlap_power: See there.
        min_score: Only proposals above this score; None: all.
        shift_2DT: By how much of its length the center of each cell's segment moves, then the logarithm of the factor by which
            its length grows, shape (2, D, T). Segments are then clipped to [0, 1], and those outside of it left out.

    Returns:
        The proposals, the shortest first, and those of equal length in the order of their starts, as published.

    Raises:
        ValueError: If the shapes do not fit together.

    Differs: TAdaConv's score types "se" and "secr" square the start's probability where the end's is meant; its shift is
        switched off.

    Source: Lin et al., BMN, ICCV 2019, section 3.4.
    """
    starts, ends = np.asarray(start_T), np.asarray(end_T)
    maps = np.asarray(confidence_2DT)
    is_start, is_end = candidates(starts, ends, peak=peak)
    num_steps = len(starts)
    if maps.ndim != 3 or len(maps) != 2 or maps.shape[2] != num_steps:
        raise ValueError(f"the maps of {num_steps} steps must have shape (2, durations, {num_steps}), not {maps.shape}")
    durations, steps = _cells(is_start, is_end, maps.shape[1])
    stops = steps + durations + 1
    segments = np.stack([steps, stops], axis=1) / num_steps
    if shift_2DT is not None:
        segments = _shifted(segments, np.asarray(shift_2DT, dtype=np.float64)[:, durations, steps])
    parts = {
        "start_scores": (starts[steps], start_power),
        "end_scores": (ends[stops], end_power),
        "confidences": (maps[1, durations, steps], confidence_power),
        "overlaps": (maps[0, durations, steps], overlap_power),
    }
    factors = {name: values.astype(np.float64) for name, (values, _) in parts.items()}
    scores = np.ones(len(steps))
    for name, (_, power) in parts.items():
        scores *= factors[name] ** power
    is_kept = segments[:, 1] > segments[:, 0]
    if min_score is not None:
        is_kept &= scores > min_score
    return Proposals(durations, steps, segments, **factors, scores=scores).take(is_kept)


def suppress(
    found: Proposals, *, alpha: float, low: float, high: float, power: float = 2.0, keep: int, last: bool = False
) -> Proposals:
    """The best `keep` proposals by soft non-maximum suppression, best first, with their decayed scores; see `soft_nms`."""
    starts, stops = found.segments.T
    rows, scores = soft_nms(starts, stops, found.scores, alpha=alpha, low=low, high=high, power=power, keep=keep, last=last)
    return replace(found.take(rows), scores=scores)


def _is_high(values: npt.NDArray[np.floating], peak: float) -> BoolArray:
    is_high = np.zeros(len(values), dtype=np.bool_)
    inner = values[1:-1]
    is_high[1:-1] = (inner > values[2:]) & (inner > values[:-2]) | (inner > peak * values.max())
    return is_high


def _cells(is_start: BoolArray, is_end: BoolArray, num_durations: int) -> tuple[IntArray, IntArray]:
    """Durations and first steps of the cells from a candidate start to a candidate end, row by row of the map."""
    starts, ends = np.flatnonzero(is_start), np.flatnonzero(is_end)
    first = np.searchsorted(ends, starts, side="right")
    counts = np.searchsorted(ends, starts + num_durations, side="right") - first
    steps = np.repeat(starts, counts)
    places = np.arange(len(steps)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    durations = ends[places] - steps - 1
    order = np.argsort(durations, kind="stable")
    return durations[order], steps[order]


def _shifted(segments_P2: FloatArray, shift_2P: FloatArray) -> FloatArray:
    """Segments moved by a part of their length and made longer, clipped to the video."""
    lengths = segments_P2[:, 1] - segments_P2[:, 0]
    centers = segments_P2.mean(axis=1) + shift_2P[0] * lengths
    halves = lengths * np.exp(shift_2P[1]) / 2
    moved: FloatArray = np.stack([centers - halves, centers + halves], axis=1)
    return moved.clip(0.0, 1.0)
