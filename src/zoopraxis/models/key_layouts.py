"""The key layouts of published checkpoints, each mapped to ours.

Ours: `backbone.network.<timm's key>` and `classifiers.<head>.{weight,bias}`. A published network has one linear map for all
heads: it becomes `classifier.{weight,bias}` here and is cut into heads by `split_classifier`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from zoopraxis.errors import CheckpointError

__all__ = ["IGNORED", "NETWORK", "MappedWeights", "map_keys", "split_classifier"]

NETWORK = "backbone.network."
IGNORED = (re.compile(r"data_preprocessor\..+"), re.compile(r"(?:.+\.)?n_averaged"))
"""Keys that no network needs: normalization constants (mmaction2) and the number of averaged steps."""

_WRAPPER = re.compile(r"\.net(?=\.)")
_PREFIXES = ("_orig_mod.", "module.", "model.")
_EPIC = (
    (re.compile(r"(?:new_fc|base_model\.fc)\.(weight|bias)"), r"classifier.\1"),
    (re.compile(r"base_model\.(.+)"), rf"{NETWORK}\1"),
)
_MMACTION = (
    (re.compile(r"cls_head\.fc_cls\.(weight|bias)"), r"classifier.\1"),
    (re.compile(r"backbone\.conv1\.conv\.(\w+)"), rf"{NETWORK}conv1.\1"),
    (re.compile(r"backbone\.conv1\.bn\.(\w+)"), rf"{NETWORK}bn1.\1"),
    (re.compile(r"backbone\.(layer\d+\.\d+)\.conv(\d)\.conv\.(\w+)"), rf"{NETWORK}\1.conv\2.\3"),
    (re.compile(r"backbone\.(layer\d+\.\d+)\.conv(\d)\.bn\.(\w+)"), rf"{NETWORK}\1.bn\2.\3"),
    (re.compile(r"backbone\.(layer\d+\.\d+)\.downsample\.conv\.(\w+)"), rf"{NETWORK}\1.downsample.0.\2"),
    (re.compile(r"backbone\.(layer\d+\.\d+)\.downsample\.bn\.(\w+)"), rf"{NETWORK}\1.downsample.1.\2"),
)
_OURS = ((re.compile(r"((?:backbone\.network|classifiers)\..+)"), r"\1"),)
_PLAIN = (
    (re.compile(r"(?:fc|classifier|head\.fc|head)\.(weight|bias)"), r"classifier.\1"),
    (re.compile(r"(.+)"), rf"{NETWORK}\1"),
)
_RULES = {"zoopraxis": _OURS, "epic": _EPIC, "mmaction2": _MMACTION, "image": _PLAIN}


@dataclass(frozen=True)
class MappedWeights:
    """A checkpoint's tensors under our keys.

    Attributes:
        layout: `zoopraxis`, `epic` (also the TSM authors'), `mmaction2` or `image` (an image network by itself).
        tensors: Under our keys, the heads perhaps still together as `classifier.*`.
        original: Our key to the key in the file.
        unknown: Keys in the file that its layout does not have.
        wrapped: The layers that stood in a wrapper of the published code (`layer1.0.conv1` for TSM),
            which tells its kind.
    """

    layout: str
    tensors: dict[str, Tensor]
    original: dict[str, str]
    unknown: tuple[str, ...]
    wrapped: frozenset[str]


def map_keys(state_dict: Mapping[str, Tensor]) -> MappedWeights:
    """Recognize a checkpoint's layout and bring its keys into ours.

    Averaged weights (prefix `ema.`) are taken instead of the last ones where a checkpoint of ours has both.
    """
    stripped = _strip(state_dict)
    layout = _recognize(stripped)
    tensors: dict[str, Tensor] = {}
    original: dict[str, str] = {}
    unknown: list[str] = []
    wrapped: set[str] = set()
    for key, tensor in stripped.items():
        bare = key
        if layout in ("epic", "mmaction2"):
            wrapped.update(_wrapped_layer(key, match.start()) for match in _WRAPPER.finditer(key))
            bare = _WRAPPER.sub("", key)
        ours = _rename(bare, layout)
        if ours is None or ours in tensors:
            unknown.append(key)
            continue
        tensors[ours] = tensor
        original[ours] = key
    return MappedWeights(layout, tensors, original, tuple(unknown), frozenset(wrapped))


def split_classifier(mapped: MappedWeights, heads: Mapping[str, int]) -> dict[str, Tensor]:
    """All tensors under our keys, the common linear map cut into heads in their order.

    Raises:
        CheckpointError: If the widths of the heads do not add up to its rows.
    """
    tensors = dict(mapped.tensors)
    for part in ("weight", "bias"):
        joint = tensors.pop(f"classifier.{part}", None)
        if joint is None:
            continue
        if joint.shape[0] != sum(heads.values()):
            raise CheckpointError(
                f"the checkpoint has {joint.shape[0]} classes, but the heads {dict(heads)} add up to another number"
            )
        for head, rows in zip(heads, torch.split(joint, list(heads.values())), strict=True):
            tensors[f"classifiers.{head}.{part}"] = rows
    return tensors


def _strip(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without ignored keys, without the prefixes that all keys share, and without the last weights where averaged ones are."""
    needed = {key: tensor for key, tensor in state_dict.items() if not any(p.fullmatch(key) for p in IGNORED)}
    averaged = {key.removeprefix("ema."): tensor for key, tensor in needed.items() if key.startswith("ema.")}
    stripped = averaged or needed
    while True:
        prefix = next((p for p in _PREFIXES if stripped and all(key.startswith(p) for key in stripped)), None)
        if prefix is None:
            return stripped
        stripped = {key.removeprefix(prefix): tensor for key, tensor in stripped.items()}


def _recognize(state_dict: Mapping[str, Tensor]) -> str:
    if any(key.startswith(NETWORK) for key in state_dict):
        return "zoopraxis"
    if any(key.startswith("base_model.") for key in state_dict):
        return "epic"
    if any(key.startswith("backbone.") for key in state_dict):
        return "mmaction2"
    return "image"


def _rename(key: str, layout: str) -> str | None:
    for pattern, replacement in _RULES[layout]:
        match = pattern.fullmatch(key)
        if match:
            return match.expand(replacement)
    return None


def _wrapped_layer(key: str, end: int) -> str:
    """`layer1.0.conv1` of `base_model.layer1.0.conv1.net.weight` and of `backbone.layer1.0.conv1.conv.net.weight`."""
    return _WRAPPER.sub("", key[:end]).removeprefix("base_model.").removeprefix("backbone.").removesuffix(".conv")
