"""From the settings of adaptation to its objective and network, and what of them does not go together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch

from zoopraxis.adaptation.network import AdaptationNetwork
from zoopraxis.adaptation.objective import Objective
from zoopraxis.config.adaptation import AdaptationConfig, AdaptationModelConfig
from zoopraxis.config.refusals import shown
from zoopraxis.errors import ConfigError, did_you_mean
from zoopraxis.training.optim import check_descent

__all__ = ["advice", "build_feature_network", "build_objective", "check_names", "check_settings", "network_arguments"]

_FOR_CLIPS = (
    "backbone",
    "temporal",
    "pretrained",
    "backbone_weights",
    "partial_bn",
    "freeze_norms",
    "grad_checkpointing",
    "share_norms",
    "mean",
    "std",
)
"""Settings of `model` that a network on features does not have."""

_RELATIONS = ("relations", "relation")
_OF_RNN = ("rnn_cell", "rnn_layers", "rnn_directions", "rnn_bins")

_ATTENDED = {"relations": "relation", "average": "frame"}
"""What transferable attention looks at, by the aggregation."""

_Condition = Callable[[AdaptationConfig], bool]
_ONLY_WITH: tuple[tuple[str, tuple[str, ...], _Condition, str], ...] = (
    (
        "model",
        ("relation_dim",),
        lambda config: config.model.aggregation in _RELATIONS,
        "model.aggregation=relations or relation",
    ),
    ("model", _OF_RNN, lambda config: config.model.aggregation == "rnn", "model.aggregation=rnn"),
    ("model", ("autodial",), lambda config: config.model.norm == "autodial", "model.norm=autodial"),
    (
        "adapt",
        ("discrepancy_at",),
        lambda config: config.adapt.discrepancy in ("dan", "coral"),
        "adapt.discrepancy=dan or coral",
    ),
    ("adapt", ("mcd_strength",), lambda config: config.adapt.mcd, "adapt.mcd=true"),
    (
        "data",
        ("target_batch_size", "epoch"),
        lambda config: config.adapt.target != "none",
        "adapt.target=unlabelled or labelled",
    ),
)
"""Settings of a section that have an effect only under a condition, and that in words. Weights of a loss are not among them: a
recipe's may stay where the loss is switched off."""


def check_settings(config: AdaptationConfig) -> None:
    """See that no setting contradicts another or has no effect, before anything is read.

    Raises:
        ConfigError: At the first that does, with both settings and the cure.
    """
    check_descent(config.optim)
    for message in _contradictions(config):
        raise ConfigError(message)


def check_names(config: AdaptationConfig, heads: Collection[str]) -> None:
    """See that heads and features that settings name are there.

    Args:
        config: The run's settings.
        heads: Those of the annotations.

    Raises:
        ConfigError: With the name and the nearest that is there.
    """
    layers = [f"shared_{number}" for number in range(1, config.model.num_shared_layers + 1)]
    features = ["video", *layers, "logits", *heads]
    for setting, given, known in (
        ("heads", config.adapt.heads, list(heads)),
        ("discrepancy_at", config.adapt.discrepancy_at, features),
    ):
        for name in given:
            if name not in known:
                raise ConfigError(f"adapt.{setting} has {name!r}, which the network does not have; {did_you_mean(name, known)}")


def advice(config: AdaptationConfig) -> tuple[str, ...]:
    """What a person should know of settings that go together in a way of their own, one line each."""
    if config.adapt.adversarial and "relation" in config.adapt.levels and config.model.aggregation != "relations":
        return (
            f"adapt.levels has relation, but model.aggregation={config.model.aggregation} has no relations: the video's "
            "discriminator counts twice, as published; leave relation out to count it once",
        )
    return ()


def build_objective(config: AdaptationConfig) -> Objective:
    """The loss of a run.

    Raises:
        ConfigError: If the settings do not go together.
    """
    settings = {field.name: getattr(config.adapt, field.name) for field in dataclasses.fields(config.adapt)}
    try:
        return Objective(**{**settings, "strengths": dataclasses.asdict(config.adapt.strengths)})
    except ValueError as error:
        raise ConfigError(f"adapt.{error}") from error


def network_arguments(config: AdaptationConfig) -> dict[str, Any]:
    """The arguments of `AdaptationNetwork` that the settings give: all but the features' width and the heads."""
    settings = {field.name: getattr(config.model, field.name) for field in dataclasses.fields(config.model)}
    own = {name: value for name, value in settings.items() if name not in (*_FOR_CLIPS, "heads", "weights")}
    return {**own, "num_segments": config.data.num_segments, "second_classifier": config.adapt.mcd}


