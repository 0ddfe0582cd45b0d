"""How the three published boundary-matching networks name their tensors, and the way to our names.

TAdaConv's has `backbone.conv_layer.*` and `head.*`, MMAction2's and that of the EPIC-KITCHENS-100 detection baseline the same
names without those prefixes, and `x_1d_b.*` for the shared layers.

Source: the state dicts of alibaba-mmai-research/TAdaConv, open-mmlab/mmaction2 and epic-kitchens/C2-Action-Detection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoopraxis.errors import CheckpointError
from zoopraxis.localization.matching import Geometry, dense_column

__all__ = ["is_published", "map_published"]

_PREFIXES = ("_orig_mod.", "module.", "model.", "head.")
_BASE = "backbone.conv_layer."
_OUR_BASE = "x_1d_b."
_JOINED = "x_3d_p.0."
_LANDMARKS = ("x_1d_s.0.weight", "x_1d_p.0.weight", f"{_JOINED}weight", "x_2d_p.0.weight")
"""Tensors by which a published network is told."""

_MASKS = ("sample_mask", "bm_mask")
"""Constants that published networks keep as parameters: how proposals are sampled, and which cells end in the window."""

_NAMES = {
    "x_1d_b": "base",
    "x_1d_s": "start",
    "x_1d_e": "end",
    "x_1d_p": "proposal",
    "x_2d_p": "confidence",
    "x_2d_r": "shift",
}
_LAYER = re.compile(r"(x_[12]d_\w+)\.(\d+)\.(weight|bias)")
_CLASSES = re.compile(r"x_2d_(?!p$|r$)(\w+)")
_GROUPS = 4
"""Of published shared layers, where there is but one, whose groups its shape does not tell."""


def is_published(tensors: Mapping[str, Any]) -> bool:
    """Whether these are the tensors of a published boundary-matching network, by their names."""
    return {_plain(key) for key in tensors} >= set(_LANDMARKS)


def map_published(
    tensors: Mapping[str, Tensor], given: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor], tuple[str, ...]]:
    """Tell from a published checkpoint's tensors the network, and name them as it does.

    Args:
        tensors: Under published keys, perhaps behind `module.` (of several devices) or `model.`.
        given: Arguments of `BoundaryMatchingNetwork` that tensors do not tell: `samples_per_bin` and `boundary_ratio` where
            they are not 3 and 0.5, `base_groups` or `in_dim` where the one shared layer has not 4 groups, and `num_steps` and
            `max_duration` where the checkpoint has no mask any more.

    Returns:
        Arguments of `BoundaryMatchingNetwork`, the tensors under our names, and the keys that nothing uses: the masks.

    Raises:
        CheckpointError: If these are no tensors of such a network, some are of no known part of it, its size is not told, or
            its mask was made otherwise than the arguments say.
    """
    named = {_plain(key): tensor for key, tensor in tensors.items()}
    missing = [key for key in _LANDMARKS if key not in named]
    if missing:
        raise CheckpointError(f"no published boundary-matching network: it has no tensor {missing[0]}")
    ignored = tuple(key for key in tensors if _plain(key) in _MASKS)
    mapped: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key not in ignored:
            name = _our_key(_plain(key))
            if name is None:
                raise CheckpointError(
                    f"{key} is of no known part of a boundary-matching network; give the network's own tensors alone"
                )
            mapped[name] = tensor.flatten(2).permute(1, 2, 0).contiguous() if name == "match_weight" else tensor
    arguments = {**_sizes(named), **_window(named, given or {}), **(given or {})}
    width = named[f"{_OUR_BASE}0.weight"].shape[1]
    if "in_dim" in arguments and "base_groups" not in (given or {}):
        arguments["base_groups"] = arguments["in_dim"] // width
    arguments.setdefault("in_dim", width * arguments["base_groups"])
    _check_mask(named, arguments)
    return arguments, mapped, ignored


def _our_key(key: str) -> str | None:
    """Our name; None if nothing is known of it."""
    if key.startswith(_JOINED):
        return f"match_{key.removeprefix(_JOINED)}"
    match = _LAYER.fullmatch(key)
    if match is None:
        return None
    layers, number, kind = match.groups()
    classes = _CLASSES.fullmatch(layers)
    ours = _NAMES.get(layers) or (f"classes.{classes[1]}" if classes else None)
    return f"{ours}.{number}.{kind}" if ours else None


def _sizes(named: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the kernels' shapes tell."""
    match_dim, base_dim, num_samples = named[f"{_JOINED}weight"].shape[:3]
    base = [key for key in named if re.fullmatch(rf"{re.escape(_OUR_BASE)}\d+\.weight", key)]
    if f"{_OUR_BASE}0.weight" not in base:
        raise CheckpointError(
            f"no published boundary-matching network: it has no tensor {_OUR_BASE}0.weight, nor {_BASE}0.weight"
        )
    second = named.get(f"{_OUR_BASE}2.weight")
    heads = {}
    for key, tensor in named.items():
        layers, _, rest = key.partition(".")
        classes = _CLASSES.fullmatch(layers)
        if classes and rest == "6.weight":
            heads[classes[1]] = len(tensor)
    return {
        "num_samples": num_samples,
        "samples_per_bin": 3,
        "boundary_ratio": 0.5,
        "base_layers": len(base),
        "base_dim": base_dim,
        "match_dim": match_dim,
        "map_dim": len(named["x_2d_p.0.weight"]),
        "groups": base_dim // named["x_1d_s.0.weight"].shape[1],
        "base_groups": _GROUPS if second is None else base_dim // second.shape[1],
        "regression": "x_2d_r.0.weight" in named,
        "heads": heads,
    }


