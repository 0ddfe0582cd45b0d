from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoopraxis.training.losses import head_losses, join_losses, soft_targets
from zoopraxis.training.mixing import Mix

LABELS = {"verb": torch.tensor([0, 2, 1]), "noun": torch.tensor([4, 0, 3])}


def _logits() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {head: torch.randn(3, width, generator=generator) for head, width in (("verb", 4), ("noun", 5))}


def test_soft_targets_spread_a_part_of_each_label() -> None:
    targets = soft_targets(torch.tensor([1, 3]), 4, label_smoothing=0.2)
    assert torch.allclose(targets, torch.tensor([[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]]))


def test_soft_targets_are_mixed_with_the_partners() -> None:
    targets = soft_targets(torch.tensor([0, 1, 2]), 3, mix=Mix(0.75))
    assert torch.allclose(targets, torch.tensor([[0.75, 0, 0.25], [0, 1, 0], [0.25, 0, 0.75]]))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_mix_that_leaves_the_clips_alone_has_the_loss_of_hard_labels(smoothing: float) -> None:
    hard = head_losses(_logits(), LABELS, label_smoothing=smoothing)
    soft = head_losses(_logits(), LABELS, label_smoothing=smoothing, mix=Mix(1.0))
    assert {head: float(loss) for head, loss in soft.items()} == pytest.approx(
        {head: float(loss) for head, loss in hard.items()}, rel=1e-6
    )


def test_the_loss_of_mixed_clips_is_the_mixture_of_losses() -> None:
    logits = _logits()
    mixed = head_losses(logits, LABELS, mix=Mix(0.3))
    own = head_losses(logits, LABELS)
    partner = head_losses(logits, {head: labels.flip(0) for head, labels in LABELS.items()})
    for head in logits:
        assert float(mixed[head]) == pytest.approx(0.3 * float(own[head]) + 0.7 * float(partner[head]), rel=1e-5)


def test_losses_are_of_float32_whatever_the_logits_are() -> None:
    logits = {head: scores.bfloat16() for head, scores in _logits().items()}
    for mix in (None, Mix(0.3)):
        assert {loss.dtype for loss in head_losses(logits, LABELS, mix=mix).values()} == {torch.float32}


def test_heads_are_joined_by_mean_or_sum() -> None:
    losses = {"verb": torch.tensor(1.0), "noun": torch.tensor(2.0)}
    assert float(join_losses(losses)) == 1.5
    assert float(join_losses(losses, "sum")) == 3.0


def test_labels_that_are_soft_already_are_refused() -> None:
    wanted = r"labels to be mixed must be class numbers of shape \(B,\), not torch\.float32 of shape \(3, 4\)"
    with pytest.raises(ValueError, match=wanted):
        soft_targets(torch.zeros(3, 4), 4)
