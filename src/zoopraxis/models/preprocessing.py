"""What a network expects of its input: a checkpoint is useless, or quietly wrong, without it.

# B clips, T frames, C channels, H height, W width
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from zoopraxis.errors import ConfigError, did_you_mean

__all__ = ["Modality", "Preprocessing", "normalize"]

Modality = Literal["rgb", "flow"]

_NUM_COMPONENTS = {"rgb": 3, "flow": 2}
_EPIC_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "rgb": ((0.485, 0.456, 0.406), (0.485, 0.456, 0.406)),
    "flow": ((0.5,), (0.226,)),
}
"""Mean and standard deviation of the EPIC-KITCHENS-100 baselines, trained on RGB with std equal to the mean."""
_IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Preprocessing:
    """From stored frames to the network's input.

    Attributes:
        modality: `rgb`, or `flow` (u and v components as images).
        size: Height and width of the input, px.
        resize: Shorter side before the crop of validation and test, px.
        mean: Of each component after scaling; as many as a frame has components (RGB 3, flow 2), or one for all.
        std: Likewise.
        scale: Stored values are divided by it.
        color_order: Of RGB frames.
        num_segments: Frames (or stacks of flow frames) of a clip that the network was trained with, T.
        segment_length: Consecutive frames stacked on the channel axis.
        sampling: The rule by which frames are picked, a name in `data.sampling.SAMPLERS`; `segments`: one from each of T equal
            spans of the clip.
        interval: Frames from one picked frame to the next, at `target_fps`, for the rules that have one; else 1.
        target_fps: Frame rate in which `interval` counts.
        antialias: Whether frames are low-passed when they are made smaller, as Pillow does and OpenCV does not.

    Raises:
        ConfigError: If a value is out of range.
    """

    modality: Modality = "rgb"
    size: int = 224
    resize: int = 256
    mean: tuple[float, ...] = _EPIC_STATISTICS["rgb"][0]
    std: tuple[float, ...] = _EPIC_STATISTICS["rgb"][1]
    scale: float = 255.0
    color_order: Literal["rgb", "bgr"] = "rgb"
    num_segments: int = 8
    segment_length: int = 1
    sampling: str = "segments"
    interval: int = 1
    target_fps: float = 30.0
    antialias: bool = True

    def __post_init__(self) -> None:
        if self.modality not in _NUM_COMPONENTS:
            raise ConfigError(f"unknown modality {self.modality!r}; {did_you_mean(self.modality, _NUM_COMPONENTS)}")
        if self.color_order not in ("rgb", "bgr"):
            raise ConfigError(f"unknown color_order {self.color_order!r}; known: bgr, rgb")
        for name in ("size", "resize", "num_segments", "segment_length", "interval"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} ({getattr(self, name)}) must be at least 1")
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) not in (1, _NUM_COMPONENTS[self.modality]):
                wanted = _NUM_COMPONENTS[self.modality]
                raise ConfigError(f"{name} has {len(values)} values, but {self.modality} needs 1 or {wanted}")
            object.__setattr__(self, name, values)
        if min(self.std) <= 0 or self.scale <= 0 or self.target_fps <= 0:
            raise ConfigError(f"std {self.std}, scale {self.scale} and target_fps {self.target_fps} must be positive")

    @property
    def in_channels(self) -> int:
        """Channels of one frame of the network's input."""
        return _NUM_COMPONENTS[self.modality] * self.segment_length

    @classmethod
    def epic(cls, modality: Modality, *, num_segments: int = 8, segment_length: int = 1) -> Preprocessing:
        """That of the EPIC-KITCHENS-100 baselines, the default of a new network."""
        if modality not in _EPIC_STATISTICS:
            raise ConfigError(f"unknown modality {modality!r}; {did_you_mean(modality, _EPIC_STATISTICS)}")
        mean, std = _EPIC_STATISTICS[modality]
        return cls(modality=modality, mean=mean, std=std, num_segments=num_segments, segment_length=segment_length)

    @classmethod
    def imagenet(cls, *, num_segments: int = 8) -> Preprocessing:
        """That of RGB networks trained with ImageNet's statistics (TSM's and mmaction2's Kinetics weights)."""
        mean, std = _IMAGENET_STATISTICS
        return cls(mean=mean, std=std, num_segments=num_segments)

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, as JSON has them."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """What `to_dict` gave.

        Raises:
            ConfigError: If a name is unknown or a value out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f"unknown preprocessing setting {name!r}; {did_you_mean(name, known)}")
        return cls(**values)


def normalize(clip_BTCHW: Tensor, preprocessing: Preprocessing, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn stored values into the network's input: (x / scale - mean) / std for each channel.

    Args:
        clip_BTCHW: Shape (..., C, H, W), uint8 (or floats of the same range), RGB order; C a multiple of the number of
            components, over which mean and std repeat.
        preprocessing: Mean, std, scale and color order.
        dtype: Of the result.

    Returns:
        A new tensor of the same shape and memory format.

    Raises:
        ValueError: If C does not fit.
    """
    channels = clip_BTCHW.shape[-3]
    components = _NUM_COMPONENTS[preprocessing.modality]
    if channels % components:
        raise ValueError(f"a {preprocessing.modality} clip needs a multiple of {components} channels, not {channels}")
    if preprocessing.color_order == "bgr" and preprocessing.modality == "rgb":
        clip_BTCHW = torch.unflatten(clip_BTCHW, -3, (-1, 3)).flip(-3).flatten(-4, -3)
    mean = _per_channel(preprocessing.mean, channels, clip_BTCHW.device)
    std = _per_channel(preprocessing.std, channels, clip_BTCHW.device)
    factor, offset = 1 / (preprocessing.scale * std), -mean / std
    return torch.addcmul(offset.to(dtype), clip_BTCHW.to(dtype), factor.to(dtype))


def _per_channel(values: Sequence[float], channels: int, device: torch.device) -> Tensor:
    """Shape (C, 1, 1), float64 on a CPU and float32 elsewhere (some devices have no float64)."""
    dtype = torch.float64 if device.type == "cpu" else torch.float32
    return torch.tensor(values, dtype=dtype, device=device).repeat(channels // len(values))[:, None, None]
