"""Frame numbers: in range, in order, in their spans, and a function of what they should depend on alone."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.data.sampling import (
    Segments,
    SegmentsMmaction2,
    SegmentsSlowfast,
    SegmentsTadaconv,
    SegmentsTanet,
    clip_generator,
)


def test_test_rule_takes_the_center_of_each_span() -> None:
    np.testing.assert_array_equal(Segments(8).test(80), np.arange(5, 80, 10))
    np.testing.assert_array_equal(Segments(8).test(8), np.arange(8))


@pytest.mark.parametrize("num_frames", [40, 41, 47, 200])
def test_training_draws_one_start_from_each_span(num_frames: int) -> None:
    span = (num_frames - 4) // 8
    for epoch in range(20):
        frames = Segments(8, 5).train(num_frames, clip_generator(0, epoch, "a"))
        starts = frames.reshape(8, 5)[:, 0]
        assert ((starts // span) == np.arange(8)).all()
        assert (np.diff(frames.reshape(8, 5)) == 1).all()


def test_training_reaches_every_frame_of_a_span() -> None:
    drawn = [Segments(8).train(32, clip_generator(0, epoch, "a"))[0] for epoch in range(100)]
    assert set(drawn) == {0, 1, 2, 3}


def test_training_on_a_clip_with_fewer_places_than_segments() -> None:
    frames = Segments(8, 5).train(10, clip_generator(0, 0, "a"))
    starts = frames.reshape(8, 5)[:, 0]
    assert (np.diff(starts) >= 0).all()
    assert starts.max() <= 5
    np.testing.assert_array_equal(Segments(8).train(3, clip_generator(0, 0, "a")), np.zeros(8))


@pytest.mark.parametrize("segment_length", [1, 5])
@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 5, 6, 17])
@pytest.mark.parametrize("training", [False, True])
def test_frames_stay_in_range_where_the_published_ones_do_not(num_frames: int, segment_length: int, training: bool) -> None:
    sampler = Segments(3, segment_length)
    frames = sampler.train(num_frames, clip_generator(0, 0, "a")) if training else sampler.test(num_frames)
    assert frames.dtype == np.int64
    assert frames.shape == (3 * segment_length,)
    assert frames.min() >= 0
    assert frames.max() < num_frames


def test_published_indices_on_request() -> None:
    published = Segments(8, 5, is_clamped=False).test(1)
    assert (published.min(), published.max()) == (-2, 1)


def test_one_view_is_the_test_rule_and_more_lie_between() -> None:
    one = Segments(4).test(100, num_clips=1)
    np.testing.assert_array_equal(one, Segments(4).test(100))
    two = Segments(4).test(100, num_clips=2).reshape(2, 4)
    np.testing.assert_array_equal(two, [[6, 31, 56, 81], [18, 43, 68, 93]])
    many = Segments(8, 5).test(7, num_clips=10)
    assert many.shape == (400,)
    assert many.min() >= 0
    assert many.max() < 7


def test_generator_depends_on_seed_epoch_and_clip_alone() -> None:
    def draw(seed: int, epoch: int, clip_id: str) -> list[int]:
        return list(clip_generator(seed, epoch, clip_id).integers(0, 1000, size=8))

    assert draw(1, 2, "P01_01_3") == draw(1, 2, "P01_01_3")
    others = [draw(0, 2, "P01_01_3"), draw(1, 3, "P01_01_3"), draw(1, 2, "P01_01_4"), draw(2, 1, "P01_01_3")]
    assert all(other != draw(1, 2, "P01_01_3") for other in others)


@pytest.mark.parametrize("name", ["num_frames", "num_segments", "segment_length", "num_clips"])
def test_a_count_below_one_is_refused_by_name(name: str) -> None:
    counts = {"num_frames": 8, "num_segments": 4, "segment_length": 1, "num_clips": 1, name: 0}
    with pytest.raises(ValueError, match=rf"{name} \(0\) must be at least 1"):
        Segments(counts["num_segments"], counts["segment_length"]).test(counts["num_frames"], num_clips=counts["num_clips"])


def test_a_count_below_one_is_refused_in_training() -> None:
    with pytest.raises(ValueError, match=r"num_frames \(0\) must be at least 1"):
        Segments(8).train(0, clip_generator(0, 0, "a"))


def test_mmaction2_spreads_a_short_clip_and_looks_twice_at_centers_and_edges() -> None:
    sampler = SegmentsMmaction2(8)
    np.testing.assert_array_equal(sampler.train(5, clip_generator(0, 0, "a")), [0, 1, 1, 2, 2, 3, 4, 4])
    np.testing.assert_array_equal(sampler.train(4, clip_generator(0, 0, "a")), [0, 0, 1, 2, 2, 2, 3, 0])
    views = sampler.test(64, num_clips=2).reshape(2, 8)
    np.testing.assert_array_equal(views, [np.arange(4, 64, 8), np.arange(0, 64, 8)])


def test_tanet_views_go_from_the_left_edges_to_the_right_edges() -> None:
    views = SegmentsTanet(8).test(64, num_clips=2).reshape(2, 8)
    np.testing.assert_array_equal(views, [np.arange(0, 64, 8), np.arange(7, 64, 8)])


def test_tanet_validation_sees_all_of_a_short_clip_unless_the_published_fault_is_wanted() -> None:
    np.testing.assert_array_equal(SegmentsTanet(8).test(8), np.arange(8))
    published = SegmentsTanet(8, has_published_validation=True)
    np.testing.assert_array_equal(published.test(8), np.zeros(8))
    np.testing.assert_array_equal(published.test(16), np.arange(1, 16, 2))


def test_tadaconv_rounds_half_to_even_and_ends_views_at_the_right_edges() -> None:
    np.testing.assert_array_equal(SegmentsTadaconv(4).test(12), [2, 4, 8, 10])
    views = SegmentsTadaconv(4).test(16, num_clips=2).reshape(2, 4)
    np.testing.assert_array_equal(views, [[2, 6, 10, 14], [4, 8, 12, 15]])


def test_slowfast_parts_share_their_edges() -> None:
    sampler = SegmentsSlowfast(4)
    drawn = np.stack([sampler.train(9, clip_generator(0, epoch, "a")) for epoch in range(200)])
    assert [sorted(set(column.tolist())) for column in drawn.T] == [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 8]]
    np.testing.assert_array_equal(sampler.test(9), [1, 3, 5, 7])
