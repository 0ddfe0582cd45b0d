"""TAdaConv V2: attention with its odd scale and order of heads, and kernels and biases of each frame in every memory format."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoopraxis.temporal import (
    ChannelsFirstLayerNorm,
    RouteFuncTransformer,
    TAdaConv2dV2,
    TemporalCalibrationV2,
    quick_gelu,
    tadaconv_v2,
)

FORMATS = (torch.contiguous_format, torch.channels_last_3d)
formats = pytest.mark.parametrize("memory_format", FORMATS, ids=["contiguous", "channels_last"])
DEPTHWISE = {"in_channels": 8, "out_channels": 8, "groups": 8}


def _grown(route: RouteFuncTransformer) -> RouteFuncTransformer:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in route.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator) + (parameter.ndim == 1))
    return route


def _clip(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _plain_norm(h_BRT: Tensor, norm: nn.LayerNorm) -> Tensor:
    centered = h_BRT - h_BRT.mean(1, keepdim=True)
    scaled = centered / (centered.square().mean(1, keepdim=True) + 1e-6).sqrt()
    return scaled * norm.weight[:, None] + norm.bias[:, None]


def _plain_attention(route: RouteFuncTransformer, h_BRT: Tensor, head_dim: int) -> Tensor:
    """Written out head by head: head n holds every num_heads-th channel from n on, and gives a block of the result."""
    width = h_BRT.shape[1]
    num_heads = width // head_dim
    q, k, v = functional.conv3d(h_BRT[..., None, None], route.qkv_proj.weight, route.qkv_proj.bias)[..., 0, 0].chunk(3, dim=1)
    blocks = []
    for head in range(num_heads):
        q_h, k_h, v_h = (part[:, head::num_heads] for part in (q, k, v))
        weights = (q_h.transpose(1, 2) @ k_h / width**0.5).softmax(-1)
        blocks.append(v_h @ weights.transpose(1, 2))
    merged = torch.cat(blocks, dim=1)[..., None, None]
    return functional.conv3d(merged, route.attn_out.weight, route.attn_out.bias)[..., 0, 0]


@formats
@pytest.mark.parametrize("is_one_based", [True, False])
@pytest.mark.parametrize(("kernels", "ratio", "head_dim"), [((3, 3), 2, 4), ((1, 5), 1, 6), ((5, 1), 2, 12)])
def test_factors_are_those_of_the_definition(
    kernels: tuple[int, int], ratio: int, head_dim: int, is_one_based: bool, memory_format: torch.memory_format
) -> None:
    route = _grown(
        RouteFuncTransformer(24, ratio=ratio, kernels=kernels, head_dim=head_dim, is_one_based=is_one_based)
    ).double()
    x = _clip(2, 24, 5, 4, 3).double().contiguous(memory_format=memory_format)
    means = x.mean((3, 4), keepdim=True)
    h = functional.conv3d(means, route.a.weight, route.a.bias, padding=(kernels[0] // 2, 0, 0))[..., 0, 0]
    h = quick_gelu(_plain_norm(h, route.norm))
    h = (h + _plain_attention(route, _plain_norm(h, route.norm_transformer), head_dim))[..., None, None]
    assert route.b_bias is not None
    for found, layer in zip(route(x), (route.b, route.b_bias), strict=True):
        expected = functional.conv3d(h, layer.weight, padding=(kernels[1] // 2, 0, 0)) + is_one_based
        torch.testing.assert_close(found, expected)


def test_factors_start_at_one_or_are_raw() -> None:
    x = _clip(2, 8, 3, 2, 2)
    ones = RouteFuncTransformer(8, head_dim=2)(x)
    assert all(bool((factors == 1).all()) for factors in ones)
    raw, none = RouteFuncTransformer(8, head_dim=2, has_bias=False, is_one_based=False)(x)
    assert none is None
    assert raw.std() > 0


def _kernel_a_frame(conv: TAdaConv2dV2, x: Tensor, alpha: Tensor, beta: Tensor | None) -> Tensor:
    """The definition: a convolution of its own for each frame."""
    clips = []
    for n, clip in enumerate(x):
        frames = []
        for t in range(clip.shape[1]):
            axis = (None, slice(None)) if conv.cal_dim == "cin" else (slice(None), None)
            kernel = conv.weight[0, 0] * alpha[n, :, t][axis]
            bias = conv.bias if conv.bias is None else conv.bias[0, 0] * (1 if beta is None else beta[n, :, t, 0, 0])
            geometry = (conv.stride[1:], conv.padding[1:], conv.dilation[1:], conv.groups)
            frames.append(functional.conv2d(clip[None, :, t], kernel, bias, *geometry)[0])
        clips.append(torch.stack(frames, dim=1))
    return torch.stack(clips)


@formats
@pytest.mark.parametrize("has_bias_factors", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [
        DEPTHWISE,
        {**DEPTHWISE, "bias": False},
        {**DEPTHWISE, "stride": [1, 2, 2], "kernel_size": 7, "padding": 3},
        {**DEPTHWISE, "out_channels": 16},
        {"in_channels": 8, "out_channels": 12, "groups": 4, "dilation": 2},
        {"in_channels": 8, "out_channels": 12, "cal_dim": "cin"},
    ],
)
def test_numbers_and_gradients_are_those_of_a_kernel_for_each_frame(
    arguments: dict[str, Any], has_bias_factors: bool, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    conv = TAdaConv2dV2(**{"kernel_size": [1, 3, 3], "padding": [0, 1, 1], **arguments}).double()
    if conv.bias is not None:
        nn.init.normal_(conv.bias)
    x = _clip(2, 8, 3, 7, 6).double().contiguous(memory_format=memory_format).requires_grad_()
    channels = 8 if conv.cal_dim == "cin" else conv.out_channels
    alpha = (1 + 0.5 * _clip(2, channels, 3, 1, 1)).double().requires_grad_()
    beta = _clip(2, conv.out_channels, 3, 1, 1).double().requires_grad_() if has_bias_factors else None
    leaves = [x, alpha, *conv.parameters(), *([beta] if beta is not None and conv.bias is not None else [])]
    out, expected = conv(x, (alpha, beta)), _kernel_a_frame(conv, x, alpha, beta)
    torch.testing.assert_close(out, expected)
    for mine, theirs in zip(_gradients(out, leaves), _gradients(expected, leaves), strict=True):
        torch.testing.assert_close(mine, theirs)


def _gradients(out: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(out, leaves, _clip(*out.shape).to(out.dtype), retain_graph=True)


def test_one_tensor_of_factors_leaves_the_bias_alone() -> None:
    conv = TAdaConv2dV2(**DEPTHWISE, kernel_size=[1, 1, 1])
    nn.init.normal_(conv.bias)
    out = conv(_clip(1, 8, 2, 3, 3), torch.zeros(1, 8, 2, 1, 1))
    torch.testing.assert_close(out, conv.bias.reshape(1, 8, 1, 1, 1).expand_as(out))


def _inside(*, is_training: bool) -> TAdaConv2dV2:
    route = _grown(RouteFuncTransformer(8, head_dim=2, is_one_based=False))
    conv = TAdaConv2dV2(**DEPTHWISE, kernel_size=[1, 3, 3], padding=[0, 1, 1], route=route, has_temporal_norms=True)
    assert conv.bn_b is not None
    assert not conv.bn_b.weight.any()
    nn.init.normal_(conv.bn_b.weight)
    return conv.train(is_training)


@pytest.mark.parametrize("is_training", [True, False])
def test_with_norms_the_average_over_neighbors_is_added(is_training: bool) -> None:
    conv = _inside(is_training=is_training)
    x = _clip(2, 8, 4, 5, 5)
    assert conv.rf_func is not None
    alpha, beta = conv.rf_func(x)
    y = _kernel_a_frame(conv, x, alpha, beta)
    pooled = functional.avg_pool3d(y, (3, 1, 1), stride=1, padding=(1, 0, 0))
    parts = []
    for norm, features in ((conv.bn_a, y), (conv.bn_b, pooled)):
        assert norm is not None
        statistics = (None, None) if is_training else (norm.running_mean, norm.running_var)
        parts.append(functional.batch_norm(features, *statistics, norm.weight, norm.bias, training=is_training))
    torch.testing.assert_close(conv(x), parts[0] + parts[1], rtol=1e-4, atol=1e-4)


def test_tokens_are_the_positions_of_square_frames() -> None:
    conv = _inside(is_training=False)
    maps = _clip(2, 8, 4, 5, 5)
    tokens = maps.permute(3, 4, 0, 2, 1).reshape(25, 8, 8)
    expected = conv(maps).permute(3, 4, 0, 2, 1).reshape(25, 8, 8)
    torch.testing.assert_close(conv(tokens, num_frames=4), expected)


def test_at_birth_the_bias_is_zero_and_a_temporal_calibration_the_identity() -> None:
    conv = TAdaConv2dV2(**DEPTHWISE, kernel_size=[1, 7, 7])
    assert not conv.bias.any()
    assert 0.01 < conv.weight.std() < 0.03
    x = _clip(2, 3, 12, 4, 4)
    assert torch.equal(TemporalCalibrationV2(channels=12)(x), x)


def test_a_temporal_calibration_before_a_depthwise_convolution_is_the_calibrated_kernel() -> None:
    calibration = TemporalCalibrationV2(channels=8)
    assert calibration.route.head_dim == 4
    _grown(calibration.route)
    conv = TAdaConv2dV2(**DEPTHWISE, kernel_size=[1, 3, 3], bias=False)
    x = _clip(2, 8, 3, 5, 5)
    scaled = calibration(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(conv(scaled, torch.ones(2, 8, 3, 1, 1)), conv(x, calibration.route(x)), rtol=1e-4, atol=1e-5)


@formats
def test_layer_norm_over_channels(memory_format: torch.memory_format) -> None:
    norm = ChannelsFirstLayerNorm(6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = _clip(2, 6, 3, 4, 5).contiguous(memory_format=memory_format)
    expected = _plain_norm(x.flatten(2), norm).reshape(x.shape)
    torch.testing.assert_close(norm(x), expected)


def test_the_example_in_the_docstring_runs() -> None:
    result = doctest.testmod(tadaconv_v2, raise_on_error=False)
    assert (result.failed, result.attempted > 3) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio": 9}, r"ratio \(9\) must be at least 1 and at most the 8 channels; as published: 2"),
        ({"kernels": (3, 2)}, r"kernels \(\[3, 2\]\) must be two odd positive sizes"),
        ({"head_dim": 3}, r"head_dim \(3\) must divide the 4 hidden channels .*; try head_dim=1"),
    ],
)
def test_a_routing_function_names_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RouteFuncTransformer(8, **arguments)


def test_a_convolution_names_what_is_wrong() -> None:
    plain = TAdaConv2dV2(**DEPTHWISE, kernel_size=[1, 3, 3])
    x, ones = _clip(1, 8, 2, 4, 4), torch.ones(1, 8, 2, 1, 1)
    with pytest.raises(ValueError, match=r"alpha is missing, and the convolution has no route of its own"):
        plain(x)
    with pytest.raises(ValueError, match=r"alpha must have shape \(B, 8, 2, 1, 1\)"):
        plain(x, ones[:, :, :1])
    with pytest.raises(ValueError, match=r"factors of the bias must have shape \(B, 8, 2, 1, 1\), not \(1, 4, 2, 1, 1\)"):
        plain(x, (ones, ones[:, :4]))
    inside = _inside(is_training=False)
    with pytest.raises(ValueError, match=r"alpha is given, but the convolution has a route of its own"):
        inside(x, ones)
    with pytest.raises(ValueError, match=r"tokens must be of square frames, not 5 a frame"):
        inside(torch.zeros(5, 4, 8), num_frames=2)
    for num_frames in (None, 3):
        with pytest.raises(ValueError, match=rf"num_frames \({num_frames}\) must divide the 4 frames of the tokens"):
            inside(torch.zeros(4, 4, 8), num_frames=num_frames)
