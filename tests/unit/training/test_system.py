from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoopraxis.errors import DataError
from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.training.system import RecognitionSystem, average_views


class _Constant(nn.Module):
    """Gives the same logit to every class."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.preprocessing = Preprocessing()

    def forward(self, clip: Tensor) -> dict[str, Tensor]:
        return {"verb": self.value.expand(len(clip), 4), "noun": self.value.expand(len(clip), 5)}


def _batch() -> dict[str, object]:
    return {
        "clip": torch.zeros(2, 1, 3, 4, 4),
        "index": torch.tensor([5, 1]),
        "labels": {"verb": torch.tensor([0, 1]), "noun": torch.tensor([2, 3])},
    }


def test_views_are_averaged_as_logits_or_as_probabilities() -> None:
    scores = torch.tensor([[0.0, 2.0], [4.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    assert average_views(scores, 2, "score").tolist() == [[2.0, 1.0], [1.0, 1.0]]
    probabilities = average_views(scores, 2, "prob").exp()
    assert torch.allclose(probabilities, scores.softmax(1).unflatten(0, (2, 2)).mean(1))


def test_the_loss_is_the_mean_over_heads() -> None:
    system = RecognitionSystem(_Constant(0.0))
    system.log = lambda *_, **__: None  # type: ignore[method-assign]
    loss = system.training_step(_batch(), 0)
    assert loss.item() == pytest.approx((np.log(4) + np.log(5)) / 2)


def test_a_loss_that_is_not_finite_names_the_clips() -> None:
    ids = np.array([f"P01_01_{row}" for row in range(8)])
    system = RecognitionSystem(_Constant(float("nan")), train_clip_ids=ids)
    with pytest.raises(DataError, match=r"the loss is nan in epoch 0, batch 3, of the clips P01_01_5, P01_01_1; "):
        system.training_step(_batch(), 3)


def test_views_become_clips_of_their_own_and_are_normalized() -> None:
    system = RecognitionSystem(_Constant(0.0))
    batch = system.on_after_batch_transfer({"clip": torch.full((2, 3, 1, 3, 4, 4), 255, dtype=torch.uint8)}, 0)
    assert batch["clip"].shape == (6, 1, 3, 4, 4)
    assert batch["num_views"] == 3
    mean, std = Preprocessing().mean[0], Preprocessing().std[0]
    assert float(batch["clip"][0, 0, 0, 0, 0]) == pytest.approx((1 - mean) / std, rel=1e-6)
