from __future__ import annotations

import lightning as L
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from zoopraxis.errors import ConfigError
from zoopraxis.training.steps import check_rates, gather_rows, limited_batches, step_seed, with_prefix


@pytest.mark.parametrize(("limit", "num_batches"), [(None, 10), (4, 4), (40, 10), (0.5, 5), (1.0, 10), (0, 0)])
def test_batches_are_limited_by_number_or_part(limit: float | None, num_batches: int) -> None:
    assert limited_batches(10, limit) == num_batches


def test_a_seed_is_a_function_of_all_parts() -> None:
    seeds = {step_seed(*parts) for parts in [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (1, 0, 0, 0), (0, 0, 0, 0, 1)]}
    assert len(seeds) == 5
    assert step_seed(1, 2, 3) == step_seed(1, 2, 3)


def test_a_run_does_not_go_on_with_other_rates() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = LambdaLR(optimizer, lambda step: 1.0)
    check_rates(scheduler, [0.1])
    check_rates(None, [0.2])
    with pytest.raises(ConfigError, match=r"the checkpoint's run has a learning rate of 0\.1, and this one 0\.2 \(optim\.lr"):
        check_rates(scheduler, [0.2])


def test_outputs_are_gathered_by_row_without_what_fills_up() -> None:
    system = L.LightningModule()
    system.trainer = L.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, barebones=True)
    batches = [torch.tensor([3, 0]), torch.tensor([1, -1, 3])]
    found = gather_rows(system, [{"score:verb": 10.0 * rows[:, None], "index": rows} for rows in batches])
    assert found["index"].tolist() == [0, 1, 3]
    assert with_prefix(found, "score:")["verb"].tolist() == [[0.0], [10.0], [30.0]]
    assert with_prefix(found, "label:") == {}
