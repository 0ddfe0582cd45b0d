"""The adaptation system: what one step of training, validation and test does.

# B clips, S frames (features) a clip, D features, K classes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from zoopraxis.adaptation.network import Domain, DomainOutput, Level
from zoopraxis.adaptation.objective import DomainBatch, DomainNetwork, Objective
from zoopraxis.adaptation.schedules import Progress, run_part
from zoopraxis.config.adaptation import AdaptationDescentConfig
from zoopraxis.config.schema import ScheduleConfig
from zoopraxis.errors import DataError
from zoopraxis.evaluation.accuracy import head_accuracies
from zoopraxis.models.base import VideoModel
from zoopraxis.training.adaptation.clips import clip_inputs
from zoopraxis.training.losses import head_losses, join_losses
from zoopraxis.training.optim import descent, learning_rate_factor
from zoopraxis.training.steps import Array, check_rates, gather_rows, limited_batches, step_seed, with_prefix

__all__ = ["VALIDATION_METRICS", "AdaptationSystem", "AdaptiveNetwork"]

VALIDATION_METRICS = {"source_val": "source", "target_val": "target", "target_train": "target_entropy"}
"""The name of a validation set to what its metrics are named by: `val/source/verb_acc@1`, ..., `val/target_entropy`."""


class AdaptiveNetwork(DomainNetwork, Protocol):
    """A network of two domains: `AdaptationNetwork` on features, `TA3N` on clips."""

    def describe(self, features_BSD: Tensor, domain: Domain = "target") -> DomainOutput:
        """What it finds in one domain's clips, for inference."""


