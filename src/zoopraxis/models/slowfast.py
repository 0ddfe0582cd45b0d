"""SlowFast: a wide residual network over few frames beside a narrow one over all; or one of the two alone.

# B clips, T frames, D features

Source: Feichtenhofer et al., SlowFast Networks for Video Recognition, ICCV 2019, and the published code of TAdaConv's authors.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoopraxis.backbones.resnet3d import BLOCKS, STAGES, ResNet3DSizes
from zoopraxis.backbones.slowfast import Fusion, Pathway, SlowFast
from zoopraxis.errors import CheckpointError, ConfigError, did_you_mean
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.clip_classifier import ClipClassifier
from zoopraxis.models.clip_families import ClipFamily, enter_clip_family
from zoopraxis.models.inference import table
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.resnet3d_variants import as_lists, configured_numbers, input_arguments

__all__ = ["build_slowfast"]

_VARIANTS: dict[str, dict[str, Any]] = {
    "r50_8x8": {"blocks": [*BLOCKS[50]], "alpha": 4, "fusion_kernel": 7},
    "r50_4x16": {"blocks": [*BLOCKS[50]], "alpha": 8, "fusion_kernel": 5},
    "r101_8x8": {"blocks": [*BLOCKS[101]], "alpha": 4, "fusion_kernel": 5},
}
"""Named by the depth, the slow path's frames and how many frames at 30 a second lie between two of them."""
_PATHS = {"slowfast": ("slow", "fast"), "slowonly": ("slow",), "fastonly": ("fast",)}
_SLOW_KERNELS = ((1, 7, 7), (1, 3, 3), (1, 3, 3), (1, 3, 3), (1, 3, 3))
_FAST_KERNELS = ((5, 7, 7), *_SLOW_KERNELS[1:])
_HEAD_INIT_STD = 0.01


