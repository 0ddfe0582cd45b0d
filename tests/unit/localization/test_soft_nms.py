"""Soft-NMS against a loop over all candidates for every one that is taken."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zoopraxis.localization.soft_nms import soft_nms

SETTINGS = {"alpha": 0.4, "low": 0.25, "high": 0.9}


def looped(
    segments: list[tuple[float, float]],
    scores: list[float],
    keep: int,
    last: bool,
    *,
    alpha: float,
    low: float,
    high: float,
    power: float = 2.0,
) -> tuple[list[int], list[float]]:
    """One after another: the first of the best, then all others."""
    left = sorted(range(len(scores)), key=lambda row: -scores[row])
    now = list(scores)
    taken, decayed = [], []
    while len(left) > (0 if last else 1) and len(taken) < keep:
        best = max(left, key=lambda row: now[row])  # the first one of equals
        start, stop = segments[best]
        left.remove(best)
        for row in left:
            shared = max(min(segments[row][1], stop) - max(segments[row][0], start), 0.0)
            first, second = ((start, stop), segments[row]) if last else (segments[row], (start, stop))
            union = first[1] - first[0] - shared + second[1] - second[0]  # rounded as in the code that is followed
            if union > 0 and shared / union > low + (high - low) * (stop - start):
                now[row] *= math.exp(-((shared / union) ** power) / alpha)
        taken.append(best)
        decayed.append(now[best])
    return taken, decayed


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("keep", [0, 1, 20, 500])
@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        SETTINGS | {"low": 0.0, "high": 0.0},
        SETTINGS | {"power": 1.0, "alpha": 1e-4},
        SETTINGS | {"low": 0.9, "high": 0.1},
        SETTINGS | {"low": 0.5, "high": 0.5},
    ],
    ids=["usual", "any overlap", "decay to zero", "falling bound", "bound that is met"],
)
def test_equals_the_loop_with_ties_and_on_a_grid(settings: dict[str, float], keep: int, last: bool) -> None:
    generator = np.random.default_rng(3)
    starts = generator.integers(0, 40, size=120) / 50
    stops = np.minimum(starts + generator.integers(0, 12, size=120) / 50, 1.0)  # some without length
    scores = generator.integers(0, 30, size=120) / 30.0  # many equal
    segments = list(zip(starts.tolist(), stops.tolist(), strict=True))
    rows, decayed = soft_nms(starts, stops, scores, keep=keep, last=last, **settings)
    expected_rows, expected = looped(segments, scores.tolist(), keep, last, **settings)
    assert rows.tolist() == expected_rows
    assert len(rows) == min(keep, 120 if last else 119)
    np.testing.assert_allclose(decayed, expected, rtol=1e-12, atol=1e-300)


def test_takes_the_first_of_equals_and_leaves_the_last() -> None:
    starts, stops = np.array([0.6, 0.0, 0.3]), np.array([0.7, 0.1, 0.4])
    rows, scores = soft_nms(starts, stops, np.full(3, 0.5), keep=9, **SETTINGS)
    assert rows.tolist() == [0, 1]
    assert scores.tolist() == [0.5, 0.5]
    assert soft_nms(starts, stops, np.full(3, 0.5), keep=9, last=True, **SETTINGS)[0].tolist() == [0, 1, 2]


def test_takes_a_lone_candidate_and_nothing_of_none() -> None:
    rows, scores = soft_nms([0.1], [0.2], [0.7], keep=3, **SETTINGS)
    assert (rows.tolist(), scores.tolist()) == ([0], [0.7])
    rows, scores = soft_nms([], [], [], keep=3, **SETTINGS)
    assert rows.shape == scores.shape == (0,)
    assert rows.dtype == np.int64


def test_a_wide_candidate_lets_others_decay_only_above_a_higher_bound() -> None:
    narrow = soft_nms([0.0, 0.0], [0.1, 0.05], [1.0, 0.5], keep=2, last=True, **SETTINGS)[1]
    wide = soft_nms([0.0, 0.0], [1.0, 0.5], [1.0, 0.5], keep=2, last=True, **SETTINGS)[1]
    assert narrow[1] == pytest.approx(0.5 * math.exp(-(0.5**2) / 0.4))
    assert wide[1] == 0.5


def test_leaves_what_it_is_given() -> None:
    starts, stops, scores = np.array([0.0, 0.05]), np.array([0.2, 0.2]), np.array([0.4, 0.9])
    before = scores.copy(), stops.copy()
    soft_nms(starts, stops, scores, keep=2, last=True, **SETTINGS)
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(stops, before[1])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"starts_P": [0.1]}, r"one number a candidate, not shapes \(1,\), \(2,\) and \(2,\)"),
        ({"scores_P": [0.5, math.nan]}, r"candidate 1 \(0\.2 to 0\.4, score nan\) has numbers that are not finite"),
        ({"stops_P": [0.3, 0.1]}, r"candidate 1 stops at 0\.1, before it starts at 0\.2"),
        ({"alpha": 0.0}, r"alpha \(0\.0\) must be positive"),
        ({"keep": -1}, r"keep \(-1\) must not be negative"),
    ],
)
def test_refuses(changed: dict[str, object], message: str) -> None:
    given = {"starts_P": [0.1, 0.2], "stops_P": [0.3, 0.4], "scores_P": [0.5, 0.6], "keep": 2, **SETTINGS}
    with pytest.raises(ValueError, match=message):
        soft_nms(**given | changed)
