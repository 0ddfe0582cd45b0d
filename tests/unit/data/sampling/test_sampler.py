"""What every sampling rule promises, and how one is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.data.sampling import SAMPLERS, Sampler, clip_generator
from zoopraxis.errors import ConfigError

NAMES = SAMPLERS.names()


def make(name: str, *, num_segments: int = 8, segment_length: int = 1) -> Sampler:
    return SAMPLERS.get(name)(num_segments, segment_length)


def test_the_published_rules_are_there() -> None:
    assert {
        "dense",
        "interval",
        "segments",
        "segments_mmaction2",
        "segments_slowfast",
        "segments_tadaconv",
        "segments_tanet",
        "strided",
    } <= set(NAMES)


@pytest.mark.parametrize("segment_length", [1, 5])
@pytest.mark.parametrize("num_frames", [1, 2, 5, 7, 8, 9, 63, 64, 65, 300])
@pytest.mark.parametrize("name", NAMES)
def test_frames_are_as_many_as_asked_for_and_in_range(name: str, num_frames: int, segment_length: int) -> None:
    sampler = make(name, segment_length=segment_length)
    views = [sampler.test(num_frames, num_clips=num_clips, frame_rate=25.0) for num_clips in (1, 2)]
    drawn = [sampler.train(num_frames, clip_generator(0, epoch, "a"), frame_rate=25.0) for epoch in range(3)]
    for frames, num_clips in zip([*views, *drawn], [1, 2, 1, 1, 1], strict=True):
        assert frames.dtype == np.int64
        assert frames.shape == (num_clips * 8 * segment_length,)
        assert frames.min() >= 0
        assert frames.max() < num_frames


@pytest.mark.parametrize("name", NAMES)
def test_training_depends_on_the_generator_alone_and_varies(name: str) -> None:
    sampler = make(name)
    drawn = [sampler.train(200, clip_generator(0, epoch, "a")).tolist() for epoch in range(20)]
    assert drawn == [sampler.train(200, clip_generator(0, epoch, "a")).tolist() for epoch in range(20)]
    assert len({tuple(frames) for frames in drawn}) > 10


@pytest.mark.parametrize("name", NAMES)
def test_frames_of_a_long_clip_are_in_time_order(name: str) -> None:
    sampler = make(name)
    for frames in (*sampler.test(200, num_clips=2).reshape(2, 8), sampler.train(200, clip_generator(0, 0, "a"))):
        assert (np.diff(frames) >= 0).all()


def test_an_unknown_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown sampling 'densely'; did you mean 'dense'"):
        SAMPLERS.get("densely")


def test_numbers_that_do_not_go_with_a_rule_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_segments \(0\) must be at least 1"):
        make("segments", num_segments=0)
    with pytest.raises(ValueError, match=r"target_fps \(0\) must be positive"):
        SAMPLERS.get("interval")(8, target_fps=0)
    with pytest.raises(
        ConfigError, match=r"interval is 4, but Dense sampling has none; set data.interval=1, or a data.sampling"
    ):
        SAMPLERS.get("dense")(8, interval=4)
    with pytest.raises(
        ConfigError, match=r"num_segments is 80, but a window of dense sampling has 64 frames; set data.num_seg"
    ):
        make("dense", num_segments=80)
    with pytest.raises(ConfigError, match="num_clips is 10, but SegmentsMmaction2 sampling has at most 2 views along time"):
        make("segments_mmaction2").test(100, num_clips=10)
    with pytest.raises(ValueError, match=r"num_clips \(0\) must be at least 1"):
        make("segments").test(100, num_clips=0)
    with pytest.raises(ValueError, match=r"num_frames \(0\) must be at least 1"):
        make("strided").train(0, clip_generator(0, 0, "a"))
