"""Losses on the logits of both domains: discriminators, certain predictions, agreeing classifiers.

All are computed in float32, under autocast too, and are means over rows, so that batches of the two domains may differ in size.

# B clips, K classes, N rows (clips, relations of clips, or frames of clips)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["adversarial_loss", "attentive_entropy", "classifier_discrepancy", "entropy", "normalize_logits", "target_entropy"]


def entropy(logits: Tensor) -> Tensor:
    """The entropy of the softmax over the last axis, nats, float32: shape (..., K) to (...)."""
    log_probabilities = F.log_softmax(logits.float(), dim=-1)
    return -(log_probabilities.exp() * log_probabilities).sum(-1)


def adversarial_loss(source: Tensor, target: Tensor, *, normalize: bool = False) -> Tensor:
    """The cross entropy of a discriminator: rows of the source are class 0, those of the target class 1.

    Args:
        source: Domain logits of the source, shape (..., 2); all axes but the last are rows.
        target: Those of the target, shape (..., 2).
        normalize: Divide all logits by the logarithm of their variance first (`normalize_logits`).

    Returns:
        A scalar, the mean over all rows of both domains, so that the larger batch weighs more.

    Source: Ganin and Lempitsky, Unsupervised Domain Adaptation by Backpropagation, ICML 2015.
    """
    rows_N2 = torch.cat([source.reshape(-1, 2), target.reshape(-1, 2)]).float()
    if normalize:
        rows_N2 = normalize_logits(rows_N2)
    log_probabilities_N2 = F.log_softmax(rows_N2, dim=1)
    num_source = source.numel() // 2
    return -(log_probabilities_N2[:num_source, 0].sum() + log_probabilities_N2[num_source:, 1].sum()) / len(rows_N2)


def attentive_entropy(logits_BK: Tensor, domain_logits_B2: Tensor) -> Tensor:
    """The mean entropy of predictions, each weighted by 1 + the entropy of its domain.

    The weight is not detached: the discriminator is drawn to certain domains where predictions are uncertain.

    Args:
        logits_BK: Class logits of the clips of both domains.
        domain_logits_B2: The video discriminator's logits of the same clips.

    Source: Chen et al., Temporal Attentive Alignment for Large-Scale Video Domain Adaptation, ICCV 2019, section 4.3.
    """
    return ((1 + entropy(domain_logits_B2)) * entropy(logits_BK)).mean()


def target_entropy(logits_BK: Tensor) -> Tensor:
    """The mean entropy of predictions.

    Source: Grandvalet and Bengio, Semi-supervised Learning by Entropy Minimization, NeurIPS 2004.
    """
    return entropy(logits_BK).mean()


def classifier_discrepancy(first_BK: Tensor, second_BK: Tensor) -> Tensor:
    """How much the class probabilities of two classifiers differ: the mean of |first - second| over clips and classes.

    Source: Saito et al., Maximum Classifier Discrepancy for Unsupervised Domain Adaptation, CVPR 2018, section 3.3.
    """
    return (first_BK.float().softmax(-1) - second_BK.float().softmax(-1)).abs().mean()


def normalize_logits(logits: Tensor) -> Tensor:
    """Divide logits by the natural logarithm of their variance over all elements, in float32.

    A variance of 1 gives infinities and one below 1 turns the signs round; the published code, which has this as under
    construction, is followed.
    """
    logits = logits.float()
    return logits / logits.var().log()
