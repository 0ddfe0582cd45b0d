"""The temporal adaptive module: outputs, both branches, all gradients and running statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from zoopraxis.temporal import TemporalAdaptiveModule

BRANCHES = {"G.0.weight", "G.3.weight", "L.0.weight", "L.3.weight"}


def matches(case: Mapping[str, Any]) -> bool:
    keys, config = case.get("state_dict"), case.get("config")
    return (
        isinstance(keys, Mapping) and isinstance(config, Mapping) and keys.keys() >= BRANCHES and "x" in case.get("inputs", {})
    )


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    module = _build(case)
    module.load_state_dict(context.state_dict(case))
    frames = context.input(case["inputs"]["x"])
    if case.get("mode") == "train":
        _check_training(module, frames, case, arrays, context)
    else:
        _check_evaluation(module, frames, arrays, context)
    with torch.no_grad():
        module.train(case.get("mode") == "train")
        module.G[3].weight.zero_()
        uniform = module(_clips(frames, module)).flatten(0, 1)
    assert not context.is_close(uniform, arrays["y"]), "the case does not see the kernel"
    assert not context.is_close(frames, arrays["y"]), "the case does not see the module"


def _check_evaluation(
    module: TemporalAdaptiveModule, frames: torch.Tensor, arrays: Mapping[str, np.ndarray], context: Any
) -> None:
    clips = _clips(frames, module)
    with torch.inference_mode():
        kernel_KBC, factors_BTC = module.eval().branches(clips)
        context.assert_close(module(clips).flatten(0, 1), arrays["y"], "y")
        last = frames.contiguous(memory_format=torch.channels_last)
        context.assert_close(module(_clips(last, module)).flatten(0, 1), arrays["y"], "y in channels-last")
    if "global_kernel_BCk" in arrays:
        context.assert_close(kernel_KBC.permute(1, 2, 0), arrays["global_kernel_BCk"], "kernel")
        context.assert_close(factors_BTC.transpose(1, 2), arrays["local_map_BCT"], "factors")


def _check_training(
    module: TemporalAdaptiveModule,
    frames: torch.Tensor,
    case: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    context: Any,
) -> None:
    weights = context.input(case["inputs"]["w"])
    published = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    for memory_format in (torch.contiguous_format, torch.channels_last):
        module.load_state_dict(published)
        module.train().zero_grad()
        inputs = frames.clone(memory_format=memory_format).requires_grad_()
        mixed = module(_clips(inputs, module)).flatten(0, 1)
        (mixed * weights).sum().backward()
        assert inputs.grad is not None
        context.assert_close(mixed.detach(), arrays["y"], "y")
        context.assert_close(inputs.grad, arrays["grad_x"], "gradient of x")
        for name in (name for name in arrays if name.startswith("grad.")):
            gradient = module.get_parameter(name.removeprefix("grad.")).grad
            assert gradient is not None, f"{name} is missing"
            context.assert_close(gradient, arrays[name], name)
        for name in (name for name in arrays if name.startswith("buf.")):
            context.assert_close(module.get_buffer(name.removeprefix("buf.")), arrays[name], name)


def _build(case: Mapping[str, Any]) -> TemporalAdaptiveModule:
    """From the shapes of the keys; what the configuration says beside must agree with them."""
    shapes = {key: shape for key, (_, shape) in case["state_dict"].items()}
    hidden, num_frames = shapes["G.0.weight"]
    narrow, channels, local_kernel_size = shapes["L.0.weight"]
    kernel_size = shapes["G.3.weight"][0]
    config = case["config"]
    for names, value in (
        (("in_channels",), channels),
        (("n_segment", "num_segments"), num_frames),
        (("kernel_size", "adaptive_kernel_size"), kernel_size),
        (("padding", "adaptive_convolution_padding"), kernel_size // 2),
        (("conv1d_kernel_size",), local_kernel_size),
        (("alpha",), hidden // num_frames),
        (("beta",), channels // narrow),
    ):
        assert all(config[name] == value for name in names if name in config), f"{names} is not {value}"
    return TemporalAdaptiveModule(
        channels=channels,
        num_frames=num_frames,
        kernel_size=kernel_size,
        local_kernel_size=local_kernel_size,
        alpha=hidden // num_frames,
        beta=channels // narrow,
    )


def _clips(frames: torch.Tensor, module: TemporalAdaptiveModule) -> torch.Tensor:
    return frames.unflatten(0, (-1, module.num_frames))
