"""CSN: residual networks over clips whose large convolutions look at each channel by itself.

Variants: interaction-reduced (`ir152`, as published for EPIC-KITCHENS-100, and `ir101`, `ir50`, `ir26`) and
interaction-preserved (`ip152` and so on).

# B clips, T frames, D features

Source: Tran et al., Video Classification with Channel-Separated Convolutional Networks, ICCV 2019.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoopraxis.backbones.csn import InteractionPreservedBranch, InteractionReducedBranch
from zoopraxis.backbones.resnet3d import BLOCKS, Branch, ResNet3D, ResNet3DSizes
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.clip_classifier import ClipClassifier
from zoopraxis.models.clip_families import ClipFamily, enter_clip_family
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.resnet3d_variants import Variant, has_branch_layer, infer_variant, overridden
from zoopraxis.models.weights import EPIC_100, EPIC_HEADS, Evaluation, PublishedWeights, enter_weights

__all__ = ["build_csn"]

_BRANCHES: Mapping[str, Branch] = {"ir": InteractionReducedBranch, "ip": InteractionPreservedBranch}
_SIZES = ResNet3DSizes(
    blocks=BLOCKS[152],
    widths=(64, 256, 512, 1024, 2048),
    kernels=((3, 7, 7), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
)
_VARIANTS = {
    f"{form}{depth}": Variant(dataclasses.replace(_SIZES, blocks=BLOCKS[depth]), form)
    for form in _BRANCHES
    for depth in (152, 101, 50, 26)
}
_LARGE = "backbone.conv2.res_1.conv_branch.b.weight"


def build_csn(
    arguments: ModelArguments,
    *,
    blocks: Sequence[int] | None = None,
    widths: Sequence[int] | None = None,
    kernels: Sequence[Sequence[int]] | None = None,
    spatial_strides: Sequence[int] | None = None,
    temporal_strides: Sequence[int] | None = None,
    expansion: int | None = None,
    nonlocal_stages: Sequence[int] | None = None,
    norm_eps: float | None = None,
    has_stem_pool: bool | None = None,
) -> ClipClassifier:
    """A channel-separated network for clips of any length and size; the numbers not given are the variant's.

    Args:
        arguments: Those of every model.
        blocks: Blocks of the four stages.
        widths: Channels of the stem and the four stages.
        kernels: Sizes of the large convolutions of the stem and the four stages, each of time, height and width.
        spatial_strides: 1 or 2, of the stem and the four stages.
        temporal_strides: Likewise.
        expansion: Channels that leave a block over those inside it.
        nonlocal_stages: Stages, 2 to 5, that end in a non-local block.
        norm_eps: Added to variances; as published 1e-5.
        has_stem_pool: Whether a max pool ends the stem.

    Raises:
        ConfigError: If a number is out of range.
    """
    variant = _VARIANTS[arguments.backbone]
    sizes = overridden(
        variant.sizes,
        blocks=blocks,
        widths=widths,
        kernels=kernels,
        spatial_strides=spatial_strides,
        temporal_strides=temporal_strides,
        expansion=expansion,
        nonlocal_stages=nonlocal_stages,
        norm_eps=norm_eps,
        has_stem_pool=has_stem_pool,
    )
    in_channels = arguments.preprocessing.in_channels
    return ClipClassifier(ResNet3D(sizes, branch=_BRANCHES[variant.form], in_channels=in_channels), arguments)


def preprocessing_csn(modality: Modality, *, num_segments: int = 32, segment_length: int = 1) -> Preprocessing:
    """What the published network expects: 32 frames, each second at 60 frames a second."""
    return Preprocessing(
        modality=modality,
        mean=(0.45,),
        std=(0.225,),
        num_segments=num_segments,
        segment_length=segment_length,
        sampling="interval",
        interval=2,
        target_fps=60.0,
        antialias=False,
    )


def _tells(tensors: Mapping[str, Tensor]) -> bool:
    large = tensors.get(_LARGE)
    return large is not None and large.shape[1] == 1 and has_branch_layer(tensors, "c")


def _infer(tensors: Mapping[str, Tensor], configuration: Mapping[str, Any]) -> dict[str, Any]:
    form = "ip" if has_branch_layer(tensors, "b_1x1") else "ir"
    return infer_variant(tensors, configuration, _VARIANTS, form)


MODELS.register("csn")(
    ModelKind(
        "CSN",
        build_csn,
        dropout=0.5,
        partial_bn=False,
        preprocessing=preprocessing_csn,
        variants=tuple(_VARIANTS),
        num_segments=32,
    )
)
enter_clip_family(ClipFamily(model="csn", tells=_tells, infer=_infer))
enter_weights(
    PublishedWeights(
        name="csn_ir152.epic100",
        page="https://drive.google.com/file/d/1YEIhijzN2aFXyfDL34WB6Q9strYP7WaU/view?usp=sharing",
        model={"name": "csn", "backbone": "ir152", "heads": EPIC_HEADS, "num_segments": 32},
        num_parameters=29_697_421,
        gmacs=96.71320576,
        preprocessing=dataclasses.replace(preprocessing_csn("rgb"), size=256),
        data=EPIC_100,
        evaluations=(
            Evaluation(
                accuracy={"val/action@1": 44.5, "val/verb@1": 68.4, "val/noun@1": 55.9},
                num_frames=32,
                size=256,
                num_clips=10,
                num_crops=3,
                average="prob",
            ),
        ),
        source="TAdaConv authors' repository (pytorch-video-understanding), MODEL_ZOO",
    )
)
