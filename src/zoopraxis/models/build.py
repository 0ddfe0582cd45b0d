"""The table of models, and building one by name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from zoopraxis.backbones.image import image_weights
from zoopraxis.errors import ConfigError, did_you_mean
from zoopraxis.models.argument_types import check_types
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


Expand = Callable[[VideoModel, Mapping[str, Tensor]], dict[str, Tensor]]
"""From tensors (`expand`: an image network's, in timm's keys) to initial ones of the model, under its keys."""


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
        variants: Of a network over whole clips its sizes, which `backbone` names; the first is the default. Empty: the backbone
            is any image network.
        num_segments: Frames of a clip, the default.
        image_networks: Of a network over whole clips: variant to the network of timm whose weights it starts from with
            `pretrained`.
        expand: Turns weights of an image network into initial ones of a network over whole clips; raises `CheckpointError`
            if they are of another network.
        adapt: Fits tensors of the model's own kind, under our keys, to one that is to start from them: positions of other
            sizes.
    """

    title: str
    build: Callable[..., VideoModel]
    dropout: float = 0.7
    partial_bn: bool = True
    preprocessing: Callable[..., Preprocessing] = Preprocessing.epic
    temporal: str | None = None
    variants: tuple[str, ...] = ()
    num_segments: int = 8
    image_networks: Mapping[str, str] = field(default_factory=dict)
    expand: Expand | None = None
    adapt: Expand | None = None


MODELS: Registry[ModelKind] = Registry("model")

_COMMON = tuple(field.name for field in dataclasses.fields(ModelArguments))

FAMILIES = (
    "tsn",
    "tsm",
    "trn",
    "ta3n",
    "tanet",
    "tada2d",
    "csn",
    "r2d3d",
    "r2plus1d",
    "slowfast",
    "s3dg",
    "tadaconvnextv2",
    "tadaformer",
    "vivit",
    "timesformer",
)
"""The files of this package that hold a published family; importing one enters its models and its published weights."""


def load_families() -> None:
    """Enter all models and published weights of this package into their tables."""
    for family in FAMILIES:
        importlib.import_module(f"zoopraxis.models.{family}")


def create_model(
    name: str,
    *,
    heads: Mapping[str, int],
    backbone: str | None = None,
    temporal: str | None = None,
    num_segments: int | None = None,
    segment_length: int = 1,
    modality: Modality = "rgb",
    pretrained: bool = False,
    dropout: float | None = None,
    partial_bn: bool | None = None,
    freeze_norms: bool = False,
    preprocessing: Preprocessing | None = None,
    **args: Any,
) -> VideoModel:
    """Build a recognition network.

    Args:
        name: A name in `MODELS`.
        heads: Head name to number of classes, e.g. `{"verb": 97, "noun": 300}`.
        backbone: An image network of timm, or of a network over whole clips its variant (`ModelKind.variants`); none: the
            model's first variant, or resnet50.
        temporal: A temporal module for its blocks (`zoopraxis.temporal.TEMPORAL`); none: what the model has by itself.
        num_segments: Frames (or stacks of flow frames) of a clip in training, T; none: the model's usual number.
        segment_length: Consecutive frames stacked on the channel axis: 1 for RGB, 5 pairs for flow.
        modality: `rgb` or `flow`.
        pretrained: Start from timm's weights of the backbone, or of the image network that a network over whole clips is
            expanded from.
        dropout: Probability that a feature is dropped before the heads, in training; none: the model's published value.
        partial_bn: Freeze every batch norm of the backbone but the first; none: as the model is published.
        freeze_norms: All batch norms of the backbone keep their running statistics in training; their affine parameters learn.
        preprocessing: What the network will expect of its input; none: as the model is published.
        args: The model's own arguments (TSM: `shift_div`, `shift_place`, `temporal_pool`; all: `backbone_args`).

    Returns:
        A network that maps a clip (B, T, C, H, W), normalized, to `{head: logits (B, classes)}`, with the attributes
        `heads`, `preprocessing`, `class_names` and `architecture` (the arguments that build it again).

    Raises:
        ConfigError: If a name or argument is unknown, of another type or out of range.
        CheckpointError: If the pretrained weights cannot be had.
    """
    load_families()
    kind = MODELS.get(name)
    settings: dict[str, Any] = {
        "heads": dict(heads),
        "backbone": _backbone(name, kind, backbone),
        "temporal": temporal,
        "num_segments": kind.num_segments if num_segments is None else num_segments,
        "segment_length": segment_length,
        "modality": modality,
        "dropout": kind.dropout if dropout is None else dropout,
        "partial_bn": kind.partial_bn if partial_bn is None else partial_bn,
        "freeze_norms": freeze_norms,
        **args,
    }
    _check_arguments(name, kind, args)
    _check_values(kind, settings)
    if preprocessing is None:
        frames = settings["num_segments"]
        preprocessing = kind.preprocessing(modality, num_segments=frames, segment_length=segment_length)
    for setting in ("modality", "num_segments", "segment_length"):
        if getattr(preprocessing, setting) != settings[setting]:
            raise ConfigError(
                f"the preprocessing has {setting}={getattr(preprocessing, setting)}, but the model "
                f"{setting}={settings[setting]}; give both the same"
            )
    common = {setting: settings[setting] for setting in _COMMON if setting in settings}
    is_expanded = pretrained and bool(kind.variants)
    from_timm = pretrained and not kind.variants
    if is_expanded:
        _check_image_network(name, kind, settings["backbone"])
    model = kind.build(ModelArguments(**common, pretrained=from_timm, preprocessing=preprocessing), **args)
    model.architecture = {"name": name, **settings}
    model.freeze_norms = freeze_norms
    if is_expanded:
        assert kind.expand is not None
        expanded = kind.expand(model, image_weights(kind.image_networks[settings["backbone"]]))
        model.load_state_dict(expanded, strict=False)
    return model.train()  # frozen norms evaluate from the first step on: Lightning trains a network in the mode that it finds


def _backbone(name: str, kind: ModelKind, backbone: str | None) -> str:
    if not kind.variants:
        return backbone or "resnet50"
    if backbone is None:
        return kind.variants[0]
    if backbone not in kind.variants:
        raise ConfigError(f"model {name!r} has no variant {backbone!r}; {did_you_mean(backbone, kind.variants)}")
    return backbone


def _check_image_network(name: str, kind: ModelKind, variant: str) -> None:
    if variant not in kind.image_networks:
        raise ConfigError(
            f"there are no image weights for {name} of variant {variant!r}; set model.pretrained=false, or name weights of its "
            "own with model.weights=..."
        )


def _check_arguments(name: str, kind: ModelKind, args: Mapping[str, Any]) -> None:
    known = list(inspect.signature(kind.build).parameters)[1:]
    for argument in args:
        if argument not in known:
            raise ConfigError(f"model {name!r} has no argument {argument!r}; {did_you_mean(argument, known)}")
    check_types(name, kind.build, args)


def _check_values(kind: ModelKind, settings: Mapping[str, Any]) -> None:
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
    if settings["temporal"] is not None and kind.variants:
        raise ConfigError(
            f"{kind.title} looks at whole clips and takes no temporal module ({settings['temporal']!r}); leave temporal out, "
            "or use the model 'tsn' with an image network"
        )
    if settings["partial_bn"] and kind.variants:
        raise ConfigError(f"partial_bn is for image networks, and {kind.title} is none; use freeze_norms")
    if not 0 <= settings["dropout"] < 1:
        raise ConfigError(f"dropout ({settings['dropout']}) must be at least 0 and below 1; the published value is 0.7")
