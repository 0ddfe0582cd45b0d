"""The table of models, and building one by name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from zoopraxis.errors import ConfigError, did_you_mean
from zoopraxis.models.base import VideoModel
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.registry import Registry

__all__ = ["FAMILIES", "MODELS", "ModelArguments", "ModelKind", "create_model", "load_families"]


@dataclass(frozen=True)
class ModelArguments:
    """What every builder is given, checked and without gaps: the arguments of `create_model` of the same names."""

    heads: Mapping[str, int]
    backbone: str
    temporal: str | None
    num_segments: int
    modality: Modality
    pretrained: bool
    dropout: float
    partial_bn: bool
    preprocessing: Preprocessing


@dataclass(frozen=True)
class ModelKind:
    """One entry of the table of models.

    Attributes:
        title: Its name as people write it.
        build: Called as `build(arguments, **own)` with `ModelArguments` and the keyword arguments of the model's own.
        dropout: Its published dropout, the default.
        partial_bn: Whether it is published with frozen batch norms, the default.
        preprocessing: Called with modality, `num_segments=` and `segment_length=`: what the published network expects of its
            input, the default.
        temporal: The temporal module that it has by itself, if any.
    """

    title: str
    build: Callable[..., VideoModel]
    dropout: float = 0.7
    partial_bn: bool = True
    preprocessing: Callable[..., Preprocessing] = Preprocessing.epic
    temporal: str | None = None


MODELS: Registry[ModelKind] = Registry("model")

_COMMON = tuple(field.name for field in dataclasses.fields(ModelArguments))

FAMILIES = ("tsn", "tsm", "trn", "tanet", "tada2d")
"""The files of this package that hold a published family; importing one enters its models and its published weights."""


def load_families() -> None:
    """Enter all models and published weights of this package into their tables."""
    for family in FAMILIES:
        importlib.import_module(f"zoopraxis.models.{family}")


def create_model(
    name: str,
    *,
    heads: Mapping[str, int],
    backbone: str = "resnet50",
    temporal: str | None = None,
    num_segments: int = 8,
    segment_length: int = 1,
    modality: Modality = "rgb",
    pretrained: bool = False,
    dropout: float | None = None,
    partial_bn: bool | None = None,
    preprocessing: Preprocessing | None = None,
    **args: Any,
) -> VideoModel:
    """Build a recognition network.

    Args:
        name: A name in `MODELS`.
        heads: Head name to number of classes, e.g. `{"verb": 97, "noun": 300}`.
        backbone: An image network of timm.
        temporal: A temporal module for its blocks (`zoopraxis.temporal.TEMPORAL`); none: what the model has by itself.
        num_segments: Frames (or stacks of flow frames) of a clip in training, T.
        segment_length: Consecutive frames stacked on the channel axis: 1 for RGB, 5 pairs for flow.
        modality: `rgb` or `flow`.
        pretrained: Start from timm's weights of the backbone.
        dropout: Probability that a feature is dropped before the heads, in training; none: the model's published value.
        partial_bn: Freeze every batch norm of the backbone but the first; none: as the model is published.
        preprocessing: What the network will expect of its input; none: as the model is published.
        args: The model's own arguments (TSM: `shift_div`, `shift_place`, `temporal_pool`; all: `backbone_args`).

    Returns:
        A network that maps a clip (B, T, C, H, W), normalized, to `{head: logits (B, classes)}`, with the attributes
        `heads`, `preprocessing`, `class_names` and `architecture` (the arguments that build it again).

    Raises:
        ConfigError: If a name or argument is unknown or out of range.
        CheckpointError: If the pretrained weights cannot be had.
    """
    load_families()
    kind = MODELS.get(name)
    settings: dict[str, Any] = {
        "heads": dict(heads),
        "backbone": backbone,
        "temporal": temporal,
        "num_segments": num_segments,
        "segment_length": segment_length,
        "modality": modality,
        "dropout": kind.dropout if dropout is None else dropout,
        "partial_bn": kind.partial_bn if partial_bn is None else partial_bn,
        **args,
    }
    _check_arguments(name, kind, args)
    _check_values(settings)
    if preprocessing is None:
        preprocessing = kind.preprocessing(modality, num_segments=num_segments, segment_length=segment_length)
    for field in ("modality", "num_segments", "segment_length"):
        if getattr(preprocessing, field) != settings[field]:
            raise ConfigError(
                f"the preprocessing has {field}={getattr(preprocessing, field)}, but the model {field}={settings[field]}; "
                "give both the same"
            )
    common = {field: settings[field] for field in _COMMON if field in settings}
    model = kind.build(ModelArguments(**common, pretrained=pretrained, preprocessing=preprocessing), **args)
    model.architecture = {"name": name, **settings}
    return model


def _check_arguments(name: str, kind: ModelKind, args: Mapping[str, Any]) -> None:
    known = list(inspect.signature(kind.build).parameters)[1:]
    for argument in args:
        if argument not in known:
            raise ConfigError(f"model {name!r} has no argument {argument!r}; {did_you_mean(argument, known)}")


def _check_values(settings: Mapping[str, Any]) -> None:
    heads = settings["heads"]
    if not heads:
        raise ConfigError("a model needs at least one head, e.g. heads={'label': 400}")
    for head, width in heads.items():
        if not head.isidentifier() or hasattr(nn.ModuleDict(), head):
            raise ConfigError(f"head name {head!r} is taken, or is no word of letters, digits and underscores; choose another")
        if width < 1:
            raise ConfigError(f"head {head!r} has {width} classes, but needs at least 1")
    for name in ("num_segments", "segment_length"):
        if settings[name] < 1:
            raise ConfigError(f"{name} ({settings[name]}) must be at least 1")
    if not 0 <= settings["dropout"] < 1:
        raise ConfigError(f"dropout ({settings['dropout']}) must be at least 0 and below 1; the published value is 0.7")
