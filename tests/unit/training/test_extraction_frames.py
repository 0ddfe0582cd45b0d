"""Which frames windows along a video have, and where the windows lie."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from zoopraxis.data.encoding import write_video
from zoopraxis.data.index import Clip
from zoopraxis.data.sampling import SAMPLERS, Sampler
from zoopraxis.data.stores.video import VideoStore
from zoopraxis.data.transforms import TestTransform
from zoopraxis.errors import DataError
from zoopraxis.training.extraction_frames import FrameRing, Windows, plan_windows, read_frames


class CountedStore:
    """A video of so many frames at such a rate."""

    def __init__(self, num_frames: int, rate: float | None) -> None:
        self.count, self.rate = num_frames, rate

    def num_frames(self, clip: Clip) -> int:
        return self.count

    def frame_rate(self, clip: Clip) -> float | None:
        return self.rate

    def check(self, clip: Clip) -> None:
        return None

    def read(self, clip: Clip, frames: np.ndarray) -> np.ndarray:
        return np.broadcast_to(frames.astype(np.uint8)[:, None, None, None], (len(frames), 4, 6, 3)).copy()


CLIP = Clip("a", "a")


def rule(name: str = "segments", num: int = 4, interval: int = 1, target_fps: float = 30.0) -> Sampler:
    return SAMPLERS.get(name)(num, 1, interval, target_fps)


def frames_of(sampler: Sampler, windows: Windows, *, num_frames: int = 100, rate: float = 10.0) -> list[list[int]]:
    plan = plan_windows(sampler, CountedStore(num_frames, rate), CLIP, windows)
    return plan.frames[plan.places].tolist()


def test_windows_are_centered_in_equal_steps_as_far_as_the_video_goes() -> None:
    windows = Windows(stride=0.4, length=0.8)
    for num_frames, count in ((100, 25), (98, 24), (99, 25), (2, 1), (1, 1)):
        plan = plan_windows(rule(), CountedStore(num_frames, 10.0), CLIP, windows)
        np.testing.assert_allclose(plan.centers, 0.2 + 0.4 * np.arange(count))


def test_a_window_has_the_centers_of_equal_spans_and_repeats_frames_beyond_the_ends() -> None:
    windows = Windows(stride=2.0, length=4.0)
    assert frames_of(rule(), windows) == [
        [0, 5, 15, 25],
        [15, 25, 35, 45],
        [35, 45, 55, 65],
        [55, 65, 75, 85],
        [75, 85, 95, 99],
    ]
    assert frames_of(rule(), windows, num_frames=9) == [[0, 5, 8, 8]]


def test_rules_that_look_at_a_set_time_need_no_length() -> None:
    windows = Windows(stride=5.0)
    assert frames_of(rule("interval", 4, 2, 10.0), windows)[0] == [21, 23, 25, 28]  # of 8 frames the first to the last
    assert frames_of(rule("interval", 4, 2, 5.0), windows)[0] == [17, 22, 27, 32]  # of 16
    assert frames_of(rule("strided", 4, 3), windows)[0] == [20, 23, 26, 29]
    assert frames_of(rule("dense", 4), windows)[0] == [0, 9, 25, 41]
    with pytest.raises(ValueError, match="Segments sampling has views of any length; give the windows' length"):
        frames_of(rule(), windows)


@pytest.mark.parametrize("name", ["interval", "strided", "dense"])
def test_rules_that_look_at_a_set_time_are_stretched_to_a_given_length(name: str) -> None:
    for length in (0.4, 1.2, 4.0):
        found = np.array(frames_of(rule(name), Windows(stride=5.0, length=length)))[0]
        assert abs(found.mean() + 0.5 - 25) <= 1 + length * 10 / 8
        assert np.ptp(found) == pytest.approx(length * 10 * 3 / 4, abs=length * 10 / 4 + 1)


@pytest.mark.parametrize("name", SAMPLERS.names())
@pytest.mark.parametrize("rate", [7.3, 29.97])
def test_a_window_is_what_the_rule_gives_for_a_clip_of_its_frames(name: str, rate: float) -> None:
    windows = Windows(stride=1.1, length=3.0)
    sampler = rule(name)
    found = np.array(frames_of(sampler, windows, num_frames=300, rate=rate))
    inside = round(3.0 * rate)
    own = sampler.spanning(inside, rate).test(inside, frame_rate=rate)
    for number, center in enumerate(0.55 + 1.1 * np.arange(len(found))):
        start = int(np.ceil(center * rate - inside / 2 - 1e-6))
        np.testing.assert_array_equal(found[number], (start + own).clip(0, 299))


def test_what_is_read_of_a_video_is_each_needed_frame_once() -> None:
    plan = plan_windows(rule(num=2), CountedStore(100, 10.0), CLIP, Windows(stride=2.0, length=2.0))
    assert plan.frames.tolist() == list(range(5, 100, 10))
    assert plan.places.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert plan.reach == 2


def test_a_video_without_a_rate_or_frames_is_refused() -> None:
    windows = Windows(stride=1.0, length=1.0)
    with pytest.raises(DataError, match="clip 'a' has no known frame rate; give it: --fps"):
        plan_windows(rule(), CountedStore(10, None), CLIP, windows)
    with pytest.raises(DataError, match="clip 'a' has no frames"):
        plan_windows(rule(), CountedStore(0, 10.0), CLIP, windows)
    assert len(plan_windows(rule(), CountedStore(10, None), CLIP, windows, fps=5.0).centers) == 2


def test_frames_at_a_varying_rate_are_those_on_display(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    times = [*range(10), *range(10, 30, 4)]  # tenths of seconds: 10 frames a second, then 2.5
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 10 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    store = VideoStore(tmp_path)
    windows = Windows(stride=0.5, length=0.1)
    plan = plan_windows(rule(num=1), store, CLIP, windows)
    shown = plan.frames[plan.places][:, 0]
    stops = np.array([*times[1:], 30]) / 10
    steps = 1 / store.frame_rate(CLIP)
    assert shown.tolist() != np.round(plan.centers / steps).astype(int).tolist()
    assert (np.array(times)[shown] / 10 <= plan.centers + steps).all()
    assert (stops[shown] >= plan.centers - steps).all()


def test_a_ring_gives_each_window_as_soon_as_it_is_whole() -> None:
    plan = plan_windows(rule(num=2), CountedStore(100, 10.0), CLIP, Windows(stride=1.0, length=2.0))
    ring, transform = FrameRing(plan), TestTransform(size=4, resize=4, num_crops=3)
    seen = 0
    for block in read_frames(CountedStore(100, 10.0), CLIP, plan.frames, transform):
        assert block.shape[1:] == (3, 3, 4, 4)
        before = seen
        for window in ring.add(block):
            assert window.shape == (3, 2, 3, 4, 4)
            assert window[0, :, 0, 0, 0].tolist() == plan.frames[plan.places[seen]].tolist()
            assert torch.equal(window[0], window[2])
            seen += 1
        assert seen > before or seen == 0
    assert seen == ring.num_windows == len(plan.centers) == 10


def test_a_long_video_is_held_only_as_far_as_its_windows_reach() -> None:
    store = CountedStore(3000, 10.0)
    plan = plan_windows(rule(num=8), store, CLIP, Windows(stride=2.0, length=4.0))
    ring = FrameRing(plan)
    assert ring.capacity == plan.reach + 32 < 50
    blocks = list(read_frames(store, CLIP, plan.frames, TestTransform(size=4, resize=4)))
    assert max(map(len, blocks)) == 32
    firsts = [int(window[0, 0, 0, 0, 0]) for block in blocks for window in ring.add(block)]
    assert firsts == (plan.frames[plan.places[:, 0]] % 256).tolist()


@pytest.mark.parametrize("gop", [5, 250])
def test_frames_of_a_video_come_as_they_are_read_one_by_one(gop: int, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (80, 32, 48, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mp4", frames, fps=10, gop=gop)
    store, wanted = VideoStore(tmp_path), np.array([0, 3, 4, *range(20, 75, 2)])
    transform = TestTransform(size=32, resize=32)
    found = torch.cat(list(read_frames(store, CLIP, wanted, transform)))
    torch.testing.assert_close(found[:, 0], transform(store.read(CLIP, wanted)), rtol=0, atol=0)
