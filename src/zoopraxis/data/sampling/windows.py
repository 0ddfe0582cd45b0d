"""Rules that take T frames from a window of a clip: one window in training, V of them in tests.

# n frames a clip, T places, L consecutive frames from each, V views
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.sampling.base import SAMPLERS, Generator, Sampler
from zoopraxis.data.sampling.segments import even_starts
from zoopraxis.data.sampling.spacing import even_float32
from zoopraxis.errors import ConfigError

__all__ = ["Dense", "Interval", "Strided"]


@SAMPLERS.register("dense")
@dataclass(frozen=True)
class Dense(Sampler):
    """Every (window / T)th frame of a window of 64 frames; in a clip shorter than that, the window goes on at the clip's start.

    A window starts at random in training (never at the last possible frame: as published), in tests at V frames from the first
    possible to the last, and for one view in the middle.

    Attributes:
        window: Frames of a window.
        is_single_view_first: One view starts at the first frame, as mmaction2's `num_sample_positions=1` does; else it lies in
            the middle, as TANet's does.

    Raises:
        ConfigError: If T is greater than the window.

    Source: Lin et al., TSM, ICCV 2019, the authors' code; TANet's `dense-V`; mmaction2 1.x, `DenseSampleFrames`.
    """

    is_looping = True
    window: int = 64
    is_single_view_first: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_segments > self.window:
            raise ConfigError(
                f"num_segments is {self.num_segments}, but a window of dense sampling has {self.window} frames; "
                f"set data.num_segments={self.window} or less, or another data.sampling"
            )

    def span(self, frame_rate: float) -> float:
        """The window, whatever the rate."""
        return self.window

    def spanning(self, num_frames: int, frame_rate: float) -> Dense:
        """See `Sampler.spanning`; a window has at least T frames."""
        return dataclasses.replace(self, window=max(num_frames, self.num_segments))

    def _train_places(self, num_frames: int, generator: Generator, frame_rate: float) -> npt.NDArray[Any]:
        last = self._last_start(num_frames)
        return self._window(generator.integers(0, last) if last > 0 else 0)

    def _test_places(self, num_frames: int, num_clips: int, frame_rate: float) -> npt.NDArray[Any]:
        last = self._last_start(num_frames)
        starts_V = np.linspace(0, last, num_clips).astype(np.int64)
        if num_clips == 1 and not self.is_single_view_first:
            starts_V[0] = (last + 1) // 2
        return self._window(starts_V[:, None])

    def _last_start(self, num_frames: int) -> int:
        return max(0, num_frames - self.window)

    def _window(self, starts: Any) -> npt.NDArray[Any]:
        frames: npt.NDArray[Any] = starts + np.arange(self.num_segments) * (self.window // self.num_segments)
        return frames


@SAMPLERS.register("interval")
@dataclass(frozen=True)
class Interval(Sampler):
    """T evenly spaced frames of a window of T * interval frames at `target_fps`, whatever the clip's own frame rate.

    With w the window's length in frames of the clip, the frames go from its first to its (w - 1)th, so that they are
    (w - 1) / (T - 1) apart; where the clip ends earlier, its last frame is repeated. A window starts at random in training, in
    the middle in a test of one view, and view v of V at the fraction v / V of the possible starts, so that the last view does
    not reach the clip's end: as published.

    Attributes:
        minus_interval: The frames end `interval` frames before the window's end instead of one.

    Source: Huang et al., TAda! Temporally-Adaptive Convolutions for Video Understanding, ICLR 2022, the authors' code
    (interval-based sampling).
    """

    has_interval = True
    uses_frame_rate = True
    minus_interval: bool = False

    def span(self, frame_rate: float) -> float:
        """The window: so much time, whatever the rate."""
        return self._window(frame_rate)

    def spanning(self, num_frames: int, frame_rate: float) -> Interval:
        """See `Sampler.spanning`."""
        target_fps = self.num_segments * self.interval * frame_rate / num_frames
        return dataclasses.replace(self, target_fps=target_fps)

    def _train_places(self, num_frames: int, generator: Generator, frame_rate: float) -> npt.NDArray[Any]:
        window = self._window(frame_rate)
        return self._spread(max(num_frames - window, 0) * generator.random(), window, num_frames)

    def _test_places(self, num_frames: int, num_clips: int, frame_rate: float) -> npt.NDArray[Any]:
        window = self._window(frame_rate)
        free = max(num_frames - window, 0)
        starts = [free / 2] if num_clips == 1 else [free * view / num_clips for view in range(num_clips)]
        return np.stack([self._spread(start, window, num_frames) for start in starts])

    def _window(self, frame_rate: float) -> float:
        """Length of a window in frames of the clip."""
        return self.num_segments * self.interval * frame_rate / self.target_fps

    def _spread(self, start: float, window: float, num_frames: int) -> npt.NDArray[Any]:
        stop = start + window - (self.interval if self.minus_interval else 1)
        return even_float32(start, stop, self.num_segments).clip(0, num_frames - 1)


@SAMPLERS.register("strided")
@dataclass(frozen=True)
class Strided(Sampler):
    """Every `interval`th frame, T of them; beyond the clip's end they go on at its start.

    A window starts at random in training, in tests at V evenly spaced frames from the clip's first to the last that leaves
    room for it, and for one view in the middle.

    Source: mmaction2 1.x, `SampleFrames` with `clip_len=T`, `frame_interval=interval`, as the 3-D networks have it.
    """

    has_interval = True
    is_looping = True

    def span(self, frame_rate: float) -> float:
        """T intervals, whatever the rate."""
        return self.num_segments * self.interval

    def spanning(self, num_frames: int, frame_rate: float) -> Strided:
        """See `Sampler.spanning`; intervals are whole numbers, so that up to T - 1 frames may be left over."""
        return dataclasses.replace(self, interval=max(num_frames // self.num_segments, 1))

    def _train_places(self, num_frames: int, generator: Generator, frame_rate: float) -> npt.NDArray[Any]:
        num_starts = num_frames - self.num_segments * self.interval + 1
        return self._window(generator.integers(0, num_starts, size=1)[0] if num_starts > 0 else 0)

    def _test_places(self, num_frames: int, num_clips: int, frame_rate: float) -> npt.NDArray[Any]:
        length = (self.num_segments - 1) * self.interval + 1
        return self._window(even_starts(num_frames - length, num_clips)[:, None])

    def _window(self, starts: Any) -> npt.NDArray[Any]:
        frames: npt.NDArray[Any] = starts + np.arange(self.num_segments) * self.interval
        return frames
