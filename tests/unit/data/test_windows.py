"""Windows along long videos, as the published code cuts them."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.data.windows import (
    centers,
    grid_steps,
    inside,
    resample,
    rows_in_window,
    sliding_windows,
    window_features,
)

SPACING = 0.13333333


def test_windows_cover_the_video_and_the_last_reaches_past_its_end() -> None:
    windows = sliding_windows(17.3, num_steps=40, step_seconds=2 * SPACING, stride=20)
    np.testing.assert_allclose(windows, [[0, 32 / 3], [16 / 3, 16], [32 / 3, 64 / 3], [16, 80 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(windows, windows.astype(np.float32))


def test_a_window_that_would_begin_just_before_the_end_is_left_out() -> None:
    assert len(sliding_windows(10.15, num_steps=4, step_seconds=1.0, stride=5)) == 2
    assert len(sliding_windows(10.25, num_steps=4, step_seconds=1.0, stride=5)) == 3
    assert len(sliding_windows(10.0, num_steps=4, step_seconds=1.0, stride=5)) == 2


def test_the_shortest_video_has_a_window() -> None:
    np.testing.assert_array_equal(sliding_windows(0.1, num_steps=4, step_seconds=0.5, stride=2), [[0, 2]])


def test_numbers_of_windows_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"duration \(0\.0\), .*stride \(5\) must be positive"):
        sliding_windows(0.0, num_steps=4, step_seconds=1.0, stride=5)


def test_centers_share_out_the_video_or_begin_where_told() -> None:
    np.testing.assert_allclose(centers(3, 0.5), [0.25, 0.75, 1.25])
    np.testing.assert_allclose(centers(3, 8 / 60, 7 / 60), np.array([7, 15, 23]) / 60)


def test_both_ends_of_a_window_belong_to_it() -> None:
    assert rows_in_window([0.0, 1.0, 2.0, 3.0], [1.0, 2.0]) == slice(1, 3)
    assert rows_in_window([0.0, 1.0], [1.2, 1.8]) == slice(2, 2)


def test_ends_are_compared_in_single_precision() -> None:
    moment = 7 / 60
    assert rows_in_window([moment], [float(np.float32(moment)), 1.0]) == slice(0, 1)


def test_a_window_inside_the_video_shows_its_features() -> None:
    features = np.arange(20.0, dtype=np.float32).reshape(10, 2)
    shown = window_features(features, np.arange(10) + 0.5, [2.0, 6.0], num_rows=4, num_steps=4)
    np.testing.assert_array_equal(shown, features[2:6].T)
    assert shown.dtype == np.float32


def test_past_the_end_of_the_video_are_zeros() -> None:
    features = np.ones((10, 2), np.float32)
    shown = window_features(features, np.arange(10) + 0.5, [8.0, 12.0], num_rows=4, num_steps=4)
    np.testing.assert_array_equal(shown, [[1, 1, 0, 0]] * 2)
    nothing = window_features(features, np.arange(10) + 0.5, [20.0, 24.0], num_rows=4, num_steps=3)
    np.testing.assert_array_equal(nothing, np.zeros((2, 3)))


def test_more_features_than_a_window_should_have_are_left_out() -> None:
    features = np.arange(5.0, dtype=np.float32)[:, None]
    shown = window_features(features, np.arange(5), [0.0, 4.0], num_rows=4, num_steps=4)
    np.testing.assert_array_equal(shown, [[0, 1, 2, 3]])


def test_features_and_moments_must_be_as_many() -> None:
    with pytest.raises(ValueError, match=r"5 features and 4 moments must be as many"):
        window_features(np.zeros((5, 2)), np.arange(4), [0.0, 1.0], num_rows=2, num_steps=2)


@pytest.mark.parametrize(("num_features", "num_steps"), [(80, 40), (40, 80), (7, 7), (1, 5), (5, 1)])
def test_resampling_keeps_both_ends_and_is_linear(num_features: int, num_steps: int) -> None:
    slope = np.arange(num_features, dtype=np.float32)[:, None] * np.array([[1.0, -2.0]], np.float32)
    found = resample(slope, num_steps)
    steps = np.linspace(0, num_features - 1, num_steps)
    np.testing.assert_allclose(found, np.stack([steps, -2 * steps]), rtol=1e-5, atol=1e-5)
    assert found.flags.c_contiguous


def test_nothing_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match=r"0 features cannot be brought to 5 steps; both must be at least 1"):
        resample(np.zeros((0, 2)), 5)


def test_the_grid_has_every_second_feature() -> None:
    moments = np.arange(9) + 0.5
    np.testing.assert_array_equal(grid_steps(moments, [0.0, 8.0], features_per_step=2, num_steps=4), [0, 1, 2, 3])
    np.testing.assert_array_equal(grid_steps(moments, [4.0, 12.0], features_per_step=2, num_steps=4), [2, 3, 4])
    assert grid_steps(moments, [20.0, 28.0], features_per_step=2, num_steps=4).size == 0


def test_a_window_has_no_more_steps_on_the_grid_than_its_own() -> None:
    np.testing.assert_array_equal(grid_steps(np.arange(9), [2.0, 4.0], features_per_step=1, num_steps=2), [2, 3])


def test_a_segment_is_shown_if_nearly_all_of_it_is_inside() -> None:
    segments = [[1.0, 2.0], [0.0, 10.0], [9.0, 11.0], [9.0, 10.0], [12.0, 13.0]]
    np.testing.assert_array_equal(inside(segments, [0.0, 10.0], 0.999), [True, True, False, True, False])
    np.testing.assert_array_equal(inside(segments, [0.0, 10.0], 0.4), [True, True, True, True, False])
    assert inside(np.zeros((0, 2)), [0.0, 10.0], 0.999).shape == (0,)
