"""Batch norms of each domain's own: AdaBN and AutoDIAL.

# B clips of both domains, those of the source first; S frames; D features

Source: Li et al., Revisiting Batch Normalization for Practical Domain Adaptation, ICLR workshop 2017 (AdaBN); Carlucci et al.,
AutoDIAL: Automatic DomaIn Alignment Layers, ICCV 2017; the exchange of clips: the published code of TA3N.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["DomainNorms", "Mixing"]

Mixing = Literal["none", "learned", "published"]
"""How the domains' batches meet in training. none: not (AdaBN); learned: their statistics are averaged with weights alpha and
1 - alpha, and alpha learns (AutoDIAL); published: a part 1 - alpha of each batch passes through the other's norm, and alpha
stays."""

_LEAST_ALPHA = 0.5


class DomainNorms(nn.Module):
    """A batch norm of the source and one of the target, over the clips and frames of each.

    Args:
        dim: D.
        mixing: See `Mixing`.

    Differs: the published code reads alpha as a number, so that it has no gradient and stays at its first value 1, where
    nothing is exchanged: its AutoDIAL is AdaBN. Where a checkpoint holds another alpha, the target's last clips also come back
    as features of the source. `mixing="published"` is that, for published checkpoints; "learned" is what the paper describes.
    """

    def __init__(self, dim: int, *, mixing: Mixing = "none") -> None:
        super().__init__()
        self.mixing = mixing
        self.source = nn.BatchNorm1d(dim)
        self.target = nn.BatchNorm1d(dim)

    def forward(self, frames_BSD: Tensor, num_source: int, alpha: Tensor | None = None) -> Tensor:
        """Normalize each domain.

        Args:
            frames_BSD: Shape (B, S, D).
            num_source: How many of the first clips are the source's; the others are the target's.
            alpha: The part of a domain's own, shape (1,), taken as at least 0.5 (and, learned, at most 1); None without mixing.

        Returns:
            Shape (B, S, D).

        Raises:
            ValueError: If the published exchange takes more clips of the target than the source has.
        """
        if num_source == 0:
            return _normalize(self.target, frames_BSD)
        if num_source == len(frames_BSD):
            return _normalize(self.source, frames_BSD)
        source, target = frames_BSD[:num_source], frames_BSD[num_source:]
        if self.training and alpha is not None and self.mixing == "published":
            return self._exchanged(source, target, max(alpha.item(), _LEAST_ALPHA))
        if self.training and alpha is not None and self.mixing == "learned":
            return self._mixed(source, target, alpha)
        return torch.cat([_normalize(self.source, source), _normalize(self.target, target)])

    def extra_repr(self) -> str:
        return f"mixing={self.mixing!r}"

    def _mixed(self, source: Tensor, target: Tensor, alpha: Tensor) -> Tensor:
        # Beyond its bounds alpha would have no gradient and could not come back: it keeps the one that it has inside.
        part = alpha + (alpha.clamp(_LEAST_ALPHA, 1) - alpha).detach()
        moments_s, moments_t = _moments(source), _moments(target)
        own_s = [part * s + (1 - part) * t for s, t in zip(moments_s, moments_t, strict=True)]
        own_t = [part * t + (1 - part) * s for s, t in zip(moments_s, moments_t, strict=True)]
        return torch.cat([_normalize_by(self.source, source, *own_s), _normalize_by(self.target, target, *own_t)])

    def _exchanged(self, source: Tensor, target: Tensor, alpha: float) -> Tensor:
        kept_s, kept_t = round(len(source) * alpha), round(len(target) * alpha)
        given_s, given_t = len(source) - kept_s, len(target) - kept_t
        if given_s <= 0 or given_t <= 0:
            return torch.cat([_normalize(self.source, source), _normalize(self.target, target)])
        if given_t > len(source):
            raise ValueError(
                f"the published AutoDIAL at alpha {alpha:.2f} cannot exchange between {len(source)} clips of the source and "
                f"{len(target)} of the target; make their numbers alike, or take autodial='learned'"
            )
        by_source = _normalize(self.source, torch.cat([source[:kept_s], target[kept_t:]]))
        by_target = _normalize(self.target, torch.cat([target[:kept_t], source[kept_s:]]))
        normalized = torch.cat([by_source[:kept_s], by_target[kept_t:]])
        return torch.cat([normalized, by_target[:kept_t], normalized[len(normalized) - given_t :]])


def _normalize(norm: nn.Module, frames_BSD: Tensor) -> Tensor:
    normalized: Tensor = norm(frames_BSD.flatten(0, 1))
    return normalized.view_as(frames_BSD)


def _moments(frames_BSD: Tensor) -> tuple[Tensor, Tensor]:
    """Means of the features and of their squares, over clips and frames, in full precision."""
    features = frames_BSD.flatten(0, 1).float()
    return features.mean(dim=0), features.square().mean(dim=0)


def _normalize_by(norm: nn.BatchNorm1d, frames_BSD: Tensor, mean: Tensor, square_mean: Tensor) -> Tensor:
    """Normalize by these moments, and keep them as the running ones: the variance unbiased, as batch norms do."""
    variance = (square_mean - mean.square()).clamp_min(0)
    num_rows = frames_BSD.shape[0] * frames_BSD.shape[1]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean.detach(), norm.momentum)
        norm.running_var.lerp_(variance.detach() * (num_rows / max(1, num_rows - 1)), norm.momentum)
    factor = norm.weight * (variance + norm.eps).rsqrt()
    return (frames_BSD - mean) * factor + norm.bias
