"""The losses on logits against their definitions, written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from zoopraxis.adaptation.losses import (
    adversarial_loss,
    attentive_entropy,
    classifier_discrepancy,
    entropy,
    normalize_logits,
    target_entropy,
)


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_entropy_of_even_logits_is_the_logarithm_of_the_classes() -> None:
    torch.testing.assert_close(entropy(torch.zeros(3, 5, 7)), torch.full((3, 5), math.log(7)))


def test_entropy_of_certain_logits_is_zero_and_has_a_finite_gradient() -> None:
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    found = entropy(logits)
    found.sum().backward()
    assert found.item() == 0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_adversarial_loss_is_the_mean_over_the_rows_of_both_domains() -> None:
    source, target = _normal(2, 3, 2), _normal(5, 3, 2, seed=1)
    rows = torch.cat([source.flatten(0, 1), target.flatten(0, 1)])
    labels = torch.tensor([0] * 6 + [1] * 15)
    torch.testing.assert_close(adversarial_loss(source, target), F.cross_entropy(rows, labels))


def test_adversarial_loss_normalizes_both_domains_together() -> None:
    source, target = _normal(4, 2) * 3, _normal(6, 2, seed=1) * 3
    rows = torch.cat([source, target])
    expected = F.cross_entropy(rows / rows.var().log(), torch.tensor([0] * 4 + [1] * 6))
    torch.testing.assert_close(adversarial_loss(source, target, normalize=True), expected)


def test_attentive_entropy_weighs_the_uncertain_domains_double() -> None:
    logits, certain, even = _normal(4, 6), torch.tensor([[90.0, 0.0]]).repeat(4, 1), torch.zeros(4, 2)
    torch.testing.assert_close(attentive_entropy(logits, certain), target_entropy(logits))
    torch.testing.assert_close(attentive_entropy(logits, even), (1 + math.log(2)) * target_entropy(logits))


def test_attentive_entropy_moves_the_discriminator() -> None:
    domain_logits = _normal(4, 2).requires_grad_()
    attentive_entropy(_normal(4, 6), domain_logits).backward()
    assert domain_logits.grad is not None
    assert domain_logits.grad.abs().min() > 0


def test_classifiers_that_agree_have_no_discrepancy() -> None:
    logits = _normal(4, 6)
    assert classifier_discrepancy(logits, logits + 3).item() == pytest.approx(0, abs=1e-7)
    assert classifier_discrepancy(torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]])).item() == 1


def test_normalized_logits_are_divided_by_the_logarithm_of_their_variance() -> None:
    logits = _normal(4, 6) * 5
    torch.testing.assert_close(normalize_logits(logits), logits / math.log(float(logits.var())))


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits: adversarial_loss(logits[:, :2], logits[:2, :2]),
        lambda logits: attentive_entropy(logits, logits[:, :2]),
        target_entropy,
        lambda logits: classifier_discrepancy(logits, logits.flip(0)),
    ],
)
def test_losses_of_half_precision_are_float32(loss: object) -> None:
    assert callable(loss)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(_normal(4, 6).bfloat16()).dtype == torch.float32