class AdaptationSystem(L.LightningModule):
    """A network of two domains with the objective, the optimizer and the metrics of adaptation.

    Every random draw of a training step comes from (seed, epoch, batch, rank): a resumed run draws what the unbroken one drew.
    Labels of the target never reach the network or the objective but with `adapt.target=labelled`.

    Args:
        model: The network, `AdaptationNetwork` or `TA3N`.
        objective: The loss of a step; none for a system that only validates or tests.
        optim: The optimizer's settings; likewise.
        schedule: The learning rate's settings; likewise.
        num_epochs: Of the run, for warm-ups and schedules.
        num_source_batches: Batches of the source an epoch, whether or not an epoch has so many steps, for the same.
        pad_to: Clips of the source and of the target up to which smaller batches are filled up; none: not at all.
        seed: Root of the randomness of dropout.
        clip_ids: Of the source's and the target's training clips by row, for messages.
        val_names: Of the validation sets, in the order of their loaders.
        tested_domain: Whose norms and layers a test goes through.
        record: What the network is built from again; kept in each checkpoint under `zoopraxis`.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        objective: Objective | None = None,
        optim: AdaptationDescentConfig | None = None,
        schedule: ScheduleConfig | None = None,
        num_epochs: int = 1,
        num_source_batches: int = 1,
        pad_to: tuple[int, int] | None = None,
        seed: int = 0,
        clip_ids: Mapping[str, Sequence[str] | Array] | None = None,
        val_names: Sequence[str] = (),
        tested_domain: Domain = "target",
        record: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.optim = optim
        self.schedule = schedule
        self.num_epochs = num_epochs
        self.num_source_batches = num_source_batches
        self.pad_to = pad_to
        self.seed = seed
        self.clip_ids = clip_ids or {}
        self.val_names = tuple(val_names)
        self.tested_domain: Domain = tested_domain
        self.record = record
        self.tested: tuple[Array, dict[str, Array]] | None = None
        """After a test: row numbers (N,) and for each head the scores (N, classes)."""
        self._is_source_step = False
        self._outputs: dict[int, list[dict[str, Tensor]]] = {}
        self._base_lrs: list[float] = []

    def training_step(self, batch: dict[str, dict[str, Any]], batch_idx: int) -> Tensor:
        assert self.objective is not None
        parts = (self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(step_seed(*parts, 1) if self._is_source_step else step_seed(*parts))
        source, target = self._domain_batches(batch)
        progress = self._progress(self.current_epoch, batch_idx)
        watched = _Watched(cast("AdaptiveNetwork", self.model))
        if self._is_source_step:
            loss = self.objective.source_step(watched, source, target, progress=progress, pad_to=self.pad_to)
            found = {"source_step_loss": loss}
        else:
            loss, found = self.objective(watched, source, target, progress=progress, pad_to=self.pad_to)
            found = {"loss": loss, **found, **watched.accuracies(source, target)}
        if not torch.isfinite(loss):
            raise DataError(self._not_finite(float(loss.detach()), batch, batch_idx))
        for name, value in found.items():
            self.log(f"train/{name}", value, prog_bar=name == "loss", batch_size=len(source.features_BSD))
        return loss

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Any = None,
    ) -> None:
        """One step of the objective, behind one on the source's labels alone where `adapt.pretrain_source` asks for it.

        The two are one step to the trainer: warm-ups and schedules count batches.
        """
        if self.objective is not None and self.objective.pretrain_source:
            self._is_source_step = True
            try:
                super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            finally:
                self._is_source_step = False
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        is_source = self.val_names[dataloader_idx].startswith("source")
        self._collect(batch, dataloader_idx, domain="source" if is_source else "target")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._collect(batch, 0, domain=self.tested_domain)

    def on_validation_epoch_end(self) -> None:
        for number, name in enumerate(self.val_names):
            _, scores, labels = self._gather(number)
            kind = VALIDATION_METRICS[name]
            metrics = {kind: _mean_entropy(scores)} if kind == "target_entropy" else _metrics(kind, scores, labels)
            for metric, value in metrics.items():
                self.log(f"val/{metric}", value, prog_bar=metric.endswith("acc@1"))

    def on_test_epoch_end(self) -> None:
        rows, scores, _ = self._gather(0)
        self.tested = (rows, scores)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        assert self.optim is not None
        assert self.schedule is not None
        assert self.objective is not None
        optimizer = descent(self._groups(self.optim), self.optim)
        num_batches = len(self.trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
        num_batches = limited_batches(num_batches, self.trainer.limit_train_batches)
        batches_per_step = self.trainer.accumulate_grad_batches
        steps_per_epoch = max(1, -(-num_batches // batches_per_step))
        first_epoch = self.objective.first_epoch

        def part_behind(step: int) -> float:
            """Of the step before, behind which the published code sets the rate; the first step has the full one."""
            if step == 0:
                return 0.0
            epoch, step_before = divmod(step - 1, steps_per_epoch)
            last_batch = min((step_before + 1) * batches_per_step, num_batches) - 1
            return run_part(self._progress(epoch, last_batch), first_epoch=first_epoch)

        factor = learning_rate_factor(
            self.schedule,
            base_lr=self.optim.lr,
            steps_per_epoch=steps_per_epoch,
            num_steps=steps_per_epoch * self.num_epochs,
            progress=part_behind,
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

    def _domain_batches(self, batch: Mapping[str, Mapping[str, Any]]) -> tuple[DomainBatch, DomainBatch | None]:
        """Both domains' clips; labels of the target only where they are learned."""
        assert self.objective is not None
        source = DomainBatch(self._inputs(batch["source"]), batch["source"]["labels"])
        if not self.objective.adapts:
            return source, None
        labels = batch["target"]["labels"] if self.objective.target_is_labelled else {}
        return source, DomainBatch(self._inputs(batch["target"]), labels)

    def _inputs(self, batch: Mapping[str, Any]) -> Tensor:
        """What the network takes: features, or clips normalized as it wants them."""
        if isinstance(self.model, VideoModel):
            return clip_inputs(batch, self.model.preprocessing)
        features_BSD: Tensor = batch["features"]
        return features_BSD

    def _progress(self, epoch: int, step: int) -> Progress:
        return Progress(epoch=epoch, step=step, steps_per_epoch=self.num_source_batches, num_epochs=self.num_epochs)

    def _groups(self, optim: AdaptationDescentConfig) -> list[dict[str, Any]]:
        """All trainable parameters, those of a network on clips apart."""
        groups: dict[str, list[nn.Parameter]] = {"adaptation": [], "backbone": []}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups["backbone" if name.startswith("backbone.") else "adaptation"].append(parameter)
        rates = {"adaptation": optim.lr, "backbone": optim.lr * optim.backbone_lr}
        return [{"name": name, "params": found, "lr": rates[name]} for name, found in groups.items() if found]

    def _collect(self, batch: Mapping[str, Any], number: int, *, domain: Domain) -> None:
        inputs = self._inputs(batch)
        if domain == "target":
            logits: dict[str, Tensor] = self.model(inputs)
        else:
            found = cast("AdaptiveNetwork", self.model).describe(inputs, domain)
            logits = found.clip_logits()
        output = {f"score:{head}": values.float() for head, values in logits.items()}
        output |= {f"label:{head}": batch["labels"][head] for head in logits if head in batch["labels"]}
        output["index"] = batch["index"]
        self._outputs.setdefault(number, []).append(output)

    def _gather(self, number: int) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        """All processes' outputs of a loader by row: each row once, in ascending order."""
        arrays = gather_rows(self, self._outputs.pop(number))
        return arrays["index"], with_prefix(arrays, "score:"), with_prefix(arrays, "label:")

    def _not_finite(self, loss: float, batch: Mapping[str, Mapping[str, Any]], batch_idx: int) -> str:
        named = []
        for domain in ("source", "target"):
            if domain in batch:
                ids = self.clip_ids.get(domain)
                rows = batch[domain]["index"].tolist()
                named.append(f"{domain}: {', '.join(str(row) if ids is None else str(ids[row]) for row in rows)}")
        return (
            f"the loss is {loss} in epoch {self.current_epoch}, batch {batch_idx}, of the clips of the "
            f"{'; of the '.join(named)}; look at these clips, or lower optim.lr or raise trainer.precision"
        )


