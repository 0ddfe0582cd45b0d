"""The network of TAdaConvNeXtV2: where motion counts, what starts as it should, odd sizes, recomputed blocks and refusals."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from zoopraxis.backbones.tadaconvnext import TAdaConvNeXtV2, TAdaConvNeXtV2Block

SMALL = {"dims": (8, 16), "depths": (2, 3), "head_dim": 4}


def _network(**settings: Any) -> TAdaConvNeXtV2:
    torch.manual_seed(0)
    return TAdaConvNeXtV2(**{**SMALL, **settings})


def _grow(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1 or not parameter.any():
                parameter.normal_(1 if parameter.ndim == 1 else 0, 0.3)
            else:
                parameter.mul_(5)


def _clip(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _plain_block(block: TAdaConvNeXtV2Block, x: Tensor) -> Tensor:
    """As published: a kernel for each frame, an average pool over frames, (B, C, T, H, W) all along."""
    alpha, beta = block.dwconv_rf(x)
    num_clips, channels, num_frames, height, width = x.shape
    kernels = (alpha.transpose(1, 2)[..., None] * block.dwconv.weight).flatten(0, 2)
    biases = (beta.flatten(2).transpose(1, 2) * block.dwconv.bias).flatten()
    images = x.transpose(1, 2).reshape(1, -1, height, width)
    y = functional.conv2d(images, kernels, biases, padding=3, groups=images.shape[1])
    y = y.reshape(num_clips, num_frames, channels, height, width).transpose(1, 2)
    pooled = functional.avg_pool3d(y, (3, 1, 1), stride=1, padding=(1, 0, 0))
    h = block.norm(y.movedim(1, -1)) + block.norm_avgpool(pooled.movedim(1, -1))
    h = block.pwconv1(h)
    return x + (block.gamma * block.pwconv2(h * torch.sigmoid(1.702 * h))).movedim(-1, 1)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_a_block_is_the_published_one(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    block = TAdaConvNeXtV2Block(8, head_dim=2)
    _grow(block)
    x = _clip(2, 8, 4, 7, 6).contiguous(memory_format=memory_format)
    out = block(x)
    torch.testing.assert_close(out, _plain_block(block, x), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(out, block(x.flip(2)).flip(2).roll(1, 2), rtol=1e-2)


def test_at_birth_frames_do_not_mix_behind_the_stem() -> None:
    network = _network(stem_kernel=1, stem_stride=1, layer_scale=1.0).eval()
    clip = _clip(1, 4, 3, 32, 32)
    torch.testing.assert_close(network(clip), network(clip[:, [2, 0, 3, 1]]), rtol=1e-4, atol=1e-5)
    assert all(not block.norm_avgpool.weight.any() and not block.norm_avgpool.bias.any() for block in _blocks(network))
    _grow(network)
    assert not torch.allclose(network(clip), network(clip[:, [2, 0, 3, 1]]), rtol=1e-2)


def _blocks(network: nn.Module) -> list[TAdaConvNeXtV2Block]:
    return [module for module in network.modules() if isinstance(module, TAdaConvNeXtV2Block)]


def test_initial_values_are_the_published_ones() -> None:
    network = _network(drop_path=0.4)
    blocks = _blocks(network)
    rates = [module.p for module in network.modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    for block in blocks:
        assert not block.dwconv_rf.b.weight.any()
        assert not block.dwconv_rf.b_bias.weight.any()
        assert bool((block.gamma == 1e-6).all())
        assert 0.015 < block.pwconv1.weight.std() < 0.025
        assert 0.01 < block.dwconv_rf.qkv_proj.weight.std() < 0.03
        assert not block.pwconv1.bias.any()
        assert not block.dwconv_rf.a.bias.any()
    assert (blocks[0].norm.eps, network.norm.eps) == (1e-6, 1e-6)


@pytest.mark.parametrize(
    ("settings", "clip"),
    [
        ({}, (2, 5, 3, 27, 41)),
        ({"stem_kernel": 5, "stem_stride": 1}, (1, 2, 3, 16, 16)),
        ({"in_channels": 10}, (1, 4, 10, 8, 8)),
    ],
)
def test_any_length_size_and_stem(settings: dict[str, Any], clip: tuple[int, ...]) -> None:
    assert _network(**settings)(_clip(*clip)).shape == (clip[0], 16)


def test_parts_can_be_left_out() -> None:
    keys = _network(has_temporal_pool=False, layer_scale=0).state_dict()
    assert not [key for key in keys if "norm_avgpool" in key or "gamma" in key]


def test_recomputed_blocks_give_the_same_gradients() -> None:
    plain = _network(layer_scale=1.0)
    _grow(plain)
    recomputed = copy.deepcopy(plain)
    recomputed.set_grad_checkpointing()
    gradients = []
    for network in (plain, recomputed):
        network(_clip(2, 4, 3, 16, 16)).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depths": (1,)}, r"dims \[8, 16\] and depths \[1\] must be positive and as many, one for each stage"),
        ({"stem_kernel": 2}, r"stem_kernel \(2\) must be odd and stem_stride \(2\) positive; published are 3 and 2"),
        ({"head_dim": 3}, r"head_dim \(3\) must divide the 4 hidden channels"),
    ],
)
def test_arguments_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _network(**settings)


def test_frames_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frames of 7 x 64 px are too small for 2 stages; give 8 px"):
        _network()(torch.zeros(1, 4, 3, 7, 64))
