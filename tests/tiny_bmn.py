"""Small boundary-matching networks as the three publishers' checkpoints hold them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoopraxis.localization.matching import BoundaryMatching

__all__ = ["GEOMETRY", "IN_DIM", "published_tensors"]

GEOMETRY: dict[str, Any] = {
    "num_steps": 8,
    "max_duration": 8,
    "num_samples": 4,
    "samples_per_bin": 3,
    "boundary_ratio": 0.5,
}
IN_DIM, BASE_DIM, MATCH_DIM, MAP_DIM = 8, 8, 12, 4


def published_tensors(
    publisher: str, *, base_layers: int = 2, extras: dict[str, int] | None = None, **geometry: Any
) -> dict[str, Tensor]:
    """The state dict of tadaconv, mmaction or epic; `extras`: maps beside that of confidence, e.g. {"x_2d_verb": 5}."""
    torch.manual_seed(0)
    geometry = {**GEOMETRY, **geometry}
    widths = [IN_DIM, *[BASE_DIM] * base_layers]
    base = [_along_time(widths[i], widths[i + 1], 4) for i in range(base_layers)]
    parts: dict[str, list[nn.Module]] = {
        "x_1d_s": [_along_time(BASE_DIM, BASE_DIM, 4), nn.Conv1d(BASE_DIM, 1, 1)],
        "x_1d_e": [_along_time(BASE_DIM, BASE_DIM, 4), nn.Conv1d(BASE_DIM, 1, 1)],
        "x_1d_p": [_along_time(BASE_DIM, BASE_DIM, 1)],
        "x_3d_p": [nn.Conv3d(BASE_DIM, MATCH_DIM, (geometry["num_samples"], 1, 1))],
    }
    for name, width in {"x_2d_p": 2, **(extras or {})}.items():
        parts[name] = [
            nn.Conv2d(MATCH_DIM, MAP_DIM, 1),
            nn.Conv2d(MAP_DIM, MAP_DIM, 3, padding=1),
            nn.Conv2d(MAP_DIM, MAP_DIM, 3, padding=1),
            nn.Conv2d(MAP_DIM, width, 1),
        ]
    head = {key: tensor for name, layers in parts.items() for key, tensor in _named(name, layers).items()}
    mask = {"sample_mask": BoundaryMatching.dense_mask(**geometry)}
    if publisher == "tadaconv":
        return _named("backbone.conv_layer", base) | {f"head.{key}": tensor for key, tensor in (mask | head).items()}
    constant = {"bm_mask": torch.ones(geometry["max_duration"], geometry["num_steps"])} if publisher == "mmaction" else {}
    tensors = mask | constant | _named("x_1d_b", base) | head
    return {f"module.{key}": tensor for key, tensor in tensors.items()} if publisher == "epic" else tensors


def _along_time(in_dim: int, out_dim: int, groups: int) -> nn.Conv1d:
    return nn.Conv1d(in_dim, out_dim, 3, padding=1, groups=groups)


def _named(name: str, layers: list[nn.Module]) -> dict[str, Tensor]:
    """Parameters of layers with an activation after each."""
    return {f"{name}.{2 * i}.{key}": tensor for i, layer in enumerate(layers) for key, tensor in layer.state_dict().items()}
