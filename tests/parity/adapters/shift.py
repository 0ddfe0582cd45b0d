"""The temporal shift and the temporal max pool as operators: bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from zoopraxis.temporal import temporal_max_pool, temporal_shift


def matches(case: Mapping[str, Any]) -> bool:
    inputs = case.get("inputs")
    if not isinstance(inputs, Mapping) or "state_dict" in case:
        return False
    return any(isinstance(spec, Mapping) and {"n_segment", "fold_div"} <= spec.keys() for spec in inputs.values())


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    for name, spec in case["inputs"].items():
        frames = context.input(spec)
        clips = frames.unflatten(0, (-1, spec["n_segment"]))
        if "fold_div" in spec:
            result, expected = temporal_shift(clips, shift_div=spec["fold_div"]), arrays[name]
        else:
            result, expected = temporal_max_pool(clips), arrays[name.replace("tpool", "temporal_pool")]
        assert torch.equal(result.flatten(0, 1), torch.from_numpy(expected)), f"{name} differs"
        assert not np.array_equal(frames[: len(expected)], expected), f"{name} does not see the operator"
