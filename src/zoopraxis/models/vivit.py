"""ViViT: transformers over tubelets of a clip, factorized into space and time (`b16x2_fe`) or over all of it (`b16x2_joint`).

# B clips, T frames, D features

Source: Arnab et al., ViViT: A Video Vision Transformer, ICCV 2021; Huang et al., Towards Training Stronger Video Vision
Transformers for EPIC-KITCHENS-100 Action Recognition, 2021.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.backbones.vivit import FactorizedViViT, JointTransformer
from zoopraxis.errors import ConfigError
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.clip_classifier import ClipClassifier
from zoopraxis.models.clip_families import ClipFamily, enter_clip_family
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.vit_family import (
    adapt_positions,
    check_tubelet_init,
    count_layers,
    expand_vit,
    infer_numbers,
    numbers_of_layers,
    without_variant,
)
from zoopraxis.models.weights import EPIC_100, EPIC_HEADS, KINETICS_400, Evaluation, PublishedWeights, enter_weights

__all__ = ["build_vivit", "preprocessing_vivit"]

_B16 = {
    "dim": 768,
    "depth": 12,
    "num_heads": 12,
    "mlp_ratio": 4.0,
    "patch_size": 16,
    "tubelet_size": 2,
    "drop_path": 0.1,
    "attention_dropout": 0.0,
    "ffn_dropout": 0.0,
}
_VARIANTS: dict[str, dict[str, Any]] = {"b16x2_fe": {**_B16, "depth_temporal": 4}, "b16x2_joint": _B16}
_INIT_STD = 0.02
_NUM_FRAMES = 32


def build_vivit(
    arguments: ModelArguments,
    *,
    dim: int | None = None,
    depth: int | None = None,
    depth_temporal: int | None = None,
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
    """ViViT; what is None is the variant's.

    Clips of other lengths and sizes than it is built for can be scored and trained on, if tubelets divide them: positions are
    resized linearly in time and bilinearly in space.

    Args:
        arguments: Those of every model; `backbone` is the variant, `num_segments` the frames that positions are learned for.
        dim: Features of a token, D.
        depth: Layers, of the factorized encoder those in space.
        depth_temporal: Layers in time, of the factorized encoder.
        num_heads: Heads of the attention.
        head_dim: Features of a head; none: D divided by the number of heads.
        mlp_ratio: Hidden features of a feed-forward network over D.
        patch_size: Height and width of a tubelet, px.
        tubelet_size: Its frames.
        image_size: Height and width that positions are learned for, px; none: that of the preprocessing.
        drop_path: Probability that the last layer's residual branches are dropped; rising evenly from 0 at the first.
        attention_dropout: Probability that a weight of the attention is dropped.
        ffn_dropout: Probability that a feature in the feed-forward networks, or behind the attention, is dropped.
        has_pre_logits: Whether each head has a linear map and a tanh before its own map.
        tubelet_init: How tubelets start from the patches of an image network (`vit_family.TUBELET_INITS`).

    Raises:
        ConfigError: If a number is out of range or does not fit another.
    """
    check_tubelet_init(tubelet_init)
    given: dict[str, Any] = {
        "dim": dim,
        "depth": depth,
        "depth_temporal": depth_temporal,
        "num_heads": num_heads,
        "head_dim": head_dim,
    }
    given |= {"mlp_ratio": mlp_ratio, "patch_size": patch_size, "tubelet_size": tubelet_size, "image_size": image_size}
    given |= {"drop_path": drop_path, "attention_dropout": attention_dropout, "ffn_dropout": ffn_dropout}
    variant = _VARIANTS[arguments.backbone]
    if depth_temporal is not None and "depth_temporal" not in variant:
        raise ConfigError(f"variant {arguments.backbone!r} has no layers in time; leave depth_temporal out, or use b16x2_fe")
    numbers = numbers_of_layers(arguments, variant, given)
    create: type[ClipBackbone] = FactorizedViViT if "depth_temporal" in variant else JointTransformer
    try:
        backbone = create(**numbers)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return ClipClassifier(backbone, arguments, is_dropout_shared=False, has_pre_logits=has_pre_logits, init_std=_INIT_STD)


def preprocessing_vivit(modality: Modality, *, num_segments: int = _NUM_FRAMES, segment_length: int = 1) -> Preprocessing:
    """What the published network of Kinetics-400 expects: 32 frames of 224 px, each second at 30 frames a second."""
    return Preprocessing(
        modality=modality,
        size=224,
        resize=224,
        mean=(0.45,),
        std=(0.225,),
        num_segments=num_segments,
        segment_length=segment_length,
        sampling="interval",
        interval=2,
        antialias=False,
    )


def _tells(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors are of tubelets and layers of one attention each."""
    keys = ("backbone.stem.conv1.weight", "backbone.pos_embd", "backbone.layers.0.attn.to_qkv.weight")
    return all(key in tensors for key in keys) and "backbone.layers.0.attn_temporal.to_qkv.weight" not in tensors


