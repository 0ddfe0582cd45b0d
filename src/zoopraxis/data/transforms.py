"""From stored frames to network input, uint8 all the way.

Frames come as stores give them, (N, H, W, C) uint8 with C = 3 (RGB) or 2 (flow u, v) and N = T * segment_length. Seen as
(N, C, H, W) they are channels-last, in which torch resizes uint8 fastest; only the crop is read, and the full frames are never
copied. What leaves is (T, C * segment_length, h, w) uint8, channels-last: flow is stacked u0, v0, u1, v1, ... Scaling and
normalization happen later, on the batch, on the device.

Source: EPIC-KITCHENS-100 action recognition baselines, after Wang et al., Temporal Segment Networks, ECCV 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from zoopraxis.data.crops import Crop, Cropper, MultiScaleCrop
from zoopraxis.data.sampling import Generator

__all__ = [
    "ClipTransform",
    "CropOrder",
    "FrameAugmentation",
    "Modality",
    "NumCrops",
    "TestTransform",
    "TrainTransform",
    "UInt8Array",
]

UInt8Array = npt.NDArray[np.uint8]
Modality = Literal["rgb", "flow"]
NumCrops = Literal[1, 3, 5, 10]
CropOrder = Literal["left_center_right", "left_right_center"]

_TEST_POSITIONS: dict[int, Sequence[tuple[float, float]]] = {
    1: [(0.5, 0.5)],
    3: [(0.0, 0.5), (0.5, 0.5), (1.0, 0.5)],
    5: [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5)],
}
"""Offsets of test crops (along the longer side, along the shorter side) as fractions of the free space."""
_ORDERS_OF_THREE: dict[CropOrder, Sequence[int]] = {"left_center_right": (0, 1, 2), "left_right_center": (0, 2, 1)}


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

    def apply(self, frames: UInt8Array, generator: Generator | None) -> tuple[Tensor, bool]:
        """uint8 frames (N, H, W, C) to (T, C', h, w), or to (num_crops, T, C', h, w) when there are several crops.

        Returns:
            The clip, and whether it was flipped, so that left is right in it.
        """
        ...


class FrameAugmentation(Protocol):
    """What `TrainTransform` does to RGB frames that are cropped and flipped: `RandAugment`, `ColorJitter`."""

    def __call__(self, frames: Tensor, generator: Generator) -> Tensor:
        """uint8 frames (N, 3, h, w) of one clip to as many of the same size; what is drawn holds for all of them."""
        ...


class TrainTransform:
    """Crop, resize and flip, each decided once a clip, then further augmentations.

    Args:
        size: Height and width of the output, px.
        crop: Chooses the crop; none: `MultiScaleCrop(size)`.
        flip: Probability of a horizontal flip; flow's u is inverted (255 - u) with it, because left becomes right.
        modality: What the frames are.
        segment_length: Consecutive frames that are stacked on the channel axis.
        antialias: Whether frames are low-passed when they are made smaller.
        augmentations: What follows, in this order; for RGB only.

    Raises:
        ValueError: If there are augmentations for flow.
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
        antialias: bool = True,
        augmentations: Sequence[FrameAugmentation] = (),
    ) -> None:
        if augmentations and modality != "rgb":
            raise ValueError(f"augmentations are for rgb, not for {modality}; leave them out")
        self.size = size
        self.crop: Cropper = MultiScaleCrop(size) if crop is None else crop
        self.flip = flip
        self.modality = modality
        self.segment_length = segment_length
        self.antialias = antialias
        self.augmentations = tuple(augmentations)

    def __call__(self, frames: UInt8Array, generator: Generator | None) -> Tensor:
        """The clip of `apply`."""
        return self.apply(frames, generator)[0]

    def apply(self, frames: UInt8Array, generator: Generator | None) -> tuple[Tensor, bool]:
        """uint8 frames (T * segment_length, H, W, C) to (T, C * segment_length, size, size), channels-last.

        Returns:
            The clip, and whether it was flipped.

        Raises:
            ValueError: If there is no generator, or the frames are not of the modality.
        """
        if generator is None:
            raise ValueError("a training transform draws at random; pass a generator, or use TestTransform")
        frames_NCHW = _as_channels_last(frames, self.modality)
        crop = self.crop(frames_NCHW.shape[2], frames_NCHW.shape[3], generator)
        if crop.resized is not None:
            frames_NCHW = _resize(frames_NCHW, *crop.resized, antialias=self.antialias)
        clip = _resize(_cut(frames_NCHW, crop), self.size, self.size, antialias=self.antialias)
        is_flipped = bool(generator.random() < self.flip)
        if is_flipped:
            clip = _flip(clip, self.modality)
        for augmentation in self.augmentations:
            clip = augmentation(clip, generator)
        return _stack(clip, self.segment_length), is_flipped


