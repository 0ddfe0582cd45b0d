"""What the systems of all tasks share: the seeds of steps, their number, the rates that a run goes on with, and its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from zoopraxis.errors import ConfigError

__all__ = ["Array", "check_rates", "gather_rows", "limited_batches", "step_seed", "with_prefix"]

Array = np.ndarray[Any, Any]


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


def gather_rows(system: L.LightningModule, outputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Array]:
    """All processes' outputs by row of the index: each row once, in ascending order.

    Args:
        system: What found them.
        outputs: Of each batch, tensors of which the first axis is clips; `index` are the clips' rows, below 0 where they only
            fill up.

    Returns:
        Under the same names, without what fills up.
    """
    merged = {key: torch.cat([output[key] for output in outputs]) for key in outputs[0]}
    if system.trainer.world_size > 1:
        gathered = cast("dict[str, Tensor]", system.all_gather(merged))
        merged = {key: value.flatten(0, 1) for key, value in gathered.items()}
    arrays = {key: value.cpu().numpy() for key, value in merged.items()}
    is_clip = arrays["index"] >= 0
    arrays = {key: values[is_clip] for key, values in arrays.items()}
    _, first = np.unique(arrays["index"], return_index=True)
    return {key: values[first] for key, values in arrays.items()}


def with_prefix(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """Those whose name begins so, by the rest of their name."""
    return {key.removeprefix(prefix): values for key, values in arrays.items() if key.startswith(prefix)}
