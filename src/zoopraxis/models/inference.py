"""Telling a checkpoint's network from its tensors under our keys, and saying in words what was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from torch import Tensor

from zoopraxis.errors import CheckpointError
from zoopraxis.models.build import MODELS
from zoopraxis.models.clip_families import family_of
from zoopraxis.models.key_layouts import NETWORK, MappedWeights, PublishedFile
from zoopraxis.models.weights import EPIC_HEADS

__all__ = [
    "describe",
    "describe_weights",
    "infer_heads",
    "infer_resnet",
    "table",
    "temporal_module",
    "tied_frames",
    "title",
    "traced_model",
]

_RESNETS: dict[tuple[tuple[int, ...], tuple[int, ...]], str] = {
    ((2, 2, 2, 2), (64, 64)): "resnet18",
    ((3, 4, 6, 3), (64, 64)): "resnet34",
    ((2, 2, 2, 2), (64, 64, 256)): "resnet26",
    ((3, 4, 6, 3), (64, 64, 256)): "resnet50",
    ((3, 4, 23, 3), (64, 64, 256)): "resnet101",
    ((3, 8, 36, 3), (64, 64, 256)): "resnet152",
    ((3, 4, 6, 3), (128, 128, 256)): "wide_resnet50_2",
    ((3, 4, 23, 3), (128, 128, 256)): "wide_resnet101_2",
    ((3, 4, 6, 3), (128, 4, 256)): "resnext50_32x4d",
    ((3, 4, 23, 3), (256, 8, 256)): "resnext101_32x8d",
}
"""Blocks a stage, and of the first block: output and input channels of conv2's kernel and output channels of conv3, if any."""
_RELATION_DROPOUT = 0.6
"""The published one of TRN's relations with two hidden layers; no key tells it."""
_STAGE_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.")
_NUM_EPIC_CLASSES = sum(EPIC_HEADS.values())


