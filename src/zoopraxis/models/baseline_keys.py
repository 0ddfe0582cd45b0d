"""Key layouts of the code that grew from TSN's: the EPIC-KITCHENS baselines, TSM, TANet, mmaction2; our own; image networks.

TSN and TSM have the same keys but for the wrapper `.net` of shifted layers. TRN has its projection where they have the
classifier. TANet wraps whole blocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from zoopraxis.errors import CheckpointError
from zoopraxis.models.build import MODELS
from zoopraxis.models.inference import infer_resnet, table
from zoopraxis.models.key_layouts import NETWORK, KeyLayout, PublishedFile, Rule, enter_layout
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.weights import EPIC_HEADS

__all__: list[str] = []

_MMACTION_FLOW_LEVEL = 128 / 255
_MMACTION_TANET_MEAN = (123.675 / 255, 116.28 / 255, 103.5 / 255)
"""Of TANet only; ImageNet's is 103.53 in blue."""
_NUM_KINETICS_CLASSES = 400
_DENSE_WINDOW = 64
"""Frames over which dense sampling spreads a clip."""


def _rules(*pairs: tuple[str, str]) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


def _has(*patterns: str) -> Callable[[Collection[str]], bool]:
    """Whether each of the patterns begins some key."""
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda keys: all(any(pattern.match(key) for key in keys) for pattern in compiled)


def _hyper_parameters(archive: Mapping[str, Any], _: Path) -> Mapping[str, Any]:
    """The configuration in a Lightning checkpoint of the EPIC baselines."""
    return table(archive.get("hyper_parameters"))


def _infer_baseline(file: PublishedFile) -> dict[str, Any]:
    data, model = table(file.settings.get("data")), table(file.settings.get("model"))
    modality = file.settings.get("modality")
    values = {
        "num_segments": data.get("frame_count"),
        "segment_length": data.get("segment_length"),
        "modality": str(modality).lower() if modality else None,
        "dropout": model.get("dropout"),
        "partial_bn": model.get("partial_bn"),
    }
    arguments = infer_resnet(file, carried={name: value for name, value in values.items() if value is not None})
    if arguments["name"] == "tsm" and model.get("shift_div") is not None:
        arguments.setdefault("shift_div", model["shift_div"])
    return arguments


def _infer_image(file: PublishedFile) -> dict[str, Any]:
    raise CheckpointError(
        f"{file.path} holds an image network or is of another architecture (its first key is "
        f"{next(iter(file.weights.original.values()), None)}); a training can start from an image network: "
        f"model.weights={file.path}"
    )


def _preprocess_baseline(file: PublishedFile, arguments: Mapping[str, Any]) -> Preprocessing:
    """ImageNet's statistics for RGB networks of other data sets than EPIC-KITCHENS, and what the configuration says."""
    modality: Modality = arguments.get("modality", "rgb")
    preprocessing = _published(arguments)
    if modality == "rgb" and arguments["heads"] != EPIC_HEADS:
        imagenet = Preprocessing.imagenet()
        preprocessing = _changed(preprocessing, mean=imagenet.mean, std=imagenet.std)
    data = table(file.settings.get("data"))
    stated = table(data.get("preprocessing"))
    return _changed(
        preprocessing,
        mean=stated.get("mean"),
        std=stated.get("std"),
        size=stated.get("input_size"),
        resize=table(data.get("test_augmentation")).get("rescale_size"),
        color_order="bgr" if stated.get("bgr") else None,
    )


def _preprocess_mmaction(file: PublishedFile, arguments: Mapping[str, Any]) -> Preprocessing:
    preprocessing = _preprocess_baseline(file, arguments)
    if preprocessing.modality == "flow":
        return _changed(preprocessing, mean=[_MMACTION_FLOW_LEVEL], std=[_MMACTION_FLOW_LEVEL])
    return preprocessing


def _preprocess_as_published(_: PublishedFile, arguments: Mapping[str, Any]) -> Preprocessing:
    return _published(arguments)


