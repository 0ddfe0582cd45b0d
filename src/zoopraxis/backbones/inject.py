"""Putting a temporal module into an image backbone without touching the backbone's code or parameter names.

The module becomes a child named `temporal` of a layer and runs in that layer's forward pre-hook. The hook is a function of this
file and all that it needs are attributes of the layer, so that the network can be copied and pickled. Insert before compiling.

# B clips, T frames, N = B * T frames in a batch, C channels, P prefix tokens
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from zoopraxis.backbones.sites import Block, find_blocks
from zoopraxis.errors import ConfigError
from zoopraxis.temporal import TEMPORAL, TemporalKind, TemporalMaxPool

__all__ = ["ClipLength", "Place", "inject", "insert_temporal_pool"]

Place = Literal["blockres", "block"]
"""blockres: at the module's own site inside the residual branch; block: before the whole block, shortcut included."""

_PLACES = ("blockres", "block")


class ClipLengthLike(Protocol):
    """Where the layers of a network look up how many frames a clip has."""

    @property
    def num_frames(self) -> int: ...


@dataclass
class ClipLength:
    """The length of the clips that a network is given now; the network sets it at each call, all its layers share it."""

    num_frames: int = 1


@dataclass
class HalvedClipLength:
    """The length behind a temporal max pool."""

    whole: ClipLength

    @property
    def num_frames(self) -> int:
        return (self.whole.num_frames + 1) // 2


def inject(
    network: nn.Module,
    temporal: str,
    *,
    network_name: str,
    length: ClipLength,
    num_frames: int,
    place: Place = "blockres",
    halved_from: str | None = None,
    args: Mapping[str, Any] | None = None,
) -> list[str]:
    """Put one temporal module before each site of a network. Weights of the plain network load before or after alike.

    Args:
        network: An image backbone; changed in place.
        temporal: A name in `TEMPORAL`.
        network_name: For messages.
        length: Shared with the caller, who sets it before each call of the network.
        num_frames: The usual length of a clip, T; modules may depend on it.
        place: At the module's own site in the residual branch, or before the whole block.
        halved_from: The first stage behind a temporal max pool, if there is one.
        args: Further arguments of the temporal module.

    Returns:
        The paths of the layers that host a module, from input to output.

    Raises:
        ConfigError: If a name or argument is unknown, or the network has no known site.
    """
    if place not in _PLACES:
        raise ConfigError(f"unknown place {place!r} of a temporal module; known: {', '.join(_PLACES)}")
    kind = TEMPORAL.get(temporal)
    blocks = find_blocks(network, network_name=network_name)
    stages = list(dict.fromkeys(block.stage for block in blocks))
    halved_stages = stages[stages.index(halved_from) :] if halved_from is not None else []
    hosts: list[str] = []
    for block in blocks if place == "block" else _hosting(blocks, kind):
        path = "" if place == "block" else block.sites.path(kind.site)
        layer = block.module.get_submodule(path)
        try:
            module = kind.build(channels=_input_channels(layer), num_frames=num_frames, **(args or {}))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"temporal module {temporal!r} cannot be built: {error}") from error
        here = HalvedClipLength(length) if block.stage in halved_stages else length
        num_prefix_tokens = int(getattr(network, "num_prefix_tokens", 0))
        _prepend(layer, module, here, num_prefix_tokens if block.sites.layout == "tokens" else None)
        hosts.append(f"{block.name}.{path}".rstrip("."))
    return hosts


def insert_temporal_pool(network: nn.Module, stage: str, *, network_name: str, length: ClipLength) -> None:
    """Put a temporal max pool before a stage of the network, from where on clips have half as many frames.

    Insert it before any temporal module.

    Raises:
        ConfigError: If the network has no stage of that name that takes feature maps.
    """
    first_blocks = {b.stage: b for b in find_blocks(network, network_name=network_name) if b.position == 0}
    if stage not in first_blocks or first_blocks[stage].sites.layout != "map":
        known = ", ".join(first_blocks)
        raise ConfigError(f"backbone {network_name!r} has no stage {stage!r} for the temporal pool; its stages: {known}")
    block = first_blocks[stage].module
    block.add_module("temporal_pool", TemporalMaxPool())
    block.temporal_pool_length = length  # type: ignore[assignment]
    block.register_forward_pre_hook(_on_pooled_map)


def _hosting(blocks: list[Block], kind: TemporalKind) -> list[Block]:
    """The blocks that host a module: all, or in a deep ResNet every second of each stage."""
    sizes = list(_stage_sizes(blocks).values())
    is_resnet = blocks[0].family == "timm.models.resnet"
    is_deep = kind.sparse_from is not None and len(sizes) > 2 and sizes[2] >= kind.sparse_from
    step = 2 if is_resnet and is_deep else 1
    return [block for block in blocks if block.position % step == 0]


def _stage_sizes(blocks: list[Block]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for block in blocks:
        sizes[block.stage] = sizes.get(block.stage, 0) + 1
    return sizes


def _input_channels(layer: nn.Module) -> int:
    """The width of what enters a layer: that of the first convolution or linear map in it."""
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
        if isinstance(module, nn.Linear):
            return module.in_features
    raise ConfigError(f"layer {type(layer).__name__} has no convolution or linear map to take its width from")


def _prepend(layer: nn.Module, module: nn.Module, length: ClipLengthLike, num_prefix_tokens: int | None) -> None:
    if hasattr(layer, "temporal"):
        raise ConfigError(f"layer {type(layer).__name__} hosts a temporal module already; inject once")
    layer.add_module("temporal", module)
    layer.temporal_length = length  # type: ignore[assignment]
    layer.temporal_prefix = num_prefix_tokens  # type: ignore[assignment]
    layer.register_forward_pre_hook(_on_map if num_prefix_tokens is None else _on_tokens)


def _on_map(layer: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    maps_NCHW, *others = inputs
    clips_BTCHW = torch.unflatten(maps_NCHW, 0, (-1, layer.temporal_length.num_frames))
    return (layer.temporal(clips_BTCHW).flatten(0, 1), *others)


def _on_pooled_map(block: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    maps_NCHW, *others = inputs
    clips_BTCHW = torch.unflatten(maps_NCHW, 0, (-1, block.temporal_pool_length.num_frames))
    return (block.temporal_pool(clips_BTCHW).flatten(0, 1), *others)


def _on_tokens(layer: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Class and register tokens pass by; the rest are positions."""
    tokens_NSC, *others = inputs
    prefix_NPC = tokens_NSC[:, : layer.temporal_prefix]
    patches_NCS = tokens_NSC[:, layer.temporal_prefix :].transpose(1, 2)
    clips_BTCS = torch.unflatten(patches_NCS, 0, (-1, layer.temporal_length.num_frames))
    patches_NSC = layer.temporal(clips_BTCS).flatten(0, 1).transpose(1, 2)
    return (torch.cat([prefix_NPC, patches_NSC], dim=1), *others)
