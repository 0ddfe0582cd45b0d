"""The boundary-matching network (BMN): where segments start, where they end, and how well each possible segment fits one.

It is published three times with the same layers: for EPIC-KITCHENS-100 by TAdaConv's authors, who add maps of shifts and of
classes; for ActivityNet by MMAction2; and as the baseline of the EPIC-KITCHENS-100 detection challenge. Only sizes differ.

B windows, C input features, T steps, D durations, N samples of a proposal, K classes.

Source: Lin et al., BMN: Boundary-Matching Network for Temporal Action Proposal Generation, ICCV 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoopraxis.localization.matching import BoundaryMatching

__all__ = ["BoundaryMaps", "BoundaryMatchingNetwork"]

_COUNTS = ("in_dim", "base_layers", "base_dim", "match_dim", "map_dim", "groups", "base_groups")


class BoundaryMaps(NamedTuple):
    """What the network finds in windows.

    Attributes:
        start_BT: Probability of a segment's start at each step, shape (B, T).
        end_BT: And of its end.
        confidence_B2DT: Of the segment from step t that lasts d + 1 steps the predicted overlap with a true one
            ("regression"), then the probability that it is great ("classification"), shape (B, 2, D, T), each in [0, 1].
            Cells that end after the window mean nothing.
        shift_B2DT: By how much of its length the center of each moves, then the logarithm of the factor by which it grows,
            shape (B, 2, D, T); none without `regression`.
        classes: For each head the logits of each segment's classes, shape (B, K, D, T).
    """

    start_BT: Tensor  # noqa: N815
    end_BT: Tensor  # noqa: N815
    confidence_B2DT: Tensor  # noqa: N815
    shift_B2DT: Tensor | None  # noqa: N815
    classes: dict[str, Tensor]


class BoundaryMatchingNetwork(nn.Module):
    """From the features of a window to its boundary maps.

    Args:
        in_dim: C.
        num_steps: T.
        max_duration: D.
        num_samples: N.
        samples_per_bin: Finer samples whose mean each of them is.
        boundary_ratio: By how much of its length a proposal is widened on each side.
        base_layers: Convolutions along time that all maps share.
        base_dim: Features of a step.
        match_dim: Features of a proposal, where its samples are joined.
        map_dim: Features of a proposal among its neighbors.
        groups: Of the convolutions along time, but that before the samples.
        base_groups: Of the shared ones, where theirs are others.
        regression: Whether there is a map of shifts.
        heads: Name to number of classes, for each map of classes.

    Attributes:
        arguments: `BoundaryMatchingNetwork(**arguments)` is the same network with other weights.

    Raises:
        ValueError: If a number is out of range, or groups do not divide the features.

    Differs: the published networks hold the sampling mask as a parameter, up to 1 GB of each checkpoint; here it is no part of
        the state.
    """

    def __init__(
        self,
        *,
        in_dim: int,
        num_steps: int,
        max_duration: int,
        num_samples: int = 32,
        samples_per_bin: int = 3,
        boundary_ratio: float = 0.5,
        base_layers: int = 2,
        base_dim: int = 256,
        match_dim: int = 512,
        map_dim: int = 128,
        groups: int = 4,
        base_groups: int | None = None,
        regression: bool = False,
        heads: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        geometry: dict[str, Any] = {
            "num_steps": num_steps,
            "max_duration": max_duration,
            "num_samples": num_samples,
            "samples_per_bin": samples_per_bin,
            "boundary_ratio": boundary_ratio,
        }
        self.arguments: dict[str, Any] = {
            **geometry,
            "in_dim": in_dim,
            "base_layers": base_layers,
            "base_dim": base_dim,
            "match_dim": match_dim,
            "map_dim": map_dim,
            "groups": groups,
            "base_groups": groups if base_groups is None else base_groups,
            "regression": regression,
            "heads": dict(heads or {}),
        }
        _check(self.arguments)
        widths = [in_dim, *[base_dim] * base_layers]
        self.base = nn.Sequential()
        for width_in, width in pairwise(widths):
            self.base += nn.Sequential(_along_time(width_in, width, self.arguments["base_groups"]), nn.ReLU(inplace=True))
        self.start = _boundary_head(base_dim, groups)
        self.end = _boundary_head(base_dim, groups)
        self.proposal = nn.Sequential(_along_time(base_dim, base_dim, 1), nn.ReLU(inplace=True))
        self.matching = BoundaryMatching(**geometry)
        # In the order in which the matching multiplies by it; published as (match_dim, base_dim, num_samples, 1, 1).
        self.match_weight = nn.Parameter(torch.empty(base_dim, num_samples, match_dim))
        self.match_bias = nn.Parameter(torch.empty(match_dim))
        self.confidence = _map_head(match_dim, map_dim, 2)
        self.shift = _map_head(match_dim, map_dim, 2) if regression else None
        self.classes = nn.ModuleDict({head: _map_head(match_dim, map_dim, num) for head, num in (heads or {}).items()})
        self.reset_matching()

    def reset_matching(self) -> None:
        """Draw the matching's kernel and bias as those of a convolution."""
        bound = 1 / math.sqrt(self.match_weight[..., 0].numel())
        nn.init.uniform_(self.match_weight, -bound, bound)
        nn.init.uniform_(self.match_bias, -bound, bound)

    def forward(self, features_BCT: Tensor) -> BoundaryMaps:
        """Find boundaries and score proposals.

        Args:
            features_BCT: Shape (B, C, T).

        Raises:
            ValueError: If the features are not of that shape.
        """
        expected = (self.arguments["in_dim"], self.arguments["num_steps"])
        if features_BCT.ndim != 3 or tuple(features_BCT.shape[1:]) != expected:
            raise ValueError(
                f"features must have shape (B, {expected[0]}, {expected[1]}): windows, features, steps; "
                f"not {tuple(features_BCT.shape)}"
            )
        base = self.base(features_BCT)
        # Not called as a module: torch's counter of operations, without gradients, fails on weights as a module's inputs.
        matched = self.matching.forward(self.proposal(base), self.match_weight.permute(2, 0, 1), self.match_bias)
        matched = functional.relu_(matched)
        return BoundaryMaps(
            start_BT=self.start(base).squeeze(1).sigmoid(),
            end_BT=self.end(base).squeeze(1).sigmoid(),
            confidence_B2DT=self.confidence(matched).sigmoid(),
            shift_B2DT=None if self.shift is None else self.shift(matched),
            classes={head: layers(matched) for head, layers in self.classes.items()},
        )