def infer_resnet(file: PublishedFile, *, carried: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Arguments of `create_model` for a checkpoint of an image ResNet with or without temporal modules.

    Args:
        file: The checkpoint.
        carried: Arguments that its configuration tells; shapes go before them.

    Raises:
        CheckpointError: If its model, backbone or heads are not known, or `file.given` names another model.
    """
    inferred = {**(carried or {}), **_model(file)}
    known = inferred | dict(file.given)
    plain = _plain(file.weights)
    if "backbone" not in known:
        inferred["backbone"] = _backbone(plain, file.path)
    inferred |= _input(plain, known)
    if "heads" not in known:
        inferred["heads"] = infer_heads(file.weights, file.path)
    return {**inferred, **file.given}


def traced_model(mapped: MappedWeights) -> dict[str, Any] | None:
    """The model whose parts a checkpoint's tensors show: its name and own arguments.

    None for an image network, and for tensors under our own keys without any part that tells: TSN's and TSM's are the same.
    """
    for pattern, infer in _TRACES:
        if any(re.fullmatch(pattern, key) for key in mapped.tensors):
            return infer(mapped.tensors)
    family = family_of(mapped.tensors)
    if family is not None:
        return {"name": family.model, **family.infer(mapped.tensors, {})}
    if mapped.layout.name in ("zoopraxis", "image"):
        return None
    return _shifted(mapped)


def tied_frames(tensors: Mapping[str, Tensor]) -> tuple[str, int] | None:
    """The module whose shapes depend on the number of frames, in words, and that number; none if any number will do.

    Shifts (TSM) and temporal convolutions (TAda2D) take clips of any length, and so do frames by themselves (TSN).
    """
    for pattern, title, count in _TIED:
        key = next((key for key in tensors if re.fullmatch(pattern, key)), None)
        if key is not None:
            return title, count(tensors, tensors[key])
    return None


def title(name: Any) -> str:
    """A model's name as people write it."""
    return MODELS.get(name).title if name in MODELS.names() else str(name)


def temporal_module(arguments: Mapping[str, Any]) -> str | None:
    """The temporal module of a network, from arguments of `create_model`."""
    name = arguments.get("name")
    return arguments.get("temporal") or (MODELS.get(name).temporal if name in MODELS.names() else None)


def describe(arguments: Mapping[str, Any]) -> str:
    """A network in words: `a TSM network (resnet50, 8 segments)`, from arguments of `create_model`."""
    parts = [arguments.get("backbone", "resnet50")]
    if arguments.get("temporal"):
        parts.append(f"temporal module {arguments['temporal']}")
    if arguments.get("num_segments") is not None:
        parts.append(f"{arguments['num_segments']} segments")
    if arguments.get("modality") == "flow":
        parts.append("flow")
    return f"a {title(arguments.get('name'))} network ({', '.join(str(part) for part in parts)})"


def describe_weights(mapped: MappedWeights) -> str:
    """What tensors alone tell of the network they are of, in words; for checkpoints that cannot or need not be built."""
    traced, tied = traced_model(mapped), tied_frames(mapped.tensors)
    if traced is not None and "backbone" in traced:
        return describe({"num_segments": tied and tied[1], **traced})
    try:
        backbone = _backbone(_plain(mapped), "")
    except CheckpointError:
        backbone = "unknown backbone"
        if traced is None:
            return f"a network of an unknown kind (its first key is {next(iter(mapped.original.values()), None)})"
    if traced is not None:
        return describe({"backbone": backbone, "num_segments": tied and tied[1], **traced})
    return f"{'a network' if mapped.layout.name == 'zoopraxis' else 'an image network'} ({backbone})"


def table(value: Any) -> Mapping[str, Any]:
    """A table in a carried configuration; empty if there is none."""
    return value if isinstance(value, Mapping) else {}


def _plain(mapped: MappedWeights) -> dict[str, Tensor]:
    return {key.removeprefix(NETWORK): tensor for key, tensor in mapped.tensors.items() if key.startswith(NETWORK)}


def _model(file: PublishedFile) -> dict[str, Any]:
    """Name of the model and its own arguments."""
    traced = traced_model(file.weights)
    if traced is None and "name" in file.given:
        return {}
    if traced is None:
        raise CheckpointError(f"{file.path} has no record of its architecture; give it, e.g. architecture={{'name': 'tsm'}}")
    given = file.given.get("name", traced["name"])
    if given != traced["name"] and file.weights.layout.name == "zoopraxis":
        traced = {}  # any of our models can host any temporal module
    elif given != traced["name"]:
        raise CheckpointError(
            f"{file.path} holds {describe_weights(file.weights)} in the layout of {file.weights.layout.publisher}, "
            f"not a {title(given)} network; name a checkpoint of one, or leave the name out"
        )
    tied = tied_frames(file.weights.tensors)
    return traced if tied is None else traced | {"num_segments": tied[1]}


def _shifted(mapped: MappedWeights) -> dict[str, Any]:
    """TSN or TSM, and the place of its shift, from the wrappers of the published code."""
    wrapped = set(mapped.wrapped)
    inferred: dict[str, Any] = {"name": "tsm" if wrapped - {"layer2"} else "tsn"}
    if "layer2" in wrapped:
        inferred["temporal_pool"] = True
    if wrapped - {"layer2"} and _all_match(r"layer\d+\.\d+", wrapped - {"layer2"}):
        inferred["shift_place"] = "block"
    return inferred


def _trn(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    maps = _relation_maps(tensors)
    is_multiscale = any(key.startswith("relation.fc_fusion_scales.") for key in tensors)
    inferred: dict[str, Any] = {"name": "trn", "relation": "multiscale" if is_multiscale else "single"}
    if "projection.weight" in tensors:
        inferred["img_feature_dim"] = int(tensors["projection.weight"].shape[0])
    if any(key.startswith("relation.classifier_scales.") for key in tensors):
        inferred["relation_dropout"] = _RELATION_DROPOUT
    return inferred | ({"bottleneck": int(maps[0].shape[0])} if maps else {})


def _tanet(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    expand, kernel = _parts(tensors, "G.0")[0], _parts(tensors, "G.3")
    local = _parts(tensors, "L.0")
    inferred: dict[str, Any] = {"name": "tanet", "alpha": int(expand.shape[0]) // int(expand.shape[1])}
    if kernel:
        inferred["kernel_size"] = int(kernel[0].shape[0])
    if local:
        inferred |= {"beta": _reduction(local), "local_kernel_size": int(local[0].shape[2])}
    return inferred


def _tada2d(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    first, second = _parts(tensors, "a"), _parts(tensors, "b")
    inferred: dict[str, Any] = {"name": "tada2d"}
    if first and second:
        inferred |= {"ratio": _reduction(first), "kernels": [int(first[0].shape[2]), int(second[0].shape[2])]}
    return inferred


def _parts(tensors: Mapping[str, Tensor], name: str) -> list[Tensor]:
    """The weights of one part of the temporal modules, from input to output."""
    return [tensor for key, tensor in tensors.items() if key.endswith(f".temporal.{name}.weight")]


def _reduction(weights: list[Tensor]) -> int:
    """By what the widths C are divided, from weights of shape (C // reduction, C, ...): the largest that gives them all."""
    return min(int(weight.shape[1]) // int(weight.shape[0]) for weight in weights)


_TRACES: tuple[tuple[str, Callable[[Mapping[str, Tensor]], dict[str, Any]]], ...] = (
    (r"relation\..+", _trn),
    (r".+\.temporal\.G\.0\.weight", _tanet),
    (r".+\.bn\d\.temporal\.weight", _tada2d),
    (r"adaptation\..+", lambda _: {"name": "ta3n"}),
)
"""A key that only one model has, and that model's name and own arguments from the shapes."""


def _relation_maps(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """The weights of TRN's linear maps, from the longest relation's first to the last one's last."""
    return [tensor for key, tensor in tensors.items() if key.startswith("relation.") and tensor.ndim == 2]


def _frames_of_relation(tensors: Mapping[str, Tensor], first: Tensor) -> int:
    width = tensors["projection.weight"].shape[0] if "projection.weight" in tensors else first.shape[0]
    return int(first.shape[1]) // int(width)


def _frames_of_adaptation(tensors: Mapping[str, Tensor], first: Tensor) -> int:
    return int(first.shape[1]) // int(tensors["adaptation.frame_layers.0.weight"].shape[0])


_TIED: tuple[tuple[str, str, Callable[[Mapping[str, Tensor], Tensor], int]], ...] = (
    (r".+\.temporal\.G\.0\.weight", "TAM's global branch", lambda _, expand: int(expand.shape[1])),
    (r"relation\.(?:fc_fusion_scales\.0|classifier)\.1\.weight", "TRN's relations", _frames_of_relation),
    (r"adaptation\.aggregator\.layer(?:s\.0)?\.weight", "TA3N's relations", _frames_of_adaptation),
)
"""A key whose shape depends on the number of frames, its module in words, and that number."""


def _backbone(plain: Mapping[str, Tensor], path: object) -> str:
    """The name of a ResNet, from its blocks and widths."""
    blocks: dict[int, int] = {}
    for key in plain:
        match = _STAGE_BLOCK.match(key)
        if match:
            stage, number = int(match[1]), int(match[2])
            blocks[stage] = max(blocks.get(stage, 0), number + 1)
    counts = tuple(blocks.get(stage, 0) for stage in range(1, max(blocks, default=0) + 1))
    conv2, conv3 = plain.get("layer1.0.conv2.weight"), plain.get("layer1.0.conv3.weight")
    widths = () if conv2 is None else (*conv2.shape[:2], *(() if conv3 is None else conv3.shape[:1]))
    if (counts, widths) not in _RESNETS:
        raise CheckpointError(
            f"cannot tell the backbone of {path}: {counts} blocks of widths {widths} are no known ResNet's; "
            "give it, e.g. architecture={'backbone': 'resnet50'}"
        )
    return _RESNETS[counts, widths]


def _input(plain: Mapping[str, Tensor], known: Mapping[str, Any]) -> dict[str, Any]:
    """Modality and segment length, where they are not known, from the input channels of the first convolution.

    An even number is taken as flow (2 a frame), an odd one as RGB (3 a frame).
    """
    if "conv1.weight" not in plain or {"modality", "segment_length"} <= known.keys():
        return {}
    channels = int(plain["conv1.weight"].shape[1])
    modality: Literal["rgb", "flow"] = known.get("modality") or ("rgb" if channels % 2 else "flow")
    return {"modality": modality, "segment_length": max(1, channels // (3 if modality == "rgb" else 2))}


def infer_heads(mapped: MappedWeights, path: object) -> dict[str, int]:
    """The heads of a checkpoint; of one linear map 397 rows are 97 verbs and 300 nouns.

    Raises:
        CheckpointError: If it has none.
    """
    joint = mapped.tensors.get("classifier.weight")
    if joint is None:
        joint = next(reversed(_relation_maps(mapped.tensors)), None)
    if joint is not None:
        width = int(joint.shape[0])
        return dict(EPIC_HEADS) if width == _NUM_EPIC_CLASSES else {"label": width}
    widths = {
        key.split(".")[1]: int(tensor.shape[0])
        for key, tensor in mapped.tensors.items()
        if key.startswith("classifiers.") and key.endswith(".weight")
    }
    if not widths:
        unknown = f", but has {mapped.unknown[0]}" if mapped.unknown else ""
        raise CheckpointError(f"{path} has no classifier that a model of ours could use{unknown}: it is another architecture's")
    return widths


def _all_match(pattern: str, names: Iterable[str]) -> bool:
    return all(re.fullmatch(pattern, name) for name in names)
