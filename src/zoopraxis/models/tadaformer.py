"""TAdaFormer: CLIP's vision transformer with temporally-adaptive convolutions in its layers.

# D features, L positions: a frame's patches and the class token

Source: Huang et al., Temporally-Adaptive Models for Efficient Video Understanding, arXiv 2308.05787, 2023.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoopraxis.backbones.image import to_clip_kernel
from zoopraxis.backbones.tadaformer import TAdaFormer
from zoopraxis.backbones.tubelets import resize_frame_positions
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.clip_classifier import ClipClassifier
from zoopraxis.models.clip_families import ClipFamily, enter_clip_family
from zoopraxis.models.inference import table
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.vision_towers import vision_tower
from zoopraxis.models.weights import KINETICS_400, SOMETHING_V2, Evaluation, PublishedWeights, enter_weights

__all__ = ["build_tadaformer", "preprocessing_tadaformer"]

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_VARIANTS = {
    "b16": {"dim": 768, "depth": 12, "num_heads": 12, "patch_size": 16},
    "l14": {"dim": 1024, "depth": 24, "num_heads": 16, "patch_size": 14},
}
_HEAD_WIDTH = 64
"""Features of a head in every network of CLIP: shapes do not tell the number of heads."""
_POSITIONS = "backbone.positional_embedding"
_FIRST_LAYER = "backbone.layers.0."


def build_tadaformer(
    arguments: ModelArguments,
    *,
    dim: int | None = None,
    depth: int | None = None,
    num_heads: int | None = None,
    patch_size: int | None = None,
    image_size: int | None = None,
    tubelet_size: int = 3,
    tubelet_stride: int = 2,
    reduction: int = 2,
    double_tada: bool = False,
    temporal_enhancement: bool = False,
    route_ratio: int = 2,
    route_kernels: Sequence[int] = (3, 3),
    route_head_dim: int = 64,
    drop_path: float = 0.0,
    projection: int | None = None,
    has_pre_logits: bool = False,
) -> ClipClassifier:
    """TAdaFormer; at birth it scores a still clip as the vision transformer does.

    The published networks of Kinetics have the defaults, those of Something-Something `double_tada` and
    `temporal_enhancement`. Clips of any length can be scored, and frames of other sizes than `image_size`.

    Args:
        arguments: Those of every model; `backbone` is `b16` or `l14`.
        dim: Features of a token; none, as for all sizes of the transformer: the variant's.
        depth: Its layers.
        num_heads: Heads of their attention.
        patch_size: Height and width of a patch, px.
        image_size: Height and width of the frames that positions are kept for, px; none: those of the preprocessing.
        tubelet_size: Frames of a patch, odd.
        tubelet_stride: Frames from one to the next.
        reduction: Features of a token over those of the TAda blocks' bottlenecks.
        double_tada: Two TAda blocks a layer, before and behind the attention.
        temporal_enhancement: The first map of a TAda block sees three frames.
        route_ratio: Features of a bottleneck over hidden features of the routing functions.
        route_kernels: Temporal sizes of their two convolutions.
        route_head_dim: Features of a head of their attention over time.
        drop_path: Of the last layer, rising evenly from 0 in the first.
        projection: Features that a clip's are mapped to before the heads; none: not mapped.
        has_pre_logits: Whether each head has a linear map and a tanh before its own.

    Raises:
        ConfigError: If a size is out of range or does not divide another.
    """
    sizes = {"dim": dim, "depth": depth, "num_heads": num_heads, "patch_size": patch_size}
    try:
        backbone = TAdaFormer(
            in_channels=arguments.preprocessing.in_channels,
            **_VARIANTS[arguments.backbone] | {name: size for name, size in sizes.items() if size is not None},
            image_size=arguments.preprocessing.size if image_size is None else image_size,
            tubelet_size=tubelet_size,
            tubelet_stride=tubelet_stride,
            reduction=reduction,
            double_tada=double_tada,
            temporal_enhancement=temporal_enhancement,
            route_ratio=route_ratio,
            route_kernels=route_kernels,
            route_head_dim=route_head_dim,
            drop_path=drop_path,
            projection=projection,
        )
    except ValueError as error:
        raise ConfigError(f"TAdaFormer cannot be built: {error}") from error
    return ClipClassifier(backbone, arguments, has_pre_logits=has_pre_logits)


def preprocessing_tadaformer(modality: Modality, *, num_segments: int = 16, segment_length: int = 1) -> Preprocessing:
    """What the published networks expect: CLIP's statistics (one value for both components of flow), 224 px, segments."""
    is_rgb = modality == "rgb"
    return Preprocessing(
        modality=modality,
        resize=224,
        mean=_MEAN if is_rgb else (0.5,),
        std=_STD if is_rgb else (0.226,),
        num_segments=num_segments,
        segment_length=segment_length,
        sampling="segments_tadaconv",
        antialias=False,
    )