def _preprocess_tanet(arguments: Mapping[str, Any], *, segments: str, mean: tuple[float, ...] | None = None) -> Preprocessing:
    """The model's own; the published networks of 400 classes (Kinetics) look at a dense window, others at segments."""
    if sum(arguments["heads"].values()) != _NUM_KINETICS_CLASSES:
        return _changed(_published(arguments), sampling=segments, mean=mean)
    interval = max(1, _DENSE_WINDOW // arguments["num_segments"])
    return _changed(_published(arguments), sampling="dense", interval=interval, mean=mean)


def _published(arguments: Mapping[str, Any]) -> Preprocessing:
    """What the model's own table entry says."""
    return MODELS.get(arguments["name"]).preprocessing(
        arguments.get("modality", "rgb"),
        num_segments=arguments.get("num_segments", 8),
        segment_length=arguments.get("segment_length", 1),
    )


def _changed(preprocessing: Preprocessing, **values: Any) -> Preprocessing:
    """With other values where they are known."""
    return Preprocessing.from_dict(preprocessing.to_dict() | {name: v for name, v in values.items() if v is not None})


_PLAIN_RULE = (r"base_model\.(.+)", rf"{NETWORK}\1")
_LINEAR = r"(?:new_fc|base_model\.fc)\.(weight|bias)"
_CONSENSUS = r"consensus\.\w+\."
_TAM_BLOCK = r"base_model\.layer\d+\.\d+\.tam\."
_NET_BLOCK = r"base_model\.layer\d+\.\d+\.net\.conv\d\."
_is_tanet = _has(_TAM_BLOCK, _NET_BLOCK)
_is_trn = _has(r"base_model\.", rf"{_CONSENSUS}\d")

_MM_LINEAR = r"cls_head\.fc_cls\.(weight|bias)"
_MM_TAM_BLOCK = r"backbone\.layer\d+\.\d+\.tam\."
_MM_NET_BLOCK = r"backbone\.layer\d+\.\d+\.block\.conv\d\."
_is_mm_tanet = _has(_MM_TAM_BLOCK, _MM_NET_BLOCK)
_is_mm_trn = _has(r"backbone\.layer\d+\.\d+\.", rf"cls_head\.{_CONSENSUS}\d")
_is_mm = _has(r"backbone\.(?:conv1\.(?:conv|bn)|layer\d+\.\d+)\.")


def _mmaction_rules(block: str) -> tuple[tuple[str, str], ...]:
    """Rules of mmaction2's ResNet; `block` is what stands between a block and its layers."""
    layer = rf"backbone\.(layer\d+\.\d+){block}"
    return (
        (r"backbone\.conv1\.conv\.(\w+)", rf"{NETWORK}conv1.\1"),
        (r"backbone\.conv1\.bn\.(\w+)", rf"{NETWORK}bn1.\1"),
        (rf"{layer}\.conv(\d)\.conv\.(\w+)", rf"{NETWORK}\1.conv\2.\3"),
        (rf"{layer}\.conv(\d)\.bn\.(\w+)", rf"{NETWORK}\1.bn\2.\3"),
        (rf"{layer}\.downsample\.conv\.(\w+)", rf"{NETWORK}\1.downsample.0.\2"),
        (rf"{layer}\.downsample\.bn\.(\w+)", rf"{NETWORK}\1.downsample.1.\2"),
    )


enter_layout(
    KeyLayout(
        name="zoopraxis",
        publisher="Zoopraxis",
        recognizes=_has(re.escape(NETWORK)),
        rules=_rules((r"(.+)", r"\1")),
        infer=infer_resnet,
        preprocess=_preprocess_baseline,
    )
)
enter_layout(
    KeyLayout(
        name="image",
        publisher="image networks",
        recognizes=lambda _: False,  # the last resort
        rules=_rules((r"(?:fc|classifier|head\.fc|head)\.(weight|bias)", r"classifier.\1"), (r"(.+)", rf"{NETWORK}\1")),
        infer=_infer_image,
        preprocess=_preprocess_as_published,
    )
)
enter_layout(
    KeyLayout(
        name="epic",
        publisher="the EPIC baselines",
        recognizes=lambda keys: _has(r"base_model\.")(keys) and not _is_trn(keys) and not _is_tanet(keys),
        rules=_rules((_LINEAR, r"classifier.\1"), _PLAIN_RULE),
        infer=_infer_baseline,
        preprocess=_preprocess_baseline,
        settings=_hyper_parameters,
        has_wrappers=True,
    )
)
enter_layout(
    KeyLayout(
        name="epic_trn",
        publisher="the EPIC baselines",
        recognizes=_is_trn,
        rules=_rules((_LINEAR, r"projection.\1"), (r"consensus\.(.+)", r"relation.\1"), _PLAIN_RULE),
        infer=_infer_baseline,
        preprocess=_preprocess_baseline,
        settings=_hyper_parameters,
    )
)
enter_layout(
    KeyLayout(
        name="tanet",
        publisher="TANet's authors",
        recognizes=_is_tanet,
        rules=_rules(
            (_LINEAR, r"classifier.\1"),
            (r"base_model\.(layer\d+\.\d+)\.tam\.(.+)", rf"{NETWORK}\1.conv2.temporal.\2"),
            (r"base_model\.(layer\d+\.\d+)\.net\.(.+)", rf"{NETWORK}\1.\2"),
            _PLAIN_RULE,
        ),
        infer=infer_resnet,
        preprocess=lambda _, arguments: _preprocess_tanet(arguments, segments="segments_tanet"),
    )
)
enter_layout(
    KeyLayout(
        name="mmaction2",
        publisher="mmaction2",
        recognizes=lambda keys: _is_mm(keys) and not _is_mm_trn(keys) and not _is_mm_tanet(keys),
        rules=_rules((_MM_LINEAR, r"classifier.\1"), *_mmaction_rules("")),
        infer=infer_resnet,
        preprocess=_preprocess_mmaction,
        has_wrappers=True,
    )
)
enter_layout(
    KeyLayout(
        name="mmaction2_trn",
        publisher="mmaction2",
        recognizes=_is_mm_trn,
        rules=_rules((_MM_LINEAR, r"projection.\1"), (r"cls_head\.consensus\.(.+)", r"relation.\1"), *_mmaction_rules("")),
        infer=infer_resnet,
        preprocess=_preprocess_mmaction,
    )
)
enter_layout(
    KeyLayout(
        name="mmaction2_tanet",
        publisher="mmaction2",
        recognizes=_is_mm_tanet,
        rules=_rules(
            (_MM_LINEAR, r"classifier.\1"),
            (r"backbone\.(layer\d+\.\d+)\.tam\.(.+)", rf"{NETWORK}\1.conv2.temporal.\2"),
            *_mmaction_rules(r"\.block"),
        ),
        infer=infer_resnet,
        preprocess=lambda _, arguments: _preprocess_tanet(arguments, segments="segments_mmaction2", mean=_MMACTION_TANET_MEAN),
    )
)
