"""Golden cases of TA3N: a published network with a fake checkpoint, as ours.

Adapters import it as `from parity.ta3n_cases import build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoopraxis.adaptation.network import AdaptationNetwork
from zoopraxis.adaptation.published import map_published

__all__ = ["build", "given_arguments", "model_settings", "our_names"]

_PREDICTIONS = {"video": "video", "tsn": "average", "frame": "frames"}
_ATTENTION = {"TransAttn": "transferable", "general": "general", "none": "none"}


def model_settings(case: Mapping[str, Any]) -> Mapping[str, Any]:
    """The published arguments of a case's network: its `config`, or of a training `config.model`; empty if it has none."""
    config = case.get("config")
    if not isinstance(config, Mapping):
        return {}
    settings = config.get("model", config)
    return settings if isinstance(settings, Mapping) and "frame_aggregation" in settings else {}


def given_arguments(case: Mapping[str, Any]) -> dict[str, Any]:
    """What a user tells of a published checkpoint because its tensors do not."""
    settings = model_settings(case)
    given = {
        "prediction": _PREDICTIONS[settings.get("baseline_type", "video")],
        "num_segments": settings.get("train_segments", 5),
        "dropout": settings.get("dropout_i", 0.5),
        "video_dropout": settings.get("dropout_v", 0.5),
        "rnn_bins": settings.get("n_ts", 5),
    }
    if settings.get("use_attn", "TransAttn") == "none":
        given["attention"] = "none"
    if settings.get("use_attn_frame", "none") != "none":
        # The published code takes the kind of the other attention, whatever is written here.
        given["frame_attention"] = _ATTENTION[settings.get("use_attn", "TransAttn")]
    return given


def build(case: Mapping[str, Any], context: Any, **changes: Any) -> AdaptationNetwork:
    """Our network with the case's fake checkpoint, strictly loaded, in training mode.

    Args:
        case: The golden case.
        context: `ParityContext`.
        changes: Arguments of `AdaptationNetwork` that shall differ.
    """
    arguments, tensors, ignored = map_published(context.state_dict(case), {**given_arguments(case), **changes})
    assert len(tensors) + len(ignored) == len(case["state_dict"])
    network = AdaptationNetwork(**arguments)
    network.load_state_dict(tensors)
    return network


def our_names(case: Mapping[str, Any], context: Any) -> dict[str, str]:
    """Published key to our name, of the tensors that the case's network uses: of parameters, their gradients and buffers."""
    state = context.state_dict(case)
    names = {id(tensor): name for name, tensor in map_published(state, given_arguments(case))[1].items()}
    return {key: names[id(tensor)] for key, tensor in state.items() if id(tensor) in names}
