"""Putting a temporal module into an image backbone without touching the backbone's code or parameter names.

The module becomes a child named `temporal` of a layer and runs in that layer's forward pre-hook. A norm that works on clips
takes the place of a batch norm under the same parameters. The hooks are functions of this file and all that they need are
attributes of the layer, so that the network can be copied and pickled. Insert before compiling.

# B clips, T frames, N = B * T frames in a batch, C channels, P prefix tokens
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from zoopraxis.backbones.sites import SITES, Block, block_names, find_blocks
from zoopraxis.errors import ConfigError
from zoopraxis.temporal import TEMPORAL, Layout, TemporalKind, TemporalMaxPool

__all__ = ["ClipLength", "Place", "inject", "insert_temporal_pool"]

Place = Literal["blockres", "block"]
"""blockres: at the module's own site inside the residual branch; block: before the whole block, shortcut included."""

_PLACES = ("blockres", "block")
_LAYOUT_NAMES: dict[Layout, str] = {"map": "feature maps", "tokens": "tokens"}


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
        ConfigError: If a name or argument is unknown, or the network has no site for the module.
    """
    kind = TEMPORAL.get(temporal)
    blocks = find_blocks(network, network_name=network_name)
    _check_blocks(blocks, temporal, kind, network_name)
    stages = list(dict.fromkeys(block.stage for block in blocks))
    halved_stages = stages[stages.index(halved_from) :] if halved_from is not None else []
    num_prefix_tokens = int(getattr(network, "num_prefix_tokens", 0))
    hosts: list[str] = []
    for block, path in _sites(blocks, temporal, kind, place, network_name):
        layer = block.module.get_submodule(path)
        is_halved = block.stage in halved_stages
        here = HalvedClipLength(length) if is_halved else length
        num_frames_here = (num_frames + 1) // 2 if is_halved else num_frames
        try:
            module = kind.build(channels=_input_channels(layer), num_frames=num_frames_here, **(args or {}))
            if kind.norm is not None:
                _replace_norm(block, kind.norm, here)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"temporal module {temporal!r} cannot be built: {error}") from error
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


def _check_blocks(blocks: list[Block], temporal: str, kind: TemporalKind, network_name: str) -> None:
    """Refuse what the blocks of a network cannot host, with what they can."""
    for block in blocks:
        layout = block.sites.layout
        if layout not in kind.layouts:
            others = [name for name in TEMPORAL.names() if layout in TEMPORAL.get(name).layouts]
            raise ConfigError(
                f"backbone {network_name!r} works on {_LAYOUT_NAMES[layout]}, which temporal module {temporal!r} cannot; "
                f"choose one that can: {', '.join(others)}"
            )
        if kind.norm is not None and _spatial_norm(block) is None:
            able = ", ".join(block_names(key for key, sites in SITES.items() if sites.spatial_norm))
            others = [name for name in TEMPORAL.names() if layout in (other := TEMPORAL.get(name)).layouts and not other.norm]
            raise ConfigError(
                f"temporal module {temporal!r} takes the place of the batch norm behind the spatial convolution, and block "
                f"{block.name!r} of backbone {network_name!r} has no plain one; choose a backbone built of {able} with batch "
                f"norm, or another module: {', '.join(others)}"
            )


def _spatial_norm(block: Block) -> nn.BatchNorm2d | None:
    """The plain batch norm behind the spatial layer, if the block has one; other norms, fused ones too, are none."""
    if block.sites.spatial_norm is None:
        return None
    norm = block.module.get_submodule(block.sites.spatial_norm)
    return norm if type(norm) is nn.BatchNorm2d else None


def _sites(blocks: list[Block], temporal: str, kind: TemporalKind, place: Place, network_name: str) -> list[tuple[Block, str]]:
    """The blocks that host a module, and the layer in each: all that can, or in a deep ResNet every second of each stage."""
    if place not in _PLACES:
        raise ConfigError(f"unknown place {place!r} of a temporal module; known: {', '.join(_PLACES)}")
    if place == "block":
        if kind.norm is not None:
            raise ConfigError(f"temporal module {temporal!r} has a norm inside the block; its place must be 'blockres'")
        return [(block, "") for block in blocks]
    sizes = list(_stage_sizes(blocks).values())
    is_resnet = blocks[0].family == "timm.models.resnet"
    is_deep = kind.sparse_from is not None and len(sizes) > 2 and sizes[2] >= kind.sparse_from
    step = 2 if is_resnet and is_deep else 1
    layers = [(block, block.host(kind.site)) for block in blocks if block.position % step == 0]
    sites = [(block, path) for block, path in layers if path is not None]
    if not sites:
        raise ConfigError(
            f"no block of backbone {network_name!r} has a shortcut, beside which temporal module {temporal!r} belongs; "
            "choose another backbone or temporal module"
        )
    return sites


def _stage_sizes(blocks: list[Block]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for block in blocks:
        sizes[block.stage] = sizes.get(block.stage, 0) + 1
    return sizes


def _input_channels(layer: nn.Module) -> int:
    """The width of what enters a layer: its own, or that of the first convolution or linear map in it."""
    for name in ("in_channels", "num_features"):  # convolutions that are no Conv2d; norms
        if isinstance(own := getattr(layer, name, None), int):
            return own
    for module in layer.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
        if isinstance(module, nn.Linear):
            return module.in_features
    raise ConfigError(f"layer {type(layer).__name__} has no convolution or linear map to take its width from")


def _prepend(layer: nn.Module, module: nn.Module, length: ClipLengthLike, num_prefix_tokens: int | None) -> None:
    if hasattr(layer, "temporal"):
        raise ConfigError(f"layer {type(layer).__name__} hosts a temporal module already; inject once")
    if isinstance(layer, nn.Sequential | nn.ModuleDict | nn.ModuleList):
        raise ConfigError(
            f"layer {type(layer).__name__} runs all its children and cannot hold a temporal module; choose another backbone"
        )
    layer.add_module("temporal", module)
    layer.temporal_length = length  # type: ignore[assignment]
    layer.temporal_prefix = num_prefix_tokens  # type: ignore[assignment]
    layer.register_forward_pre_hook(_on_map if num_prefix_tokens is None else _on_tokens)


def _replace_norm(block: Block, build: Callable[[nn.BatchNorm2d], nn.BatchNorm2d], length: ClipLengthLike) -> None:
    """Put a norm of clips in place of the spatial layer's batch norm, whose parameters, buffers and mode it takes over."""
    plain = _spatial_norm(block)
    assert plain is not None and block.sites.spatial_norm is not None, "_check_blocks refuses others"
    norm = build(plain)
    for name, parameter in plain.named_parameters():
        norm.register_parameter(name, parameter)
    for name, buffer in plain.named_buffers():
        norm.register_buffer(name, buffer)
    norm.train(plain.training)
    norm.temporal_length = length  # type: ignore[assignment]
    norm.register_forward_pre_hook(_as_clips)
    norm.register_forward_hook(_as_frames)
    parent, _, name = block.sites.spatial_norm.rpartition(".")
    setattr(block.module.get_submodule(parent), name, norm)


def _as_clips(norm: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    maps_NCHW, *others = inputs
    return (torch.unflatten(maps_NCHW, 0, (-1, norm.temporal_length.num_frames)), *others)


def _as_frames(_: nn.Module, inputs: tuple[Tensor, ...], clips_BTCHW: Tensor) -> Tensor:
    """The frames of the clips; where the norm gave a view of just that, the tensor behind the view.

    The activation that follows works in place, which on a view would cost three copies in the backward pass.
    """
    maps_NCHW = clips_BTCHW.flatten(0, 1)
    base = None if torch.compiler.is_compiling() else clips_BTCHW._base
    is_same = base is not None and (base.shape, base.stride()) == (maps_NCHW.shape, maps_NCHW.stride())
    return base if base is not None and is_same else maps_NCHW


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