def _check(arguments: Mapping[str, Any]) -> None:
    for name in _COUNTS:
        if arguments[name] < 1:
            raise ValueError(f"{name} ({arguments[name]}) must be at least 1")
    divided = {"base_dim": ("groups", "base_groups"), "in_dim": ("base_groups",)}
    for name, groups in ((name, group) for name, all_groups in divided.items() for group in all_groups):
        if arguments[name] % arguments[groups]:
            raise ValueError(f"{name} ({arguments[name]}) must be divisible by {groups} ({arguments[groups]})")
    for head, num_classes in arguments["heads"].items():
        if num_classes < 1:
            raise ValueError(f"head {head} has {num_classes} classes, it needs at least 1")


def _along_time(in_dim: int, out_dim: int, groups: int) -> nn.Conv1d:
    return nn.Conv1d(in_dim, out_dim, kernel_size=3, padding=1, groups=groups)


def _boundary_head(dim: int, groups: int) -> nn.Sequential:
    return nn.Sequential(_along_time(dim, dim, groups), nn.ReLU(inplace=True), nn.Conv1d(dim, 1, kernel_size=1))


def _map_head(match_dim: int, map_dim: int, out_dim: int) -> nn.Sequential:
    """Over a map of proposals, which neighbors in start and in duration see."""
    return nn.Sequential(
        nn.Conv2d(match_dim, map_dim, kernel_size=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(map_dim, map_dim, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(map_dim, map_dim, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(map_dim, out_dim, kernel_size=1),
    )
