"""TimeSformer: a transformer over patches of frames whose attention is divided into time and space.

# B clips, T frames, D features

Source: Bertasius et al., Is Space-Time Attention All You Need for Video Understanding?, ICML 2021.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from zoopraxis.backbones.timesformer import DividedLayer
from zoopraxis.backbones.vivit import JointTransformer
from zoopraxis.errors import ConfigError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.clip_classifier import ClipClassifier
from zoopraxis.models.clip_families import ClipFamily, enter_clip_family
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.vit_family import (
    adapt_positions,
    check_tubelet_init,
    expand_vit,
    infer_numbers,
    numbers_of_layers,
    without_variant,
)
from zoopraxis.models.vivit import preprocessing_vivit

__all__ = ["build_timesformer", "preprocessing_timesformer"]

_VARIANTS: dict[str, dict[str, Any]] = {
    "b16": {
        "dim": 768,
        "depth": 12,
        "num_heads": 12,
        "mlp_ratio": 4.0,
        "patch_size": 16,
        "tubelet_size": 1,
        "drop_path": 0.0,
        "attention_dropout": 0.1,
        "ffn_dropout": 0.1,
    }
}
_INIT_STD = 0.02
_NUM_FRAMES = 8


def build_timesformer(
    arguments: ModelArguments,
    *,
    dim: int | None = None,
    depth: int | None = None,
    num_heads: int | None = None,
    head_dim: int | None = None,
    mlp_ratio: float | None = None,
    patch_size: int | None = None,
    tubelet_size: int | None = None,
    image_size: int | None = None,
    drop_path: float | None = None,
    attention_dropout: float | None = None,
    ffn_dropout: float | None = None,
    has_pre_logits: bool = False,
    tubelet_init: Literal["central_frame", "average"] = "central_frame",
) -> ClipClassifier:
    """TimeSformer; what is None is the variant's.

    Clips of other lengths and sizes than it is built for can be scored and trained on, if patches divide them: positions are
    resized linearly in time and bilinearly in space.

    Args:
        arguments: Those of every model; `backbone` is the variant, `num_segments` the frames that positions are learned for.
        dim: Features of a token, D.
        depth: Layers.
        num_heads: Heads of each attention.
        head_dim: Features of a head; none: D divided by the number of heads.
        mlp_ratio: Hidden features of a feed-forward network over D.
        patch_size: Height and width of a patch, px.
        tubelet_size: Frames of a token.
        image_size: Height and width that positions are learned for, px; none: that of the preprocessing.
        drop_path: Probability that the last layer's residual branches are dropped; rising evenly from 0 at the first.
        attention_dropout: Probability that a weight of the attention is dropped.
        ffn_dropout: Probability that a feature in the feed-forward networks, or behind an attention, is dropped.
        has_pre_logits: Whether each head has a linear map and a tanh before its own map.
        tubelet_init: How tubelets start from the patches of an image network (`vit_family.TUBELET_INITS`).

    Raises:
        ConfigError: If a number is out of range or does not fit another.
    """
    check_tubelet_init(tubelet_init)
    given: dict[str, Any] = {"dim": dim, "depth": depth, "num_heads": num_heads, "head_dim": head_dim}
    given |= {"mlp_ratio": mlp_ratio, "patch_size": patch_size, "tubelet_size": tubelet_size, "image_size": image_size}
    given |= {"drop_path": drop_path, "attention_dropout": attention_dropout, "ffn_dropout": ffn_dropout}
    try:
        numbers = numbers_of_layers(arguments, _VARIANTS[arguments.backbone], given)
        backbone = JointTransformer(layer_type=DividedLayer, **numbers)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return ClipClassifier(backbone, arguments, is_dropout_shared=False, has_pre_logits=has_pre_logits, init_std=_INIT_STD)


def preprocessing_timesformer(modality: Modality, *, num_segments: int = _NUM_FRAMES, segment_length: int = 1) -> Preprocessing:
    """As for ViViT, but every 32nd frame, as the paper's networks of 8 frames have it."""
    vivit = preprocessing_vivit(modality, num_segments=num_segments, segment_length=segment_length)
    return dataclasses.replace(vivit, interval=32)


def expand_timesformer(model: VideoModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As `expand_vit`; attention in time starts as a copy of that in space which gives nothing yet: its last map is zero.

    Raises:
        CheckpointError: If the weights are of another kind of network, or of another size.

    Differs: the paper's code follows it with a linear map that starts at zero; here its own last map does, so that the network
    begins as the image network over all frames.
    """
    expanded = expand_vit(model, tensors)
    for key, tensor in list(expanded.items()):
        for part in ("norm", "attn"):
            if f".{part}." in key and key.startswith("backbone.layers."):
                copied = torch.zeros_like(tensor) if ".proj." in key else tensor.clone()
                expanded[key.replace(f".{part}.", f".{part}_temporal.")] = copied
    return expanded


def _tells(tensors: Mapping[str, Tensor]) -> bool:
    keys = ("backbone.stem.conv1.weight", "backbone.pos_embd", "backbone.layers.0.attn_temporal.to_qkv.weight")
    return all(key in tensors for key in keys)


def _infer(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"backbone": "b16", **without_variant(infer_numbers(tensors, settings), _VARIANTS["b16"])}


MODELS.register("timesformer")(
    ModelKind(
        "TimeSformer",
        build_timesformer,
        dropout=0.0,
        partial_bn=False,
        preprocessing=preprocessing_timesformer,
        variants=tuple(_VARIANTS),
        num_segments=_NUM_FRAMES,
        image_networks={"b16": "vit_base_patch16_224.augreg_in21k"},
        expand=expand_timesformer,
        adapt=adapt_positions,
    )
)
enter_clip_family(ClipFamily(model="timesformer", tells=_tells, infer=_infer))
