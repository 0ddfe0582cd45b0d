"""The relations of TA3N by themselves: their fixed tuples and their features."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from zoopraxis.adaptation.aggregation import Aggregator, SingleRelation, TemporalRelations

_OURS = re.compile(r"^(?:fc_fusion_scales(\.\d+)|classifier)\.1\.")


def matches(case: Mapping[str, Any]) -> bool:
    config, keys = case.get("config"), case.get("state_dict")
    if not isinstance(config, Mapping) or not isinstance(keys, Mapping) or "num_class" in config:
        return False
    return "num_bottleneck" in config and all(key.startswith(("fc_fusion_scales.", "classifier.")) for key in keys)


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    (spec,) = case["inputs"].values()
    frames, config = context.input(spec), case["config"]
    sizes = {
        "frame_dim": config["img_feature_dim"],
        "num_segments": config["num_frames"],
        "relation_dim": config["num_bottleneck"],
    }
    module: Aggregator
    if "classifier.1.weight" in case["state_dict"]:
        module = SingleRelation(**sizes)
    else:
        module = TemporalRelations(**sizes)
        tuples = {str(len(chosen[0])): [list(numbers) for numbers in chosen] for chosen in module.tuples}
        assert case["extra"]["relations_used"].items() <= tuples.items()
    state = context.state_dict(case)
    module.load_state_dict({_OURS.sub(_our_name, key): tensor for key, tensor in state.items()})
    with torch.inference_mode():
        context.assert_close(module(frames), arrays["out"], "out")
        assert not context.is_close(module(frames.flip(1)), arrays["out"]), "the case does not see the order of frames"


def _our_name(found: re.Match[str]) -> str:
    return f"layers{found[1]}." if found[1] else "layer."