def build_slowfast(
    arguments: ModelArguments,
    *,
    mode: str = "slowfast",
    blocks: Sequence[int] | None = None,
    alpha: int | None = None,
    fusion_kernel: int | None = None,
    widths: Sequence[int] = (64, 256, 512, 1024, 2048),
    beta: int = 8,
    expansion: int = 4,
    has_bottlenecks: bool = True,
    slow_kernels: Sequence[Sequence[int]] = _SLOW_KERNELS,
    fast_kernels: Sequence[Sequence[int]] = _FAST_KERNELS,
    slow_temporal_stages: Sequence[int] = (4, 5),
    fast_temporal_stages: Sequence[int] = STAGES,
    spatial_strides: Sequence[int] = (2, 1, 2, 2, 2),
    temporal_strides: Sequence[int] = (1, 1, 1, 1, 1),
    has_stem_pool: bool = True,
    nonlocal_stages: Sequence[int] = (),
    fusion_ratio: int = 2,
    fusion_bias: bool = False,
    fusion_norm: bool = True,
    fusion_relu: bool = True,
    norm_eps: float = 1e-5,
) -> ClipClassifier:
    """SlowFast; the clip holds the fast path's frames, of which the slow path sees each alpha-th.

    Args:
        arguments: Those of every model.
        mode: `slowfast`; `slowonly`: the slow path alone, on the same frames; `fastonly`.
        blocks: Of the four stages; none: as the variant has it; so also `alpha` and `fusion_kernel`.
        alpha: Frames of the clip for one of the slow path.
        fusion_kernel: Frames of the fast path that one of the slow path is told of, odd.
        widths: Channels of the slow path behind the stem and the four stages.
        beta: By how much the fast path is narrower.
        expansion: Channels behind a bottleneck over those inside it.
        has_bottlenecks: False: blocks of two large convolutions, as published up to 34 layers.
        slow_kernels: Of the slow path's large convolutions: frames, height and width in the stem and the four stages.
        fast_kernels: Of the fast path's.
        slow_temporal_stages: Of the slow path, those (2 to 5) whose bottlenecks begin with a convolution over three frames.
        fast_temporal_stages: Of the fast path.
        spatial_strides: Of the stem and the four stages, 1 or 2.
        temporal_strides: Likewise.
        has_stem_pool: Whether the stems end in a max pool.
        nonlocal_stages: Those (2 to 5) that end in a non-local block, in both paths.
        fusion_ratio: Channels that the slow path is told, over the fast path's own.
        fusion_bias: Whether the convolution between the paths has a bias; behind it may stand
        fusion_norm: a batch norm, and
        fusion_relu: a ReLU.
        norm_eps: Of all batch norms.

    Raises:
        ConfigError: If a number is out of range, or alpha does not divide the number of frames.
    """
    variant = _VARIANTS[arguments.backbone]
    alpha = variant["alpha"] if alpha is None else alpha
    _check(mode, alpha, beta, widths, arguments.num_segments)
    slow = ResNet3DSizes(
        blocks=variant["blocks"] if blocks is None else blocks,
        widths=widths,
        kernels=slow_kernels,
        spatial_strides=spatial_strides,
        temporal_strides=temporal_strides,
        expansion=expansion,
        nonlocal_stages=nonlocal_stages,
        norm_eps=norm_eps,
        has_stem_pool=has_stem_pool,
    )
    paths = {"slow": Pathway(sizes=slow, temporal_stages=slow_temporal_stages, has_bottlenecks=has_bottlenecks)}
    if "fast" in _PATHS[mode]:
        fast = dataclasses.replace(slow, widths=[width // beta for width in widths], kernels=fast_kernels)
        paths["fast"] = Pathway(sizes=fast, temporal_stages=fast_temporal_stages, has_bottlenecks=has_bottlenecks)
    fusion = Fusion(
        ratio=fusion_ratio,
        kernel_size=variant["fusion_kernel"] if fusion_kernel is None else fusion_kernel,
        has_bias=fusion_bias,
        has_norm=fusion_norm,
        has_relu=fusion_relu,
    )
    backbone = SlowFast(
        slow=paths["slow"] if "slow" in _PATHS[mode] else None,
        fast=paths.get("fast"),
        alpha=alpha,
        fusion=fusion,
        in_channels=arguments.preprocessing.in_channels,
    )
    model = ClipClassifier(backbone, arguments)
    for classifier in model.classifiers.values():
        assert isinstance(classifier, nn.Linear)
        nn.init.normal_(classifier.weight, std=_HEAD_INIT_STD)
        nn.init.zeros_(classifier.bias)
    return model


def _check(mode: str, alpha: int, beta: int, widths: Sequence[int], num_frames: int) -> None:
    if mode not in _PATHS:
        raise ConfigError(f"SlowFast has no mode {mode!r}; {did_you_mean(mode, _PATHS)}")
    if not 1 <= beta <= min(widths, default=0):
        raise ConfigError(
            f"beta ({beta}) must be from 1 to the smallest width ({min(widths, default=0)}); the published one is 8"
        )
    if mode != "fastonly" and alpha > 0 and num_frames % alpha:
        raise ConfigError(
            f"num_segments ({num_frames}) must be divisible by alpha ({alpha}), the frames of the fast path for one of the "
            f"slow path; try num_segments={max(alpha, num_frames - num_frames % alpha)}"
        )


def preprocessing_slowfast(modality: Modality, *, num_segments: int = 32, segment_length: int = 1) -> Preprocessing:
    """What the published networks expect: every second frame at 30 a second, of both paths together."""
    return Preprocessing(
        modality=modality,
        mean=(0.45,),
        std=(0.225,),
        num_segments=num_segments,
        segment_length=segment_length,
        sampling="interval",
        interval=2,
        antialias=False,
    )


MODELS.register("slowfast")(
    ModelKind(
        "SlowFast",
        build_slowfast,
        dropout=0.5,
        partial_bn=False,
        preprocessing=preprocessing_slowfast,
        variants=tuple(_VARIANTS),
        num_segments=32,
    )
)


def _tells(tensors: Mapping[str, Tensor]) -> bool:
    return any(_stem(path) in tensors for path in _PATHS["slowfast"])


def _infer(tensors: Mapping[str, Tensor], cfg: Mapping[str, Any]) -> dict[str, Any]:
    """All numbers that keys, shapes and the configuration tell, without those that the nearest variant has."""
    paths = {name: _Path(tensors, name) for name in _PATHS["slowfast"] if _stem(name) in tensors}
    found = _carried(cfg) | {"mode": next(mode for mode, names in _PATHS.items() if names == tuple(paths))}
    for name, path in paths.items():
        found |= {"blocks": path.blocks, "has_bottlenecks": path.has_bottlenecks, "nonlocal_stages": path.nonlocal_stages}
        found[f"{name}_kernels"] = path.kernels
        if path.has_bottlenecks:
            found |= {f"{name}_temporal_stages": path.temporal_stages, "expansion": path.expansion}
    if len(paths) == 2:
        found |= {"beta": paths["slow"].widths[0] // paths["fast"].widths[0], **_fusion(tensors)}
    beta = found.get("beta", _default("beta"))
    found["widths"] = paths["slow"].widths if "slow" in paths else [beta * width for width in paths["fast"].widths]
    variant = max(_VARIANTS, key=lambda name: sum(found.get(number) == value for number, value in _VARIANTS[name].items()))
    own = {number: value for number, value in found.items() if value != _VARIANTS[variant].get(number, _default(number))}
    in_channels = int(tensors[_stem(next(iter(paths)))].shape[1])
    return {"backbone": variant, **own, **input_arguments(in_channels)}


def _stem(path: str) -> str:
    """The first kernel of a path."""
    return f"backbone.{path}_conv1.a.weight"


def _default(argument: str) -> Any:
    return as_lists(inspect.signature(build_slowfast).parameters[argument].default)


def _carried(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """What only the configuration tells, as arguments of `build_slowfast`."""
    slowfast = table(table(table(cfg.get("VIDEO")).get("BACKBONE")).get("SLOWFAST"))
    names = {"ALPHA": "alpha", "BETA": "beta", "FUSION_RELU": "fusion_relu"}
    return configured_numbers(cfg) | {ours: slowfast[name] for name, ours in names.items() if name in slowfast}


def _fusion(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The form of the layers between the paths, from those behind the stems."""
    kernel = _tensor(tensors, "backbone.slowfast_fusion1.conv_fast_to_slow.weight")
    return {
        "fusion_ratio": kernel.shape[0] // kernel.shape[1],
        "fusion_kernel": kernel.shape[2],
        "fusion_bias": "backbone.slowfast_fusion1.conv_fast_to_slow.bias" in tensors,
        "fusion_norm": "backbone.slowfast_fusion1.bn.weight" in tensors,
    }


class _Path:
    """The numbers of one path, from its keys and shapes."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str) -> None:
        prefix = f"backbone.{name}_conv"
        keys = [key for key in tensors if key.startswith(prefix)]
        first = [f"{prefix}{stage}.res_1.conv_branch" for stage in STAGES]
        stem = _tensor(tensors, _stem(name))
        large = [_tensor(tensors, f"{branch}.b.weight") for branch in first]
        self.has_bottlenecks = f"{first[0]}.c.weight" in tensors
        last = [_tensor(tensors, f"{branch}.c.weight") for branch in first] if self.has_bottlenecks else large
        numbers = [re.compile(rf"{re.escape(prefix)}{stage}\.res_(\d+)\.") for stage in STAGES]
        self.blocks = [len({match[1] for match in map(number.match, keys) if match}) for number in numbers]
        self.widths = [int(kernel.shape[0]) for kernel in (stem, *last)]
        self.kernels = [[int(size) for size in kernel.shape[2:]] for kernel in (stem, *large)]
        self.expansion = int(last[-1].shape[0]) // int(last[-1].shape[1])
        sizes = {stage: _tensor(tensors, f"{branch}.a.weight").shape[2] for stage, branch in zip(STAGES, first, strict=True)}
        self.temporal_stages = [stage for stage, size in sizes.items() if size > 1]
        self.nonlocal_stages = [stage for stage in STAGES if f"{prefix}{stage}.nonlocal_block.qconv.weight" in tensors]


def _tensor(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in tensors:
        raise CheckpointError(f"the checkpoint begins as a SlowFast network's, but has no {key}; give a whole one")
    return tensors[key]


enter_clip_family(ClipFamily(model="slowfast", tells=_tells, infer=_infer))
