from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoopraxis.config.schema import LossConfig, MixConfig
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


class _Brightness(nn.Module):
    """Scores each clip by its mean, and notes the clips that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 4))
        self.preprocessing = Preprocessing()
        self.seen: list[Tensor] = []

    def forward(self, clip: Tensor) -> dict[str, Tensor]:
        self.seen.append(clip)
        return {"verb": clip.mean((1, 2, 3, 4))[:, None] * self.weight}


def _train(mix: MixConfig, *, batch_idx: int = 0, smoothing: float = 0.0) -> tuple[Tensor, Tensor, dict[str, float]]:
    """The loss of one step, the clips that the network saw, and what was logged."""
    model = _Brightness()
    system = RecognitionSystem(model, mix=mix, loss=LossConfig(label_smoothing=smoothing), seed=3)
    logged: dict[str, float] = {}
    system.log = lambda name, value, **_: logged.update({name: torch.as_tensor(value).item()})  # type: ignore[method-assign]
    clip = torch.tensor([0.0, 1.0, 2.0, 3.0])[:, None, None, None, None].repeat(1, 2, 3, 8, 8)
    batch = {"clip": clip, "index": torch.arange(4), "labels": {"verb": torch.tensor([0, 1, 2, 3])}}
    loss = system.training_step(batch, batch_idx)
    return loss.detach(), model.seen[0], logged


def test_the_loss_may_be_the_sum_over_heads_in_training_and_validation() -> None:
    system = RecognitionSystem(_Constant(0.0), loss=LossConfig(heads="sum", label_smoothing=0.1))
    logged: dict[str, float] = {}
    system.log = lambda name, value, **_: logged.update({name: torch.as_tensor(value).item()})  # type: ignore[method-assign]
    total = np.log(4) + np.log(5)
    assert system.training_step(_batch(), 0).item() == pytest.approx(total)
    scores = {"verb": np.zeros((2, 4), np.float32), "noun": np.zeros((2, 5), np.float32)}
    labels = {"verb": np.array([0, 1]), "noun": np.array([2, 3])}
    assert system._metrics(scores, labels)["loss"] == pytest.approx(total)


def test_clips_and_labels_are_mixed_alike_and_the_same_again_in_the_same_step() -> None:
    mix = MixConfig(mixup=0.8)
    loss, seen, logged = _train(mix)
    weight = 1 - float(seen[0].mean()) / 3
    assert 0 < weight < 1
    means = torch.tensor([3 - 3 * weight, 2 - weight, 1 + weight, 3 * weight])
    assert torch.allclose(seen.mean((1, 2, 3, 4)), means, atol=1e-5)
    logits = means[:, None] * torch.linspace(-1, 1, 4)
    own, partner = (nn.functional.cross_entropy(logits, labels) for labels in (torch.arange(4), torch.arange(4).flip(0)))
    assert float(loss) == pytest.approx(weight * float(own) + (1 - weight) * float(partner), rel=1e-5)
    heavier = torch.arange(4) if weight >= 0.5 else torch.arange(4).flip(0)
    assert logged["train/verb_acc@1"] == pytest.approx(100 * float((logits.argmax(1) == heavier).float().mean()))
    assert torch.equal(_train(mix)[1], seen)
    assert not torch.equal(_train(mix, batch_idx=1)[1], seen)


def test_clips_are_erased_before_they_are_mixed() -> None:
    _, seen, _ = _train(MixConfig(erasing=1.0))
    assert all(0 < int((clip == number).sum()) < clip.numel() for number, clip in enumerate(seen))
    _, seen, _ = _train(MixConfig(erasing=1.0, mixup=0.8))
    is_noise = seen != seen.flatten(1).mode(1).values[:, None, None, None, None]
    assert is_noise.flatten(1).any(1).all()
    assert torch.equal(is_noise, is_noise.flip(0))


def test_validation_sees_no_smoothing() -> None:
    system = RecognitionSystem(_Constant(0.0), loss=LossConfig(label_smoothing=0.5))
    scores = {"verb": np.array([[9.0, 0, 0, 0]], np.float32)}
    assert system._metrics(scores, {"verb": np.array([0])})["loss"] < 0.01


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
