"""Key layouts of TAdaConv's code base (pytorch-video-understanding): TAda2D, and its networks over whole clips.

Its checkpoints are tables with `model_state`, `cfg` (the whole configuration as JSON text) and, for some, `model_ema_state`.

Source: Huang et al., TAda! Temporally-Adaptive Convolutions for Video Understanding, ICLR 2022, and the published code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoopraxis.errors import CheckpointError
from zoopraxis.models.build import MODELS
from zoopraxis.models.clip_families import CLIP_FAMILIES, family_of
from zoopraxis.models.inference import describe_weights, infer_heads, infer_resnet, table, title
from zoopraxis.models.key_layouts import NETWORK, KeyLayout, PublishedFile, Rule, enter_layout
from zoopraxis.models.preprocessing import Preprocessing

__all__ = ["carried_configuration"]

_NUMBER = {"a": 1, "b": 2, "c": 3}
"""The letters of a block's layers, as ours count them."""
_NUM_SOMETHING_CLASSES = 174
_SAMPLING = {"interval_based": "interval", "segment_based": "segments_tadaconv"}
_BLOCK = r"backbone\.conv([2-9])\.res_(\d+)\."
_LAYER = rf"{_BLOCK}conv_branch\.([abc])"
_ROUTE = re.compile(rf"{_LAYER}_rf\.g\.weight")
_CLIP_KEY = re.compile(
    r"backbone\.(?:conv1\.a1?\.|(?:slow|fast)_conv1\.|block1\.|downsample_layers\.|class_embedding|pos_embd)"
)
"""One of these begins some key of each family of networks over whole clips."""
_BATCH_NORM_EPS = 1e-5
_POOL = [3, 1, 1]
"""What keys and shapes do not tell of TAda2D as published: the eps of its batch norms, and its average over frames."""


