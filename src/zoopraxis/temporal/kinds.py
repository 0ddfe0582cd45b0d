"""The table of temporal modules and what each declares of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from zoopraxis.registry import Registry

__all__ = ["TEMPORAL", "Layout", "Site", "TemporalKind"]

Site = Literal["branch_input", "spatial_conv"]
"""Where in a residual block a module stands: before the first layer of the residual branch or before its spatial layer."""

Layout = Literal["map", "tokens"]
"""What a block works on: feature maps (N, C, H, W), or tokens (N, tokens, C)."""


@dataclass(frozen=True)
class TemporalKind:
    """One entry of the table.

    Attributes:
        build: Called as `build(channels=C, num_frames=T, **args)` once for each site; `channels` is the width of the features
            that enter it, `num_frames` the usual length of a clip (a module that takes any length ignores it). The module
            that it gives maps (B, T, C, *spatial) to the same shape.
        site: Where in a block the published network has it.
        sparse_from: In a ResNet whose third stage has at least this many blocks, only every second block of each stage
            hosts the module, beginning with the first; none: every block always does.
        layouts: The blocks that can host it: those of feature maps, of tokens, or both.
        norm: Called as `norm(batch_norm)` once for each site with the plain batch norm behind the spatial layer: gives the
            module that takes its place, a `BatchNorm2d` with the same parameter names that maps (B, T, C, H, W) to the same
            shape; none: norms stay. Blocks without such a batch norm cannot host a kind that has one.
    """

    build: Callable[..., nn.Module]
    site: Site
    sparse_from: int | None = None
    layouts: tuple[Layout, ...] = ("map", "tokens")
    norm: Callable[[nn.BatchNorm2d], nn.BatchNorm2d] | None = None


TEMPORAL: Registry[TemporalKind] = Registry("temporal")
