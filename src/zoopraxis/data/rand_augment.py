"""RandAugment of training clips: a few operations drawn at random, the same, equally strong, for all frames of a clip.

The operations, and how strong each is at which magnitude, are those of timm's "increasing" form; `rand-m9-n4-mstd0.5-inc1` of a
published recipe is `RandAugment(num_ops=4, magnitude=9, magnitude_std=0.5)`. Frames are uint8 (N, 3, H, W).

Differs: timm goes image by image through Pillow. Here a clip is one tensor. Values agree to one level, but along the frame's
edge, where Pillow repeats the last pixels and these blend them with the fill, and in Rotate, whose cubic kernel is torch's
(-0.75), a little softer than Pillow's (-1). PosterizeIncreasing leaves at least one bit: without any, at magnitude 10, old
versions of Pillow give black, and new ones an error.

Source: Cubuk et al., RandAugment, NeurIPS 2020 workshops; operations and magnitudes as in timm (`timm.data.auto_augment`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from zoopraxis.data.colors import LUMA, adjust_saturation
from zoopraxis.data.sampling import Generator

__all__ = ["OPERATIONS", "Operation", "RandAugment"]

FloatArray = npt.NDArray[np.floating[Any]]

_MAX_MAGNITUDE = 10.0
_VALUES = np.arange(256.0)
_BLOCK_ROWS = 8
"""Rows of all frames that are moved at a time."""
_FILL = 128
"""Gray of pixels that a geometric operation brings in from outside the frame."""


class Operation(NamedTuple):
    """What an operation does.

    Attributes:
        strength: From a level, in [0, 1], or in [-1, 1] if it is signed, to the second argument of `apply`.
        is_signed: Whether it goes in one of two directions, drawn with equal probability.
        apply: Frames, contiguous, and strength to contiguous frames; it does not write into those it is given.
    """

    strength: Callable[[float], float]
    is_signed: bool
    apply: Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class RandAugment:
    """Some operations one after the other, drawn with replacement; each is carried out with a probability.

    Attributes:
        num_ops: Operations drawn.
        magnitude: Mean of the normal distribution that an operation's magnitude is drawn from; cut to [0, 10].
        magnitude_std: Its standard deviation.
        probability: That a drawn operation is carried out.
    """

    num_ops: int = 2
    magnitude: float = 9.0
    magnitude_std: float = 0.5
    probability: float = 0.5

    def __call__(self, frames: Tensor, generator: Generator) -> Tensor:
        """uint8 frames (N, 3, H, W) to such frames, channels-last if something was done to them."""
        return self.apply(frames, self.draw(generator))

    def draw(self, generator: Generator) -> list[tuple[str, float]]:
        """The operations that a clip gets, and how strong each is."""
        drawn: list[tuple[str, float]] = []
        names = list(OPERATIONS)
        for _ in range(self.num_ops):
            name = names[int(generator.integers(0, len(names)))]
            if generator.random() >= self.probability:
                continue
            magnitude = self.magnitude + self.magnitude_std * generator.normal()
            level = min(max(magnitude, 0.0), _MAX_MAGNITUDE) / _MAX_MAGNITUDE
            if OPERATIONS[name].is_signed and generator.random() < 0.5:
                level = -level
            drawn.append((name, OPERATIONS[name].strength(level)))
        return drawn

    @staticmethod
    def apply(frames: Tensor, drawn: Sequence[tuple[str, float]]) -> Tensor:
        """What a call does once the operations and their strengths are drawn."""
        if not drawn:
            return frames
        planes = frames.contiguous()
        for name, strength in drawn:
            planes = OPERATIONS[name].apply(planes, strength)
        return planes.contiguous(memory_format=torch.channels_last)


def _auto_contrast(frames: Tensor, _: float) -> Tensor:
    """Each channel of each frame is stretched to 0 to 255."""
    low, high = (extreme.numpy().astype(np.float64)[..., None] for extreme in (frames.amin((-2, -1)), frames.amax((-2, -1))))
    is_flat = low == high
    scale = np.where(is_flat, 1.0, 255 / np.maximum(high - low, 1))
    return _look_up(frames, _VALUES * scale - np.where(is_flat, 0.0, low * scale))


def _equalize(frames: Tensor, _: float) -> Tensor:
    """Each channel of each frame is given values that come equally often, as far as can be."""
    counts = np.stack([torch.bincount(plane, minlength=256).numpy() for plane in frames.flatten(0, 1).flatten(1)])
    last = 255 - (counts[:, ::-1] > 0).argmax(1)
    step = (counts.sum(1) - counts[np.arange(len(counts)), last])[:, None] // 255
    before = np.cumsum(counts, axis=1) - counts
    tables = np.where(step > 0, (before + step // 2) // np.maximum(step, 1), _VALUES)
    return _look_up(frames, tables.reshape(*frames.shape[:2], 256))


def _brightness(frames: Tensor, factor: float) -> Tensor:
    return _look_up(frames, _VALUES * factor)


def _contrast(frames: Tensor, factor: float) -> Tensor:
    """Away from the mean gray of each frame (above 1) or towards it."""
    sums = frames.numpy().sum((-2, -1), dtype=np.uint32)
    means = np.round(sums @ np.array(LUMA) / (frames.shape[-2] * frames.shape[-1]))[:, None, None]
    return _look_up(frames, means + factor * (_VALUES - means))


def _look_up(frames: Tensor, tables: FloatArray) -> Tensor:
    """Each value replaced by its table's, cut to whole numbers from 0 to 255; tables broadcast to (N, 3, 256)."""
    whole = np.broadcast_to(np.clip(tables, 0, 255).astype(np.uint8), (*frames.shape[:2], 256)).reshape(-1, 256)
    out = torch.empty_like(frames)
    for plane, table, looked_up in zip(frames.flatten(0, 1).numpy(), whole, out.flatten(0, 1).numpy(), strict=True):
        # Bytes translate several times as fast as NumPy or torch index.
        looked_up.reshape(-1)[:] = np.frombuffer(plane.tobytes().translate(table.tobytes()), dtype=np.uint8)
    return out


