"""TRN's relation modules by themselves: with the published draws they give the published scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from zoopraxis.temporal.relation import MultiScaleRelation, SingleScaleRelation, draw_published_relations


def matches(case: Mapping[str, Any]) -> bool:
    config, keys = case.get("config"), case.get("state_dict")
    if not isinstance(config, Mapping) or not isinstance(keys, Mapping) or "num_class" not in config:
        return False
    return all(key.startswith(("fc_fusion_scales.", "classifier_scales.", "classifier.")) for key in keys)


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    (spec,) = case["inputs"].values()
    frames, config = context.input(spec), case["config"]
    module = _build(case)
    module.load_state_dict(context.state_dict(case))
    arguments = {}
    if _is_drawn(case):
        relations = draw_published_relations(config["num_frames"], np.random.RandomState(config.get("np_seed", 0)))
        drawn = case.get("extra", {}).get("relations_drawn", {})
        assert {int(scale): listed["frames"] for scale, listed in drawn.items()}.items() <= {
            scale: tuples.tolist() for scale, tuples in relations.items()
        }.items()
        arguments = {"relations": relations}
    with torch.inference_mode():
        context.assert_close(module(frames, **arguments), arrays["out"], "out")
        assert not context.is_close(module(frames.flip(1), **arguments), arrays["out"]), (
            "the case does not see the order of frames"
        )


def _build(case: Mapping[str, Any]) -> torch.nn.Module:
    config, shapes = case["config"], {key: shape for key, (_, shape) in case["state_dict"].items()}
    sizes = {
        "feature_dim": config["img_feature_dim"],
        "num_frames": config["num_frames"],
        "num_classes": config["num_class"],
        "bottleneck": next(shape[0] for key, shape in shapes.items() if key.endswith(".1.weight")),
    }
    if "classifier.1.weight" in shapes:
        return SingleScaleRelation(**sizes).eval()
    dropout = 0.6 if "classifier_scales.0.weight" in shapes else None
    return MultiScaleRelation(**sizes, dropout=dropout, evaluation="expected" if _is_drawn(case) else "all").eval()


def _is_drawn(case: Mapping[str, Any]) -> bool:
    is_multiscale = "fc_fusion_scales.0.1.weight" in case["state_dict"]
    return is_multiscale and "every relation" not in case["config"].get("note", "")