def carried_configuration(archive: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The configuration in a checkpoint: JSON text under `cfg`; empty if there is none.

    Raises:
        CheckpointError: If the text is no JSON table.
    """
    text = archive.get("cfg")
    if text is None:
        return {}
    try:
        configuration = json.loads(text) if isinstance(text, str) else text
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"the configuration (cfg) in {path} is no JSON: {error}; give the file as it was published"
        ) from error
    return table(configuration)


def _layer(match: re.Match[str]) -> str:
    """`conv2.res_1` is our `layer1.0`."""
    return f"{NETWORK}layer{int(match[1]) - 1}.{int(match[2]) - 1}"


def _rule(pattern: str, name: str) -> Rule:
    """A rule for the keys of a block's layers; `name` is a template of the layer's number and the tensor's own name."""
    return re.compile(pattern), lambda m: f"{_layer(m)}.{name.format(number=_NUMBER[m[3]], rest=m[4])}"


def _head(match: re.Match[str]) -> str:
    """The first linear map of EPIC-KITCHENS networks gives verbs, the second nouns."""
    return f"classifiers.{'verb' if match[1] == '1' else 'noun'}.{match[2]}"


def _pre_logits(match: re.Match[str]) -> str:
    """The map before a head's own: of the only head, of verbs (1) or of nouns (2)."""
    return f"pre_logits.{ {'': 'label', '1': 'verb', '2': 'noun'}[match[1]] }.{match[2]}"


_HEAD_RULES: tuple[Rule, ...] = (
    (re.compile(r"head\.(?:out|linear)\.(weight|bias)"), r"classifier.\1"),
    (re.compile(r"head\.(?:linear|out)([12])\.(weight|bias)"), _head),
    (re.compile(r"head\.pre_logits([12]?)\.fc\.(weight|bias)"), _pre_logits),
)
_CLIP_RULES: tuple[Rule, ...] = (
    *_HEAD_RULES,
    (re.compile(r"(backbone\.\w*conv\d)\.nonlocal\.(.+)"), r"\1.nonlocal_block.\2"),
    (re.compile(r"(backbone\..+)"), r"\1"),
)
_RULES: tuple[Rule, ...] = (
    *_HEAD_RULES,
    (re.compile(r"backbone\.conv1\.a\.(\w+)"), rf"{NETWORK}conv1.\1"),
    (re.compile(r"backbone\.conv1\.a_bn\.(\w+)"), rf"{NETWORK}bn1.\1"),
    (re.compile(rf"{_BLOCK}short_cut\.(\w+)"), lambda m: f"{_layer(m)}.downsample.0.{m[3]}"),
    (re.compile(rf"{_BLOCK}short_cut_bn\.(\w+)"), lambda m: f"{_layer(m)}.downsample.1.{m[3]}"),
    _rule(rf"{_LAYER}\.(\w+)", "conv{number}.{rest}"),
    _rule(rf"{_LAYER}_bn\.(\w+)", "bn{number}.{rest}"),
    _rule(rf"{_LAYER}_rf\.(.+)", "conv{number}.temporal.{rest}"),
    _rule(rf"{_LAYER}_avgpool_bn\.(\w+)", "bn{number}.temporal.{rest}"),
)


def _to_image_kernel(key: str, tensor: Tensor) -> Tensor:
    """A kernel of one frame without the axes of time: (O, I, 1, h, w) or (1, 1, O, I, h, w) to (O, I, h, w)."""
    if ".temporal." in key:
        return tensor
    if tensor.ndim == 5 and tensor.shape[2] == 1:
        return tensor.squeeze(2)
    return tensor[0, 0] if tensor.ndim == 6 and tensor.shape[:2] == (1, 1) else tensor


def _infer_tada2d(file: PublishedFile) -> dict[str, Any]:
    video = table(file.settings.get("VIDEO"))
    pool = table(table(video.get("BACKBONE")).get("BRANCH")).get("POOL_K")
    if pool is not None and pool != _POOL:
        raise CheckpointError(
            f"{file.path} was trained with a temporal pool of {pool}; only TAda2D networks with {_POOL} can be loaded"
        )
    eps = table(file.settings.get("BN")).get("EPS")
    norms = {} if eps in (None, _BATCH_NORM_EPS) else {"norm_eps": eps}
    return infer_resnet(file, carried={**_carried(file), **norms})


def _carried(file: PublishedFile) -> dict[str, Any]:
    """The number of frames and the dropout that the configuration tells, if any."""
    data, video = table(file.settings.get("DATA")), table(file.settings.get("VIDEO"))
    values = {"num_segments": data.get("NUM_INPUT_FRAMES"), "dropout": table(video.get("HEAD")).get("DROPOUT_RATE")}
    return {name: value for name, value in values.items() if value is not None}


def _infer_clip_network(file: PublishedFile) -> dict[str, Any]:
    """What the family of the tensors infers; the heads and what the configuration tells of all."""
    tensors = file.weights.tensors
    family = family_of(tensors)
    if family is None:
        raise CheckpointError(
            f"{file.path} holds {describe_weights(file.weights)}; name a checkpoint of a network that is known"
        )
    given = file.given.get("name", family.model)
    if given != family.model:
        raise CheckpointError(
            f"{file.path} holds {describe_weights(file.weights)} in the layout of {file.weights.layout.publisher}, "
            f"not a {title(given)} network; name a checkpoint of one, or leave the name out"
        )
    inferred = {"name": family.model, **_carried(file), **family.infer(tensors, file.settings)}
    if "heads" not in file.given:
        inferred["heads"] = infer_heads(file.weights, file.path)
    return {**inferred, **file.given}


def _preprocess(file: PublishedFile, arguments: Mapping[str, Any]) -> Preprocessing:
    """The model's own, with what the configuration says of frames, sizes and statistics.

    Without a configuration 174 classes are taken as Something-Something's, whose networks look at segments.
    """
    data = table(file.settings.get("DATA"))
    published = MODELS.get(arguments["name"]).preprocessing(
        arguments.get("modality", "rgb"),
        num_segments=arguments.get("num_segments", MODELS.get(arguments["name"]).num_segments),
        segment_length=arguments.get("segment_length", 1),
    )
    is_something = sum(arguments["heads"].values()) == _NUM_SOMETHING_CLASSES
    sampling = _SAMPLING.get(data.get("SAMPLING_MODE", "segment_based" if is_something else ""))
    size = data.get("TEST_CROP_SIZE", arguments.get("image_size"))
    values = {
        "mean": data.get("MEAN"),
        "std": data.get("STD"),
        "size": size,
        "resize": _resize(arguments["name"], data.get("TEST_SCALE"), size or published.size, published.resize),
        "sampling": sampling,
        "interval": 1 if sampling == "segments_tadaconv" else data.get("SAMPLING_RATE"),
        "target_fps": data.get("TARGET_FPS"),
    }
    return Preprocessing.from_dict(published.to_dict() | {name: v for name, v in values.items() if v is not None})


def _resize(model: str, scale: int | None, size: int, usual: int) -> int:
    """The shorter side of frames in tests, px, from the configuration's scale."""
    if scale is None:
        return max(size, usual)
    has_scale_in_256 = model in CLIP_FAMILIES.names() and CLIP_FAMILIES.get(model).has_scale_in_256
    return round(size * 256 / scale) if has_scale_in_256 else scale


def _is_tada2d(keys: Collection[str]) -> bool:
    return any(_ROUTE.fullmatch(key) for key in keys)


def _is_clip_network(keys: Collection[str]) -> bool:
    return any(_CLIP_KEY.match(key) for key in keys) and not _is_tada2d(keys)


enter_layout(
    KeyLayout(
        name="tada2d",
        publisher="TAdaConv's authors",
        recognizes=_is_tada2d,
        rules=_RULES,
        infer=_infer_tada2d,
        preprocess=_preprocess,
        transform=_to_image_kernel,
        settings=carried_configuration,
    )
)

enter_layout(
    KeyLayout(
        name="tadaconv_clips",
        publisher="TAdaConv's authors",
        recognizes=_is_clip_network,
        rules=_CLIP_RULES,
        infer=_infer_clip_network,
        preprocess=_preprocess,
        settings=carried_configuration,
    )
)
