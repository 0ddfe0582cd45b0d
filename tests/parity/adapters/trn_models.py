"""TRN: published checkpoints loaded by their own keys give the published scores with the published draws of frame tuples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from zoopraxis.models import load_model
from zoopraxis.temporal.relation import draw_published_relations


def matches(case: Mapping[str, Any]) -> bool:
    config = case.get("config")
    return "state_dict" in case and isinstance(config, Mapping) and (_is_baseline(config) or _is_mmaction(config))


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    (spec,) = case["inputs"].values()
    clip = context.input(spec)
    path = context.tmp_path / "published.ckpt"
    model = load_model(context.write_checkpoint(case, path))
    path.unlink()
    with torch.inference_mode():
        features: list[torch.Tensor] = []
        model.backbone.register_forward_hook(lambda _, __, output: features.append(output))
        arguments = (
            {"relations": _draw(case, clip.shape[1])}
            if model.architecture.get("relation", "multiscale") == "multiscale"
            else {}
        )
        logits = model(clip, **arguments)
        context.assert_close(torch.cat(list(logits.values()), dim=1), arrays["logits"], "logits")
        for head in logits.keys() & set(arrays):
            context.assert_close(logits[head], arrays[head], head)
        if "features" in arrays:
            context.assert_close(features[0], arrays["features"], "features")
        if "backbone_mean_std" in arrays:
            maps = model.backbone.forward_maps(clip).flatten(0, 1).flatten(1)
            context.assert_close(torch.stack([maps.mean(1), maps.std(1)]), arrays["backbone_mean_std"], "backbone_mean_std")
        reversed_frames = model.dropout(features[0]).flip(1)
        other = model.relation(model.projection(reversed_frames), **arguments)
        assert not context.is_close(other, arrays["logits"]), "the case does not see the order of frames"


def _is_baseline(config: Mapping[str, Any]) -> bool:
    return config.get("model") in ("MTRN", "TRN")


def _is_mmaction(config: Mapping[str, Any]) -> bool:
    head = config.get("cls_head")
    return config.get("type") == "Recognizer2D" and isinstance(head, Mapping) and head.get("type") == "TRNHead"


def _draw(case: Mapping[str, Any], num_frames: int) -> dict[int, torch.Tensor]:
    """The tuples of the case's seed, which the baselines have in the config and mmaction2's cases in their name."""
    config = case["config"]
    in_name = re.search(r"npseed(\d+)", case["case"])
    seed = config.get("np_random_seed_before_forward", int(in_name[1]) if in_name else 0)
    relations = draw_published_relations(num_frames, np.random.RandomState(seed))
    for scale, listed in case.get("extra", {}).get("relations_drawn", {}).items():
        assert relations[int(scale)].tolist() == listed["frames"]
    return relations
