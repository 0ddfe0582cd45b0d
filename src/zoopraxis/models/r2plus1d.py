"""R(2+1)D: residual networks over clips whose large convolutions are split into a spatial and a temporal half.

Variants: `r10` (as published with MoSI), `r16`, `r18`, `r34` of two convolutions a block, and the bottlenecks `r50`, `r101`,
`r152`, as wide inside as half of their output. Batch norms add 1e-3 to variances, as those of the published weights do; a
checkpoint's configuration goes before that.

# B clips, T frames, D features

Source: Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018; Huang et al.,
Self-supervised Motion Learning from Static Images (MoSI), CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoopraxis.backbones.r2plus1d import SplitBottleneckBranch, SplitSimpleBranch, SplitStem
from zoopraxis.backbones.resnet3d import BLOCKS, Branch, ResNet3D, ResNet3DSizes
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.clip_classifier import ClipClassifier
from zoopraxis.models.clip_families import ClipFamily, enter_clip_family
from zoopraxis.models.r2d3d import finetuned_from_mosi, preprocessing_r2d3d
from zoopraxis.models.resnet3d_variants import has_branch_layer, infer_variant, overridden, variants_of_depth
from zoopraxis.models.weights import HMDB_51, UCF_101, enter_weights

__all__ = ["build_r2plus1d"]

_BRANCHES: Mapping[str, Branch] = {"simple": SplitSimpleBranch, "bottleneck": SplitBottleneckBranch}
_SIZES = ResNet3DSizes(
    blocks=BLOCKS[10],
    widths=(64, 64, 128, 256, 512),
    kernels=((3, 7, 7), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    expansion=2,
    norm_eps=1e-3,
    has_stem_pool=False,
)
_VARIANTS = variants_of_depth(_SIZES, (10, 16, 18, 34, 50, 101, 152))


def build_r2plus1d(
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
) -> ClipClassifier:
    """An R(2+1)D for clips of any length and size; the numbers not given are the variant's.

    Args:
        arguments: Those of every model.
        blocks: Blocks of the four stages.
        widths: Channels of the stem and the four stages.
        kernels: Sizes of the split convolutions of the stem and the four stages, each of time, height and width.
        spatial_strides: 1 or 2, of the stem and the four stages.
        temporal_strides: Likewise.
        expansion: Of bottlenecks: channels that leave a block over those inside it.
        nonlocal_stages: Stages, 2 to 5, that end in a non-local block.
        norm_eps: Added to variances; as published 1e-3.

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
    )
    in_channels = arguments.preprocessing.in_channels
    stem = SplitStem(in_channels, sizes.widths[0], kernel=sizes.kernel(1), stride=sizes.stride(1), eps=sizes.norm_eps)
    backbone = ResNet3D(sizes, branch=_BRANCHES[variant.form], in_channels=in_channels, stem=stem)
    return ClipClassifier(backbone, arguments)


def _tells(tensors: Mapping[str, Tensor]) -> bool:
    return has_branch_layer(tensors, "b1") and "backbone.conv1.a1.weight" in tensors


def _infer(tensors: Mapping[str, Tensor], configuration: Mapping[str, Any]) -> dict[str, Any]:
    form = "bottleneck" if has_branch_layer(tensors, "c") else "simple"
    return infer_variant(tensors, configuration, _VARIANTS, form)


MODELS.register("r2plus1d")(
    ModelKind(
        "R(2+1)D",
        build_r2plus1d,
        dropout=0.5,
        partial_bn=False,
        preprocessing=preprocessing_r2d3d,
        variants=tuple(_VARIANTS),
        num_segments=16,
    )
)
enter_clip_family(ClipFamily(model="r2plus1d", tells=_tells, infer=_infer, has_scale_in_256=True))
enter_weights(
    finetuned_from_mosi(
        "r2plus1d",
        "r10",
        HMDB_51,
        "1OOkooh6_GNsyF_1EolgboN9MFE0O2N2n",
        num_parameters=14_391_640,
        gmacs=21.33350656,
        top1=51.83,
    ),
    finetuned_from_mosi(
        "r2plus1d",
        "r10",
        UCF_101,
        "1cz_SMKFqvNyh_uEH8QOyomBf0MhOGN7Y",
        num_parameters=14_417_290,
        gmacs=21.33353216,
        top1=82.79,
    ),
)
