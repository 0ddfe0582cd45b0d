"""What the systems of all tasks share: the seeds of steps, their number, and the rates that a run goes on with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.optim.lr_scheduler import LambdaLR

from zoopraxis.errors import ConfigError

__all__ = ["check_rates", "limited_batches", "step_seed"]


def step_seed(*parts: int) -> int:
    """The seed of a step's randomness from numbers such as (seed, epoch, batch, rank)."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def limited_batches(num_batches: int, limit: int | float | None) -> int:
    """Batches of an epoch under `trainer.limit_train_batches`.

    Args:
        num_batches: Without it.
        limit: A number of batches or a part of them; none: no limit.
    """
    if isinstance(limit, float):
        return int(num_batches * limit)
    return num_batches if limit is None else min(num_batches, limit)


def check_rates(scheduler: object, base_lrs: Sequence[float]) -> None:
    """Refuse to go on from a checkpoint with other rates, which would quietly win over the settings.

    Args:
        scheduler: As restored from the checkpoint.
        base_lrs: This run's base rates, one a group.

    Raises:
        ConfigError: If the checkpoint's base rates are not this run's.
    """
    if isinstance(scheduler, LambdaLR) and list(scheduler.base_lrs) != list(base_lrs):
        raise ConfigError(
            f"the checkpoint's run has a learning rate of {float(scheduler.base_lrs[0]):g}, and this one {base_lrs[0]:g} "
            "(optim.lr, scaled to the batches of all devices if optim.base_batch_size is set); give settings and devices as "
            "before, or begin a run of its own with model.weights=CHECKPOINT"
        )