def _window(named: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, int]:
    """Steps and durations: as the masks' shapes tell where they are, else as given."""
    if "sample_mask" in named:
        num_steps, max_duration = _mask_sizes(named)
    elif "bm_mask" in named:
        max_duration, num_steps = named["bm_mask"].shape
    elif "num_steps" in given:
        num_steps, max_duration = given["num_steps"], given["num_steps"]
    else:
        raise CheckpointError(
            "the checkpoint has no sample_mask, whose shape would tell the window; give num_steps and max_duration, "
            "e.g. num_steps=200 and max_duration=100"
        )
    return {"num_steps": num_steps, "max_duration": max_duration}


def _mask_sizes(named: Mapping[str, Tensor]) -> tuple[int, int]:
    """Steps and durations of a published mask, (T, N * D * T)."""
    mask, num_samples = named["sample_mask"], named[f"{_JOINED}weight"].shape[2]
    num_steps = len(mask)
    if mask.ndim != 2 or mask.shape[1] % (num_samples * num_steps) or not mask.numel():
        raise CheckpointError(
            f"its sample_mask has shape {tuple(mask.shape)}, which is not (T, {num_samples} * D * T); is the checkpoint whole?"
        )
    return num_steps, mask.shape[1] // (num_samples * num_steps)


def _check_mask(named: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> None:
    """See that a mask is that of the arguments, by its columns of the first step and one in the middle.

    Raises:
        CheckpointError: If it is another.
    """
    if "sample_mask" not in named:
        return
    num_steps, max_duration = _mask_sizes(named)
    num_samples = named[f"{_JOINED}weight"].shape[2]
    per_bin, ratio = arguments["samples_per_bin"], arguments["boundary_ratio"]
    geometry = Geometry(num_steps, max_duration, num_samples, per_bin, float(ratio))
    mask = named["sample_mask"].detach().view(num_steps, num_samples, max_duration, num_steps)
    for start in sorted({0, num_steps // 2}):
        found = mask[..., start].to("cpu", torch.float32).numpy()
        if not np.allclose(found, dense_column(geometry, start), rtol=0, atol=1e-3):
            raise CheckpointError(
                f"its sample_mask was not made with samples_per_bin {per_bin} and boundary_ratio {ratio}; give those that it "
                "was made with, e.g. samples_per_bin=3 and boundary_ratio=0.5"
            )


def _plain(key: str) -> str:
    """The key without prefixes, and of MMAction2's layout."""
    while key.startswith(_PREFIXES):
        key = key.partition(".")[2]
    return f"{_OUR_BASE}{key.removeprefix(_BASE)}" if key.startswith(_BASE) else key