def expand_vision_tower(model: VideoModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Initial weights from CLIP's visual tower: everything but TAda blocks and heads.

    Kernels of patches go to the middle frame of a tubelet, positions are resized to the network's.

    Raises:
        CheckpointError: If the tensors are of no such tower, or of one of other sizes.
    """
    tower = vision_tower(tensors)
    expected = model.state_dict()
    needed = {key for key in expected if key.startswith("backbone.") and ".tada" not in key and key != "backbone.proj"}
    in_channels, num_taps = expected["backbone.conv1.weight"].shape[1:3]
    tower["conv1.weight"] = to_clip_kernel(tower["conv1.weight"], in_channels=in_channels, num_frames=num_taps)
    taken = adapt_positions(model, {f"backbone.{name}": tensor for name, tensor in tower.items()})
    if "backbone.proj" not in expected or taken.get("backbone.proj", torch.empty(0)).shape != expected["backbone.proj"].shape:
        taken.pop("backbone.proj", None)
    differing = {key for key, tensor in taken.items() if key not in expected or tensor.shape != expected[key].shape}
    differing |= needed - taken.keys()
    if differing:
        raise CheckpointError(
            f"CLIP's visual tower is of {_sizes_in_words(taken)}, and the network of {_sizes_in_words(expected)}: they differ "
            f"in {min(differing).removeprefix('backbone.')}; name weights of the same sizes"
        )
    return taken


def adapt_positions(model: VideoModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a TAdaFormer for one of another image size: positions resized bilinearly, that of the class token kept."""
    adapted = dict(tensors)
    positions_LD, length = tensors.get(_POSITIONS), model.state_dict()[_POSITIONS].shape[0]
    if positions_LD is not None and _side(positions_LD) is not None:
        side = math.isqrt(length - 1)
        adapted[_POSITIONS] = resize_frame_positions(positions_LD[None], (side, side))[0]
    return adapted


def infer_tadaformer(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Variant and own arguments, from shapes and, where they do not tell, from the published configuration.

    Raises:
        CheckpointError: If a tensor that tells is missing, or the positions are of no square frames.
    """
    backbone = table(table(settings.get("VIDEO")).get("BACKBONE"))
    kernel, positions = _tensor(tensors, "backbone.conv1.weight"), _tensor(tensors, _POSITIONS)
    side = _side(positions)
    if side is None:
        raise CheckpointError(
            f"positional_embedding has {len(positions)} positions, which are no square frame and a class token"
        )
    sizes = {
        "dim": kernel.shape[0],
        "depth": 1 + max(int(key.split(".")[2]) for key in tensors if key.startswith("backbone.layers.")),
        "num_heads": backbone.get("NUM_HEADS") or max(1, kernel.shape[0] // _HEAD_WIDTH),
        "patch_size": kernel.shape[-1],
    }
    variant = next((name for name, known in _VARIANTS.items() if known["patch_size"] == sizes["patch_size"]), "b16")
    inferred: dict[str, Any] = {"backbone": variant, "image_size": side * kernel.shape[-1], "tubelet_size": kernel.shape[2]}
    inferred |= {name: size for name, size in sizes.items() if size != _VARIANTS[variant][name]}
    inferred |= _infer_blocks(tensors)
    carried = {"tubelet_stride": backbone.get("TUBLET_STRIDE"), "drop_path": backbone.get("DROP_PATH")}
    return inferred | {name: value for name, value in carried.items() if value is not None}


def _infer_blocks(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of the TAda blocks, and what stands behind the layers."""
    narrow = _tensor(tensors, f"{_FIRST_LAYER}tada.tada_pre_proj.weight")
    first = _tensor(tensors, f"{_FIRST_LAYER}tada.tadaconv.rf_func.a.weight")
    second = _tensor(tensors, f"{_FIRST_LAYER}tada.tadaconv.rf_func.b.weight")
    inferred: dict[str, Any] = {
        "reduction": narrow.shape[1] // narrow.shape[0],
        "double_tada": any(key.startswith(f"{_FIRST_LAYER}tada2.") for key in tensors),
        "temporal_enhancement": narrow.ndim == 5,
        "route_ratio": first.shape[1] // first.shape[0],
        "route_kernels": [first.shape[2], second.shape[2]],
        "has_pre_logits": any(key.startswith("pre_logits.") for key in tensors),
    }
    projection = tensors.get("backbone.proj")
    return inferred if projection is None else inferred | {"projection": projection.shape[1]}


def _tensor(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in tensors:
        raise CheckpointError(f"{key.removeprefix('backbone.')} is missing, which every TAdaFormer has; is the file whole?")
    return tensors[key]


def _side(positions_LD: Tensor) -> int | None:
    """Patches along a side of the square frame that positions are of."""
    side = math.isqrt(len(positions_LD) - 1)
    return side if side * side == len(positions_LD) - 1 else None


def _sizes_in_words(tensors: Mapping[str, Tensor]) -> str:
    width, patch = tensors["backbone.conv1.weight"].shape[0], tensors["backbone.conv1.weight"].shape[-1]
    depth = len({key.split(".")[2] for key in tensors if key.startswith("backbone.layers.")})
    return f"{depth} layers, {width} features and patches of {patch} px"


MODELS.register("tadaformer")(
    ModelKind(
        "TAdaFormer",
        build_tadaformer,
        dropout=0.5,
        partial_bn=False,
        preprocessing=preprocessing_tadaformer,
        variants=tuple(_VARIANTS),
        num_segments=16,
        image_networks={"b16": "vit_base_patch16_clip_224.openai", "l14": "vit_large_patch14_clip_224.openai"},
        expand=expand_vision_tower,
        adapt=adapt_positions,
    )
)
enter_clip_family(
    ClipFamily(
        model="tadaformer",
        tells=lambda tensors: f"{_FIRST_LAYER}tada.tada_pre_proj.weight" in tensors,
        infer=infer_tadaformer,
    )
)

_SOURCE = "TAdaConv authors' repository (pytorch-video-understanding), projects/tadaconvv2"
_SOMETHING_FORM = {"double_tada": True, "temporal_enhancement": True}


def _evaluation(num_frames: int, num_clips: int, top1: float) -> Evaluation:
    """Clips of three crops of 224 px each, whose probabilities are added up."""
    views: dict[str, Any] = {"num_clips": num_clips, "num_crops": 3, "average": "prob"}
    return Evaluation(accuracy={"val/label@1": top1}, num_frames=num_frames, **views)


def _page(drive_file: str) -> str:
    return f"https://drive.google.com/file/d/{drive_file}/view?usp=sharing"


def _kinetics(drive_file: str, variant: str, pretraining: str, num_frames: int, top1: float, gmacs: float) -> PublishedWeights:
    return PublishedWeights(
        name=f"tadaformer_{variant}.{pretraining}_kinetics_{num_frames}f",
        page=_page(drive_file),
        model={"name": "tadaformer", "backbone": variant, "heads": {"label": 400}, "num_segments": num_frames},
        num_parameters={"b16": 104_195_728, "l14": 364_827_024}[variant],
        gmacs=gmacs,
        preprocessing=dataclasses.replace(preprocessing_tadaformer("rgb"), num_segments=num_frames),
        data=KINETICS_400,
        evaluations=(_evaluation(num_frames, 4, top1),),
        source=_SOURCE,
    )


def _something(drive_file: str, variant: str, num_frames: int, top1: float, gmacs: float) -> PublishedWeights:
    heads, form = {"label": 174}, _SOMETHING_FORM
    return PublishedWeights(
        name=f"tadaformer_{variant}.clip_sthv2_{num_frames}f",
        page=_page(drive_file),
        model={"name": "tadaformer", "backbone": variant, "heads": heads, "num_segments": num_frames, **form},
        num_parameters={"b16": 135_086_766, "l14": 474_960_046}[variant],
        gmacs=gmacs,
        preprocessing=dataclasses.replace(preprocessing_tadaformer("rgb"), num_segments=num_frames),
        data=SOMETHING_V2,
        evaluations=(_evaluation(num_frames, 2, top1),),
        source=_SOURCE,
    )


enter_weights(
    _kinetics("1E7IE762YLJnfeiqtjv0jBb91_dZhNK0Q", "b16", "clip", 16, 84.5, 153.595785216),
    _kinetics("1chSLHo0nbFNObsLlCRSsAJE2vbYwIaYJ", "l14", "clip", 16, 87.6, 702.606229504),
    _kinetics("1pAhjXycxdT_eOH5kO-5t7y8o5MjtlQdZ", "b16", "clip_k710", 16, 86.6, 153.595785216),
    _kinetics("1qx3M33hsdoBcPsXihOdeViqI0VHUXnRf", "l14", "clip_k710", 16, 88.9, 702.606229504),
    _kinetics("1T99YSQEe8yVUl3b03r_Wd04Qm36lN5Us", "l14", "clip_k710", 32, 89.5, 1405.213622272),
    _kinetics("1DBTfkCa0pHXqAm51gZSmmOVdGnBYacsM", "l14", "clip_k710", 64, 89.9, 2810.4331264),
    _something("1D-pKrxdrP2IcGXnd_e47ryci7OYCt8BK", "b16", 16, 70.4, 187.033176576),
    _something("1uY9tt0rcP_bQDs36oBNWPaqzxqibBQFt", "b16", 32, 71.3, 374.067399168),
    _something("1jXzh9_WFbrHAkrzijnNs0vIJHWTQNsbA", "l14", 16, 72.4, 857.728923648),
    _something("1hj8O3j_lf6VVp93nfy5z7zRGQ_W7Pou_", "l14", 32, 73.6, 1715.460814848),
)