def build_feature_network(config: AdaptationConfig, *, feature_dim: int, heads: Mapping[str, int]) -> AdaptationNetwork:
    """The network of a run on features, with the initial weights of its seed.

    Raises:
        ConfigError: If the settings do not go together.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return AdaptationNetwork(feature_dim=feature_dim, heads=dict(heads), **network_arguments(config))
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error


def _contradictions(config: AdaptationConfig) -> Iterator[str]:
    yield from _of_the_target(config)
    yield from _of_discriminators(config)
    yield from _of_features(config)
    yield from _without_effect(config)
    adapt, trainer = config.adapt, config.trainer
    if config.model.aggregation == "relations" and config.data.num_segments < 2:
        yield (
            f"data.num_segments={config.data.num_segments} has no relations, which are of at least 2; give more "
            "(published: 5), or set model.aggregation=average"
        )
    if adapt.discrepancy != "none" and adapt.discrepancy_weight == 0:
        yield f"adapt.discrepancy={adapt.discrepancy} has no effect with adapt.discrepancy_weight=0; set adapt.discrepancy=none"
    if adapt.discrepancy == "jan" and config.model.prediction == "frames":
        yield (
            "adapt.discrepancy=jan compares videos, but model.prediction=frames classifies frames; set "
            "model.prediction=video or average, or adapt.discrepancy=dan"
        )
    if adapt.pretrain_source and trainer.get("accumulate_grad_batches", 1) != 1:
        yield (
            f"adapt.pretrain_source=true makes a step of its own for each batch, but trainer.accumulate_grad_batches="
            f"{trainer['accumulate_grad_batches']}; set trainer.accumulate_grad_batches=1"
        )
    if str(trainer.get("strategy", "auto")).startswith("fsdp"):
        yield f"trainer.strategy={trainer['strategy']} is for recognition; leave it out, and processes share the batches"
    if (trainer.get("max_epochs") or 0) < 1:
        yield (
            f"trainer.max_epochs={trainer.get('max_epochs')}, but warm-ups and schedules need the run's length in epochs; give "
            "e.g. trainer.max_epochs=30 (trainer.max_steps may end the run before)"
        )


def _of_the_target(config: AdaptationConfig) -> Iterator[str]:
    """Whether something would adapt to a target that is not there."""
    adapt, model = config.adapt, config.model
    if adapt.target != "none":
        return
    for is_on, setting, cure in (
        (adapt.adversarial, "adapt.adversarial=true", "adapt.adversarial=false"),
        (adapt.entropy != "none", f"adapt.entropy={adapt.entropy}", "adapt.entropy=none"),
        (adapt.discrepancy != "none", f"adapt.discrepancy={adapt.discrepancy}", "adapt.discrepancy=none"),
        (adapt.mcd, "adapt.mcd=true", "adapt.mcd=false"),
        (model.norm != "none", f"model.norm={model.norm}", "model.norm=none"),
        (not model.share_parameters, "model.share_parameters=false", "model.share_parameters=true"),
    ):
        if is_on:
            yield (
                f"{setting} needs clips of the target, but adapt.target=none (source only); set {cure}, or "
                "adapt.target=unlabelled"
            )


def _of_discriminators(config: AdaptationConfig) -> Iterator[str]:
    """Whether something would look at a discriminator that nothing trains."""
    adapt, model = config.adapt, config.model
    levels = adapt.levels if adapt.adversarial else []
    given = f"adapt.levels=[{','.join(levels)}]" if adapt.adversarial else "adapt.adversarial=false"
    if adapt.adversarial and not levels:
        yield "adapt.adversarial=true discriminates nothing with adapt.levels=[]; name levels, or set adapt.adversarial=false"
    attended = {"model.attention": _ATTENDED.get(model.aggregation), "model.frame_attention": "frame"}
    for setting, level in attended.items():
        kind = model.attention if setting == "model.attention" else model.frame_attention
        if kind == "transferable" and level is not None and level not in levels:
            yield (
                f"{setting}=transferable weighs by the discriminator of level {level}, which nothing trains with {given}; "
                f"add {level} to adapt.levels with adapt.adversarial=true, or set {setting}=none"
            )


def _of_features(config: AdaptationConfig) -> Iterator[str]:
    """Whether settings of networks on clips are given for features."""
    if config.data.store != "features":
        return
    default = AdaptationModelConfig()
    for name in _FOR_CLIPS:
        value = getattr(config.model, name)
        if value != getattr(default, name):
            yield (
                f"model.{name}={value} is for networks on clips and has no effect with data.store=features; leave it out, or "
                "name the clips' store with data.store=gulp, frames or video"
            )
    if config.optim.backbone_lr != 1:
        yield (
            f"optim.backbone_lr={config.optim.backbone_lr:g} has no effect with data.store=features, which has no backbone; "
            "leave it out"
        )


def _without_effect(config: AdaptationConfig) -> Iterator[str]:
    """Whether settings are given of what is not there."""
    default = AdaptationConfig()
    for section, names, has_effect, where in _ONLY_WITH:
        for name in names:
            value = getattr(getattr(config, section), name)
            if not has_effect(config) and value != getattr(getattr(default, section), name):
                yield f"{section}.{name}={shown(value)} has an effect only with {where}; leave it out, or set that"
