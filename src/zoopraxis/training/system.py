"""The recognition system: what one step of training, validation and test does.

# B clips, V views a clip, T frames, C channels
"""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from zoopraxis.config.schema import LossConfig, MixConfig, OptimConfig, ScheduleConfig
from zoopraxis.errors import DataError
from zoopraxis.evaluation.accuracy import head_accuracies
from zoopraxis.evaluation.actions import TopActions
from zoopraxis.models.base import VideoModel
from zoopraxis.models.preprocessing import normalize
from zoopraxis.training.losses import head_losses, join_losses
from zoopraxis.training.mixing import draw_boxes, draw_mix, erase, mix_clips, mixed_labels
from zoopraxis.training.optim import build_optimizer, learning_rate_factor
from zoopraxis.training.steps import check_rates, gather_rows, limited_batches, step_seed, with_prefix
from zoopraxis.training.view_actions import top_view_actions

__all__ = ["RecognitionSystem"]


class RecognitionSystem(L.LightningModule):
    """A network with the loss, the optimizer and the metrics of recognition.

    Every random draw of a training step comes from (seed, epoch, batch, rank): a resumed run draws what the unbroken one drew.

    Args:
        model: Maps (B, T, C, H, W) to `{head: logits (B, classes)}`; carries `preprocessing`.
        optim: The optimizer's settings; none for a system that only tests.
        schedule: The learning rate's settings.
        mix: How training clips are mixed and erased; none: not at all.
        loss: Label smoothing in training, and how the heads' losses become one; none: as `LossConfig` has it.
        seed: Root of the randomness of dropout, mixing and erasing.
        train_clip_ids: Ids of the training clips by row, for messages.
        record: What `load_model` needs to build the network again; kept in each checkpoint under `zoopraxis`.
        average: How views are averaged: `score` (logits) or `prob` (softmax probabilities, given back as logarithms).
    """

    def __init__(
        self,
        model: VideoModel,
        *,
        optim: OptimConfig | None = None,
        schedule: ScheduleConfig | None = None,
        mix: MixConfig | None = None,
        loss: LossConfig | None = None,
        seed: int = 0,
        train_clip_ids: np.ndarray[Any, np.dtype[np.str_]] | None = None,
        record: dict[str, Any] | None = None,
        average: str = "score",
    ) -> None:
        super().__init__()
        self.model = model
        self.optim = optim
        self.schedule = schedule
        self.mix = mix or MixConfig()
        self.loss = loss or LossConfig()
        self.seed = seed
        self.train_clip_ids = train_clip_ids
        self.record = record
        self.average = average
        self.tested: tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]]] | None = None
        """After a test: row numbers (N,) and for each head the scores (N, classes)."""
        self.view_actions: TopActions | None = None
        """After a test of several views, where there are verbs and nouns: the best actions of each row."""
        self._outputs: list[dict[str, Tensor]] = []
        self._base_lrs: list[float] = []

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        clip = batch["clip"]
        if clip.ndim == 6:
            batch["num_views"] = clip.shape[1]
            clip = clip.flatten(0, 1)
        batch["clip"] = normalize(clip, self.model.preprocessing)
        return batch

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        torch.manual_seed(step_seed(self.seed, self.current_epoch, batch_idx, self.global_rank))
        clip, labels = batch["clip"], batch["labels"]
        height, width = clip.shape[-2:]
        clip = erase(clip, draw_boxes(len(clip), height, width, probability=self.mix.erasing))
        mix = draw_mix(self.mix, height, width)
        logits = self.model(mix_clips(clip, mix))
        losses = head_losses(logits, labels, label_smoothing=self.loss.label_smoothing, mix=mix)
        loss = join_losses(losses, self.loss.heads)
        if not torch.isfinite(loss):
            raise DataError(self._not_finite(float(loss.detach()), batch, batch_idx))
        num_clips = len(batch["index"])
        self.log("train/loss", loss, prog_bar=True, batch_size=num_clips)
        for head, value in losses.items():
            self.log(f"train/{head}_loss", value, batch_size=num_clips)
            correct = logits[head].argmax(1) == mixed_labels(labels[head], mix)
            self.log(f"train/{head}_acc@1", 100 * correct.float().mean(), batch_size=num_clips)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._collect(batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._collect(batch)

    def on_validation_epoch_end(self) -> None:
        _, scores, labels = self._gather()
        for name, value in self._metrics(scores, labels).items():
            self.log(f"val/{name}", value, prog_bar=name.endswith("acc@1"))

    def on_test_epoch_end(self) -> None:
        rows, scores, _ = self._gather()
        self.tested = (rows, scores)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        assert self.optim is not None
        assert self.schedule is not None
        optimizer = build_optimizer(self.model, self.optim)
        steps_per_epoch, num_steps = self._num_steps()
        factor = learning_rate_factor(
            self.schedule, base_lr=self.optim.lr, steps_per_epoch=steps_per_epoch, num_steps=num_steps
        )
        scheduler = LambdaLR(optimizer, factor)
        self._base_lrs = [float(lr) for lr in scheduler.base_lrs]
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_start(self) -> None:
        check_rates(self.lr_schedulers(), self._base_lrs)

    def _num_steps(self) -> tuple[int, int]:
        """Optimizer steps an epoch and in all.

        Lightning's own estimate cannot serve here: it sets up the loaders before their state is restored, so that a resumed
        run would begin its epoch anew.
        """
        trainer = self.trainer
        num_batches = len(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
        num_batches = limited_batches(num_batches, trainer.limit_train_batches)
        steps_per_epoch = max(1, math.ceil(num_batches / trainer.accumulate_grad_batches))
        num_steps = steps_per_epoch * max(1, trainer.max_epochs or 1)
        return steps_per_epoch, min(num_steps, trainer.max_steps) if trainer.max_steps > 0 else num_steps

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["zoopraxis"] = self.record

    def _collect(self, batch: dict[str, Any]) -> None:
        logits = self.model(batch["clip"])
        num_views = batch.get("num_views", 1)
        output = {f"score:{head}": average_views(value.float(), num_views, self.average) for head, value in logits.items()}
        output |= {f"label:{head}": batch["labels"][head] for head in logits}
        if num_views > 1 and {"verb", "noun"} <= logits.keys():
            output["action_classes"], output["action_scores"] = top_view_actions(logits["verb"], logits["noun"], num_views)
        output["index"] = batch["index"]
        self._outputs.append(output)

    def _gather(self) -> tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]:
        """All processes' outputs by row: each row once, in ascending order."""
        arrays = gather_rows(self, self._outputs)
        self._outputs.clear()
        scores, labels = with_prefix(arrays, "score:"), with_prefix(arrays, "label:")
        if "action_classes" in arrays:
            classes, values = arrays["action_classes"], arrays["action_scores"]
            self.view_actions = TopActions.from_classes(classes, values, scores["noun"].shape[1])
        return arrays["index"], scores, labels

    def _metrics(self, scores: dict[str, np.ndarray[Any, Any]], labels: dict[str, np.ndarray[Any, Any]]) -> dict[str, float]:
        """Plain cross entropy, without smoothing, and accuracies in percent."""
        tensors = {head: torch.from_numpy(values) for head, values in scores.items()}
        losses = head_losses(tensors, {head: torch.from_numpy(values) for head, values in labels.items()})
        metrics = {f"{head}_loss": float(loss) for head, loss in losses.items()}
        metrics["loss"] = float(join_losses(losses, self.loss.heads))
        return metrics | head_accuracies(scores, labels)

    def _not_finite(self, loss: float, batch: dict[str, Any], batch_idx: int) -> str:
        rows = batch["index"].tolist()
        ids = [str(self.train_clip_ids[row]) for row in rows] if self.train_clip_ids is not None else [str(r) for r in rows]
        return (
            f"the loss is {loss} in epoch {self.current_epoch}, batch {batch_idx}, of the clips {', '.join(ids)}; "
            f"look at these clips, or lower optim.lr or raise trainer.precision"
        )


def average_views(scores_BVxK: Tensor, num_views: int, average: str) -> Tensor:
    """The mean over each clip's views.

    Args:
        scores_BVxK: Logits, shape (B * num_views, classes), the views of a clip side by side.
        num_views: Views a clip.
        average: `score`: mean of logits; `prob`: logarithm of the mean of softmax probabilities.

    Returns:
        Shape (B, classes).
    """
    scores_BVK = scores_BVxK.reshape(-1, num_views, scores_BVxK.shape[-1])
    if average == "prob":
        return scores_BVK.softmax(-1).mean(1).clamp_min(torch.finfo(scores_BVK.dtype).tiny).log()
    return scores_BVK.mean(1)
