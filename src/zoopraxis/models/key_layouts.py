"""How published checkpoints name their tensors, and the way to our names.

Ours: `backbone.network.<timm's key>`, with a temporal module as `<host layer>.temporal.<its own key>`, or of a network over
whole clips `backbone.<published key>`; and `classifiers.<head>.{weight,bias}` (TRN: `projection.*` and `relation.*`). A
published network with one linear map for all heads has it here as `classifier.{weight,bias}`; `split_classifier` cuts it into
heads.

One publisher's way of naming is a `KeyLayout`. A new one is entered by `enter_layout` in a file named in `LAYOUT_FILES`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoopraxis.errors import CheckpointError
from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.registry import Registry

__all__ = [
    "IGNORED",
    "LAYOUTS",
    "LAYOUT_FILES",
    "NETWORK",
    "KeyLayout",
    "MappedWeights",
    "PublishedFile",
    "Rule",
    "enter_layout",
    "map_keys",
    "split_classifier",
]

NETWORK = "backbone.network."
IGNORED = (
    re.compile(r"data_preprocessor\..+"),
    re.compile(r"(?:.+\.)?n_averaged"),
    re.compile(r"(?:.+\.)?backbone\.(?:Conv_[12][abc]|Mixed_[345][a-f])\..+"),
)
"""Keys that no network needs: normalization constants (mmaction2), the number of averaged steps, and the second names of
tensors in TAdaConv's S3D-G, whose `backbone.block1` to `block5` hold each of them."""
LAYOUT_FILES = ("baseline_keys", "tadaconv_keys")
"""The files of this package that hold key layouts; importing one enters them."""

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]
"""A pattern for a whole key, and ours: a template of the pattern's groups, or a function of the match."""

_WRAPPER = re.compile(r"\.net(?=\.)")
_PREFIXES = ("_orig_mod.", "module.", "model.")


@dataclass(frozen=True)
class MappedWeights:
    """A checkpoint's tensors under our keys.

    Attributes:
        layout: How the file named them.
        tensors: Under our keys, the heads perhaps still together as `classifier.*`.
        original: Our key to the key in the file.
        unknown: Keys in the file that its layout does not have.
        wrapped: The layers that stood in a wrapper of the published code (`layer1.0.conv1` for TSM), which tells its kind.
    """

    layout: KeyLayout
    tensors: dict[str, Tensor]
    original: dict[str, str]
    unknown: tuple[str, ...]
    wrapped: frozenset[str]


@dataclass(frozen=True)
class PublishedFile:
    """All that a checkpoint without a record of ours tells of its network.

    Attributes:
        path: The file, for messages.
        weights: Its tensors.
        settings: The configuration that it carries; empty if it has none.
        given: Arguments of `create_model` that the caller knows; they go before what is inferred.
    """

    path: Path
    weights: MappedWeights
    settings: Mapping[str, Any]
    given: Mapping[str, Any]


def _same(_: str, tensor: Tensor) -> Tensor:
    return tensor


def _no_settings(_archive: Mapping[str, Any], _path: Path) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class KeyLayout:
    """One publisher's way of naming tensors, and how to read a network off them.

    Attributes:
        name: Its key in `LAYOUTS`.
        publisher: Who names tensors so, for messages: "in the layout of ...".
        recognizes: Whether keys (prefixes that all share removed) are of this layout; of no two layouts.
        rules: Tried in order; the first whose pattern is the whole key gives ours. A key without a rule is unknown.
        infer: Arguments of `create_model` for a file of this layout; raises `CheckpointError` if it cannot tell.
        preprocess: What such a network, built with these arguments, expects of its input.
        transform: Called with our key and the tensor; gives the tensor in our shape.
        settings: Called with the file's contents and its path; gives the configuration in it.
        has_wrappers: Whether `.net` in a key is a wrapper of the published temporal shift, and no name.
    """

    name: str
    publisher: str
    recognizes: Callable[[Collection[str]], bool]
    rules: tuple[Rule, ...]
    infer: Callable[[PublishedFile], dict[str, Any]]
    preprocess: Callable[[PublishedFile, Mapping[str, Any]], Preprocessing]
    transform: Callable[[str, Tensor], Tensor] = _same
    settings: Callable[[Mapping[str, Any], Path], Mapping[str, Any]] = _no_settings
    has_wrappers: bool = False


LAYOUTS: Registry[KeyLayout] = Registry("layout")


def enter_layout(layout: KeyLayout) -> KeyLayout:
    """Enter a layout into the table under its name."""
    return LAYOUTS.register(layout.name)(layout)


def map_keys(state_dict: Mapping[str, Tensor], *, is_ours: bool = False) -> MappedWeights:
    """Recognize a checkpoint's layout and bring its keys and shapes into ours.

    What no layout recognizes is read as an image network by itself. Averaged weights (prefix `ema.`) are taken instead of the
    last ones where a checkpoint of ours has both.

    Args:
        state_dict: The tensors.
        is_ours: Whether they came with a record of ours, and so need not be recognized.

    Raises:
        CheckpointError: If several layouts recognize it.
    """
    for file in LAYOUT_FILES:
        importlib.import_module(f"zoopraxis.models.{file}")
    stripped = _strip(state_dict)
    layout = LAYOUTS.get("zoopraxis") if is_ours else _recognize(stripped)
    tensors: dict[str, Tensor] = {}
    original: dict[str, str] = {}
    unknown: list[str] = []
    wrapped: set[str] = set()
    for key, tensor in stripped.items():
        bare = key
        if layout.has_wrappers:
            wrapped.update(_wrapped_layer(key, match.start()) for match in _WRAPPER.finditer(key))
            bare = _WRAPPER.sub("", key)
        ours = _rename(bare, layout.rules)
        if ours is None or ours in tensors:
            unknown.append(key)
            continue
        tensors[ours] = layout.transform(ours, tensor)
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


def _recognize(state_dict: Mapping[str, Tensor]) -> KeyLayout:
    matching = [layout for name in LAYOUTS.names() if (layout := LAYOUTS.get(name)).recognizes(state_dict.keys())]
    if len(matching) > 1:
        publishers = " and of ".join(layout.publisher for layout in matching)
        raise CheckpointError(f"the checkpoint has keys in the layout of {publishers}; give the weights of one network")
    return matching[0] if matching else LAYOUTS.get("image")


def _rename(key: str, rules: tuple[Rule, ...]) -> str | None:
    for pattern, replacement in rules:
        match = pattern.fullmatch(key)
        if match:
            return match.expand(replacement) if isinstance(replacement, str) else replacement(match)
    return None


def _wrapped_layer(key: str, end: int) -> str:
    """`layer1.0.conv1` of `base_model.layer1.0.conv1.net.weight` and of `backbone.layer1.0.conv1.conv.net.weight`."""
    return _WRAPPER.sub("", key[:end]).removeprefix("base_model.").removeprefix("backbone.").removesuffix(".conv")
