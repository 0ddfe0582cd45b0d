"""SlowFast's backbone: which frames each path sees, what passes between them, one path alone, initial weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.backbones.resnet3d import ResNet3DSizes
from zoopraxis.backbones.slowfast import Fusion, Pathway, SlowFast
from zoopraxis.errors import ConfigError

SLOW = ResNet3DSizes(
    blocks=(1, 2, 1, 1),
    widths=(8, 16, 16, 32, 32),
    kernels=((1, 7, 7), *[(1, 3, 3)] * 4),
    temporal_strides=(1,) * 5,
    expansion=2,
)
FAST = ResNet3DSizes(
    blocks=(1, 2, 1, 1),
    widths=(2, 4, 4, 8, 8),
    kernels=((5, 7, 7), *[(1, 3, 3)] * 4),
    temporal_strides=(1,) * 5,
    expansion=2,
)


def _network(*, paths: tuple[str, ...] = ("slow", "fast"), alpha: int = 4, **settings: Any) -> SlowFast:
    torch.manual_seed(0)
    pathways = {"slow": Pathway(sizes=SLOW, temporal_stages=(4, 5), **settings), "fast": Pathway(sizes=FAST, **settings)}
    chosen = {name: pathway if name in paths else None for name, pathway in pathways.items()}
    return SlowFast(**chosen, alpha=alpha, fusion=Fusion(), in_channels=3).eval()


def _wake(network: nn.Module) -> None:
    """Values as a trained network has them: the last norms are not zero."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)


