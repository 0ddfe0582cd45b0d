"""Any image network of timm as the feature extractor of a clip.

# B clips, T frames, C channels, H height, W width, D features
"""

from __future__ import annotations

from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from zoopraxis.backbones.inject import ClipLength, Place, inject, insert_temporal_pool
from zoopraxis.backbones.stem import (
    first_convolution,
    inflate_kernel,
    remove_stem_pool,
    to_clip_kernel,
    widen_first_convolution,
)
from zoopraxis.errors import CheckpointError, ConfigError, did_you_mean

__all__ = [
    "ImageBackbone",
    "create_image_backbone",
    "first_convolution",
    "image_weights",
    "inflate_kernel",
    "to_clip_kernel",
    "widen_first_convolution",
]


class ImageBackbone(nn.Module):
    """An image network over the frames of clips, with or without temporal modules inside.

    Args:
        network: Maps images (N, C, H, W) to pooled features (N, D); its parameters keep their names under `network.`.
        num_features: D.
        in_channels: C.
        length: Shared with the temporal modules in the network.
        hosts: The layers that host a temporal module.
        has_temporal_pool: Whether the network halves the number of frames.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        num_features: int,
        in_channels: int,
        length: ClipLength | None = None,
        hosts: list[str] | None = None,
        has_temporal_pool: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.num_features = num_features
        self.in_channels = in_channels
        self.hosts = tuple(hosts or ())
        self.has_temporal_pool = has_temporal_pool
        self._length = length or ClipLength()

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """Pooled features of each frame.

        Args:
            clip_BTCHW: Shape (B, T, C, H, W), normalized, any T.

        Returns:
            Shape (B, T, D); behind a temporal pool (B, ceil(T / 2), D).

        Raises:
            ValueError: If the clip has another number of axes or channels.
        """
        features_ND: Tensor = self.network(self._frames(clip_BTCHW))
        return torch.unflatten(features_ND, 0, (clip_BTCHW.shape[0], -1))

    def forward_maps(self, clip_BTCHW: Tensor) -> Tensor:
        """The network's last features before pooling: shape (B, T, width, h, w), or (B, T, tokens, width) of a transformer.

        The width is D but in networks that widen features behind the pool (MobileNetV3 and V4).
        """
        maps: Tensor = self.network.forward_features(self._frames(clip_BTCHW))  # type: ignore[operator]
        return torch.unflatten(maps, 0, (clip_BTCHW.shape[0], -1))

    def forward_stages(self, clip_BTCHW: Tensor) -> list[Tensor]:
        """The features behind each stage, from the stem on, as timm's `forward_intermediates` gives them.

        Args:
            clip_BTCHW: As for `forward`.

        Returns:
            One tensor a stage (a block, of a transformer), shape (B, T, width, h, w) with the stage's own width and size;
            behind a temporal pool with ceil(T / 2) frames.
        """
        stages = self.network.forward_intermediates(self._frames(clip_BTCHW), intermediates_only=True)  # type: ignore[operator]
        return [torch.unflatten(maps, 0, (clip_BTCHW.shape[0], -1)) for maps in stages]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the activations of the network's blocks again in the backward pass instead of keeping them, or stop that.

        Raises:
            ConfigError: If the network cannot.
        """
        try:
            self.network.set_grad_checkpointing(enable)  # type: ignore[operator]
        except (AttributeError, AssertionError) as error:
            raise ConfigError(
                f"{type(self.network).__name__} has no gradient checkpointing; set model.grad_checkpointing=false"
            ) from error

    def _frames(self, clip_BTCHW: Tensor) -> Tensor:
        if clip_BTCHW.ndim != 5 or clip_BTCHW.shape[2] != self.in_channels:
            raise ValueError(f"a clip must have shape (B, T, {self.in_channels}, H, W), not {tuple(clip_BTCHW.shape)}")
        self._length.num_frames = clip_BTCHW.shape[1]
        return clip_BTCHW.flatten(0, 1)