def _invert(frames: Tensor, _: float) -> Tensor:
    return frames.bitwise_not()


def _posterize(frames: Tensor, num_bits: float) -> Tensor:
    """Keep the highest bits of each value."""
    return frames & (0xFF & ~(0xFF >> int(num_bits)))


def _solarize(frames: Tensor, threshold: float) -> Tensor:
    """Invert values from the threshold, 0 to 256, on."""
    if threshold > 255:
        return frames
    return frames ^ (frames >= int(threshold)).to(torch.uint8).mul_(255)


def _solarize_add(frames: Tensor, addend: float) -> Tensor:
    """Make values below 128 brighter by at most 127."""
    return frames + (frames < 128).to(torch.uint8).mul_(int(addend))


def _color(frames: Tensor, factor: float) -> Tensor:
    """Away from the gray of each pixel (above 1) or towards it."""
    return torch.stack([adjust_saturation(frame, factor) for frame in frames])


def _sharpness(frames: Tensor, factor: float) -> Tensor:
    """Away from the smoothed frame (above 1) or towards it; the outermost pixels are kept."""
    return torch.stack([_sharpen(frame, factor) for frame in frames])


def _sharpen(frame: Tensor, factor: float) -> Tensor:
    values = frame.float()
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    sums_3x3 = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    center = values[:, 1:-1, 1:-1]
    smoothed = sums_3x3.add_(center, alpha=4).div_(13).round_()
    center.lerp_(smoothed, 1 - factor)
    return values.clamp_(0, 255).to(torch.uint8)


def _shear_x(frames: Tensor, shear: float) -> Tensor:
    return _shift_rows(frames, shear * (np.arange(frames.shape[-2]) + 0.5))


def _shear_y(frames: Tensor, shear: float) -> Tensor:
    return _shift_columns(frames, shear * (np.arange(frames.shape[-1]) + 0.5))


def _translate_x(frames: Tensor, share: float) -> Tensor:
    return _shift_rows(frames, np.full(frames.shape[-2], share * frames.shape[-1]))


