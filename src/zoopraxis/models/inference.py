"""Telling a published checkpoint's architecture from its keys, its shapes and the settings that it carries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from zoopraxis.errors import CheckpointError
from zoopraxis.models.key_layouts import NETWORK, MappedWeights
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.weights import EPIC_HEADS

__all__ = ["infer_architecture", "infer_preprocessing"]

_RESNETS: dict[tuple[tuple[int, ...], tuple[int, ...]], str] = {
    ((2, 2, 2, 2), (64, 64)): "resnet18",
    ((3, 4, 6, 3), (64, 64)): "resnet34",
    ((3, 4, 6, 3), (64, 64, 256)): "resnet50",
    ((3, 4, 23, 3), (64, 64, 256)): "resnet101",
    ((3, 8, 36, 3), (64, 64, 256)): "resnet152",
    ((3, 4, 6, 3), (128, 128, 256)): "wide_resnet50_2",
    ((3, 4, 23, 3), (128, 128, 256)): "wide_resnet101_2",
    ((3, 4, 6, 3), (128, 4, 256)): "resnext50_32x4d",
    ((3, 4, 23, 3), (256, 8, 256)): "resnext101_32x8d",
}
"""Blocks a stage, and of the first block: output and input channels of conv2's kernel and output channels of conv3, if any."""
_STAGE_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.")
_MMACTION_FLOW_LEVEL = 128 / 255
_NUM_EPIC_CLASSES = sum(EPIC_HEADS.values())


def infer_architecture(
    mapped: MappedWeights, *, given: Mapping[str, Any], settings: Mapping[str, Any], path: object
) -> dict[str, Any]:
    """Arguments of `create_model` for a checkpoint that has no record of ours.

    Args:
        mapped: The checkpoint's tensors.
        given: Arguments that the caller knows; they go before what is inferred.
        settings: The configuration that the checkpoint carries, if any (`hyper_parameters` of the EPIC baselines).
        path: For messages.

    Raises:
        CheckpointError: If the keys are not told apart, or `given` contradicts them.
    """
    plain = {key.removeprefix(NETWORK): tensor for key, tensor in mapped.tensors.items() if key.startswith(NETWORK)}
    inferred = {**_temporal(mapped, given, path), **_carried(settings)}
    if "backbone" not in given:
        inferred["backbone"] = _backbone(plain, path)
    inferred |= _input(plain, inferred | dict(given))
    if "heads" not in given:
        inferred["heads"] = _heads(mapped, path)
    architecture = {**inferred, **given}
    if architecture["name"] != "tsm":
        architecture.pop("shift_div", None)
    return architecture


def infer_preprocessing(mapped: MappedWeights, architecture: Mapping[str, Any], settings: Mapping[str, Any]) -> Preprocessing:
    """What a checkpoint without a record was trained with: as its configuration says, else as its publisher always has it.

    Raises:
        ConfigError: If the configuration's values are out of range.
    """
    modality: Modality = architecture.get("modality", "rgb")
    common: dict[str, Any] = {
        "num_segments": architecture.get("num_segments", 8),
        "segment_length": architecture.get("segment_length", 1),
    }
    preprocessing = Preprocessing.epic(modality, **common)
    if modality == "rgb" and architecture["heads"] != EPIC_HEADS:
        preprocessing = Preprocessing.from_dict({**Preprocessing.imagenet().to_dict(), **common})
    elif modality == "flow" and mapped.layout == "mmaction2":
        level = [_MMACTION_FLOW_LEVEL]
        preprocessing = Preprocessing.from_dict({**preprocessing.to_dict(), "mean": level, "std": level})
    data = _table(settings.get("data"))
    stated = _table(data.get("preprocessing"))
    values = {
        "mean": stated.get("mean"),
        "std": stated.get("std"),
        "size": stated.get("input_size"),
        "resize": _table(data.get("test_augmentation")).get("rescale_size"),
        "color_order": "bgr" if stated.get("bgr") else None,
    }
    return Preprocessing.from_dict({**preprocessing.to_dict(), **{k: v for k, v in values.items() if v is not None}})


def _temporal(mapped: MappedWeights, given: Mapping[str, Any], path: object) -> dict[str, Any]:
    """Name of the model, and place of the shift, from the wrappers of the published code."""
    wrapped = set(mapped.wrapped)
    has_pool = "layer2" in wrapped
    wrapped.discard("layer2")
    if mapped.layout == "image":
        raise CheckpointError(
            f"{path} holds an image network or is of another architecture (its first key is "
            f"{next(iter(mapped.original.values()), None)}); a training can start from an image network: model.weights={path}"
        )
    if mapped.layout == "zoopraxis" and "name" not in given:
        raise CheckpointError(f"{path} has no record of its architecture; give it, e.g. architecture={{'name': 'tsm'}}")
    is_in_branch = bool(wrapped) and _all_match(r"layer\d+\.\d+\.conv1", wrapped)
    is_before_block = bool(wrapped) and _all_match(r"layer\d+\.\d+", wrapped)
    if wrapped and not (is_in_branch or is_before_block):
        raise CheckpointError(f"{path} has wrapped layers that no known architecture has, such as {min(wrapped)}")
    name = "tsm" if wrapped else "tsn"
    if mapped.layout != "zoopraxis" and given.get("name", name) != name:
        raise CheckpointError(f"{path} holds a {name} network, not {given['name']}; name the right one or a checkpoint of it")
    inferred: dict[str, Any] = {"name": name}
    if is_before_block:
        inferred["shift_place"] = "block"
    if has_pool:
        inferred["temporal_pool"] = True
    return inferred


def _carried(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the configuration in a checkpoint of the EPIC baselines says of the network."""
    data, model = _table(settings.get("data")), _table(settings.get("model"))
    values = {
        "num_segments": data.get("frame_count"),
        "segment_length": data.get("segment_length"),
        "modality": str(settings["modality"]).lower() if settings.get("modality") else None,
        "dropout": model.get("dropout"),
        "partial_bn": model.get("partial_bn"),
        "shift_div": model.get("shift_div"),
    }
    return {name: value for name, value in values.items() if value is not None}


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
    modality = known.get("modality") or ("rgb" if channels % 2 else "flow")
    return {"modality": modality, "segment_length": max(1, channels // (3 if modality == "rgb" else 2))}


def _heads(mapped: MappedWeights, path: object) -> dict[str, int]:
    if "classifier.weight" in mapped.tensors:
        width = int(mapped.tensors["classifier.weight"].shape[0])
        return dict(EPIC_HEADS) if width == _NUM_EPIC_CLASSES else {"label": width}
    widths = {
        key.split(".")[1]: int(tensor.shape[0])
        for key, tensor in mapped.tensors.items()
        if key.startswith("classifiers.") and key.endswith(".weight")
    }
    if not widths:
        unknown = f", but has {mapped.unknown[0]}" if mapped.unknown else ""
        raise CheckpointError(f"{path} has no classifier that TSN or TSM could use{unknown}: it is another architecture's")
    return widths


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _all_match(pattern: str, names: Iterable[str]) -> bool:
    return all(re.fullmatch(pattern, name) for name in names)
