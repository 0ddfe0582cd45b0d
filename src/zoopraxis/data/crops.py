"""Which part of a clip's frames is trained on: croppers that draw one crop for all frames of a clip.

Source: EPIC-KITCHENS-100 action recognition baselines, after Wang et al., Temporal Segment Networks, ECCV 2016.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from zoopraxis.data.sampling import Generator

__all__ = ["Crop", "Cropper", "MultiScaleCrop", "RandomResizedCrop", "RandomShortSideCrop"]

_SNAP_PX = 2
"""A crop side this near to the output size becomes the output size."""

_MULTI_SCALE_POSITIONS = (
    *((0, 0), (4, 0), (0, 4), (4, 4), (2, 2)),
    *((0, 2), (4, 2), (2, 4), (2, 0)),
    *((1, 1), (3, 1), (1, 3), (3, 3)),
)
"""Offsets (x, y) of a crop in quarters of the free space, in the published order: corners and center, edges, quarter points."""


class Crop(NamedTuple):
    """A rectangle of a frame, px.

    Attributes:
        top: Its first row.
        left: Its first column.
        height: Its rows.
        width: Its columns.
        resized: Height and width that the frame is resized to before the rectangle is cut out; none: the frame as it is.
    """

    top: int
    left: int
    height: int
    width: int
    resized: tuple[int, int] | None = None


class Cropper(Protocol):
    """Chooses one crop for all frames of a clip."""

    def __call__(self, height: int, width: int, generator: Generator) -> Crop:
        """A crop that lies inside a frame of `height` x `width`, or of the size that it says the frame is resized to."""
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


@dataclass(frozen=True)
class RandomShortSideCrop:
    """A square of a fixed size at a random place, after the frame's shorter side is resized to a random length.

    Attributes:
        size: Side of the square, px.
        short_side: Bounds of the shorter side, px. The length is cut to whole pixels, as published, so that the upper bound
            itself is not drawn, unless both are the same.

    Raises:
        ValueError: If the bounds are not in order, or the square does not fit.

    Source: Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015, as the authors of TAda! (ICLR 2022) run it.
    """

    size: int
    short_side: tuple[int, int] = (224, 340)

    def __post_init__(self) -> None:
        low, high = self.short_side
        if not self.size <= low <= high:
            raise ValueError(f"short_side ({low}, {high}) must ascend and begin at size ({self.size}) or more")

    def __call__(self, height: int, width: int, generator: Generator) -> Crop:
        """Draw the length, then the place: the column first."""
        low, high = self.short_side
        length = int(low + (high - low) * generator.random())
        resized = height * length // min(height, width), width * length // min(height, width)
        left = int((resized[1] - self.size) * generator.random())
        top = int((resized[0] - self.size) * generator.random())
        return Crop(top, left, self.size, self.size, resized)
