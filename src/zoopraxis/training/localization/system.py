"""The localization system: what one step of training and validation does.

# B windows, C features of a step, T steps, D durations, G segments
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from zoopraxis.config.localization import LocalizationDescentConfig
from zoopraxis.config.schema import ScheduleConfig
from zoopraxis.errors import DataError
from zoopraxis.localization.losses import LocalizationLoss
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.localization.targets import boundary_targets
from zoopraxis.training.localization.loaders import WindowBatch
from zoopraxis.training.optim import descent, learning_rate_factor
from zoopraxis.training.steps import check_rates, limited_batches, step_seed

__all__ = ["LocalizationSystem"]

_VALIDATION = 1 << 20
"""Stands for the epoch in the seeds of validation, so that every epoch's draws are the same and no training step's."""


class LocalizationSystem(L.LightningModule):
    """A boundary-matching network with its loss, optimizer and schedule.

    Every random draw of the loss comes from (seed, epoch, batch, rank): a resumed run draws what the unbroken one drew.

    Args:
        model: The network.
        loss: The loss of a step.
        optim: The optimizer's settings, its rate scaled already.
        schedule: The learning rate's settings.
        num_epochs: Of the run.
        seed: Root of the loss's draws.
        name_windows: Training windows by their rows in words, for messages.
        record: What the network is built from again; kept in each checkpoint under `zoopraxis`.
    """

    def __init__(
        self,
        model: BoundaryMatchingNetwork,
        *,
        loss: LocalizationLoss,
        optim: LocalizationDescentConfig,
        schedule: ScheduleConfig,
        num_epochs: int = 1,
        seed: int = 0,
        name_windows: Callable[[Sequence[int]], str] = str,
        record: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.optim = optim
        self.schedule = schedule
        self.num_epochs = num_epochs
        self.seed = seed
        self.name_windows = name_windows
        self.record = record
        self._found: list[tuple[int, dict[str, Tensor]]] = []
        self._base_lrs: list[float] = []

    def training_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        found = self._losses(batch, self.current_epoch, batch_idx)
        loss = found["loss"]
        if not torch.isfinite(loss):
            raise DataError(
                f"the loss is {float(loss.detach())} in epoch {self.current_epoch}, batch {batch_idx}, of the windows "
                f"{self.name_windows(batch['index'].tolist())}; look at their features, or lower optim.lr or raise "
                "trainer.precision"
            )
        for name, value in found.items():
            self.log(f"train/{name}", value, prog_bar=name == "loss", batch_size=len(batch["index"]))
        return loss

    def validation_step(self, batch: WindowBatch, batch_idx: int) -> None:
        is_window = batch["index"] >= 0
        if not bool(is_window.all()):
            batch = _rows(batch, is_window)
        if len(batch["index"]):
            self._found.append((len(batch["index"]), self._losses(batch, _VALIDATION, batch_idx)))

    def on_validation_epoch_end(self) -> None:
        """Log the mean of each part of the loss over the windows of all processes."""
        names = self._part_names()
        sums = torch.zeros(len(names) + 1, device=self.device)
        for count, found in self._found:
            sums += count * torch.stack([torch.ones_like(found["loss"]), *(found[name] for name in names)]).float()
        self._found.clear()
        if self.trainer.world_size > 1:
            sums = cast("Tensor", self.all_gather(sums)).sum(0)
        for name, total in zip(names, sums[1:].tolist(), strict=True):
            self.log(f"val/{name}", total / max(float(sums[0]), 1.0), prog_bar=name == "loss")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = descent(self._groups(), self.optim)
        num_batches = len(self.trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
        num_batches = limited_batches(num_batches, self.trainer.limit_train_batches)
        steps_per_epoch = max(1, -(-num_batches // self.trainer.accumulate_grad_batches))
        factor = learning_rate_factor(
            self.schedule,
            base_lr=self.optim.lr,
            steps_per_epoch=steps_per_epoch,
            num_steps=steps_per_epoch * self.num_epochs,
        )
        scheduler = LambdaLR(optimizer, factor)
        self._base_lrs = [float(lr) for lr in scheduler.base_lrs]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_start(self) -> None:
        """See that the run goes on with the rates that its settings say.

        Raises:
            ConfigError: If the checkpoint's base rates are not this run's.
        """
        check_rates(self.lr_schedulers(), self._base_lrs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["zoopraxis"] = self.record

    def _groups(self) -> list[dict[str, Any]]:
        """All trainable parameters; biases apart, where they do not decay."""
        parameters = [(name, value) for name, value in self.model.named_parameters() if value.requires_grad]
        if self.optim.decay_biases:
            return [{"params": [value for _, value in parameters]}]
        biases = [value for name, value in parameters if name.endswith("bias")]
        weights = [value for name, value in parameters if not name.endswith("bias")]
        return [{"params": weights}, {"params": biases, "weight_decay": 0.0}]

    def _losses(self, batch: WindowBatch, epoch: int, batch_idx: int) -> dict[str, Tensor]:
        """The loss of a batch, and its parts."""
        targets = boundary_targets(
            batch["segments"],
            batch["present"],
            num_steps=self.model.arguments["num_steps"],
            max_duration=self.model.arguments["max_duration"],
            rounded=self.loss.balance == "tadaconv",
        )
        generator = torch.Generator(self.device).manual_seed(step_seed(self.seed, epoch, batch_idx, self.global_rank))
        maps = self.model(batch["features"])
        loss, parts = self.loss(maps, targets, batch["labels"], generator=generator)
        return {"loss": loss, **parts}

    def _part_names(self) -> list[str]:
        """What `_losses` finds."""
        arguments = self.model.arguments
        heads = [f"{head}_loss" for head in arguments["heads"]]
        shift = ["shift_loss"] if arguments["regression"] else []
        return ["loss", "boundary_loss", "overlap_loss", "confidence_loss", *heads, *shift]


def _rows(batch: WindowBatch, is_kept: Tensor) -> WindowBatch:
    """Some windows of a batch."""
    return {
        "features": batch["features"][is_kept],
        "segments": batch["segments"][is_kept],
        "present": batch["present"][is_kept],
        "labels": {head: labels[is_kept] for head, labels in batch["labels"].items()},
        "index": batch["index"][is_kept],
    }
