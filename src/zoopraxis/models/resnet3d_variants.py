"""Variants of residual networks over clips, and telling one from a checkpoint: CSN, R2D3D and R(2+1)D."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoopraxis.backbones.resnet3d import BLOCKS, STAGES, ResNet3DSizes
from zoopraxis.errors import CheckpointError
from zoopraxis.models.inference import table

__all__ = [
    "Variant",
    "as_lists",
    "configured_numbers",
    "has_branch_layer",
    "infer_variant",
    "input_arguments",
    "overridden",
    "variants_of_depth",
]

_BACKBONE = "backbone."
_BLOCK = re.compile(r"backbone\.conv([2-5])\.res_(\d+)\.")
_LAST_SIMPLE_DEPTH = 34
_STEM_POOLS = {"DownSampleStem": True, "Base3DStem": False, "Base2DStem": False, "R2Plus1DStem": False}
"""The published names of stems, and whether each has a max pool."""
_STEM_OF_IMAGES = "Base2DStem"
"""It never strides over time."""


@dataclass(frozen=True)
class Variant:
    """One of a family's networks.

    Attributes:
        sizes: Its numbers.
        form: Which of the family's branches its blocks have.
    """

    sizes: ResNet3DSizes
    form: str


def variants_of_depth(sizes: ResNet3DSizes, depths: tuple[int, ...]) -> dict[str, Variant]:
    """`r18` and so on: of two convolutions a block (`simple`) up to 34 layers, `bottleneck` beyond."""
    return {
        f"r{depth}": Variant(
            dataclasses.replace(sizes, blocks=BLOCKS[depth]), "simple" if depth <= _LAST_SIMPLE_DEPTH else "bottleneck"
        )
        for depth in depths
    }


def overridden(sizes: ResNet3DSizes, **numbers: Any) -> ResNet3DSizes:
    """The numbers with those in place that are not None.

    Raises:
        ConfigError: If one is out of range.
    """
    return dataclasses.replace(sizes, **{name: value for name, value in numbers.items() if value is not None})


def as_lists(value: Any) -> Any:
    """Sequences as lists, as JSON has them; any other value as it is."""
    return [as_lists(entry) for entry in value] if isinstance(value, list | tuple) else value


def has_branch_layer(tensors: Mapping[str, Tensor], layer: str) -> bool:
    """Whether the first block's branch has a convolution of that name, in a network with one stem."""
    return f"backbone.conv2.res_1.conv_branch.{layer}.weight" in tensors


def infer_variant(
    tensors: Mapping[str, Tensor], configuration: Mapping[str, Any], variants: Mapping[str, Variant], form: str
) -> dict[str, Any]:
    """Arguments of `create_model` that tell a network of a family: its variant, other numbers than the variant's, its input.

    Shapes tell blocks, widths, kernels, expansion and non-local stages. Strides, the stem's max pool and the norms' eps stand
    in the configuration alone; without one they are taken as the variant's.

    Args:
        tensors: Under our keys.
        configuration: That the checkpoint carries; empty if it has none.
        variants: The family's.
        form: Which branch the blocks have.

    Raises:
        CheckpointError: If a block or the stem is missing.
    """
    found = _numbers_of_shapes(tensors, is_bottleneck=has_branch_layer(tensors, "c"))
    found |= configured_numbers(configuration)
    of_form = {name: variant for name, variant in variants.items() if variant.form == form}
    same = (name for name, variant in of_form.items() if list(variant.sizes.blocks) == found["blocks"])
    name = next(same, next(iter(of_form)))
    sizes = of_form[name].sizes
    changed = {number: value for number, value in found.items() if value != as_lists(getattr(sizes, number))}
    return {"backbone": name, **changed, **input_arguments(_stem_kernel(tensors)[0])}