def _inputs(network: SlowFast, layers: str, clips: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = network.get_submodule(layers).register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    network(clips)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("alpha", [2, 4])
def test_the_slow_path_sees_each_alpha_th_frame_from_the_first_on(alpha: int) -> None:
    network, clips = _network(alpha=alpha), torch.randn(2, 8, 3, 32, 48)
    assert torch.equal(_inputs(network, "slow_conv1", clips).transpose(1, 2), clips[:, ::alpha])
    assert torch.equal(_inputs(network, "fast_conv1", clips).transpose(1, 2), clips)
    assert network(clips).shape == (2, network.num_features) == (2, 40)


def test_channels_of_the_fast_path_join_the_slow_one_behind_the_first_four_stages() -> None:
    network, clips = _network(), torch.randn(1, 8, 3, 32, 32)
    shapes = [tuple(_inputs(network, f"slow_conv{stage}.res_1", clips).shape) for stage in (2, 3, 4, 5)]
    assert shapes == [(1, 12, 2, 8, 8), (1, 24, 2, 8, 8), (1, 24, 2, 4, 4), (1, 48, 2, 2, 2)]
    told = network.slowfast_fusion1(_inputs(network, "fast_conv2.res_1", clips))
    torch.testing.assert_close(_inputs(network, "slow_conv2.res_1", clips)[:, 8:], told)
    assert told.min() >= 0


def test_each_form_of_fusion_has_its_layers_and_no_others() -> None:
    parts = {"kernel_size": 5, "ratio": 3, "has_bias": True, "has_norm": False, "has_relu": False}
    network = SlowFast(
        slow=Pathway(sizes=SLOW), fast=Pathway(sizes=FAST), alpha=2, fusion=Fusion(**parts), in_channels=3
    ).eval()
    shapes = {key: tuple(tensor.shape) for key, tensor in network.slowfast_fusion2.state_dict().items()}
    assert shapes == {"conv_fast_to_slow.weight": (12, 4, 5, 1, 1), "conv_fast_to_slow.bias": (12,)}
    assert network.slowfast_fusion1(torch.randn(1, 2, 8, 4, 4)).min() < 0
    assert network(torch.randn(1, 4, 3, 32, 32)).shape == (1, 40)


def test_one_path_alone_is_that_path_without_what_it_is_told() -> None:
    clips = torch.randn(1, 8, 3, 32, 32)
    both, slow, fast = _network(), _network(paths=("slow",)), _network(paths=("fast",))
    assert [network.num_features for network in (both, slow, fast)] == [40, 32, 8]
    fast.load_state_dict({key: tensor for key, tensor in both.state_dict().items() if key.startswith("fast_")})
    torch.testing.assert_close(fast(clips), both(clips)[:, 32:])
    assert torch.equal(_inputs(slow, "slow_conv1", clips).transpose(1, 2), clips[:, ::4])
    assert slow.slow_conv2.res_1.conv_branch.a.in_channels == 8
    assert not [key for key in slow.state_dict() if "fast" in key]
    assert fast(torch.randn(1, 7, 3, 32, 32)).shape == (1, 8)


def test_first_convolutions_look_at_three_frames_where_they_are_told_to() -> None:
    network = _network()
    for name, expected in (("slow", [1, 1, 3, 3]), ("fast", [3, 3, 3, 3])):
        stages = [network.get_submodule(f"{name}_conv{stage}") for stage in (2, 3, 4, 5)]
        assert [stage.res_1.conv_branch.a.kernel_size[0] for stage in stages] == expected


def test_simple_blocks_have_two_large_convolutions() -> None:
    network = _network(has_bottlenecks=False)
    assert network.slow_conv2.res_1.conv_branch.b.kernel_size == (1, 3, 3)
    assert not [key for key in network.state_dict() if ".conv_branch.c." in key]
    assert network(torch.randn(1, 4, 3, 32, 32)).shape == (1, 40)


@pytest.mark.parametrize("has_bottlenecks", [True, False])
def test_blocks_begin_as_their_shortcut_and_kernels_as_published(has_bottlenecks: bool) -> None:
    network = _network(has_bottlenecks=has_bottlenecks)
    last = "c_bn" if has_bottlenecks else "b_bn"
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.weight.eq(0 if name.endswith(last) else 1).all(), name
    kernel = network.slow_conv5.res_1.short_cut.weight
    assert kernel.std().item() == pytest.approx((2 / kernel.shape[0]) ** 0.5, rel=0.05)
    maps = torch.rand(1, 16, 2, 8, 8)
    assert torch.equal(network.slow_conv3.res_2(maps), maps)


def test_gradient_checkpointing_changes_neither_gradients_nor_statistics() -> None:
    clips, found = torch.randn(2, 4, 3, 32, 32), []
    for enable in (False, True):
        network = _network().train()
        _wake(network)
        network.set_grad_checkpointing(enable)
        torch.manual_seed(1)
        network(clips).square().sum().backward()
        found.append(([p.grad for p in network.parameters()], list(network.buffers())))
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(again, plain)


def test_a_number_of_frames_that_alpha_does_not_divide_is_refused() -> None:
    message = r"the number of frames \(10\) must be divisible by alpha \(4\), .* for one of the slow path; try 8 frames"
    with pytest.raises(ValueError, match=message):
        _network()(torch.zeros(1, 10, 3, 32, 32))
    with pytest.raises(ValueError, match=r"the number of frames \(3\) must be divisible by alpha \(4\), .*; try 4 frames"):
        _network(paths=("slow",))(torch.zeros(1, 3, 3, 32, 32))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: _network(paths=()), r"a SlowFast network needs a slow path, a fast path or both"),
        (lambda: _network(alpha=0), r"alpha \(0\) must be at least 1; published are 4 and 8"),
        (lambda: Fusion(kernel_size=4), r"the fusion's kernel \(4\) must be odd and positive; published are 7 and 5"),
        (lambda: Fusion(ratio=0), r"the fusion's ratio \(0\) must be at least 1; the published one is 2"),
        (
            lambda: Pathway(sizes=SLOW, temporal_stages=(1,)),
            r"temporal stages \(\[1\]\) must be among the stages \[2, 3, 4, 5\]",
        ),
    ],
)
def test_numbers_out_of_range_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()
