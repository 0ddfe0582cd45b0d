"""Rules that take frames from a window: where windows lie, how far frames are apart, what short clips give."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.data.sampling import Dense, Interval, Segments, Strided, clip_generator


def test_a_dense_window_has_64_frames_whatever_the_number_taken() -> None:
    for num_segments in (8, 16):
        frames = Dense(num_segments).train(300, clip_generator(0, 0, "a"))
        np.testing.assert_array_equal(np.diff(frames), 64 // num_segments)


def test_dense_windows_go_from_the_first_possible_to_the_last() -> None:
    views = Dense(8).test(300, num_clips=10).reshape(10, 8)
    assert (views[0, 0], views[-1, 0]) == (0, 236)
    assert Dense(8).test(300)[0] == 118
    assert Dense(8, is_single_view_first=True).test(300)[0] == 0


def test_a_dense_window_goes_on_at_the_start_of_a_short_clip() -> None:
    np.testing.assert_array_equal(Dense(8).test(20), [0, 8, 16, 4, 12, 0, 8, 16])


def test_an_interval_counts_at_the_target_rate() -> None:
    sampler = Interval(4, interval=6, target_fps=30)
    at_30 = sampler.test(300, frame_rate=30.0)
    np.testing.assert_array_equal(sampler.test(300), at_30)
    np.testing.assert_array_equal(np.diff(at_30), [7, 8, 8])
    assert np.ptp(sampler.test(300, frame_rate=60.0)) == 47
    assert np.ptp(at_30) == 23


def test_the_last_interval_view_does_not_reach_the_end_as_published() -> None:
    views = Interval(8, interval=8).test(300, num_clips=10).reshape(10, 8)
    assert views[0, 0] == 0
    assert views[-1, -1] == 275


def test_minus_interval_ends_an_interval_before_the_window_does() -> None:
    frames = Interval(8, interval=4, minus_interval=True).test(100)
    np.testing.assert_array_equal(np.diff(frames), 4)


def test_an_interval_repeats_the_last_frame_of_a_short_clip() -> None:
    np.testing.assert_array_equal(Interval(8, interval=8).test(40), [0, 9, 18, 27, 36, 39, 39, 39])
    assert Interval(1, interval=8).test(40).tolist() == [16]


def test_strided_frames_are_an_interval_apart_and_go_on_at_the_start() -> None:
    np.testing.assert_array_equal(np.diff(Strided(8, interval=2).train(100, clip_generator(0, 0, "a"))), 2)
    np.testing.assert_array_equal(Strided(4, interval=2).test(5), [0, 2, 4, 1])
    views = Strided(32, interval=2).test(1000, num_clips=3).reshape(3, 32)
    assert views[:, 0].tolist() == [0, 468, 937]
    assert views[-1, -1] == 999


@pytest.mark.parametrize(("rule", "longest"), [(Dense(8), 235), (Strided(8, interval=8), 236)])
def test_how_far_a_random_window_may_start(rule: Dense | Strided, longest: int) -> None:
    starts = [rule.train(300, clip_generator(0, epoch, "a"))[0] for epoch in range(3000)]
    assert (min(starts), max(starts)) == (0, longest)


def test_rules_tell_how_many_frames_their_views_cover() -> None:
    assert Interval(8, 1, 2, 30.0).span(60.0) == 32
    assert Strided(8, 1, 4).span(60.0) == 32
    assert Dense(8).span(60.0) == 64
    assert Segments(8).span(60.0) is None


def test_views_are_stretched_over_a_given_number_of_frames() -> None:
    assert Interval(5, 1, 2, 30.0).spanning(21, 60.0).test(21, frame_rate=60.0).tolist() == [0, 5, 10, 15, 20]
    assert Strided(5, 1, 1).spanning(23, 60.0).test(23).tolist() == [3, 7, 11, 15, 19]
    assert Dense(5).spanning(23, 60.0).test(23).tolist() == [0, 4, 8, 12, 16]
    assert Segments(5).spanning(20, 60.0).test(20).tolist() == [2, 6, 10, 14, 18]
    for rule in (Interval(8), Strided(8), Dense(8), Segments(8)):  # a view of its own length stays as it is
        length = round(rule.span(30.0) or 64)
        assert rule.spanning(length, 30.0).test(length, frame_rate=30.0).tolist() == rule.test(length, frame_rate=30.0).tolist()
