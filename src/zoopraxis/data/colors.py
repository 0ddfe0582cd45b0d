"""The colors of training clips: brightness, contrast, saturation, hue and gray, the same for all frames of a clip.

Frames are (..., 3, H, W): uint8, or floating point in [0, 1]; what comes out is of the same kind and in the same memory format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zoopraxis.data.sampling import Generator

__all__ = ["LUMA", "ColorJitter", "adjust_brightness", "adjust_contrast", "adjust_hue", "adjust_saturation", "to_gray"]

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue count in gray (ITU-R BT.601); torchvision's 0.2989 is off by more than rounding."""
_SECTOR_OF_CHANNEL = (5.0, 3.0, 1.0)
"""Sixths of a turn by which red, green and blue are ahead of the hue, in HSV's own formula."""


def adjust_brightness(frames: Tensor, factor: float) -> Tensor:
    """Multiply all values by `factor`; 1 leaves them as they are."""
    return _finish(frames * float(factor), frames)


def adjust_contrast(frames: Tensor, factor: float) -> Tensor:
    """Move values away from the mean gray of their frame (`factor` above 1), or towards it (below 1)."""
    means = _luma(frames).mean((-3, -2, -1), keepdim=True)
    return _finish((frames * float(factor)).add_(means, alpha=1 - factor), frames)


def adjust_saturation(frames: Tensor, factor: float) -> Tensor:
    """Move values away from the gray of their pixel (`factor` above 1), or towards it (below 1)."""
    return _finish((frames * float(factor)).add_(_luma(frames), alpha=1 - factor), frames)


def adjust_hue(frames: Tensor, shift: float) -> Tensor:
    """Turn the color wheel by `shift` of a turn, from -0.5 to 0.5, value and saturation kept.

    Done in RGB, frame by frame, without the way to HSV and back: the same numbers as torchvision's, about three times as fast.

    Raises:
        ValueError: If the shift is out of bounds.
    """
    if not -0.5 <= shift <= 0.5:
        raise ValueError(f"the shift of the hue ({shift}) must be from -0.5 to 0.5 of a turn")
    flat_NCHW = frames.reshape(-1, *frames.shape[-3:])
    out = torch.empty_like(flat_NCHW)
    for before, after in zip(flat_NCHW, out, strict=True):
        red, green, blue = before.to(torch.promote_types(before.dtype, torch.float32)).contiguous()
        value = torch.maximum(torch.maximum(red, green), blue)
        chroma = value - torch.minimum(torch.minimum(red, green), blue)
        inverse = chroma.clamp_min(torch.finfo(chroma.dtype).tiny).reciprocal_()
        from_blue = ((red - green) * inverse).add_(4)
        from_green = ((blue - red) * inverse).add_(2)
        hue = torch.where(red == value, (green - blue) * inverse, torch.where(green == value, from_green, from_blue))
        for channel, sector in zip(after, _SECTOR_OF_CHANNEL, strict=True):
            place = (hue + (sector + 6 * shift)).remainder_(6)
            missing = torch.minimum(place, 4 - place).clamp_(0, 1)
            channel.copy_(_finish(torch.addcmul(value, chroma, missing, value=-1), frames))
    return out.reshape(frames.shape)


def to_gray(frames: Tensor) -> Tensor:
    """Each pixel's gray in all three channels."""
    gray = _finish(_luma(frames), frames).expand_as(frames)
    return torch.empty_like(frames).copy_(gray)


@dataclass(frozen=True)
class ColorJitter:
    """Gray with one probability, then with another one jittered colors; each decided and drawn once a clip.

    The four adjustments come in random order. Their factors are uniform in [max(0, 1 - b), 1 + b], the shift of the hue in
    [-b, b], where b is the bound given; one of bound 0 is left out.

    Attributes:
        probability: That colors are jittered.
        brightness: Bound of the factor's distance from 1.
        contrast: The same.
        saturation: The same.
        hue: Bound of the shift, turns, at most 0.5.
        grayscale: Probability of gray.

    Source: TAda! authors' repository, which has gray before the jitter, and both shared by the frames.
    """

    probability: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grayscale: float = 0.0

    def __call__(self, frames: Tensor, generator: Generator) -> Tensor:
        """A clip's frames, (N, 3, H, W) of uint8 or in [0, 1], of which each is treated alike."""
        is_gray = generator.random() < self.grayscale
        drawn = self._draw(generator) if generator.random() < self.probability else []
        if not (is_gray or drawn):
            return frames
        out = torch.empty_like(frames)
        for before, after in zip(frames, out, strict=True):
            frame = before.contiguous()  # a few planes at a time, which stay in the processor's cache
            frame = to_gray(frame) if is_gray else frame
            for adjust, amount in drawn:
                frame = adjust(frame, amount)
            after.copy_(frame)
        return out

    def _draw(self, generator: Generator) -> list[tuple[Callable[[Tensor, float], Tensor], float]]:
        drawn: list[tuple[float, Callable[[Tensor, float], Tensor], float]] = []
        for adjust, bound, middle, least in (
            (adjust_brightness, self.brightness, 1.0, 0.0),
            (adjust_contrast, self.contrast, 1.0, 0.0),
            (adjust_saturation, self.saturation, 1.0, 0.0),
            (adjust_hue, self.hue, 0.0, -0.5),
        ):
            if bound:
                low, high = max(least, middle - bound), middle + bound
                drawn.append((generator.random(), adjust, low + (high - low) * generator.random()))
        return [(adjust, amount) for _, adjust, amount in sorted(drawn, key=lambda entry: entry[0])]


def _luma(frames: Tensor) -> Tensor:
    """The gray of each pixel, (..., 1, H, W), not rounded."""
    red, green, blue = frames.unbind(-3)
    return red.mul(LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).unsqueeze(-3)


def _finish(values: Tensor, frames: Tensor) -> Tensor:
    """Values, which may be overwritten, as ones of `frames`: in its range, and rounded where it has whole numbers."""
    if frames.is_floating_point():
        return values.clamp_(0, 1)
    return values.clamp_(0, 255).round_().to(frames.dtype)
