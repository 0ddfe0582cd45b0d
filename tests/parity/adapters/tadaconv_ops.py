"""TAdaConv as an operator with its routing function: factors, output and gradients, in both memory formats."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoopraxis.temporal import RouteFuncMLP, TAdaConv2d, TAdaConv3d


class Layer(nn.Module):
    """As the published usage has it."""

    def __init__(self, route: RouteFuncMLP, conv: TAdaConv3d) -> None:
        super().__init__()
        self.conv_rf, self.conv = route, conv


def matches(case: Mapping[str, Any]) -> bool:
    state_dict = case.get("state_dict")
    return "op" in case and isinstance(state_dict, Mapping) and {"conv_rf.g.weight", "conv.weight"} <= state_dict.keys()


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    (spec,) = case["inputs"].values()
    x = context.input(spec)
    is_training = any(name.startswith("grad_") for name in arrays)
    for memory_format in (torch.contiguous_format, torch.channels_last_3d):
        layer = _build(case, tuple(x.shape), arrays["out"].shape).train(is_training)
        layer.load_state_dict(context.state_dict(case), strict=True)
        leaf = x.clone(memory_format=memory_format).requires_grad_()
        alpha = layer.conv_rf(leaf)
        out = layer.conv(leaf, alpha)
        context.assert_close(alpha.detach(), arrays["alpha"], "alpha")
        context.assert_close(out.detach(), arrays["out"], "out")
        if is_training:
            out.backward(context.tensor(_gradient_name(case), out.shape))
            _check_gradients(layer, leaf, arrays, context)
        uncalibrated = layer.conv(leaf, torch.ones_like(alpha))
        assert not context.is_close(uncalibrated.detach(), arrays["out"]), "the case does not see the factors"


def _check_gradients(layer: Layer, leaf: Tensor, arrays: Mapping[str, np.ndarray], context: Any) -> None:
    found = {"x": leaf, **dict(layer.named_parameters())}
    assert {f"grad_{name}" for name in found} == {name for name in arrays if name.startswith("grad_")}
    for name, tensor in found.items():
        assert tensor.grad is not None, f"{name} has no gradient"
        expected = arrays[f"grad_{name}"]
        if name == "conv_rf.a.bias":  # it stands before a batch norm that takes the mean away: rounding errors on both sides
            scale = float(arrays["grad_conv_rf.bn.bias"].std())
            assert max(np.abs(expected).max(), tensor.grad.abs().max()) < 1e-4 * scale
            continue
        context.assert_close(tensor.grad, expected, f"gradient of {name}")


def _build(case: Mapping[str, Any], in_shape: Sequence[int], out_shape: Sequence[int]) -> Layer:
    """The layer of a case: widths and kernels from its tensors, the rest from its words as far as they fit its shapes."""
    shapes = {key: shape for key, (_, shape) in case["state_dict"].items()}
    kernel, words = shapes["conv.weight"], str(case["op"])
    sizes, over_time = kernel[4:], len(kernel) == 7
    operator = TAdaConv3d if over_time else TAdaConv2d
    kernel_size = sizes if over_time else [1, *sizes]
    padding = _numbers(words, "pad") or [size // 2 for size in kernel_size]
    conv = operator(
        in_shape[1],
        kernel[2],
        kernel_size,
        stride=_numbers(words, "stride") or _stride(in_shape, out_shape, kernel_size, padding),
        padding=padding,
        dilation=_numbers(words, "dilation") or 1,
        groups=in_shape[1] // kernel[3],
        bias="conv.bias" in shapes,
        cal_dim="cout" if "cout" in f"{words} {case['case']}" else "cin",
    )
    hidden, channels, first = shapes["conv_rf.a.weight"][:3]
    return Layer(RouteFuncMLP(channels, channels // hidden, [first, shapes["conv_rf.b.weight"][2]]), conv)


def _numbers(words: str, name: str) -> list[int] | None:
    """The three numbers behind a word; none if they are not all given."""
    match = re.search(rf"{name}\w*[ =]*\[(\d+), ?(\d+), ?(\d+)\]", words)
    return [int(number) for number in match.groups()] if match else None


def _stride(in_shape: Sequence[int], out_shape: Sequence[int], kernel: Sequence[int], padding: Sequence[int]) -> list[int]:
    """The smallest strides that give the output's size."""
    axes = zip(in_shape[2:], out_shape[2:], kernel, padding, strict=True)
    return [next(s for s in range(1, size + 1) if (size + 2 * p - k) // s + 1 == out) for size, out, k, p in axes]


def _gradient_name(case: Mapping[str, Any]) -> str:
    """The name of the gradient that comes in."""
    match = re.search(r"tensor\('([^']+)'", str(case["op"]))
    return match[1] if match else f"{case['case']}_grad"
