"""What tells source from target, and the attention that follows from how surely it does.

# B clips, S frames, R relations, D features

Source: Chen et al., Temporal Attentive Alignment for Large-Scale Video Domain Adaptation, ICCV 2019, sections 3.2 and 3.3.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["AttentionLayer", "Discriminator", "Level", "RelationDiscriminators", "linear", "transferable_weights"]

Level = Literal["relation", "video", "frame"]
"""What a discriminator sees: the relations of each length, whole videos, or single frames."""

_SPREAD = 0.001
"""Standard deviation of first weights, as published."""


def linear(num_inputs: int, num_outputs: int) -> nn.Linear:
    """A linear map as the published network begins with: weights N(0, 0.001), biases 0."""
    layer = nn.Linear(num_inputs, num_outputs)
    nn.init.normal_(layer.weight, 0, _SPREAD)
    nn.init.zeros_(layer.bias)
    return layer


class Discriminator(nn.Sequential):
    """Logits of source and target, (..., 2), from features, (..., D)."""

    def __init__(self, dim: int) -> None:
        super().__init__(linear(dim, dim), nn.ReLU(), linear(dim, 2))


class RelationDiscriminators(nn.ModuleList):
    """A discriminator for each relation: (B, R, D) to (B, R, 2). They begin with PyTorch's weights, as published."""

    def __init__(self, num_relations: int, dim: int) -> None:
        super().__init__(nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 2)) for _ in range(num_relations))

    def forward(self, relations_BRD: Tensor) -> Tensor:
        """Logits of source and target, shape (B, R, 2)."""
        return torch.stack([discriminator(relations_BRD[:, number]) for number, discriminator in enumerate(self)], dim=1)


class AttentionLayer(nn.Sequential):
    """Learned weights of items, (B, N, D) to (B, N), which sum to 1 over a clip's N items."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))

    def forward(self, items_BND: Tensor) -> Tensor:
        """Weights, shape (B, N)."""
        for layer in self:
            items_BND = layer(items_BND)
        return items_BND.squeeze(2).softmax(dim=1)


def transferable_weights(domain_logits: Tensor) -> Tensor:
    """How surely the domain is told: 1 - the entropy of the domains' probabilities, in nats.

    What tells the domains apart contributes most to their difference, so it is attended to.

    Args:
        domain_logits: Shape (..., 2).

    Returns:
        Shape (...), in [1 - log 2, 1]. Gradients flow through it.
    """
    log_probabilities = domain_logits.log_softmax(dim=-1)
    return 1 + (log_probabilities.exp() * log_probabilities).sum(dim=-1)
