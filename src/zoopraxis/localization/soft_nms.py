"""Soft non-maximum suppression of segments: the best is taken, what overlaps it decays, and so on.

The published loop visits every candidate in Python at each turn. Here a turn is one argmax and a few vector operations on the
candidates that can overlap the one just taken: sorted by start, they are a slice, whose bounds are known before the first turn.

P candidates, Q candidates taken.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["soft_nms"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def soft_nms(
    starts_P: npt.ArrayLike,
    stops_P: npt.ArrayLike,
    scores_P: npt.ArrayLike,
    *,
    alpha: float,
    low: float,
    high: float,
    power: float = 2.0,
    keep: int,
    last: bool = False,
) -> tuple[IntArray, FloatArray]:
    """Take the candidate of the highest score, let those that overlap it decay by exp(-IoU^power / alpha), and repeat.

    A candidate decays where its IoU with the one just taken is above `low` + (`high` - `low`) * width, the width being that of
    the one just taken. Of equal scores the one that began higher is taken first, of those the one given first.

    Args:
        starts_P: Start of each candidate as a part of the video, in [0, 1].
        stops_P: Its stop.
        scores_P: Its score.
        alpha: How slowly scores decay, positive.
        low: IoU above which they decay for a candidate without width.
        high: And for one as wide as the video.
        power: Power of the IoU.
        keep: Take at most so many.
        last: Also take the candidate that is left at the end. Published code of TAdaConv and of the EPIC-KITCHENS baseline does
            not, that of MMAction2 does; it sums unions in another order too, which decides where an IoU is at the threshold.

    Returns:
        Rows of the candidates taken, in the order in which they were taken, shape (Q,), int64, and their decayed scores, shape
        (Q,), float64. Q is at most `keep`, and at most P - 1 without `last`; a lone candidate is always taken.

    Raises:
        ValueError: If the arrays do not fit together, a number is not finite, a candidate stops before it starts, `alpha` is
            not positive, or `keep` is negative.

    Differs: published callers pass a lone candidate by the loop; TAdaConv's then fails for want of the row numbers. Of equal
        scores the published sort leaves the order to the NumPy at hand, and MMAction2's reverses it.

    Source: Bodla et al., Soft-NMS, ICCV 2017; thresholds that grow with the width: Lin et al., BSN, ECCV 2018.
    """
    starts, stops, scores = _checked(starts_P, stops_P, scores_P)
    if not alpha > 0:
        raise ValueError(f"alpha ({alpha}) must be positive")
    if keep < 0:
        raise ValueError(f"keep ({keep}) must not be negative")
    num_taken = min(keep, len(scores) if last or len(scores) == 1 else len(scores) - 1)
    ranked = np.argsort(-scores, kind="stable")
    if num_taken <= 0:
        return ranked[:0], scores[:0]
    with np.errstate(invalid="ignore", divide="ignore", under="ignore"):  # a segment without length overlaps nothing: 0 / 0
        settings = (alpha, low, high, power)
        places, decayed = _take(starts[ranked], stops[ranked], scores[ranked], num_taken, settings, own_first=last)
    return ranked[places], decayed


def _take(
    starts: FloatArray,
    stops: FloatArray,
    scores: FloatArray,
    num_taken: int,
    settings: tuple[float, float, float, float],
    *,
    own_first: bool,
) -> tuple[IntArray, FloatArray]:
    """Soft-NMS of candidates in the order of their scores, `scores` being used up; the places taken, and their scores.

    Unions are rounded sums: the other's length - shared + stop - start, or, `own_first`, with the two exchanged.
    """
    alpha, low, high, power = settings
    widths = stops - starts
    bounds = low + (high - low) * widths
    by_start = np.argsort(starts, kind="stable")
    ordered_starts, ordered_stops, ordered_widths = starts[by_start], stops[by_start], widths[by_start]
    place_in_order = np.empty_like(by_start)
    place_in_order[by_start] = np.arange(len(by_start))
    # before `first` all stop before the candidate starts, from `end` on all start after it stops
    first = np.searchsorted(np.maximum.accumulate(ordered_stops), starts, side="right").tolist()
    end = np.searchsorted(ordered_starts, stops, side="left").tolist()
    taken = np.empty(num_taken, dtype=np.int64)
    decayed = np.empty(num_taken, dtype=np.float64)
    for turn in range(num_taken):
        best = int(scores.argmax())
        taken[turn], decayed[turn] = best, scores[best]
        scores[best] = -np.inf
        ordered_stops[place_in_order[best]] = -np.inf  # taken: overlaps nothing any more
        near = slice(first[best], end[best])
        start, stop = starts[best], stops[best]
        shared = np.minimum(ordered_stops[near], stop)
        shared -= np.maximum(ordered_starts[near], start)
        np.maximum(shared, 0.0, out=shared)
        if own_first:
            iou = shared / (widths[best] - shared + ordered_stops[near] - ordered_starts[near])
        else:
            iou = shared / (ordered_widths[near] - shared + stop - start)
        (hits,) = (iou > bounds[best]).nonzero()
        if len(hits):
            scores[by_start[near][hits]] *= np.exp(-np.power(iou[hits], power) / alpha)
    return taken, decayed


def _checked(*arrays: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    starts, stops, scores = (np.asarray(array, dtype=np.float64) for array in arrays)
    if starts.ndim != 1 or not starts.shape == stops.shape == scores.shape:
        shapes = f"{starts.shape}, {stops.shape} and {scores.shape}"
        raise ValueError(f"starts, stops and scores must have one number a candidate, not shapes {shapes}")
    is_bad = ~(np.isfinite(starts) & np.isfinite(stops) & np.isfinite(scores))
    if is_bad.any():
        row = int(is_bad.argmax())
        raise ValueError(
            f"candidate {row} ({starts[row]} to {stops[row]}, score {scores[row]}) has numbers that are not finite"
        )
    if (stops < starts).any():
        row = int((stops < starts).argmax())
        raise ValueError(f"candidate {row} stops at {stops[row]:g}, before it starts at {starts[row]:g}")
    return starts, stops, scores
