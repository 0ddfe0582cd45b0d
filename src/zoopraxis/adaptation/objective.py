"""What a step of domain adaptation makes small: the losses of TA3N and its baselines, put together.

# B clips, S frames of a clip, D features, K classes
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from zoopraxis.adaptation.alignment import domain_discrepancy
from zoopraxis.adaptation.losses import (
    adversarial_loss,
    attentive_entropy,
    classifier_discrepancy,
    normalize_logits,
    target_entropy,
)
from zoopraxis.adaptation.network import DomainOutput, Level
from zoopraxis.adaptation.schedules import (
    BelowZero,
    Progress,
    Warmup,
    WarmupEach,
    discrepancy_weight,
    scheduled_strengths,
)

__all__ = ["DomainBatch", "DomainNetwork", "Objective", "Progress"]

_STRENGTHS: Mapping[Level, float] = {"relation": 0.75, "video": 0.75, "frame": 0.5}


@dataclass(frozen=True)
class DomainBatch:
    """A batch of one domain.

    Attributes:
        features_BSD: Features of frames, or whatever else the network takes, clips first.
        labels: For each head int64 (B,); empty for an unlabelled target.
    """

    features_BSD: Tensor  # noqa: N815
    labels: Mapping[str, Tensor]


class DomainNetwork(Protocol):
    """A network that takes a batch of each domain, e.g. `AdaptationNetwork`."""

    def domains(
        self,
        source_BSD: Tensor,
        target_BSD: Tensor,
        *,
        strengths: Mapping[Level, float] | None = None,
        classifier_strength: float | None = None,
        levels: Sequence[Level] | None = None,
    ) -> tuple[DomainOutput, DomainOutput]:
        """What it finds in both; see `AdaptationNetwork.domains`."""


class Objective:
    """The loss of a step: classification + weight x discrepancy + adversarial + weight x entropy - mcd.

    Losses of several heads are averaged. Those of levels are added up: it is reversed gradients that `strengths` weigh. These
    have an effect even where no discriminator is trained (`adversarial` off): the network's attention passes gradients too.

    Args:
        target: What the target's clips serve for. labelled: classification, together with the source's; none: nothing.
        adversarial: Whether discriminators are trained.
        levels: What is discriminated. A network without relations discriminates the video in their stead, so that the video
            counts twice where both are named (published, and the published numbers of such networks were made with it);
            leave "relation" out to count it once.
        strengths: Of reversed gradients, for each level; below 0: a curve. None: 0.75, 0.75, 0.5.
        warmup: As of `scheduled_strengths`.
        warmup_each: Likewise.
        first_epoch: Likewise.
        entropy: attentive: of the videos of both domains, weighted by the video discriminator; target: of the target's.
        entropy_weight: Its weight.
        discrepancy: A distance of the domains' features, as of `domain_discrepancy`.
        discrepancy_at: Its `places`.
        discrepancy_weight: Its weight; below 0: as `schedules.discrepancy_weight` has it.
        mcd: Whether two classifiers are brought to agree on the target, in a pass of its own through the network.
        mcd_strength: Of that pass's reversed gradients.
        heads: Heads that count; empty: all.
        pretrain_source: Whether `source_step` is to precede each step; kept for who runs the steps.
        normalize_predictions: Whether logits are normalized, those of the discriminators and of the classes.
        below_zero: As of `scheduled_strengths`.
        normalize_classes: False: of normalized predictions, only those of the discriminators (published for
            EPIC-KITCHENS-100).
        entropy_reversed: Take attentive entropy's target logits from the pass of `mcd`, where the published code has them, so
            that the shared layers seek uncertain predictions.

    Raises:
        ValueError: If there is nothing to discriminate, or attentive entropy has no discriminator, or a strength below 0 no
            warm-up, or a discrepancy no features.

    Source: Chen et al., Temporal Attentive Alignment for Large-Scale Video Domain Adaptation, ICCV 2019.

    Differs: attentive entropy takes the video discriminator whatever the other levels (published: the second of them, which
    fails if it is not the video's), and does not depend on the network's attention (published: off without one, silently).
    Parts stay what they are (in the port to Lightning, all losses are added into the classification's).
    """

    def __init__(
        self,
        *,
        target: Literal["unlabelled", "labelled", "none"] = "unlabelled",
        adversarial: bool = True,
        levels: Sequence[Level] = ("relation", "video", "frame"),
        strengths: Mapping[Level, float] | None = None,
        warmup: Warmup = "slow",
        warmup_each: WarmupEach = "step",
        first_epoch: int = 1,
        entropy: Literal["attentive", "target", "none"] = "attentive",
        entropy_weight: float = 0.003,
        discrepancy: Literal["none", "dan", "jan", "coral"] = "none",
        discrepancy_at: Sequence[str] = ("video",),
        discrepancy_weight: float = 1.0,
        mcd: bool = False,
        mcd_strength: float = 1.0,
        heads: Sequence[str] = (),
        pretrain_source: bool = False,
        normalize_predictions: bool = False,
        below_zero: BelowZero = "warmup",
        normalize_classes: bool = True,
        entropy_reversed: bool = False,
    ) -> None:
        self.adapts = target != "none"
        self.target_is_labelled = target == "labelled"
        self.levels: tuple[Level, ...] = tuple(dict.fromkeys(levels)) if adversarial and self.adapts else ()
        self.strengths = dict(_STRENGTHS if strengths is None else strengths)
        self.warmup, self.warmup_each, self.first_epoch, self.below_zero = warmup, warmup_each, first_epoch, below_zero
        self.entropy = entropy if self.adapts else "none"
        self.entropy_weight = entropy_weight
        self.discrepancy = discrepancy if self.adapts else "none"
        self.discrepancy_at = tuple(dict.fromkeys(discrepancy_at))
        self.discrepancy_weight = discrepancy_weight
        self.mcd = mcd and self.adapts
        self.mcd_strength = mcd_strength
        self.heads = tuple(heads)
        self.pretrain_source = pretrain_source
        self.normalize_predictions = normalize_predictions
        self.normalize_classes = normalize_predictions and normalize_classes
        self.entropy_reversed = entropy_reversed and entropy == "attentive"
        self._check(adversarial)

    def _check(self, adversarial: bool) -> None:
        if adversarial and self.adapts and not self.levels:
            raise ValueError(
                "adversarial=true discriminates nothing: levels is empty; give e.g. video, or set adversarial=false"
            )
        if self.entropy == "attentive" and "video" not in self.levels:
            given = f"levels={','.join(self.levels)}; add video" if adversarial else "adversarial=false; set adversarial=true"
            raise ValueError(
                f"entropy=attentive weighs videos by the discriminator of level video, but {given}, or set entropy=target or "
                "entropy=none"
            )
        below = [name for name, strength in self.strengths.items() if strength < 0]
        if below and self.warmup == "none" and self.below_zero == "warmup":
            raise ValueError(
                f"strengths.{below[0]}={self.strengths[below[0]]:g} stands for the warm-up's curve, but warmup=none; set "
                "warmup=dann or warmup=slow, or give 0 or more"
            )
        if self.discrepancy in ("dan", "coral") and not self.discrepancy_at:
            raise ValueError(f"discrepancy={self.discrepancy} compares no features: discrepancy_at is empty; give e.g. video")

    def __call__(
        self,
        network: DomainNetwork,
        source: DomainBatch,
        target: DomainBatch | None,
        *,
        progress: Progress,
        pad_to: tuple[int, int] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a step.

        Args:
            network: In the mode in which it is to run.
            source: Labelled clips.
            target: Clips of the target, as many as there are; its labels are read only with target="labelled". None: with
                target="none", where the network is given no clips of it.
            progress: Where the run stands.
            pad_to: Clips of the source and of the target up to which smaller batches are filled up with zeros on their way
                through the network, where batch norms see them (published); they enter no loss.

        Returns:
            The loss, a scalar, and its parts by name, without gradient and weights: "<head>_loss", "classification", and of
            those in use "discrepancy", "adversarial" and "adversarial_<level>", "entropy", "mcd".

        Raises:
            ValueError: If the network lacks a head, a feature or the second classifier, or a batch lacks labels.
        """
        run = partial(self._run, network, source, target, self.strengths_at(progress), pad_to)
        found = run(levels=self._needed_levels())
        heads = self.heads or tuple(found[0].logits)
        source_logits, target_logits = (self._class_logits(output) for output in found)
        learned = [(source_logits, source, found[0])]
        if self.target_is_labelled and target is not None:
            learned.append((target_logits, target, found[1]))
        parts = self._classification(heads, learned)
        loss = parts["classification"]
        if self.levels:
            parts |= self._adversarial(*found)
            loss = loss + parts["adversarial"]
        if self.discrepancy != "none":
            parts["discrepancy"] = domain_discrepancy(*found, discrepancy=self.discrepancy, places=self.discrepancy_at)
            weight = discrepancy_weight(self.discrepancy_weight, progress, first_epoch=self.first_epoch)
            loss = loss + weight * parts["discrepancy"]
        if self.mcd:
            second = run(levels=(), classifier_strength=self.mcd_strength)[1]
            parts["mcd"] = _mean(classifier_discrepancy(second.logits[head], second.second_logits[head]) for head in heads)
            loss = loss - parts["mcd"]
            if self.entropy_reversed:
                target_logits = second.logits
        if self.entropy != "none":
            parts["entropy"] = _mean(self._entropy(source_logits[head], target_logits[head], *found) for head in heads)
            loss = loss + self.entropy_weight * parts["entropy"]
        return loss, {name: part.detach() for name, part in parts.items()}

    def source_step(
        self,
        network: DomainNetwork,
        source: DomainBatch,
        target: DomainBatch | None,
        *,
        progress: Progress,
        pad_to: tuple[int, int] | None = None,
    ) -> Tensor:
        """The loss of a step on the source's labels alone, which `pretrain_source` has before each step; see `__call__`.

        Differs: norms, shared layers and classifiers of the target's own have gradients of 0 here, so that momentum and weight
        decay go on moving them; in the published code they have none and rest.
        """
        found = self._run(network, source, target, self.strengths_at(progress), pad_to, levels=())
        heads = self.heads or tuple(found[0].logits)
        return self._classification(heads, [(found[0].logits, source, found[0])])["classification"]

    def strengths_at(self, progress: Progress) -> dict[Level, float]:
        """What reversed gradients of each level are multiplied by at a step."""
        return scheduled_strengths(
            self.strengths,
            progress,
            warmup=self.warmup,
            warmup_each=self.warmup_each,
            first_epoch=self.first_epoch,
            below_zero=self.below_zero,
        )

    def _needed_levels(self) -> tuple[Level, ...]:
        """With the video's, which stands in for relations that a network does not have."""
        return tuple(dict.fromkeys([*self.levels, "video"])) if "relation" in self.levels else self.levels

    def _run(
        self,
        network: DomainNetwork,
        source: DomainBatch,
        target: DomainBatch | None,
        strengths: Mapping[Level, float],
        pad_to: tuple[int, int] | None,
        *,
        levels: Sequence[Level],
        classifier_strength: float | None = None,
    ) -> tuple[DomainOutput, DomainOutput]:
        """What the network finds in both domains, without the clips that fill up."""
        if target is None and self.adapts:
            raise ValueError("the step has no batch of the target; give one, or set target=none")
        clips = [source.features_BSD, source.features_BSD[:0] if target is None else target.features_BSD]
        padded = [_fill_up(features, size) for features, size in zip(clips, pad_to or (0, 0), strict=True)]
        found = network.domains(*padded, strengths=strengths, classifier_strength=classifier_strength, levels=levels)
        self._check_network(found[0])
        shortened = [
            output if len(full) == len(features) else output.rows(len(features))
            for output, full, features in zip(found, padded, clips, strict=True)
        ]
        return shortened[0], shortened[1]

    def _check_network(self, found: DomainOutput) -> None:
        """See that the network has what the settings name."""
        missing = [head for head in self.heads if head not in found.logits]
        if missing:
            raise ValueError(f"heads={missing[0]}: the network has no such head, only {', '.join(found.logits)}")
        if self.mcd and any(found.second_logits[head] is logits for head, logits in found.logits.items()):
            raise ValueError("mcd=true needs second classifiers of the video; build the network with second_classifier=true")

    def _class_logits(self, output: DomainOutput) -> Mapping[str, Tensor]:
        if not self.normalize_classes:
            return output.logits
        return {head: normalize_logits(logits) if len(logits) else logits for head, logits in output.logits.items()}

    def _classification(
        self, heads: Sequence[str], learned: Sequence[tuple[Mapping[str, Tensor], DomainBatch, DomainOutput]]
    ) -> dict[str, Tensor]:
        """Each head's loss and their mean, over the clips of the domains that are learned: (logits, labels, second logits)."""
        losses = {}
        for head in heads:
            labels = torch.cat([_labels_of(batch, head, scores[head]) for scores, batch, _ in learned])
            losses[head] = F.cross_entropy(torch.cat([scores[head] for scores, _, _ in learned]).float(), labels)
            if self.mcd:
                second = torch.cat([output.second_logits[head] for _, _, output in learned])
                losses[head] = losses[head] + F.cross_entropy(second.float(), labels)
        return {**{f"{head}_loss": loss for head, loss in losses.items()}, "classification": _mean(losses.values())}

    def _adversarial(self, source: DomainOutput, target: DomainOutput) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for level in self.levels:
            found: Level = level if level in source.domain_logits else "video"
            losses[f"adversarial_{level}"] = adversarial_loss(
                source.domain_logits[found], target.domain_logits[found], normalize=self.normalize_predictions
            )
        return {**losses, "adversarial": torch.stack([*losses.values()]).sum()}

    def _entropy(self, source_logits: Tensor, target_logits: Tensor, source: DomainOutput, target: DomainOutput) -> Tensor:
        if self.entropy == "target":
            return target_entropy(target_logits)
        domain_logits = [
            _repeated(output.domain_logits["video"], logits)
            for output, logits in ((source, source_logits), (target, target_logits))
        ]
        return attentive_entropy(torch.cat([source_logits, target_logits]), torch.cat(domain_logits))


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack([*values]).mean()


def _fill_up(features: Tensor, size: int) -> Tensor:
    """With zeros, up to `size` clips, if there are any."""
    lacking = size - len(features)
    if len(features) == 0 or lacking <= 0:
        return features
    return torch.cat([features, features.new_zeros(lacking, *features.shape[1:])])


def _labels_of(batch: DomainBatch, head: str, logits: Tensor) -> Tensor:
    """A head's labels, as many as it has logits: those of clips hold for each of their frames."""
    if head not in batch.labels:
        known = ", ".join(batch.labels) or "none"
        raise ValueError(
            f"labels of head {head} are learned, but a batch has labels of {known}; give them, or set target=unlabelled"
        )
    return _repeated(batch.labels[head], logits)


def _repeated(of_clips: Tensor, logits: Tensor) -> Tensor:
    """What belongs to clips, as often as there are rows of `logits` a clip."""
    return of_clips.repeat_interleave(len(logits) // len(of_clips), dim=0) if len(logits) != len(of_clips) else of_clips
