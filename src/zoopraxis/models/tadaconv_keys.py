"""Key layouts of TAdaConv's code base (pytorch-video-understanding): TAda2D.

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
from zoopraxis.models.inference import infer_resnet, table
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
_BATCH_NORM_EPS = 1e-5
_POOL = [3, 1, 1]
"""What keys and shapes do not tell of the published networks: another value would give other scores."""


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


_RULES: tuple[Rule, ...] = (
    (re.compile(r"head\.out\.(weight|bias)"), r"classifier.\1"),
    (re.compile(r"head\.linear([12])\.(weight|bias)"), _head),
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
    data, video = table(file.settings.get("DATA")), table(file.settings.get("VIDEO"))
    branch = table(table(video.get("BACKBONE")).get("BRANCH"))
    for what, value, ours in (
        ("batch norms of eps", table(file.settings.get("BN")).get("EPS"), _BATCH_NORM_EPS),
        ("a temporal pool of", branch.get("POOL_K"), _POOL),
    ):
        if value is not None and value != ours:
            raise CheckpointError(
                f"{file.path} was trained with {what} {value}; only TAda2D networks with {ours} can be loaded"
            )
    values = {"num_segments": data.get("NUM_INPUT_FRAMES"), "dropout": table(video.get("HEAD")).get("DROPOUT_RATE")}
    return infer_resnet(file, carried={name: value for name, value in values.items() if value is not None})


def _preprocess_tada2d(file: PublishedFile, arguments: Mapping[str, Any]) -> Preprocessing:
    """The model's own, with what the configuration says of frames, sizes and statistics.

    Without a configuration 174 classes are taken as Something-Something's, whose networks look at segments.
    """
    data = table(file.settings.get("DATA"))
    published = MODELS.get(arguments["name"]).preprocessing(
        arguments.get("modality", "rgb"),
        num_segments=arguments.get("num_segments", 8),
        segment_length=arguments.get("segment_length", 1),
    )
    is_something = sum(arguments["heads"].values()) == _NUM_SOMETHING_CLASSES
    sampling = _SAMPLING.get(data.get("SAMPLING_MODE", "segment_based" if is_something else ""))
    values = {
        "mean": data.get("MEAN"),
        "std": data.get("STD"),
        "size": data.get("TEST_CROP_SIZE"),
        "resize": data.get("TEST_SCALE"),
        "sampling": sampling,
        "interval": 1 if sampling == "segments_tadaconv" else data.get("SAMPLING_RATE"),
        "target_fps": data.get("TARGET_FPS"),
    }
    return Preprocessing.from_dict(published.to_dict() | {name: v for name, v in values.items() if v is not None})


def _is_tada2d(keys: Collection[str]) -> bool:
    return any(_ROUTE.fullmatch(key) for key in keys)


enter_layout(
    KeyLayout(
        name="tada2d",
        publisher="TAdaConv's authors",
        recognizes=_is_tada2d,
        rules=_RULES,
        infer=_infer_tada2d,
        preprocess=_preprocess_tada2d,
        transform=_to_image_kernel,
        settings=carried_configuration,
    )
)
