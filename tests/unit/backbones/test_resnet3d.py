"""Residual networks over clips: where channels and sizes change, what sees time, and which numbers are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.backbones.csn import InteractionPreservedBranch, InteractionReducedBranch
from zoopraxis.backbones.r2plus1d import SplitBottleneckBranch, SplitSimpleBranch, SplitStem, middle_width
from zoopraxis.backbones.resnet3d import BlockShape, BottleneckBranch, Branch, ResNet3D, ResNet3DSizes, SimpleBranch
from zoopraxis.errors import ConfigError

BRANCHES: dict[str, Branch] = {
    "simple": SimpleBranch,
    "bottleneck": BottleneckBranch,
    "ir": InteractionReducedBranch,
    "ip": InteractionPreservedBranch,
    "split_simple": SplitSimpleBranch,
    "split_bottleneck": SplitBottleneckBranch,
}
IMAGE_KERNELS = ((1, 7, 7), (1, 3, 3), (1, 3, 3), (1, 3, 3), (1, 3, 3))
CLIP_KERNELS = ((3, 7, 7), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))


def _sizes(**changed: Any) -> ResNet3DSizes:
    numbers: dict[str, Any] = {"blocks": (2, 1, 1, 1), "widths": (4, 8, 8, 16, 16), "kernels": CLIP_KERNELS, "expansion": 2}
    return ResNet3DSizes(**numbers | changed)


def _network(branch: str = "bottleneck", **changed: Any) -> ResNet3D:
    torch.manual_seed(0)
    return ResNet3D(_sizes(**changed), branch=BRANCHES[branch], in_channels=3).eval()


def _clip(num_frames: int = 8, height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(2, num_frames, 3, height, width, generator=torch.Generator().manual_seed(1))


def _strided(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The convolutions that stride, by name."""
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv3d)}
    return {name: layer.stride for name, layer in layers.items() if max(layer.stride) > 1}


def test_shortcuts_are_projections_only_where_channels_or_sizes_change() -> None:
    network = _network(widths=(8, 8, 8, 16, 16))
    projected = [name for name, module in network.named_modules() if name.endswith("short_cut")]
    assert projected == [f"conv{stage}.res_1.short_cut" for stage in (3, 4, 5)]
    assert "conv2.res_1.short_cut.weight" in _network().state_dict()


@pytest.mark.parametrize(("branch", "layer"), [("simple", "a"), ("bottleneck", "b"), ("ir", "b"), ("ip", "b")])
def test_a_block_strides_in_one_convolution_and_its_shortcut(branch: str, layer: str) -> None:
    strided = _strided(_network(branch))
    assert strided.pop("conv1.a") == (1, 2, 2)
    blocks = {f"conv{stage}.res_1" for stage in (3, 4, 5)}
    assert strided == {f"{block}.{name}": (2, 2, 2) for block in blocks for name in ("short_cut", f"conv_branch.{layer}")}


@pytest.mark.parametrize(("branch", "layer"), [("split_simple", "a"), ("split_bottleneck", "b")])
def test_halves_of_a_convolution_stride_over_space_and_over_time(branch: str, layer: str) -> None:
    strided = _strided(_network(branch))
    for stage in (3, 4, 5):
        block = f"conv{stage}.res_1"
        assert strided.pop(f"{block}.short_cut") == (2, 2, 2)
        assert strided.pop(f"{block}.conv_branch.{layer}1") == (1, 2, 2)
        assert strided.pop(f"{block}.conv_branch.{layer}2") == (2, 1, 1)
    assert strided == {"conv1.a": (1, 2, 2)}


@pytest.mark.parametrize("branch", BRANCHES)
def test_features_are_the_mean_of_maps_for_clips_of_any_length_and_size(branch: str) -> None:
    network = _network(branch)
    with torch.inference_mode():
        maps = network.forward_maps(_clip(7, 33, 50))
        assert maps.shape == (2, 16, 1, 2, 2)
        torch.testing.assert_close(network(_clip(7, 33, 50)), maps.mean(dim=(2, 3, 4)))
        assert network.forward_maps(_clip(1)).shape == (2, 16, 1, 1, 1)


@pytest.mark.parametrize("branch", BRANCHES)
def test_kernels_of_one_frame_see_no_time_and_others_do(branch: str) -> None:
    for kernels, is_blind in ((IMAGE_KERNELS, True), (CLIP_KERNELS, False)):
        network = _network(branch, kernels=kernels, temporal_strides=(1,) * 5)
        with torch.inference_mode():
            together = network.forward_maps(_clip(4)).transpose(1, 2).flatten(0, 1)
            apart = network.forward_maps(_clip(4).flatten(0, 1)[:, None])[:, :, 0]
        assert torch.allclose(together, apart, atol=1e-4) is is_blind


