"""Holds the average over views to mmaction2's `average_clips`.

A case has the averages, `prob` and `score`, shape (clips, classes), and the shape of the views that they are of, `none_shape`;
it does not have the views. Whatever views have these logits as their mean must give `score`, and whatever views have these
probabilities as their mean must give `prob`; two draws of such views are made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from zoopraxis.training.system import average_views


def matches(case: Mapping[str, Any]) -> bool:
    return str(case["case"]).startswith("average_clips")


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    assert set(arrays) == {"prob", "score", "none_shape"}
    num_clips, num_views, num_classes = arrays["none_shape"].tolist()
    for seed in range(2):
        spread = np.random.default_rng(seed).uniform(-0.5, 0.5, (num_clips, num_views, num_classes))
        spread -= spread.mean(1, keepdims=True)
        views = {"score": arrays["score"][:, None] + spread, "prob": _with_mean(arrays["prob"], spread)}
        for average, logits in views.items():
            flat = torch.from_numpy(logits).reshape(num_clips * num_views, num_classes)
            got = {name: average_views(flat, num_views, name) for name in ("score", "prob")}
            assert got[average].shape == (num_clips, num_classes)
            values = {name: value.exp() if average == "prob" else value for name, value in got.items()}
            context.assert_close(values.pop(average), arrays[average], average)
            for name, value in values.items():
                assert not context.is_close(value, arrays[average]), f"{name} passes for {average}"


def _with_mean(probabilities: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Logits (clips, views, classes), each view with a constant of its own, whose softmax has the mean `probabilities`."""
    tilt = spread - (probabilities[:, None] * spread).sum(-1, keepdims=True)
    views = probabilities[:, None] * (1 + tilt)
    assert (views > 0).all()
    np.testing.assert_allclose(views.sum(-1), 1, rtol=1e-4)
    return np.log(views) + 3 * spread[:, :, :1]
