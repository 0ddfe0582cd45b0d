"""The table of temporal modules and what each declares of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from zoopraxis.registry import Registry

__all__ = ["TEMPORAL", "Site", "TemporalKind"]

Site = Literal["branch_input", "spatial_conv"]
"""Where in a residual block a module stands: before the first layer of the residual branch or before its spatial layer."""


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
    """

    build: Callable[..., nn.Module]
    site: Site
    sparse_from: int | None = None


TEMPORAL: Registry[TemporalKind] = Registry("temporal")
