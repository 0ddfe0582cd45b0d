"""The frames of windows along long videos: which they are, and each read and transformed once, whatever the windows share.

# W windows, F frames of a window, N frames that are needed, R crops, C channels, H height, W width
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoopraxis.data.index import Clip
from zoopraxis.data.sampling import Sampler
from zoopraxis.data.stores import ClipStore
from zoopraxis.data.stores.video import VideoStore
from zoopraxis.data.transforms import NumCrops, TestTransform
from zoopraxis.errors import ConfigError, DataError

__all__ = ["FrameRing", "WindowPlan", "Windows", "plan_windows", "read_frames"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
UInt8Array = npt.NDArray[np.uint8]

_BLOCK_FRAMES, _BLOCK_BYTES = 32, 64 << 20
"""Frames that are decoded and transformed together, at most."""
_TOLERANCE = 1e-6
"""Of a frame's length: by so much a window may begin after the frame that it is meant to begin with."""


@dataclass(frozen=True)
class Windows:
    """Windows along a video, and what is kept of each.

    Attributes:
        stride: Seconds from one window to the next. Window k is centered at (k + 1/2) * stride, for all k with a center in the
            video; where it reaches beyond the video, the first or last frame is repeated.
        length: Seconds of a window; none: what the network's rule of sampling covers. Rules that take frames from all of a
            clip, however long, need it.
        num_crops: Crops of each frame: 1, 3, 5 or 10. Their features, and scores, stand side by side.
        has_scores: Whether the heads' logits are kept too, as modalities `score:<head>`.

    Raises:
        ConfigError: If a number is out of range.
    """

    stride: float
    length: float | None = None
    num_crops: NumCrops = 1
    has_scores: bool = False

    def __post_init__(self) -> None:
        for name, value in (("stride", self.stride), ("length", self.length)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"the {name} of windows ({value} s) must be positive; give seconds, e.g. 0.5")
        if self.num_crops not in get_args(NumCrops):
            raise ConfigError(f"num_crops is {self.num_crops}, but it must be 1, 3, 5 or 10")

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Self:
        """The windows that a feature store's `meta` tells.

        Raises:
            DataError: If the features are not of windows.
        """
        try:
            return cls(**meta["windows"])
        except (KeyError, TypeError) as error:
            raise DataError(
                "these features do not tell the windows that they are of; make them by `prepare features extract --per window`"
            ) from error


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """What is read of one video.

    Attributes:
        frames: Numbers of the frames that the windows need, shape (N,), ascending, no repeats.
        places: Which of these each window has, shape (W, F), in the order that the network sees them.
        centers: Where each window's center lies, seconds from the video's start, shape (W,).
    """

    frames: IntArray
    places: IntArray
    centers: FloatArray

    @property
    def reach(self) -> int:
        """Needed frames from a window's first to its last, both included: the most of any window."""
        return int((self.places.max(axis=1) - self.places.min(axis=1)).max()) + 1


def plan_windows(sampler: Sampler, store: ClipStore, clip: Clip, windows: Windows, *, fps: float | None = None) -> WindowPlan:
    """Which frames the windows along a video have.

    A window is read as a clip of its length would be in a test of one view. Where frames have times of their own, they are
    those on display at a constant rate.

    Args:
        sampler: The network's rule.
        store: Where the frames are.
        clip: The video, or a span of one.
        windows: Where they lie.
        fps: Frame rate where the store does not tell it.

    Raises:
        DataError: If the video cannot be read, has no frames or no known rate.
        ValueError: If windows have no length and the rule's views cover all of a clip, however long.
    """
    num_frames, rate = store.num_frames(clip), store.frame_rate(clip) or fps
    if num_frames < 1:
        raise DataError(f"clip {clip.clip_id!r} has no frames; get or make it again")
    if rate is None:
        raise DataError(f"clip {clip.clip_id!r} has no known frame rate; give it: --fps")
    shown = _shown_frames(store, clip, num_frames, rate)
    own_length = sampler.span(rate)
    if windows.length is not None:
        num_inside = max(1, round(windows.length * rate))
        rule = sampler.spanning(num_inside, rate)
    elif own_length is not None:
        num_inside, rule = max(1, round(own_length)), sampler
    else:
        raise ValueError(f"{type(sampler).__name__} sampling has views of any length; give the windows' length")
    stride = windows.stride
    num_windows = max(1, math.ceil(len(shown) / rate / stride - 0.5 - _TOLERANCE))
    centers_W: FloatArray = (np.arange(num_windows, dtype=np.float64) + 0.5) * stride
    starts_W = np.ceil(centers_W * rate - num_inside / 2 - _TOLERANCE).astype(np.int64)
    offsets_F = rule.test(num_inside, frame_rate=rate)
    frames_WF = shown[(starts_W[:, None] + offsets_F).clip(0, len(shown) - 1)]
    frames_N, places = np.unique(frames_WF, return_inverse=True)
    return WindowPlan(frames_N, places.reshape(frames_WF.shape).astype(np.int64), centers_W)