def create_image_backbone(
    name: str,
    *,
    pretrained: bool = False,
    in_channels: int = 3,
    temporal: str | None = None,
    num_frames: int = 8,
    place: Place = "blockres",
    temporal_pool: bool = False,
    is_stem_pool_free: bool = False,
    temporal_args: Mapping[str, Any] | None = None,
    backbone_args: Mapping[str, Any] | None = None,
) -> ImageBackbone:
    """Build a network of timm, adapt its input and put temporal modules into it.

    Args:
        name: A model of timm, with or without a tag of its weights (`resnet50.tv_in1k`).
        pretrained: Load timm's weights for that name.
        in_channels: Channels of a frame; other than 3, the first convolution takes the mean of its kernel (`inflate_kernel`).
        temporal: A name in `TEMPORAL`; none: each frame on its own.
        num_frames: The usual length of a clip.
        place: See `inject.Place`.
        temporal_pool: Halve the number of frames before the second stage.
        is_stem_pool_free: ResNets: without the max pool of the stem; the first block halves the resolution in its place
            (`remove_stem_pool`).
        temporal_args: Further arguments of the temporal module.
        backbone_args: Further arguments of the network (`img_size`, `drop_path_rate`).

    Raises:
        ConfigError: If a name or argument is unknown, the network has no site for the module, or no stem pool to remove.
        CheckpointError: If the pretrained weights cannot be had.
    """
    network = _create_network(name, pretrained=pretrained, args=backbone_args or {})
    if in_channels != 3:
        widen_first_convolution(network, in_channels)
    if is_stem_pool_free:
        remove_stem_pool(network, network_name=name)
    length = ClipLength()
    hosts: list[str] = []
    pool_stage = "layer2" if temporal_pool else None
    if pool_stage is not None:
        insert_temporal_pool(network, pool_stage, network_name=name, length=length)
    if temporal is not None:
        hosts = inject(
            network,
            temporal,
            network_name=name,
            length=length,
            num_frames=num_frames,
            place=place,
            halved_from=pool_stage,
            args=temporal_args,
        )
    num_features = int(getattr(network, "head_hidden_size", None) or network.num_features)  # type: ignore[arg-type]
    return ImageBackbone(
        network,
        num_features=num_features,
        in_channels=in_channels,
        length=length,
        hosts=hosts,
        has_temporal_pool=temporal_pool,
    )


def image_weights(name: str) -> dict[str, Tensor]:
    """The tensors of timm's weights for a network, without its classifier, in timm's keys.

    Raises:
        ConfigError: If timm has no such network.
        CheckpointError: If the weights cannot be had.
    """
    return dict(_create_network(name, pretrained=True, args={}).state_dict())


def _create_network(name: str, *, pretrained: bool, args: Mapping[str, Any]) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise ConfigError(
            f"unknown backbone {name!r}; {did_you_mean(name.split('.')[0], _near_names(name, timm.list_models()))}"
        )
    if pretrained:
        return _create_pretrained(name, args)
    try:
        network: nn.Module = timm.create_model(name, num_classes=0, **args)
    except (TypeError, RuntimeError) as error:
        raise ConfigError(f"backbone {name!r} cannot be built: {_first_line(error)}") from error
    return network


def _create_pretrained(name: str, args: Mapping[str, Any]) -> nn.Module:
    import timm

    try:
        network: nn.Module = timm.create_model(name, pretrained=True, num_classes=0, **args)
    except TypeError as error:
        raise ConfigError(f"backbone {name!r} cannot be built: {_first_line(error)}") from error
    except (OSError, RuntimeError, ValueError, UnpicklingError) as error:
        raise CheckpointError(
            f"timm's weights of backbone {name!r} cannot be had: {_first_line(error)}; "
            "connect to the network once, name a tag that exists, or start without them (model.pretrained=false)"
        ) from error
    return network


def _near_names(name: str, known: list[str]) -> list[str]:
    """Known names that begin alike: timm has too many to list them all in a message."""
    return [other for other in known if other[:3] == name[:3]] or ["resnet50", "convnext_tiny", "vit_small_patch16_224"]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
