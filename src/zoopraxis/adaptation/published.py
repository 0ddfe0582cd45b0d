"""How the published code of TA3N names its tensors, and the way to our names.

Both versions are read: that of UCF and HMDB with one head ("label"), and that of EPIC-KITCHENS-100 with two ("verb", "noun");
so are checkpoints of its port to Lightning, which lack some of the tensors that nothing uses.

Source: the state dicts of cmhungsteve/TA3N and jonmun/EPIC-KITCHENS-100_UDA_TA3N.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from zoopraxis.errors import CheckpointError

__all__ = ["LABEL", "is_published", "map_published"]

LABEL = "label"
"""The head of checkpoints that have only one."""

_PREFIXES = ("_orig_mod.", "module.", "model.")
_FIRST = "fc_feature_shared_source.weight"
_NUM_SEGMENTS = 5
"""Of published checkpoints whose tensors do not tell."""

_UNUSED = re.compile(
    r"fc_feature_(?:source|target)\..+"
    r"|fc_feature_video_(?:source|target)(?:_2)?\..+"
    r"|bn_source(?:_video(?:_2)?)?_[ST]\..+"
    r"|bn_trn_[ST]\..+"
    r"|bn_2_[ST]\..+"
    r"|tcl_(?:5_1|3_2|5_2)\..+"
    r"|conv_fusion\..+"
    r"|bn_(?:before|after)_rnn\..+"
)
"""Tensors that the published network makes and never uses."""

Arguments = Mapping[str, Any]


def _always(arguments: Arguments) -> bool:
    return True


def _has_norms(arguments: Arguments) -> bool:
    return bool(arguments["norm"] != "none")


def _is_autodial(arguments: Arguments) -> bool:
    return bool(arguments["norm"] == "autodial")


def _predicts_videos(arguments: Arguments) -> bool:
    return bool(arguments["prediction"] == "video")


def _predicts_frames(arguments: Arguments) -> bool:
    return not _predicts_videos(arguments)


def _learns_attention(arguments: Arguments) -> bool:
    return bool(arguments["attention"] == "general" and arguments["aggregation"] == "relations")


def _shared_layer(match: re.Match[str]) -> str:
    number, domain, rest = match.groups()
    return f"{_owner(domain)}frame_layers.{int(number or 1) - 1}.{rest}"


def _video_classifier(match: re.Match[str]) -> str:
    head, domain, second, rest = match.groups()
    return f"{_owner(domain)}{'second_' if second else ''}classifiers.{head or LABEL}.{rest}"


def _frame_classifier(match: re.Match[str]) -> str:
    domain, head, rest = match.groups()
    return f"{_owner(domain)}classifiers.{head or LABEL}.{rest}"


def _norm(ours: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f"{ours}.{'source' if match[1] == 'S' else 'target'}.{match[2]}"


def _owner(domain: str) -> str:
    return "target_" if domain == "target" else ""


_RULES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str], Callable[[Arguments], bool]], ...] = (
    (re.compile(r"fc_feature_shared(?:_([23]))?_(source|target)\.(.+)"), _shared_layer, _always),
    (re.compile(r"fc_classifier_video_(?:(verb|noun)_)?(source|target)(_2)?\.(.+)"), _video_classifier, _predicts_videos),
    (re.compile(r"fc_classifier_(source|target)(?:_(verb|noun))?\.(.+)"), _frame_classifier, _predicts_frames),
    (re.compile(r"fc_feature_domain\.(.+)"), r"discriminators.frame.0.\1", _always),
    (re.compile(r"fc_classifier_domain\.(.+)"), r"discriminators.frame.2.\1", _always),
    (re.compile(r"fc_feature_domain_video\.(.+)"), r"discriminators.video.0.\1", _always),
    (re.compile(r"fc_classifier_domain_video\.(.+)"), r"discriminators.video.2.\1", _always),
    (re.compile(r"relation_domain_classifier_all\.(\d+)\.(.+)"), r"discriminators.relation.\1.\2", _always),
    (re.compile(r"TRN\.fc_fusion_scales\.(\d+)\.1\.(.+)"), r"aggregator.layers.\1.\2", _always),
    (re.compile(r"TRN\.classifier\.1\.(.+)"), r"aggregator.layer.\1", _always),
    (re.compile(r"rnn\.(.+)"), r"aggregator.rnn.\1", _always),
    (re.compile(r"tcl_3_1\.conv2d\.(.+)"), r"aggregator.convolution.\1", _always),
    (re.compile(r"attn_layer\.(.+)"), r"attention_layer.\1", _learns_attention),
    (re.compile(r"bn_shared_([ST])\.(.+)"), _norm("frame_norms"), _has_norms),
    (re.compile(r"bn_1_([ST])\.(.+)"), _norm("aggregator.norms"), _has_norms),
    (re.compile(r"alpha"), "alpha", _is_autodial),
)
"""Published key, our key, and in which networks it is used."""

_AGGREGATIONS = {
    "TRN.fc_fusion_scales.0.1.weight": "relations",
    "TRN.classifier.1.weight": "relation",
    "rnn.weight_ih_l0": "rnn",
    "tcl_3_1.conv2d.weight": "temconv",
}


def is_published(tensors: Mapping[str, Any]) -> bool:
    """Whether these are the tensors of a published TA3N, by their names."""
    return any(_without_prefix(key) == _FIRST for key in tensors)


def map_published(
    tensors: Mapping[str, Tensor], given: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor], tuple[str, ...]]:
    """Tell from a published checkpoint's tensors the network, and name them as it does.

    Args:
        tensors: Under published keys, perhaps behind `module.` (of several devices) or `model.` (of Lightning).
        given: Arguments of `AdaptationNetwork` that tensors do not tell, or that shall differ: `prediction`, `attention`
            "none", `frame_attention`, `num_segments` where nothing is made for so many, `rnn_bins`, dropouts.

    Returns:
        Arguments of `AdaptationNetwork`, the tensors under our names, and the keys that nothing uses.

    Raises:
        CheckpointError: If these are no tensors of TA3N, or some that no part of it takes.

    Differs: general attention over anything but relations was never used, so it is not here either.
    """
    original = {_without_prefix(key): key for key in tensors}
    named = {_without_prefix(key): tensor for key, tensor in tensors.items()}
    if _FIRST not in named:
        raise CheckpointError(f"no published TA3N: its checkpoints have a tensor {_FIRST}, this has {len(tensors)} others")
    arguments = {**_arguments(named), **(given or {})}
    # The published second classifiers see videos alone.
    arguments["second_classifier"] &= _predicts_videos(arguments)
    mapped: dict[str, Tensor] = {}
    ignored: list[str] = []
    unknown: list[str] = []
    for key, tensor in named.items():
        name = _our_key(key, arguments)
        if name:
            mapped[name] = tensor
        else:
            (unknown if name is None else ignored).append(original[key])
    if unknown:
        raise CheckpointError(
            f"{len(unknown)} tensors are of no known part of TA3N, the first {unknown[0]}; give the network's own tensors alone"
        )
    return arguments, mapped, tuple(ignored)


def _our_key(key: str, arguments: Arguments) -> str | None:
    """Our name; empty if nothing uses the tensor, None if nothing is known of it."""
    if _UNUSED.fullmatch(key):
        return ""
    for pattern, ours, is_used in _RULES:
        match = pattern.fullmatch(key)
        if match:
            name = match.expand(ours) if isinstance(ours, str) else ours(match)
            return name if is_used(arguments) else ""
    return None


def _arguments(named: Mapping[str, Tensor]) -> dict[str, Any]:
    dim, feature_dim = named[_FIRST].shape
    aggregation = next((name for key, name in _AGGREGATIONS.items() if key in named), "average")
    has_norms = "bn_shared_S.weight" in named
    attention = "transferable"
    if "attn_layer.0.weight" in named:
        attention = "general" if aggregation == "relations" else "none"
    arguments = {
        "feature_dim": feature_dim,
        "num_segments": _NUM_SEGMENTS,
        "heads": _heads(named),
        "aggregation": aggregation,
        "shared_dim": dim,
        "num_shared_layers": 1 + sum(f"fc_feature_shared_{number}_source.weight" in named for number in (2, 3)),
        "prediction": "video",
        "attention": attention,
        "norm": ("autodial" if "alpha" in named else "adabn") if has_norms else "none",
        "autodial": "published",
        "share_parameters": "fc_feature_shared_target.weight" not in named,
        "second_classifier": any(re.fullmatch(r"fc_classifier_video_.*source_2\.weight", key) for key in named),
    }
    return arguments | _AGGREGATION_ARGUMENTS.get(aggregation, _no_arguments)(named)


def _no_arguments(named: Mapping[str, Tensor]) -> dict[str, Any]:
    return {}


def _relations_arguments(named: Mapping[str, Tensor]) -> dict[str, Any]:
    scales = [key for key in named if re.fullmatch(r"TRN\.fc_fusion_scales\.\d+\.1\.weight", key)]
    return {"num_segments": len(scales) + 1, "relation_dim": len(named[scales[0]])}


def _relation_arguments(named: Mapping[str, Tensor]) -> dict[str, Any]:
    relation_dim, width = named["TRN.classifier.1.weight"].shape
    return {"num_segments": width // len(named[_FIRST]), "relation_dim": relation_dim}


def _rnn_arguments(named: Mapping[str, Tensor]) -> dict[str, Any]:
    gates, hidden_dim = named["rnn.weight_hh_l0"].shape
    return {
        "rnn_cell": {4: "lstm", 3: "gru"}[gates // hidden_dim],
        "rnn_layers": sum(bool(re.fullmatch(r"rnn\.weight_hh_l\d+", key)) for key in named),
        "rnn_directions": 1 + ("rnn.weight_hh_l0_reverse" in named),
    }


_AGGREGATION_ARGUMENTS: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Any]]] = {
    "relations": _relations_arguments,
    "relation": _relation_arguments,
    "rnn": _rnn_arguments,
}


def _heads(named: Mapping[str, Tensor]) -> dict[str, int]:
    heads: dict[str, int] = {}
    for key, tensor in named.items():
        match = re.fullmatch(r"fc_classifier_video_(?:(verb|noun)_)?source\.weight", key)
        if match:
            heads[match[1] or LABEL] = len(tensor)
    if not heads:
        raise CheckpointError("no published TA3N: it has no classifier of videos (fc_classifier_video_*_source.weight)")
    return heads


def _without_prefix(key: str) -> str:
    while key.startswith(_PREFIXES):
        key = key.partition(".")[2]
    return key
