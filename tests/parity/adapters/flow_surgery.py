"""The first convolution of a flow network, made from that of an RGB network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from zoopraxis.backbones.image import widen_first_convolution


def matches(case: Mapping[str, Any]) -> bool:
    return "flow_conv_surgery" in str(case.get("case"))


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    (spec,) = case["inputs"]
    ((expected,),) = [list(arrays.values())]
    kernel = context.fill(spec["goldenfill.fill key"], spec["shape"])
    network = nn.Sequential(nn.Conv2d(kernel.shape[1], kernel.shape[0], tuple(kernel.shape[2:]), bias=False))
    network[0].weight = nn.Parameter(kernel)
    widen_first_convolution(network, expected.shape[1])
    with torch.no_grad():
        context.assert_close(network[0].weight, expected, "kernel")
        rescaled = network[0].weight * kernel.shape[1] / expected.shape[1]
        assert not context.is_close(rescaled, expected), "the case does not see a rescaled kernel"