class _Watched:
    """A network that keeps what it found first in a step, for the accuracies that are logged."""

    def __init__(self, network: AdaptiveNetwork) -> None:
        self.network = network
        self.found: tuple[DomainOutput, DomainOutput] | None = None

    def domains(
        self,
        source_BSD: Tensor,
        target_BSD: Tensor,
        *,
        strengths: Mapping[Level, float] | None = None,
        classifier_strength: float | None = None,
        levels: Sequence[Level] | None = None,
    ) -> tuple[DomainOutput, DomainOutput]:
        found = self.network.domains(
            source_BSD, target_BSD, strengths=strengths, classifier_strength=classifier_strength, levels=levels
        )
        self.found = self.found or found
        return found

    @torch.no_grad()
    def accuracies(self, source: DomainBatch, target: DomainBatch | None) -> dict[str, Tensor]:
        """Of the source's classes, and of the discriminators of both domains, which are fooled at 50 percent."""
        assert self.found is not None
        found = self.found[0].rows(len(source.features_BSD))
        metrics = {}
        for head, scores in found.clip_logits().items():
            metrics[f"{head}_acc@1"] = 100 * (scores.argmax(-1) == source.labels[head]).float().mean()
        if target is None:
            return metrics
        other = self.found[1].rows(len(target.features_BSD))
        for level, logits in found.domain_logits.items():
            right = torch.cat(
                [logits.flatten(0, -2).argmax(-1) == 0, other.domain_logits[level].flatten(0, -2).argmax(-1) == 1]
            )
            metrics[f"{level}_domain_acc"] = 100 * right.float().mean()
        return metrics


def _metrics(domain: str, scores: dict[str, Array], labels: dict[str, Array]) -> dict[str, float]:
    """Plain cross entropy and accuracies in percent."""
    losses = head_losses(
        {head: torch.from_numpy(values) for head, values in scores.items()},
        {head: torch.from_numpy(values) for head, values in labels.items()},
    )
    metrics = {f"{head}_loss": float(loss) for head, loss in losses.items()}
    metrics["loss"] = float(join_losses(losses, "mean"))
    return {f"{domain}/{name}": value for name, value in (metrics | head_accuracies(scores, labels)).items()}


def _mean_entropy(scores: dict[str, Array]) -> float:
    """Of the predictions, in nats: the mean over clips and heads."""
    entropies = [-(p := torch.from_numpy(values).double().softmax(-1)).xlogy(p).sum(-1).mean() for values in scores.values()]
    return float(torch.stack(entropies).mean())
