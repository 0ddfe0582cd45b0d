"""From stored frames to network input, uint8 all the way.

Frames come as stores give them, (N, H, W, C) uint8 with C = 3 (RGB) or 2 (flow u, v) and N = T * segment_length. Seen as
(N, C, H, W) they are channels-last, in which torch resizes uint8 fastest; only the crop is read, and the full frames are never
copied. What leaves is (T, C * segment_length, h, w) uint8, channels-last: flow is stacked u0, v0, u1, v1, ... Scaling and
normalization happen later, on the batch, on the device.

Source: EPIC-KITCHENS-100 action recognition baselines, after Wang et al., Temporal Segment Networks, ECCV 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from zoopraxis.data.sampling import Generator

__all__ = [
    "ClipTransform",
    "Crop",
    "Cropper",
    "Modality",
    "MultiScaleCrop",
    "NumCrops",
    "RandomResizedCrop",
    "TestTransform",
    "TrainTransform",
    "UInt8Array",
]

UInt8Array = npt.NDArray[np.uint8]
Modality = Literal["rgb", "flow"]
NumCrops = Literal[1, 3, 5, 10]

_SNAP_PX = 2
"""A crop side this near to the output size becomes the output size."""

_MULTI_SCALE_POSITIONS = (
    *((0, 0), (4, 0), (0, 4), (4, 4), (2, 2)),
    *((0, 2), (4, 2), (2, 4), (2, 0)),
    *((1, 1), (3, 1), (1, 3), (3, 3)),
)
"""Offsets (x, y) of a crop in quarters of the free space, in the published order: corners and center, edges, quarter points."""

_TEST_POSITIONS: dict[int, Sequence[tuple[float, float]]] = {
    1: [(0.5, 0.5)],
    3: [(0.0, 0.5), (0.5, 0.5), (1.0, 0.5)],
    5: [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5)],
}
"""Offsets of test crops (along the longer side, along the shorter side) as fractions of the free space."""


class Crop(NamedTuple):
    """A rectangle of a frame, px."""

    top: int
    left: int
    height: int
    width: int


class Cropper(Protocol):
    """Chooses one crop for all frames of a clip."""

    def __call__(self, height: int, width: int, generator: Generator) -> Crop:
        """A crop that lies inside a frame of `height` x `width`."""
        ...


class ClipTransform(Protocol):
    """What `ClipDataset` calls on the frames of a clip."""

    @property
    def num_crops(self) -> int:
        """Crops per frame."""
        ...

    @property
    def segment_length(self) -> int:
        """Consecutive frames that it stacks on the channel axis."""
        ...

    def __call__(self, frames: UInt8Array, generator: Generator | None) -> Tensor:
        """uint8 frames (N, H, W, C) to (T, C', h, w), or to (num_crops, T, C', h, w) when there are several crops."""
        ...


@dataclass(frozen=True)
class MultiScaleCrop:
    """One of a few sizes, at one of 13 places.

    Sides are fractions of the frame's shorter side; the two sides' scales are at most one step of `scales` apart.

    Differs: in a frame that is one or two pixels smaller than `size`, the published crop reaches over the edge, where it is
    black. Here it stays inside.

    Attributes:
        size: Side of the network's input, px; a crop side within 2 px of it becomes it.
        scales: The fractions.
    """

    size: int
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66)

    def __call__(self, height: int, width: int, generator: Generator) -> Crop:
        """Draw the size, then the place."""
        longest = min(height, width)
        lengths = [min(max(1, int(longest * scale)), longest) for scale in self.scales]
        sides = [min(self.size, longest) if abs(length - self.size) <= _SNAP_PX else length for length in lengths]
        shapes = [(h, w) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= 1]
        crop_height, crop_width = shapes[int(generator.integers(0, len(shapes)))]
        x, y = _MULTI_SCALE_POSITIONS[int(generator.integers(0, len(_MULTI_SCALE_POSITIONS)))]
        top, left = y * ((height - crop_height) // 4), x * ((width - crop_width) // 4)
        return Crop(top, left, crop_height, crop_width)


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random part of the frame's area with a random aspect ratio, at a random place.

    Attributes:
        scale: Bounds of the crop's area as a fraction of the frame's.
        ratio: Bounds of width / height, drawn uniformly in the logarithm.

    Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __call__(self, height: int, width: int, generator: Generator) -> Crop:
        """Draw up to ten shapes; if none fits into the frame, take the largest centered crop whose ratio is in bounds."""
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            area = height * width * (self.scale[0] + (self.scale[1] - self.scale[0]) * generator.random())
            ratio = math.exp(low + (high - low) * generator.random())
            crop_height, crop_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < crop_height <= height and 0 < crop_width <= width:
                top = int(generator.integers(0, height - crop_height + 1))
                left = int(generator.integers(0, width - crop_width + 1))
                return Crop(top, left, crop_height, crop_width)
        crop_height = min(height, round(width / self.ratio[0]))
        crop_width = min(width, round(height * self.ratio[1]))
        return Crop((height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width)


class TrainTransform:
    """Crop, resize and flip, each decided once a clip.

    Args:
        size: Height and width of the output, px.
        crop: Chooses the crop; none: `MultiScaleCrop(size)`.
        flip: Probability of a horizontal flip; flow's u is inverted (255 - u) with it, because left becomes right.
        modality: What the frames are.
        segment_length: Consecutive frames that are stacked on the channel axis.
    """

    num_crops = 1

    def __init__(
        self,
        *,
        size: int = 224,
        crop: Cropper | None = None,
        flip: float = 0.5,
        modality: Modality = "rgb",
        segment_length: int = 1,
    ) -> None:
        self.size = size
        self.crop: Cropper = MultiScaleCrop(size) if crop is None else crop
        self.flip = flip
        self.modality = modality
        self.segment_length = segment_length

    def __call__(self, frames: UInt8Array, generator: Generator | None) -> Tensor:
        """uint8 frames (T * segment_length, H, W, C) to (T, C * segment_length, size, size), channels-last.

        Raises:
            ValueError: If there is no generator, or the frames are not of the modality.
        """
        if generator is None:
            raise ValueError("a training transform draws at random; pass a generator, or use TestTransform")
        frames_NCHW = _as_channels_last(frames, self.modality)
        crop = self.crop(frames_NCHW.shape[2], frames_NCHW.shape[3], generator)
        clip = _resize(_cut(frames_NCHW, crop), self.size, self.size)
        if generator.random() < self.flip:
            clip = _flip(clip, self.modality)
        return _stack(clip, self.segment_length)


class TestTransform:
    """Resize the shorter side, then crop in the center or at several fixed places.

    Args:
        size: Height and width of the output, px.
        resize: The frames' shorter side before the crop, px, at least `size`.
        num_crops: 1: center. 3: both ends and the center of the longer side. 5: corners and center. 10: those 5, then those 5
            flipped (flow with u inverted).
        modality: What the frames are.
        segment_length: Consecutive frames that are stacked on the channel axis.

    Raises:
        ValueError: If `resize` is less than `size`, or `num_crops` is another number.
    """

    __test__ = False  # pytest: not a test class

    def __init__(
        self,
        *,
        size: int = 224,
        resize: int = 256,
        num_crops: NumCrops = 1,
        modality: Modality = "rgb",
        segment_length: int = 1,
    ) -> None:
        if resize < size:
            raise ValueError(f"resize ({resize}) must be at least size ({size}); try resize={size}")
        if num_crops not in _TEST_POSITIONS and num_crops != 10:
            raise ValueError(f"num_crops ({num_crops}) must be 1, 3, 5 or 10")
        self.size = size
        self.resize = resize
        self.num_crops = num_crops
        self.modality = modality
        self.segment_length = segment_length

    def __call__(self, frames: UInt8Array, generator: Generator | None = None) -> Tensor:
        """uint8 frames (T * segment_length, H, W, C) to (T, C * segment_length, size, size), channels-last.

        With several crops the result is (num_crops, T, C * segment_length, size, size). `generator` is not used.

        Raises:
            ValueError: If the frames are not of the modality.
        """
        frames_NCHW = _as_channels_last(frames, self.modality)
        height, width = frames_NCHW.shape[-2:]
        shorter = min(height, width)
        resized = _resize(frames_NCHW, self.resize * height // shorter, self.resize * width // shorter)
        crops = [_cut(resized, crop) for crop in _test_crops(resized, self.size, min(self.num_crops, 5))]
        if self.num_crops == 10:
            crops += [_flip(crop, self.modality) for crop in crops]
        clips = [_stack(crop, self.segment_length) for crop in crops]
        if self.num_crops == 1:
            return clips[0]
        return torch.stack([clip.permute(0, 2, 3, 1) for clip in clips]).permute(0, 1, 4, 2, 3)


def _test_crops(frames_NCHW: Tensor, size: int, num_crops: int) -> list[Crop]:
    height, width = frames_NCHW.shape[-2:]
    crops = []
    for along, across in _TEST_POSITIONS[num_crops]:
        x, y = (along, across) if width >= height else (across, along)
        crops.append(Crop(round((height - size) * y), round((width - size) * x), size, size))
    return crops


def _as_channels_last(frames: UInt8Array, modality: Modality) -> Tensor:
    channels = {"rgb": 3, "flow": 2}[modality]
    if frames.ndim != 4 or frames.shape[-1] != channels or frames.dtype != np.uint8:
        raise ValueError(f"{modality} frames must be uint8 (N, H, W, {channels}); these are {frames.dtype} {frames.shape}")
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def _cut(frames_NCHW: Tensor, crop: Crop) -> Tensor:
    """A view of the crop."""
    return frames_NCHW[..., crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def _resize(frames_NCHW: Tensor, height: int, width: int) -> Tensor:
    """Bilinear with antialiasing, on uint8: within one level of Pillow's."""
    if frames_NCHW.shape[-2:] == (height, width):
        return frames_NCHW
    return interpolate(frames_NCHW, (height, width), mode="bilinear", antialias=True)


def _flip(frames_NCHW: Tensor, modality: Modality) -> Tensor:
    flipped = frames_NCHW.flip(-1)
    if modality == "flow":
        flow_u = flipped[:, 0]
        torch.bitwise_not(flow_u, out=flow_u)  # 255 - u
    return flipped


def _stack(frames_NCHW: Tensor, segment_length: int) -> Tensor:
    """(T * L, C, h, w) to (T, L * C, h, w), in channels-last memory of its own."""
    if segment_length == 1:
        return frames_NCHW.contiguous(memory_format=torch.channels_last)
    num_frames, channels, height, width = frames_NCHW.shape
    frames_NHWC = frames_NCHW.permute(0, 2, 3, 1)
    if channels == 2:  # a (u, v) pair is moved as one 16-bit number: ten times faster
        frames_NHWC = frames_NHWC.view(torch.int16)
    clip_TLHWC = frames_NHWC.reshape(num_frames // segment_length, segment_length, height, width, -1)
    clip_THWLC = clip_TLHWC.permute(0, 2, 3, 1, 4).contiguous()
    return clip_THWLC.view(torch.uint8).flatten(3).permute(0, 3, 1, 2)