def test_clips_in_channels_last_give_the_same_and_stay_so() -> None:
    network, clip = _network(), _clip()
    last = clip.transpose(1, 2).contiguous(memory_format=torch.channels_last_3d).transpose(1, 2)
    maps = network.forward_maps(last)
    assert maps.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(maps, network.forward_maps(clip), rtol=1e-4, atol=1e-5)


def test_a_nonlocal_block_ends_its_stage_even_one_of_one_block() -> None:
    network, plain = _network(nonlocal_stages=(2, 5)), _network()
    added = {name.partition(".nonlocal_block.")[0] for name in network.state_dict().keys() - plain.state_dict().keys()}
    assert added == {"conv2", "conv5"}
    assert [name for name, _ in network.conv5.named_children()] == ["res_1", "nonlocal_block"]
    network.load_state_dict(plain.state_dict(), strict=False)
    assert not torch.allclose(network(_clip()), plain(_clip()), atol=1e-3)


def test_the_middle_of_a_split_convolution_has_the_published_width() -> None:
    assert (middle_width(3, 64, (3, 7, 7)), middle_width(64, 64, (3, 3, 3)), middle_width(64, 128, (3, 3, 3))) == (83, 144, 230)
    stem = SplitStem(3, 64, kernel=(3, 7, 7), stride=(1, 2, 2), eps=1e-3)
    assert stem.a1.weight.numel() + stem.a2.weight.numel() <= 3 * 7 * 7 * 3 * 64
    assert {module.eps for module in stem.modules() if isinstance(module, nn.BatchNorm3d)} == {1e-3}


def test_a_preserved_interaction_that_does_nothing_is_a_reduced_one() -> None:
    shape = BlockShape(in_channels=6, channels=8, width=4, kernel=(3, 3, 3), stride=(2, 2, 2))
    reduced, preserved = InteractionReducedBranch(shape).eval(), InteractionPreservedBranch(shape).eval()
    missing, unexpected = preserved.load_state_dict(reduced.state_dict(), strict=False)
    assert unexpected == []
    assert {name.partition(".")[0] for name in missing} == {"b_1x1", "b_1x1_bn"}
    with torch.no_grad():
        preserved.b_1x1.weight.copy_(torch.eye(4)[..., None, None, None])
    maps = torch.randn(2, 6, 4, 5, 5)
    torch.testing.assert_close(preserved(maps), reduced(maps), rtol=1e-4, atol=1e-4)
    assert reduced.b.weight.shape == preserved.b.weight.shape == (4, 1, 3, 3, 3)


def test_eps_reaches_every_norm_but_those_of_nonlocal_blocks() -> None:
    norms = {
        name: module.eps
        for name, module in _network(norm_eps=0.02, nonlocal_stages=(3,)).named_modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm3d)
    }
    assert norms.pop("conv3.nonlocal_block.out_bn") == 1e-5
    assert set(norms.values()) == {0.02}


def test_a_stem_may_have_no_pool() -> None:
    with_pool, without = (_network(has_stem_pool=has_pool).forward_maps(_clip(8, 64, 64)) for has_pool in (True, False))
    assert (with_pool.shape[-1], without.shape[-1]) == (2, 4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"blocks": (1, 2)}, r"blocks has 2 entries, but needs 4, for the four stages"),
        ({"widths": (4, 8, 8, 16)}, r"widths has 4 entries, but needs 5, for the stem and the four stages"),
        ({"blocks": (1, 0, 1, 1)}, r"blocks \(\[1, 0, 1, 1\]\) must be at least 1 each"),
        ({"expansion": 9}, r"expansion \(9\) must be from 1 to the smallest width \(8\)"),
        ({"kernels": ((3, 7, 7),) * 4 + ((2, 3, 3),)}, r"a kernel \(\[2, 3, 3\]\) must be three odd sizes, of time, height"),
        ({"temporal_strides": (1, 1, 3, 1, 1)}, r"temporal_strides \(\[1, 1, 3, 1, 1\]\) must be 1 or 2 each"),
        ({"nonlocal_stages": (1, 5)}, r"nonlocal_stages \(\[1, 5\]\) must be among the stages \[2, 3, 4, 5\]"),
        ({"norm_eps": 0.0}, r"norm_eps \(0\.0\) must be positive; published are 1e-5 and 1e-3"),
    ],
)
def test_numbers_out_of_range_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _sizes(**changed)


def test_a_clip_of_other_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a clip must have shape \(B, T, 3, H, W\), not \(2, 8, 4, 32, 32\)"):
        _network()(torch.zeros(2, 8, 4, 32, 32))
