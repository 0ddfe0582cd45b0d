"""S3D-G: an Inception network over whole clips with kernels apart in space and time, and gated channels; S3D without gates.

# B clips, T frames, D features

Source: Xie et al., Rethinking Spatiotemporal Feature Learning, ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoopraxis.backbones.s3dg import MIXED_WIDTHS, S3DG, STEM_WIDTHS
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.clip_classifier import ClipClassifier
from zoopraxis.models.clip_families import ClipFamily, enter_clip_family
from zoopraxis.models.inference import table
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.resnet3d_variants import input_arguments

__all__ = ["build_s3dg"]

_VARIANTS = {"s3dg": True, "s3d": False}
"""Variant to whether its branches gate their channels."""
_NORM_EPS = 1e-3
_STEM_KERNEL = "backbone.block1.0.conv1.weight"
_STEM_UNITS = ("block1.0.conv1", "block2.1.conv", "block2.2.conv1")
_MIXED_UNITS = ("branch0.0.conv", "branch1.0.conv", "branch1.1.conv1", "branch2.0.conv", "branch2.1.conv1", "branch3.1.conv")


def build_s3dg(
    arguments: ModelArguments,
    *,
    gating: bool | None = None,
    stem_widths: Sequence[int] = STEM_WIDTHS,
    mixed_widths: Sequence[Sequence[Sequence[int]]] = MIXED_WIDTHS,
    norm_eps: float = _NORM_EPS,
) -> ClipClassifier:
    """S3D-G (variant `s3dg`) or S3D (`s3d`); clips of 5 frames of 17 px and more can be scored.

    Args:
        arguments: Those of every model.
        gating: Whether each branch of a mixed block gates its channels; none: as the variant has it.
        stem_widths: Channels of the three units before the mixed blocks.
        mixed_widths: For each of three stages, for each of its blocks: branch 0; branch 1 inside and out; branch 2 inside and
            out; branch 3.
        norm_eps: Of the separable units' batch norms. The published code's own settings have 1e-5, those of all its runs 1e-3.

    Raises:
        ConfigError: If a table of widths has another form.
    """
    try:
        backbone = S3DG(
            in_channels=arguments.preprocessing.in_channels,
            has_gates=_VARIANTS[arguments.backbone] if gating is None else gating,
            stem_widths=stem_widths,
            mixed_widths=mixed_widths,
            norm_eps=norm_eps,
        )
    except ValueError as error:
        raise ConfigError(f"model 's3dg' cannot be built: {error}") from error
    return ClipClassifier(backbone, arguments)


def preprocessing_s3dg(modality: Modality, *, num_segments: int = 64, segment_length: int = 1) -> Preprocessing:
    """Consecutive frames at 25 a second, as the paper has them, with the statistics of the published code."""
    return Preprocessing(
        modality=modality,
        mean=(0.45,),
        std=(0.225,),
        num_segments=num_segments,
        segment_length=segment_length,
        sampling="interval",
        interval=1,
        target_fps=25.0,
        antialias=False,
    )


MODELS.register("s3dg")(
    ModelKind(
        "S3D-G",
        build_s3dg,
        dropout=0.5,
        partial_bn=False,
        preprocessing=preprocessing_s3dg,
        variants=tuple(_VARIANTS),
        num_segments=64,
    )
)


def _tells(tensors: Mapping[str, Tensor]) -> bool:
    return _STEM_KERNEL in tensors


def _infer(tensors: Mapping[str, Tensor], cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The variant from the gates, widths from shapes, the batch norms' eps from the configuration."""
    has_gates = any(".gating_b" in key for key in tensors)
    norm_eps = table(cfg.get("BN")).get("EPS", _NORM_EPS)
    stem = [_width(tensors, unit) for unit in _STEM_UNITS]
    mixed = [
        [[_width(tensors, f"block{stage}.{block}.{unit}") for unit in _MIXED_UNITS] for block in _blocks(tensors, stage)]
        for stage in (3, 4, 5)
    ]
    inferred: dict[str, Any] = {"backbone": next(name for name, gates in _VARIANTS.items() if gates == has_gates)}
    inferred |= input_arguments(int(tensors[_STEM_KERNEL].shape[1]))
    if tuple(stem) != STEM_WIDTHS:
        inferred["stem_widths"] = stem
    if tuple(tuple(map(tuple, stage)) for stage in mixed) != MIXED_WIDTHS:
        inferred["mixed_widths"] = mixed
    return inferred if norm_eps == _NORM_EPS else {**inferred, "norm_eps": norm_eps}


def _blocks(tensors: Mapping[str, Tensor], stage: int) -> list[int]:
    """The numbers of a stage's mixed blocks; its pool has number 0."""
    prefix = f"backbone.block{stage}."
    return sorted({int(key.removeprefix(prefix).partition(".")[0]) for key in tensors if key.startswith(prefix)})


def _width(tensors: Mapping[str, Tensor], unit: str) -> int:
    """Channels behind a unit, from its first convolution."""
    key = f"backbone.{unit}.weight"
    if key not in tensors:
        raise CheckpointError(f"the checkpoint begins as an S3D-G network's, but has no {key}; give a whole one")
    return int(tensors[key].shape[0])


enter_clip_family(ClipFamily(model="s3dg", tells=_tells, infer=_infer))
