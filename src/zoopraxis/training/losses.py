"""The loss over all heads, for hard and for mixed labels.

# B clips, K classes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from zoopraxis.training.mixing import Mix

__all__ = ["head_losses", "join_losses", "soft_targets"]


def head_losses(
    logits: Mapping[str, Tensor], labels: Mapping[str, Tensor], *, label_smoothing: float = 0.0, mix: Mix | None = None
) -> dict[str, Tensor]:
    """The cross entropy of each head, the mean over the clips, in float32.

    Args:
        logits: For each head shape (B, K).
        labels: For each head int64, (B,), in [0, K).
        label_smoothing: Part of the target that is spread over all K classes.
        mix: How the clips were mixed; their labels are mixed alike.

    Returns:
        Under the names of `logits`.

    Raises:
        ValueError: If labels that are to be mixed are no class numbers.
    """
    losses = {}
    for head, scores in logits.items():
        scores_BK = scores.float()
        if mix is None:
            losses[head] = F.cross_entropy(scores_BK, labels[head], label_smoothing=label_smoothing)
        else:
            targets_BK = soft_targets(labels[head], scores_BK.shape[1], label_smoothing=label_smoothing, mix=mix)
            losses[head] = F.cross_entropy(scores_BK, targets_BK)
    return losses


def join_losses(losses: Mapping[str, Tensor], heads: Literal["mean", "sum"] = "mean") -> Tensor:
    """The one loss of several heads: their mean or their sum."""
    stacked = torch.stack(list(losses.values()))
    return stacked.sum() if heads == "sum" else stacked.mean()


def soft_targets(labels_B: Tensor, num_classes: int, *, label_smoothing: float = 0.0, mix: Mix | None = None) -> Tensor:
    """Labels as probabilities.

    Args:
        labels_B: int64, (B,), in [0, num_classes).
        num_classes: K.
        label_smoothing: Part of each label that is spread over all K classes, its own among them.
        mix: How the clips were mixed; none: not.

    Returns:
        Shape (B, K), float32, each row of sum 1.

    Raises:
        ValueError: If the labels are no class numbers.

    Source: Szegedy et al., CVPR 2016, section 7; TAdaConv, `mixup_target`.
    """
    if labels_B.ndim != 1 or labels_B.is_floating_point():
        raise ValueError(
            f"labels to be mixed must be class numbers of shape (B,), not {labels_B.dtype} of shape {tuple(labels_B.shape)}"
        )
    share = label_smoothing / num_classes
    targets_BK = torch.full((len(labels_B), num_classes), share, device=labels_B.device)
    targets_BK.scatter_(1, labels_B[:, None], 1 - label_smoothing + share)
    return targets_BK if mix is None else mix.weight * targets_BK + (1 - mix.weight) * targets_BK.flip(0)