def input_arguments(in_channels: int) -> dict[str, Any]:
    """Arguments of `create_model` for a network whose clips have so many channels; none for RGB.

    An even number is taken as flow (2 a frame), an odd one as RGB (3 a frame).
    """
    if in_channels == 3:
        return {}
    modality = "rgb" if in_channels % 2 else "flow"
    return {"modality": modality, "segment_length": max(1, in_channels // (3 if modality == "rgb" else 2))}


def _numbers_of_shapes(tensors: Mapping[str, Tensor], *, is_bottleneck: bool) -> dict[str, Any]:
    _, stem_width, stem_kernel = _stem_kernel(tensors)
    last, large = ("c", "b") if is_bottleneck else ("b", "a")
    outs, insides, kernels = [], [], [stem_kernel]
    for stage in STAGES:
        branch = f"conv{stage}.res_1.conv_branch"
        inside, _, kernel = _convolution(tensors, f"{branch}.{large}")
        outs.append(_convolution(tensors, f"{branch}.{last}")[0])
        insides.append(inside)
        kernels.append(kernel)
    counts = dict.fromkeys(STAGES, 0)
    for match in filter(None, map(_BLOCK.match, tensors)):
        counts[int(match[1])] = max(counts[int(match[1])], int(match[2]))
    found = {
        "blocks": list(counts.values()),
        "widths": [stem_width, *outs],
        "kernels": kernels,
        "nonlocal_stages": [stage for stage in STAGES if f"backbone.conv{stage}.nonlocal_block.qconv.weight" in tensors],
    }
    return found | ({"expansion": _expansion(outs, insides)} if is_bottleneck else {})


def _expansion(outs: list[int], insides: list[int]) -> int:
    """By what the widths are divided, rounded down, to give those inside; if no number gives them all, the first's."""
    fitting = (number for number in range(1, outs[0] + 1) if [out // number for out in outs] == insides)
    return next(fitting, outs[0] // insides[0])


def configured_numbers(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What the configuration tells of `ResNet3DSizes`: strides, the stem's max pool and the norms' eps.

    The published code strides over time only where it strides over space, too.
    """
    backbone = table(table(configuration.get("VIDEO")).get("BACKBONE"))
    spatial, temporal = backbone.get("DOWNSAMPLING"), backbone.get("DOWNSAMPLING_TEMPORAL")
    stem = table(backbone.get("STEM")).get("NAME")
    found: dict[str, Any] = {"has_stem_pool": _STEM_POOLS.get(str(stem))}
    if isinstance(spatial, list) and isinstance(temporal, list):
        strides = [2 if both else 1 for both in map(all, zip(spatial, temporal, strict=False))]
        if stem == _STEM_OF_IMAGES:
            strides[0] = 1
        found |= {"spatial_strides": [2 if is_strided else 1 for is_strided in spatial], "temporal_strides": strides}
    found["norm_eps"] = table(configuration.get("BN")).get("EPS")
    return {name: value for name, value in found.items() if value is not None}


def _stem_kernel(tensors: Mapping[str, Tensor]) -> tuple[int, int, list[int]]:
    """Input channels, width and kernel of the stem."""
    width, in_channels, kernel = _convolution(tensors, "conv1.a")
    return in_channels, width, kernel


def _convolution(tensors: Mapping[str, Tensor], name: str) -> tuple[int, int, list[int]]:
    """Output and input channels and kernel of a convolution, whole or as its spatial and temporal halves (`1`, `2`)."""
    whole = tensors.get(f"{_BACKBONE}{name}.weight")
    if whole is not None:
        return int(whole.shape[0]), int(whole.shape[1]), [int(size) for size in whole.shape[2:]]
    halves = [tensors.get(f"{_BACKBONE}{name}{number}.weight") for number in (1, 2)]
    spatial, temporal = halves
    if spatial is None or temporal is None:
        raise CheckpointError(f"the checkpoint has no {_BACKBONE}{name}.weight: it is of no whole residual network over clips")
    return int(temporal.shape[0]), int(spatial.shape[1]), [int(temporal.shape[2]), *map(int, spatial.shape[3:])]