class TestTransform:
    """Resize the shorter side, then crop in the center or at several fixed places.

    Args:
        size: Height and width of the output, px.
        resize: The frames' shorter side before the crop, px, at least `size`.
        num_crops: 1: center. 3: both ends and the center of the longer side. 5: corners and center. 10: those 5, then those 5
            flipped (flow with u inverted).
        modality: What the frames are.
        segment_length: Consecutive frames that are stacked on the channel axis.
        antialias: Whether frames are low-passed when they are made smaller.
        crop_order: Order of 3 crops; of upright frames left is top.

    Half pixels are rounded as published: to the even pixel by torchvision (1, 5 and 10 crops), down by TAda! and mmaction2 (3).

    Differs: of an odd number of free pixels mmaction2 leaves one beyond the right one of its 3 crops. Here none is left.

    Raises:
        ValueError: If `resize` is less than `size`, or `num_crops` or `crop_order` is another.
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
        antialias: bool = True,
        crop_order: CropOrder = "left_center_right",
    ) -> None:
        if resize < size:
            raise ValueError(f"resize ({resize}) must be at least size ({size}); try resize={size}")
        if num_crops not in _TEST_POSITIONS and num_crops != 10:
            raise ValueError(f"num_crops ({num_crops}) must be 1, 3, 5 or 10")
        if crop_order not in _ORDERS_OF_THREE:
            raise ValueError(f"crop_order ({crop_order!r}) must be one of {', '.join(_ORDERS_OF_THREE)}")
        self.size = size
        self.resize = resize
        self.num_crops = num_crops
        self.modality = modality
        self.segment_length = segment_length
        self.antialias = antialias
        self.crop_order: CropOrder = crop_order

    def __call__(self, frames: UInt8Array, generator: Generator | None = None) -> Tensor:
        """The clip of `apply`."""
        return self.apply(frames, generator)[0]

    def apply(self, frames: UInt8Array, generator: Generator | None = None) -> tuple[Tensor, bool]:
        """uint8 frames (T * segment_length, H, W, C) to (T, C * segment_length, size, size), channels-last.

        With several crops the result is (num_crops, T, C * segment_length, size, size). `generator` is not used.

        Returns:
            The clip, and false: it is not flipped.

        Raises:
            ValueError: If the frames are not of the modality.
        """
        frames_NCHW = _as_channels_last(frames, self.modality)
        height, width = frames_NCHW.shape[-2:]
        shorter = min(height, width)
        new_height, new_width = self.resize * height // shorter, self.resize * width // shorter
        resized = _resize(frames_NCHW, new_height, new_width, antialias=self.antialias)
        crops = [_cut(resized, crop) for crop in self._crops(new_height, new_width)]
        if self.num_crops == 10:
            crops += [_flip(crop, self.modality) for crop in crops]
        clips = [_stack(crop, self.segment_length) for crop in crops]
        if self.num_crops == 1:
            return clips[0], False
        return torch.stack([clip.permute(0, 2, 3, 1) for clip in clips]).permute(0, 1, 4, 2, 3), False

    def _crops(self, height: int, width: int) -> list[Crop]:
        """The crops of a resized frame, of 10 the 5 that are not flipped."""
        crops = []
        whole: Callable[[float], int] = int if self.num_crops == 3 else round
        for along, across in _TEST_POSITIONS[min(self.num_crops, 5)]:
            x, y = (along, across) if width >= height else (across, along)
            crops.append(Crop(whole((height - self.size) * y), whole((width - self.size) * x), self.size, self.size))
        return [crops[place] for place in _ORDERS_OF_THREE[self.crop_order]] if self.num_crops == 3 else crops


def _as_channels_last(frames: UInt8Array, modality: Modality) -> Tensor:
    channels = {"rgb": 3, "flow": 2}[modality]
    if frames.ndim != 4 or frames.shape[-1] != channels or frames.dtype != np.uint8:
        raise ValueError(f"{modality} frames must be uint8 (N, H, W, {channels}); these are {frames.dtype} {frames.shape}")
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def _cut(frames_NCHW: Tensor, crop: Crop) -> Tensor:
    """A view of the crop."""
    return frames_NCHW[..., crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def _resize(frames_NCHW: Tensor, height: int, width: int, *, antialias: bool) -> Tensor:
    """Bilinear, on uint8: with antialiasing within one level of Pillow's, without it within one level of exact."""
    if frames_NCHW.shape[-2:] == (height, width):
        return frames_NCHW
    return interpolate(frames_NCHW, (height, width), mode="bilinear", antialias=antialias)


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