def _translate_y(frames: Tensor, share: float) -> Tensor:
    return _shift_columns(frames, np.full(frames.shape[-1], share * frames.shape[-2]))


def _shift_columns(frames: Tensor, offsets: FloatArray) -> Tensor:
    """Each column is moved up by its offset, px; see `_shift_rows`."""
    return _shift_rows(frames.transpose(-1, -2).contiguous(), offsets).transpose(-1, -2).contiguous()


def _shift_rows(frames: Tensor, offsets: FloatArray) -> Tensor:
    """Each row is moved to the left by its offset, px, bicubic as Pillow transforms; outside the frame all is the fill.

    Done for a few rows of all frames at a time, which stay in the processor's cache; those of one block are moved by the same
    number of whole pixels.
    """
    height, width = frames.shape[-2:]
    whole = np.floor(offsets).astype(np.int64)
    weights_4H1 = torch.from_numpy(_cubic_weights(offsets - whole)).unsqueeze(-1)
    edges = sorted({*range(0, height, _BLOCK_ROWS), *(np.flatnonzero(np.diff(whole)) + 1).tolist(), height})
    out = torch.empty_like(frames)
    for top, bottom in pairwise(edges):
        block = frames[..., top:bottom, :].float().sub_(_FILL)
        moved = torch.full_like(block, _FILL + 0.5)
        for weights, offset in zip(weights_4H1, range(whole[top] - 1, whole[top] + 3), strict=True):
            low, high = max(0, -offset), min(width, width - offset)
            if low < high:
                moved[..., low:high].addcmul_(block[..., low + offset : high + offset], weights[top:bottom])
        out[..., top:bottom, :] = moved.clamp_(0, 255)
    return out


def _cubic_weights(fractions: FloatArray) -> npt.NDArray[np.float32]:
    """Weights of the pixels at -1, 0, 1 and 2, shape (4, N), for places at `fractions` in [0, 1), by Pillow's kernel (-1)."""
    f = fractions
    return np.stack([f * (f * (2 - f) - 1), 1 + f * f * (f - 2), f * (1 + f * (1 - f)), f * f * (f - 1)]).astype(np.float32)


def _rotate(frames: Tensor, degrees: float) -> Tensor:
    """Counterclockwise about the center, bicubic; outside the frame all is the fill."""
    height, width = frames.shape[-2:]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    affine = torch.tensor([[[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]]])
    grid = affine_grid(affine, [1, 1, height, width], align_corners=False)
    out = torch.empty_like(frames)
    for before, after in zip(frames, out, strict=True):
        values = before.float().sub_(_FILL).unsqueeze(0)
        moved = grid_sample(values, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
        after.copy_(moved[0].add_(_FILL + 0.5).clamp_(0, 255))
    return out


def _factor(level: float) -> float:
    return max(0.1, 1 + 0.9 * level)


def _nothing(level: float) -> float:
    return 0.0


OPERATIONS: dict[str, Operation] = {
    "AutoContrast": Operation(_nothing, False, _auto_contrast),
    "Equalize": Operation(_nothing, False, _equalize),
    "Invert": Operation(_nothing, False, _invert),
    "Rotate": Operation(lambda level: 30 * level, True, _rotate),
    "PosterizeIncreasing": Operation(lambda level: max(1, 4 - int(4 * level)), False, _posterize),
    "SolarizeIncreasing": Operation(lambda level: 256 - int(256 * level), False, _solarize),
    "SolarizeAdd": Operation(lambda level: int(110 * level), False, _solarize_add),
    "ColorIncreasing": Operation(_factor, True, _color),
    "ContrastIncreasing": Operation(_factor, True, _contrast),
    "BrightnessIncreasing": Operation(_factor, True, _brightness),
    "SharpnessIncreasing": Operation(_factor, True, _sharpness),
    "ShearX": Operation(lambda level: 0.3 * level, True, _shear_x),
    "ShearY": Operation(lambda level: 0.3 * level, True, _shear_y),
    "TranslateXRel": Operation(lambda level: 0.45 * level, True, _translate_x),
    "TranslateYRel": Operation(lambda level: 0.45 * level, True, _translate_y),
}
"""The operations, under timm's names."""
