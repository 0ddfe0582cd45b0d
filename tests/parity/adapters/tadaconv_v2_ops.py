"""TAdaConv V2 as an operator, its routing function outside or inside, on maps and tokens; and the layer norm over channels."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoopraxis.temporal import ChannelsFirstLayerNorm, RouteFuncTransformer, TAdaConv2dV2

ROUTE = re.compile(r"(?P<conv>.+?)(?P<place>_rf|\.rf_func)\.qkv_proj\.weight")
DEFAULT_HEAD_DIM = 64


class Layer(nn.Module):
    """A convolution and its routing function under the case's names."""

    def __init__(self, name: str, conv: TAdaConv2dV2, route: RouteFuncTransformer | None) -> None:
        super().__init__()
        self.add_module(name, conv)
        self.conv_name = name
        if route is not None:
            self.add_module(f"{name}_rf", route)

    def forward(self, x: Tensor, num_frames: int | None) -> dict[str, Tensor | None]:
        conv = self.get_submodule(self.conv_name)
        assert isinstance(conv, TAdaConv2dV2)
        if x.ndim == 3:
            return {"out": conv(x, num_frames=num_frames)}
        if conv.rf_func is not None:
            w_alpha, b_alpha = conv.rf_func(x)
            return {"out": conv(x), "w_alpha": w_alpha, "b_alpha": b_alpha}
        w_alpha, b_alpha = self.get_submodule(f"{self.conv_name}_rf")(x)
        return {"out": conv(x, (w_alpha, b_alpha)), "w_alpha": w_alpha, "b_alpha": b_alpha}


def matches(case: Mapping[str, Any]) -> bool:
    return "op" in case and isinstance(case.get("state_dict"), Mapping) and (_route(case) is not None or _is_norm(case))


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    (spec,) = case["inputs"].values()
    x = context.input(spec)
    if _is_norm(case):
        _check_norm(case, x, arrays, context)
        return
    num_frames = _number(_words(case), "num_frames", r"N\s*=\s*\d+\s*\*\s*(\d+)")
    is_training = any(name.startswith("grad_") for name in arrays)
    for memory_format in (torch.contiguous_format,) if x.ndim == 3 else (torch.contiguous_format, torch.channels_last_3d):
        layer = _build(case, x.shape, arrays["out"].shape).train(is_training)
        layer.load_state_dict(context.state_dict(case), strict=True)
        leaf = x.clone(memory_format=memory_format).requires_grad_()
        found = layer(leaf, num_frames)
        if is_training:
            found["out"].backward(context.tensor(_gradient_name(case), found["out"].shape))
            leaves = {"x": leaf, **dict(layer.named_parameters())}
            found |= {f"grad_{name}": tensor.grad for name, tensor in leaves.items()}
        assert set(arrays) <= found.keys(), f"nothing checks {sorted(set(arrays) - found.keys())}"
        for name, expected in arrays.items():
            context.assert_close(found[name].detach(), expected, name)
        with torch.no_grad():
            for key, parameter in layer.named_parameters():
                if re.search(r"(_rf|\.rf_func)\.b(_bias)?\.weight$", key):
                    parameter.zero_()
            assert not context.is_close(layer(x, num_frames)["out"], arrays["out"]), "the case does not see the factors"


def _gradient_name(case: Mapping[str, Any]) -> str:
    """The name of the gradient that comes in."""
    match = re.search(r"tensor\('([^']+)'", str(case["op"]))
    return match[1] if match else f"{case['case']}_grad"


def _route(case: Mapping[str, Any]) -> re.Match[str] | None:
    return next((match for key in case["state_dict"] if (match := ROUTE.fullmatch(key))), None)


def _is_norm(case: Mapping[str, Any]) -> bool:
    """A weight and a bias of one axis, of a case that speaks of a layer norm."""
    shapes = [shape for _, shape in case["state_dict"].values()]
    return len(shapes) == 2 and all(len(shape) == 1 for shape in shapes) and "layernorm" in str(case["op"]).lower()


def _check_norm(case: Mapping[str, Any], x: Tensor, arrays: Mapping[str, np.ndarray], context: Any) -> None:
    tensors = {key.rpartition(".")[2]: value for key, value in context.state_dict(case).items()}
    eps = re.search(r"eps\W*([\d.e-]+)", _words(case))
    norm = ChannelsFirstLayerNorm(x.shape[1], eps=float(eps[1]) if eps else 1e-6)
    norm.load_state_dict(tensors, strict=True)
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for memory_format in {torch.contiguous_format, formats.get(x.ndim, torch.contiguous_format)}:
        out = norm(x.contiguous(memory_format=memory_format)).detach()
        context.assert_close(out, arrays["out"], "out")


def _words(case: Mapping[str, Any]) -> str:
    """All that a case says of its operator."""
    return " ".join([str(case["op"]), *(json.dumps(case[name]) for name in ("config", "overrides", "note") if name in case)])


def _build(case: Mapping[str, Any], in_shape: Sequence[int], out_shape: Sequence[int]) -> Layer:
    """The layer of a case: widths and kernels from its tensors, the rest from its words as far as they fit its shapes."""
    shapes = {key: shape for key, (_, shape) in case["state_dict"].items()}
    route_key, words = _route(case), _words(case)
    assert route_key is not None
    is_inside = route_key["place"] == ".rf_func"
    name, prefix = route_key["conv"], f"{route_key['conv']}{route_key['place']}"
    hidden, channels, first = shapes[f"{prefix}.a.weight"][:3]
    one_based = re.search(r"zero_init_cal\W*(true|false)|(\+1)|(raw)", words, re.IGNORECASE)
    route = RouteFuncTransformer(
        channels,
        ratio=channels // hidden,
        kernels=(first, shapes[f"{prefix}.b.weight"][2]),
        head_dim=_number(words, "head_dim") or (DEFAULT_HEAD_DIM if hidden % DEFAULT_HEAD_DIM == 0 else hidden),
        has_bias=f"{prefix}.b_bias.weight" in shapes,
        is_one_based=not is_inside if one_based is None else bool(one_based[2]) or str(one_based[1]).lower() == "true",
    )
    kernel = shapes[f"{name}.weight"]
    in_channels = in_shape[1] if len(in_shape) == 5 else in_shape[2]
    padding = [size // 2 for size in kernel[4:]]
    stride = [1, 1] if len(in_shape) == 3 else [-(-i // o) for i, o in zip(in_shape[3:], out_shape[3:], strict=True)]
    conv = TAdaConv2dV2(
        in_channels,
        kernel[2],
        [1, *kernel[4:]],
        stride=[1, *stride],
        padding=[0, *padding],
        groups=in_channels // kernel[3],
        bias=f"{name}.bias" in shapes,
        cal_dim="cin" if re.search(r"\bcin\b", words) else "cout",
        route=route if is_inside else None,
        has_temporal_norms=f"{name}.bn_a.weight" in shapes,
    )
    return Layer(name, conv, None if is_inside else route)


def _number(words: str, name: str, *others: str) -> int | None:
    """The number behind a name, or what another pattern finds."""
    found = (re.search(pattern, words) for pattern in (rf"{name}\W*(\d+)", *others))
    return next((int(match[1]) for match in found if match), None)
