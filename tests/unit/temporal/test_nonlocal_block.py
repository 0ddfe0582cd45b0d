"""The non-local block: its formula, its two forms, and what it keeps of its input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.temporal import NonLocalBlock, TemporalNonLocal

B, C, T, H, W = 2, 6, 3, 4, 5


def _trained(block: NonLocalBlock) -> NonLocalBlock:
    """In evaluation mode, with values as a trained one has them."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in block.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
    return block.eval()


def _clip() -> Tensor:
    return torch.randn(B, C, T, H, W, generator=torch.Generator().manual_seed(1))


def _by_the_formula(block: NonLocalBlock, clip_BCTHW: Tensor) -> Tensor:
    """With all weights written out, and convolutions that are convolutions."""

    def convolve(layer: nn.Conv3d, maps: Tensor) -> Tensor:
        return nn.functional.conv3d(maps, layer.weight, layer.bias)

    query, key, value = (convolve(layer, clip_BCTHW).flatten(2) for layer in (block.qconv, block.kconv, block.vconv))
    weights = (torch.einsum("bmn,bmp->bnp", query, key) / (C // 2) ** 0.5).softmax(dim=2)
    seen = convolve(block.out_conv, torch.einsum("bnp,bmp->bmn", weights, value).unflatten(2, (T, H, W)))
    return clip_BCTHW + block.out_bn(seen.flatten(2)).unflatten(2, (T, H, W))


def test_it_is_the_published_formula_in_any_memory_format() -> None:
    block, clip = _trained(NonLocalBlock(C)), _clip()
    expected = _by_the_formula(block, clip)
    torch.testing.assert_close(block(clip), expected)
    torch.testing.assert_close(block(clip.contiguous(memory_format=torch.channels_last_3d)), expected)
    assert not torch.allclose(block(clip), clip, atol=0.1)


def test_for_frames_it_is_the_same_block() -> None:
    block, frames = _trained(NonLocalBlock(C)), _trained(TemporalNonLocal(C))
    frames.load_state_dict(block.state_dict())
    torch.testing.assert_close(frames(_clip().transpose(1, 2)), block(_clip()).transpose(1, 2))
    tokens = _clip().transpose(1, 2).flatten(3)
    torch.testing.assert_close(frames(tokens), block(_clip()).transpose(1, 2).flatten(3))


def test_a_new_one_is_the_identity_for_frames_alone() -> None:
    assert torch.equal(TemporalNonLocal(C)(_clip().transpose(1, 2)), _clip().transpose(1, 2))
    assert not torch.allclose(NonLocalBlock(C)(_clip()), _clip(), atol=0.1)


def test_parameters_have_the_published_names_and_shapes() -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in NonLocalBlock(C).named_parameters()}
    inside = {f"{name}conv.{part}": shape for name in "qkv" for part, shape in (("weight", (3, C, 1, 1, 1)), ("bias", (3,)))}
    out = {"out_conv.weight": (C, 3, 1, 1, 1), "out_conv.bias": (C,), "out_bn.weight": (C,), "out_bn.bias": (C,)}
    assert shapes == inside | out


def test_it_follows_an_image_network_to_channels_last() -> None:
    frames = _trained(TemporalNonLocal(C))
    expected = frames(_clip().transpose(1, 2))
    moved = frames.to(memory_format=torch.channels_last)
    assert moved.qconv.weight.shape == (3, C, 1, 1, 1)
    assert torch.equal(moved(_clip().transpose(1, 2)), expected)


def test_one_channel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"channels \(1\) must be at least 2: the block halves them"):
        NonLocalBlock(1)
