"""Which features of a clip are taken."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.data.features import segment_positions, train_positions


def test_centers_of_spans_are_taken() -> None:
    positions = segment_positions(np.array([25, 5, 7, 100]), 5)
    assert positions.tolist() == [[2, 7, 12, 17, 22], [0, 1, 2, 3, 4], [0, 2, 3, 4, 6], [10, 30, 50, 70, 90]]
    assert positions.dtype == np.int64


def test_short_clips_repeat_their_last_feature_or_give_their_first() -> None:
    counts = np.array([3, 1, 25])
    assert segment_positions(counts, 4).tolist() == [[0, 1, 2, 2], [0, 0, 0, 0], [3, 9, 15, 21]]
    assert segment_positions(counts, 4, repeat="first").tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [3, 9, 15, 21]]


def test_random_positions_stay_in_their_spans_and_reach_all_of_each() -> None:
    counts = np.repeat([25, 12, 3, 5], 400)
    positions = train_positions(counts, 5, np.random.default_rng(0))
    spans = (counts // 5)[:, None]
    assert (positions[counts < 5] == 0).all()
    long = counts >= 5
    assert (positions[long] // spans[long] == np.arange(5)).all()
    assert all(len(np.unique(column)) == 5 for column in positions[counts == 25].T)
    assert np.array_equal(positions, train_positions(counts, 5, np.random.default_rng(0)))


def test_no_clips_give_no_positions() -> None:
    assert segment_positions(np.zeros(0, np.int64), 5).shape == (0, 5)
    assert train_positions(np.zeros(0, np.int64), 5, np.random.default_rng(0)).shape == (0, 5)


def test_numbers_that_are_not_positive_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_segments \(0\) must be at least 1"):
        segment_positions(np.array([25]), 0)
    with pytest.raises(ValueError, match=r"num_features must be positive numbers of shape \(B,\), not 0 in \(2,\)"):
        train_positions(np.array([25, 0]), 5, np.random.default_rng(0))
