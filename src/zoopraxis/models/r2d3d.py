"""R2D3D: residual networks over clips that look at time in their late stages only.

Variants: `r18` (R2D3Ds-18, as published with MoSI), `r34`, `r10`, `r16` of two convolutions a block, and the bottlenecks `r50`,
`r101`, `r152`, as wide inside as half of their output. Batch norms add 1e-3 to variances, as those of the published weights do;
a checkpoint's configuration goes before that.

# B clips, T frames, D features

Source: Huang et al., Self-supervised Motion Learning from Static Images (MoSI), CVPR 2021; Han et al., Video Representation
Learning by Dense Predictive Coding, ICCV Workshops 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoopraxis.backbones.resnet3d import BLOCKS, BottleneckBranch, Branch, ResNet3D, ResNet3DSizes, SimpleBranch
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.clip_classifier import ClipClassifier
from zoopraxis.models.clip_families import ClipFamily, enter_clip_family
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.resnet3d_variants import has_branch_layer, infer_variant, overridden, variants_of_depth
from zoopraxis.models.weights import HMDB_51, UCF_101, Evaluation, PublishedWeights, enter_weights

__all__ = ["build_r2d3d", "finetuned_from_mosi", "preprocessing_r2d3d"]

_BRANCHES: Mapping[str, Branch] = {"simple": SimpleBranch, "bottleneck": BottleneckBranch}
_SIZES = ResNet3DSizes(
    blocks=BLOCKS[18],
    widths=(64, 64, 128, 256, 256),
    kernels=((1, 7, 7), (1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)),
    temporal_strides=(1, 1, 1, 2, 2),
    expansion=2,
    norm_eps=1e-3,
)
_VARIANTS = variants_of_depth(_SIZES, (18, 10, 16, 34, 50, 101, 152))
_LARGE = "backbone.conv2.res_1.conv_branch.b.weight"


def build_r2d3d(
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
    """An R2D3D for clips of any length and size; the numbers not given are the variant's.

    Args:
        arguments: Those of every model.
        blocks: Blocks of the four stages.
        widths: Channels of the stem and the four stages.
        kernels: Sizes of the large convolutions of the stem and the four stages, each of time, height and width.
        spatial_strides: 1 or 2, of the stem and the four stages.
        temporal_strides: Likewise.
        expansion: Of bottlenecks: channels that leave a block over those inside it.
        nonlocal_stages: Stages, 2 to 5, that end in a non-local block.
        norm_eps: Added to variances; as published 1e-3.
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


def preprocessing_r2d3d(modality: Modality, *, num_segments: int = 16, segment_length: int = 1) -> Preprocessing:
    """What the published networks expect: 16 frames of 112 px, each fourth at 30 frames a second.

    Differs: the published configuration says 224 for the shorter side, which the code that the weights were tested with takes
    as 224 of 256 parts of the image, made 112 px large; that is a shorter side of 128 px.
    """
    return Preprocessing(
        modality=modality,
        size=112,
        resize=128,
        mean=(0.45,),
        std=(0.225,),
        num_segments=num_segments,
        segment_length=segment_length,
        sampling="interval",
        interval=4,
        antialias=False,
    )


def _tells(tensors: Mapping[str, Tensor]) -> bool:
    large = tensors.get(_LARGE)
    return large is not None and large.shape[1] > 1 and "backbone.conv1.a.weight" in tensors


def _infer(tensors: Mapping[str, Tensor], configuration: Mapping[str, Any]) -> dict[str, Any]:
    form = "bottleneck" if has_branch_layer(tensors, "c") else "simple"
    return infer_variant(tensors, configuration, _VARIANTS, form)


def finetuned_from_mosi(
    model: str, variant: str, data: str, drive_file: str, *, num_parameters: int, gmacs: float, top1: float
) -> PublishedWeights:
    """Published weights of HMDB51 or UCF101 (`data`), pretrained by MoSI on the same videos, without labels."""
    tag, num_classes = {HMDB_51: ("hmdb51", 51), UCF_101: ("ucf101", 101)}[data]
    evaluation = Evaluation(accuracy={"val/label@1": top1}, num_frames=16, size=112, num_clips=10, average="prob")
    return PublishedWeights(
        name=f"{model}_{variant}.{tag}_mosi",
        page=f"https://drive.google.com/file/d/{drive_file}/view?usp=sharing",
        model={"name": model, "backbone": variant, "heads": {"label": num_classes}, "num_segments": 16},
        num_parameters=num_parameters,
        gmacs=gmacs,
        preprocessing=preprocessing_r2d3d("rgb"),
        data=data,
        evaluations=(evaluation,),
        source="TAdaConv authors' repository (pytorch-video-understanding), MODEL_ZOO",
    )


MODELS.register("r2d3d")(
    ModelKind(
        "R2D3D",
        build_r2d3d,
        dropout=0.5,
        partial_bn=False,
        preprocessing=preprocessing_r2d3d,
        variants=tuple(_VARIANTS),
        num_segments=16,
    )
)
enter_clip_family(ClipFamily(model="r2d3d", tells=_tells, infer=_infer, has_scale_in_256=True))
enter_weights(
    finetuned_from_mosi(
        "r2d3d",
        "r18",
        HMDB_51,
        "1A77b3uwxWwlCj0rm7uQcn6m0-uVCUeWQ",
        num_parameters=14_070_643,
        gmacs=6.863663872,
        top1=46.93,
    ),
    finetuned_from_mosi(
        "r2d3d",
        "r18",
        UCF_101,
        "1cwM4Zi0VUGpaiw3mCQcfe1A1aluIppaq",
        num_parameters=14_083_493,
        gmacs=6.863676672,
        top1=71.75,
    ),
)
