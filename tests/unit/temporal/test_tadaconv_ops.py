"""TAdaConv as an operator: one kernel for all frames gives what a kernel for each frame gives."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoopraxis.temporal import RouteFuncMLP, TAdaConv2d, TAdaConv3d, tadaconv_ops

FORMATS = (torch.contiguous_format, torch.channels_last_3d)
formats = pytest.mark.parametrize("memory_format", FORMATS, ids=["contiguous", "channels_last"])


def _kernel_a_frame(conv: TAdaConv3d, x: Tensor, alpha: Tensor) -> Tensor:
    """The definition: frame t of the output from its window of frames by alpha_t times the kernel."""
    kernel = conv.weight.reshape(conv.out_channels, -1, *conv.kernel_size)
    padded = functional.pad(x, (0, 0, 0, 0, conv.padding[0], conv.padding[0]))
    span = conv.dilation[0] * (conv.kernel_size[0] - 1) + 1
    clips = []
    for clip, factors in zip(padded, alpha, strict=True):
        frames = []
        for t in range(alpha.shape[2]):
            window = clip[:, t * conv.stride[0] : t * conv.stride[0] + span]
            axis = (None, slice(None)) if conv.cal_dim == "cin" else (slice(None), None)
            calibrated = kernel * factors[:, t][axis][..., None]
            padding, dilation = (0, *conv.padding[1:]), conv.dilation
            bias = None if conv.bias is None else conv.bias[0, 0]
            out = functional.conv3d(window[None], calibrated, bias, (1, *conv.stride[1:]), padding, dilation, conv.groups)
            frames.append(out[0, :, 0])
        clips.append(torch.stack(frames, dim=1))
    return torch.stack(clips)


def _inputs(
    conv: TAdaConv3d, memory_format: torch.memory_format, num_frames: int = 5, num_out: int = 5
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, conv.in_channels, 5, 7, 6, generator=generator).contiguous(memory_format=memory_format)
    channels = conv.in_channels if conv.cal_dim == "cin" else conv.out_channels
    return x, 1 + 0.5 * torch.randn(2, channels, num_out, 1, 1, generator=generator)


def test_the_example_in_the_docstring_runs() -> None:
    result = doctest.testmod(tadaconv_ops, raise_on_error=False)
    assert (result.failed, result.attempted > 3) == (0, True)


@formats
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"cal_dim": "cout"},
        {"cal_dim": "cout", "groups": 4, "bias": False},
        {"stride": [1, 2, 2], "bias": False},
        {"stride": 2, "padding": 0, "cal_dim": "cout"},
        {"kernel_size": [1, 1, 5], "padding": [0, 0, 4], "dilation": [1, 1, 2]},
        {"kernel_size": 5, "padding": 2},
    ],
)
def test_2d_equals_a_kernel_for_each_frame_and_keeps_the_memory_format(
    memory_format: torch.memory_format, arguments: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    conv = TAdaConv2d(8, 12, **{"kernel_size": [1, 3, 3], "padding": [0, 1, 1], **arguments})
    x, alpha = _inputs(conv, memory_format)
    out = conv(x, alpha)
    torch.testing.assert_close(out, _kernel_a_frame(conv, x, alpha), rtol=1e-4, atol=1e-5)
    assert out.is_contiguous(memory_format=memory_format)
    assert not torch.allclose(out, conv(x, torch.ones_like(alpha)), rtol=1e-2)


@formats
@pytest.mark.parametrize("cal_dim", ["cin", "cout"])
@pytest.mark.parametrize(
    ("arguments", "num_out"),
    [
        ({"kernel_size": [3, 3, 3], "padding": [1, 1, 1], "stride": [1, 2, 2]}, 5),
        ({"kernel_size": [3, 1, 1], "padding": [1, 0, 0], "bias": False}, 5),
        ({"kernel_size": [5, 3, 3], "padding": [2, 1, 1]}, 5),
        ({"kernel_size": 3}, 3),
        ({"kernel_size": [3, 3, 3], "padding": [1, 1, 1], "stride": [2, 1, 1]}, 3),
        ({"kernel_size": [3, 3, 3], "padding": [2, 1, 1], "dilation": [2, 1, 1]}, 5),
        ({"kernel_size": [1, 3, 3], "padding": [0, 1, 1], "stride": [2, 1, 1]}, 3),
        ({"kernel_size": [1, 3, 3]}, 5),
    ],
)
def test_3d_equals_a_kernel_for_each_frame_of_the_output(
    memory_format: torch.memory_format, cal_dim: str, arguments: dict[str, Any], num_out: int
) -> None:
    torch.manual_seed(0)
    conv = TAdaConv3d(8, 12, cal_dim=cal_dim, **arguments)
    x, alpha = _inputs(conv, memory_format, num_out=num_out)
    out = conv(x, alpha)
    torch.testing.assert_close(out, _kernel_a_frame(conv, x, alpha), rtol=1e-4, atol=1e-5)


def test_scaling_the_input_would_not_do_for_more_than_one_tap() -> None:
    torch.manual_seed(0)
    conv = TAdaConv3d(8, 12, [3, 1, 1], padding=[1, 0, 0])
    x, alpha = _inputs(conv, torch.contiguous_format)
    assert not torch.allclose(conv(x * alpha, torch.ones_like(alpha)), conv(x, alpha), rtol=1e-2)


@pytest.mark.parametrize(
    "conv",
    [
        TAdaConv2d(3, 4, [1, 3, 3], padding=[0, 1, 1]),
        TAdaConv2d(3, 4, [1, 3, 3], padding=[0, 1, 1], cal_dim="cout"),
        TAdaConv3d(3, 4, [3, 3, 3], padding=[1, 1, 1]),
    ],
    ids=["cin", "cout", "3d"],
)
def test_gradients_of_input_factors_and_weights_are_exact(conv: TAdaConv3d) -> None:
    conv.double()
    x, alpha = (value[..., :4, :3].double().requires_grad_() for value in _inputs(conv, torch.channels_last_3d))
    leaves = (x, alpha, conv.weight, conv.bias)

    def gradients(function: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(function(x, alpha).square().sum(), leaves)

    expected = gradients(lambda x, alpha: _kernel_a_frame(conv, x, alpha))
    torch.testing.assert_close(gradients(conv), expected)


def test_weights_have_the_published_shapes() -> None:
    flat, deep = TAdaConv2d(8, 12, [1, 3, 5], groups=4, cal_dim="cout"), TAdaConv3d(8, 12, [3, 3, 5], bias=False)
    assert {key: tuple(value.shape) for key, value in flat.state_dict().items()} == {
        "weight": (1, 1, 12, 2, 3, 5),
        "bias": (1, 1, 12),
    }
    assert {key: tuple(value.shape) for key, value in deep.state_dict().items()} == {"weight": (1, 1, 12, 8, 3, 3, 5)}


@pytest.mark.parametrize(("operator", "taps"), [(TAdaConv2d, 1), (TAdaConv3d, 3)])
def test_weights_are_drawn_as_those_of_a_plain_convolution(operator: type[TAdaConv3d], taps: int) -> None:
    torch.manual_seed(0)
    bound = 1 / math.sqrt(64 * taps * 9)
    weight = operator(64, 32, [taps, 3, 3]).weight.detach()
    assert 0.99 * bound < weight.abs().max() <= bound


def test_a_trained_kernel_becomes_the_operators_by_two_leading_axes() -> None:
    kernel = torch.randn(12, 8, 3, 3)
    conv = TAdaConv2d(8, 12, [1, 3, 3], padding=[0, 1, 1], bias=False)
    conv.load_state_dict({"weight": kernel.unsqueeze(0).unsqueeze(0)})
    x = torch.randn(1, 8, 2, 5, 5)
    alpha = RouteFuncMLP(8, 4, [3, 3])(x)
    expected = functional.conv3d(x, kernel[:, :, None], padding=(0, 1, 1))
    assert torch.equal(conv(x, alpha), expected)


def test_half_precision_stays() -> None:
    conv = TAdaConv2d(8, 12, [1, 3, 3], padding=[0, 1, 1])
    x, alpha = _inputs(conv, torch.channels_last_3d)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv(x.bfloat16(), alpha).dtype == torch.bfloat16


def test_compiles_in_one_graph() -> None:
    torch.compiler.reset()
    conv = TAdaConv2d(8, 12, [1, 3, 3], padding=[0, 1, 1])
    x, alpha = _inputs(conv, torch.channels_last_3d)
    torch.testing.assert_close(torch.compile(conv, backend="eager", fullgraph=True)(x, alpha), conv(x, alpha))


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        (TAdaConv2d, {"groups": 2}, r"groups \(2\) must be 1 with cal_dim='cin'; use cal_dim='cout', which takes any"),
        (TAdaConv3d, {"groups": 3, "cal_dim": "cout"}, r"groups \(3\) must divide in_channels \(8\) and out_channels \(12\)"),
        (TAdaConv2d, {"cal_dim": "both"}, r"cal_dim \('both'\) must be 'cin' or 'cout'"),
        (
            TAdaConv2d,
            {"kernel_size": [3, 3, 3]},
            r"kernel_size \(\[3, 3, 3\]\) of TAdaConv2d must be 1 over frames; TAdaConv3d",
        ),
        (TAdaConv2d, {"padding": [1, 1, 1]}, r"padding \(\[1, 1, 1\]\) of TAdaConv2d must be 0 over frames"),
        (TAdaConv3d, {"stride": [1, 0, 1]}, r"stride \(\[1, 0, 1\]\) must be one number or three .*, each at least 1"),
        (
            TAdaConv3d,
            {"kernel_size": [3, 3]},
            r"kernel_size \(\[3, 3\]\) must be one number or three \(frames, height, width\)",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(operator: type[TAdaConv3d], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        operator(8, 12, **{"kernel_size": [1, 3, 3], **arguments})


def test_factors_of_another_shape_are_refused() -> None:
    conv = TAdaConv2d(8, 12, [1, 3, 3])
    x, alpha = _inputs(conv, torch.contiguous_format)
    message = r"alpha must have shape \(B, 8, 5, 1, 1\), one factor .* cal_dim='cin' .* not \(2, 8, 4, 1, 1\)"
    with pytest.raises(ValueError, match=message):
        conv(x, alpha[:, :, 1:])
    with pytest.raises(ValueError, match=r"alpha must have shape \(B, 8, 5, 1, 1\)"):
        conv(x, alpha.repeat(1, 2, 1, 1, 1)[:, :12])