def _infer(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Any]:
    is_factorized = "backbone.temp_embd" in tensors
    backbone = "b16x2_fe" if is_factorized else "b16x2_joint"
    numbers = infer_numbers(tensors, settings)
    if is_factorized:
        numbers["depth_temporal"] = count_layers(tensors, "layers_temporal")
    return {"backbone": backbone, **without_variant(numbers, _VARIANTS[backbone])}


MODELS.register("vivit")(
    ModelKind(
        "ViViT",
        build_vivit,
        dropout=0.0,
        partial_bn=False,
        preprocessing=preprocessing_vivit,
        variants=tuple(_VARIANTS),
        num_segments=_NUM_FRAMES,
        image_networks=dict.fromkeys(_VARIANTS, "vit_base_patch16_224.augreg_in21k"),
        expand=expand_vit,
        adapt=adapt_positions,
    )
)
enter_clip_family(ClipFamily(model="vivit", tells=_tells, infer=_infer))

_KINETICS = preprocessing_vivit("rgb")
_EPIC = dataclasses.replace(_KINETICS, size=320, resize=320, target_fps=60.0)
_MODEL_ZOO = "TAdaConv authors' repository (pytorch-video-understanding), MODEL_ZOO"
_PAGE = "https://drive.google.com/file/d/{}/view?usp=sharing"
_VIEWS: dict[str, Any] = {"num_frames": _NUM_FRAMES, "num_clips": 4, "num_crops": 3, "average": "prob"}

enter_weights(
    PublishedWeights(
        name="vivit_b16x2_fe.kinetics",
        page=_PAGE.format("1xD4uij9DmZojnl1xuWBa-gwm5hUZxDc7"),
        model={"name": "vivit", "backbone": "b16x2_fe", "heads": {"label": 400}, "num_segments": _NUM_FRAMES},
        num_parameters=115_062_928,
        gmacs=283.342030848,
        preprocessing=_KINETICS,
        data=KINETICS_400,
        evaluations=(Evaluation(accuracy={"val/label@1": 79.4, "val/label@5": 94.0}, size=224, **_VIEWS),),
        source=_MODEL_ZOO,
    ),
    PublishedWeights(
        name="vivit_b16x2_fe.epic100",
        page=_PAGE.format("1ELvwZYeqdsPmDcX1v7_RbFqbQnvHt9sB"),
        model={
            "name": "vivit",
            "backbone": "b16x2_fe",
            "heads": EPIC_HEADS,
            "num_segments": _NUM_FRAMES,
            "image_size": 320,
            "drop_path": 0.2,
        },
        num_parameters=115_217_293,
        gmacs=600.396021504,
        preprocessing=_EPIC,
        data=EPIC_100,
        evaluations=(Evaluation(accuracy={"val/action@1": 46.3, "val/verb@1": 67.4, "val/noun@1": 58.9}, size=320, **_VIEWS),),
        source=_MODEL_ZOO,
    ),
)