def _shown_frames(store: ClipStore, clip: Clip, num_frames: int, rate: float) -> IntArray:
    """The frame on display in each of equal steps of 1 / `rate` seconds."""
    if not isinstance(store, VideoStore):
        return np.arange(num_frames)
    times_N = store.frame_times(clip)
    num_steps = max(1, round(float(times_N[-1]) * rate) + 1)
    shown: IntArray = np.searchsorted(times_N, (np.arange(num_steps) + 0.5) / rate, side="right") - 1
    return shown.clip(0)


def read_frames(store: ClipStore, clip: Clip, frames: IntArray, transform: TestTransform) -> Iterator[Tensor]:
    """Frames of a clip in order, transformed, in blocks.

    Args:
        store: Where they are.
        clip: The clip.
        frames: Their numbers, shape (N,), ascending, no repeats.
        transform: Of single frames, not stacked.

    Yields:
        uint8, shape (n, R, C, H, W), each frame's values side by side in memory (channels last).

    Raises:
        DataError: If a frame cannot be read.
    """
    for images in _blocks(store, clip, frames):
        block = transform(images)
        yield block[:, None] if transform.num_crops == 1 else block.transpose(0, 1)


def _blocks(store: ClipStore, clip: Clip, frames: IntArray) -> Iterator[UInt8Array]:
    """Frames as they are stored, in blocks of shape (n, H, W, C) that are not too large."""
    if isinstance(store, VideoStore):
        held: list[UInt8Array] = []
        for image in store.iter_frames(clip, frames):
            held.append(image)
            if len(held) >= _block_size(image):
                yield np.stack(held)
                held = []
        if held:
            yield np.stack(held)
        return
    start, size = 0, 1
    while start < len(frames):
        block = store.read(clip, frames[start : start + size])
        yield block
        start, size = start + len(block), _block_size(block[0])


def _block_size(image: UInt8Array) -> int:
    return max(1, min(_BLOCK_FRAMES, _BLOCK_BYTES // image.nbytes))


class FrameRing:
    """The last transformed frames of a video, from which its windows are gathered as soon as they are whole.

    Args:
        plan: What is read of the video.
        segment_length: Consecutive frames that are stacked on the channel axis.
    """

    def __init__(self, plan: WindowPlan, *, segment_length: int = 1) -> None:
        self._places = torch.from_numpy(plan.places)
        self._last_places = plan.places.max(axis=1)  # ascending, as the windows are
        self.capacity = plan.reach + _BLOCK_FRAMES
        """Frames that are held at most."""
        self._segment_length = segment_length
        self._frames: Tensor | None = None
        self._num_seen = 0
        self.num_windows = 0
        """Windows that were gathered."""

    def add(self, block: Tensor) -> Iterator[Tensor]:
        """The windows that are whole with the next frames.

        Args:
            block: uint8, shape (n, R, C, H, W), at most as many as `read_frames` gives at a time.

        Yields:
            Each window, uint8, shape (R, T, C * segment_length, H, W), channels-last memory.
        """
        pixels = block.permute(0, 1, 3, 4, 2)
        if self._frames is None:
            self._frames = torch.empty((self.capacity, *pixels.shape[1:]), dtype=torch.uint8)
        start = self._num_seen % self.capacity
        before_end = pixels[: self.capacity - start]
        self._frames[start : start + len(before_end)] = before_end
        self._frames[: len(pixels) - len(before_end)] = pixels[len(before_end) :]
        self._num_seen += len(block)
        num_whole = int(np.searchsorted(self._last_places, self._num_seen))
        for number in range(self.num_windows, num_whole):
            window_FRHWC = self._frames.index_select(0, self._places[number] % self.capacity)
            self.num_windows = number + 1
            yield self._stacked(window_FRHWC)

    def _stacked(self, window_FRHWC: Tensor) -> Tensor:
        window = torch.unflatten(window_FRHWC, 0, (-1, self._segment_length))
        return window.permute(2, 0, 3, 4, 1, 5).flatten(4).permute(0, 1, 4, 2, 3)
