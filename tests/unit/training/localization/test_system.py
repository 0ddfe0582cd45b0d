from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from zoopraxis.config.localization import LocalizationDescentConfig
from zoopraxis.config.schema import ScheduleConfig
from zoopraxis.localization.losses import Balance, LocalizationLoss
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.localization.targets import valid_cells
from zoopraxis.training.localization.loaders import WindowBatch
from zoopraxis.training.localization.system import LocalizationSystem

SIZE = {"num_steps": 91, "max_duration": 6}
"""Rounding takes a cell of three steps and one of six."""


class Recording(LocalizationLoss):
    """Keeps which cells are counted."""

    valid_DT: Tensor  # noqa: N815

    def __call__(self, maps: Any, targets: Any, *args: Any, **kwargs: Any) -> Any:
        self.valid_DT = targets.valid_DT
        return super().__call__(maps, targets, *args, **kwargs)


@pytest.mark.parametrize("balance", ["tadaconv", "mmaction", "epic"])
def test_cells_are_counted_as_in_the_code_that_is_followed(balance: Balance) -> None:
    network = BoundaryMatchingNetwork(**SIZE, in_dim=4, num_samples=2, base_dim=4, match_dim=4, map_dim=4)
    loss = Recording(balance=balance)
    system = LocalizationSystem(network, loss=loss, optim=LocalizationDescentConfig(), schedule=ScheduleConfig())
    segments = torch.tensor([[[0.1, 0.15]]], dtype=torch.float64)
    batch: WindowBatch = {
        "features": torch.randn(1, 4, SIZE["num_steps"]),
        "segments": segments,
        "present": torch.ones(1, 1, dtype=torch.bool),
        "labels": {},
        "index": torch.zeros(1, dtype=torch.int64),
    }
    system.validation_step(batch, 0)
    assert torch.equal(loss.valid_DT, valid_cells(**SIZE, rounded=balance == "tadaconv"))
    assert (valid_cells(**SIZE) - valid_cells(**SIZE, rounded=True)).sum() == 2
