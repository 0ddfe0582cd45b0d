"""Holds `normalize` to mmaction2's data preprocessor: `u` is stored, `y` the input; `mean` and `std` as of `u`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from zoopraxis.models.preprocessing import Preprocessing, normalize


def matches(case: Mapping[str, Any]) -> bool:
    return str(case["case"]).startswith("preprocessor_mm")


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    assert set(arrays) == {"u", "y", "mean", "std"}
    mean, std = (tuple((arrays[name] / 255).tolist()) for name in ("mean", "std"))
    preprocessing = Preprocessing(mean=mean, std=std)
    clip = torch.from_numpy(arrays["u"])
    context.assert_close(normalize(clip, preprocessing), arrays["y"], "the normalized clip")
    for wrong in (
        dataclasses.replace(preprocessing, color_order="bgr"),
        dataclasses.replace(preprocessing, mean=mean[::-1]),
        dataclasses.replace(preprocessing, std=std[::-1]),
    ):
        assert not context.is_close(normalize(clip, wrong), arrays["y"]), f"{wrong} passes too"
