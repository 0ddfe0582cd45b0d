from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from zoopraxis.training.ema import WeightAverage

DECAY = 0.9
NUM_STEPS = 5


class _System(L.LightningModule):
    """Learns with a norm's statistics, and notes its state behind each step and what validation sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.states = [self._state()]
        self.validated: list[dict[str, Tensor]] = []

    def _state(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.state_dict().items()}

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layers(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(self._state())

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.states.append(self._state())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)


def _fit(folder: Path, *, max_epochs: int, ckpt_path: Path | None = None, seed: int = 0) -> _System:
    torch.manual_seed(seed)
    system = _System()
    rows = torch.randn(NUM_STEPS * 4, 3, generator=torch.Generator().manual_seed(1))
    trainer = L.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        callbacks=[WeightAverage(DECAY), ModelCheckpoint(folder, filename="run", save_on_train_epoch_end=True)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(system, DataLoader(rows, batch_size=4), DataLoader(rows, batch_size=20), ckpt_path=ckpt_path)
    return system


def _averaged(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The published rule, over parameters and buffers; whole numbers are cut off."""
    average = dict(states[0])
    for state in states[1:]:
        average = {name: (DECAY * value + (1 - DECAY) * state[name]).to(value.dtype) for name, value in average.items()}
    return average


def _assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.allclose(value, expected[name], atol=1e-6), name


def test_the_average_follows_the_published_rule_from_the_first_step(tmp_path: Path) -> None:
    system = _fit(tmp_path, max_epochs=1)
    assert len(system.states) == NUM_STEPS + 1
    expected = _averaged(system.states)
    _assert_same(system.validated[-1], expected)
    is_moved = [not torch.allclose(expected[name], system.states[-1][name], atol=1e-3) for name in expected]
    assert sum(is_moved) >= 6


def test_a_checkpoint_has_both_and_a_run_goes_on_from_the_last_weights(tmp_path: Path) -> None:
    first = _fit(tmp_path, max_epochs=1)
    checkpoint = torch.load(tmp_path / "run.ckpt", weights_only=True)
    _assert_same(checkpoint["state_dict"], _averaged(first.states))
    _assert_same(checkpoint["current_model_state"], first.states[-1])
    resumed = _fit(tmp_path / "resumed", max_epochs=2, ckpt_path=tmp_path / "run.ckpt", seed=5)
    whole = _fit(tmp_path / "whole", max_epochs=2)
    _assert_same(resumed.states[-1], whole.states[-1])
    _assert_same(resumed.validated[-1], whole.validated[-1])
