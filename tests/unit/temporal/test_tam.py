"""The temporal adaptive module: the published sums, gradients of all orders, memory formats, and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.temporal import TEMPORAL, TemporalAdaptiveModule, temporal_aggregate

SHAPES = [(2, 8, 8, 3, 4), (1, 4, 4, 6), (3, 1, 4, 2, 2), (2, 2, 8, 2, 3, 2)]


def _grouped_convolution(features: Tensor, weights: Tensor) -> Tensor:
    """A grouped convolution as published, but with one group for each clip, frame and channel: each has weights of its own."""
    num_taps, clips, frames, channels = weights.shape
    rows = features.flatten(3).permute(0, 2, 1, 3)
    windows = nn.functional.pad(rows, (0, 0, num_taps // 2, num_taps // 2)).unfold(2, num_taps, 1)
    grouped = windows.permute(0, 2, 1, 4, 3).reshape(1, clips * frames * channels, num_taps, -1)
    kernels = weights.permute(1, 2, 3, 0).reshape(-1, 1, num_taps, 1)
    return nn.functional.conv2d(grouped, kernels, groups=clips * frames * channels).view(features.shape)


def _channels_last(features: Tensor) -> Tensor:
    """The same values with channels innermost in memory."""
    return features.movedim(2, -1).contiguous().movedim(-1, 2)


def _is_channels_last(features: Tensor) -> bool:
    return features.movedim(2, -1).is_contiguous()


def _module(**settings: Any) -> TemporalAdaptiveModule:
    torch.manual_seed(0)
    return TemporalAdaptiveModule(**{"channels": 8, "num_frames": 4, **settings})


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("num_taps", [1, 3, 5])
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_values_and_gradients_are_those_of_a_grouped_convolution(
    shape: tuple[int, ...], num_taps: int, is_channels_last: bool
) -> None:
    torch.manual_seed(0)
    features, weights, arriving = torch.randn(shape), torch.rand(num_taps, *shape[:3]), torch.randn(shape)
    if is_channels_last:
        features, arriving = _channels_last(features), _channels_last(arriving)
    features.requires_grad_()
    weights.requires_grad_()
    expected = _grouped_convolution(features, weights)
    expected_gradients = torch.autograd.grad(expected, (features, weights), arriving)
    aggregated = temporal_aggregate(features, weights)
    gradients = torch.autograd.grad(aggregated, (features, weights), arriving)
    torch.testing.assert_close(aggregated, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(temporal_aggregate(features, weights), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("is_channels_last", [False, True])
def test_first_and_second_gradients_are_exact(is_channels_last: bool) -> None:
    features, weights = torch.randn(2, 3, 2, 2, 2, dtype=torch.double), torch.randn(3, 2, 3, 2, dtype=torch.double)
    if is_channels_last:
        features = _channels_last(features)
    inputs = (features.requires_grad_(), weights.requires_grad_())
    assert torch.autograd.gradcheck(temporal_aggregate, inputs)
    assert torch.autograd.gradgradcheck(temporal_aggregate, inputs)


@pytest.mark.parametrize("is_training", [False, True])
def test_the_whole_module_has_exact_gradients(is_training: bool) -> None:
    module = _module(channels=4, num_frames=3).double().train(is_training)
    features = torch.randn(2, 3, 4, 2, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(module, features)
    assert torch.autograd.gradgradcheck(module, features)


def test_the_branches_are_the_published_sequences_of_layers() -> None:
    module = _module(channels=8, num_frames=4, kernel_size=5, local_kernel_size=3, alpha=3, beta=2).train()
    twin = copy.deepcopy(module)
    features = torch.randn(2, 4, 8, 3, 3)
    kernel_KBC, factors_BTC = module.branches(features)
    means_BCT = features.mean((3, 4)).transpose(1, 2)
    narrow = nn.functional.conv1d(means_BCT, twin.L[0].weight, padding=1)
    factors_BCT = torch.sigmoid(nn.functional.conv1d(torch.relu(twin.L[1](narrow)), twin.L[3].weight))
    kernel_NK = torch.softmax(twin.G(means_BCT.flatten(0, 1)), dim=1)
    torch.testing.assert_close(factors_BTC, factors_BCT.transpose(1, 2))
    torch.testing.assert_close(kernel_KBC, kernel_NK.t().reshape(5, 2, 8))
    torch.testing.assert_close(kernel_KBC.sum(0), torch.ones(2, 8))
    for name, statistics in twin.named_buffers():
        torch.testing.assert_close(module.get_buffer(name), statistics)


def test_each_frame_is_the_sum_of_its_neighbors_scaled_by_their_factors() -> None:
    module = _module().eval()
    features = torch.randn(2, 4, 8, 3, 3)
    kernel_KBC, factors_BTC = module.branches(features)
    mixed = module(features)
    for frame in range(4):
        expected = torch.zeros(2, 8, 3, 3)
        for tap, neighbor in enumerate((frame - 1, frame, frame + 1)):
            if 0 <= neighbor < 4:
                expected += (kernel_KBC[tap] * factors_BTC[:, neighbor])[..., None, None] * features[:, neighbor]
        torch.testing.assert_close(mixed[:, frame], expected)


def test_keys_and_shapes_are_the_published_ones() -> None:
    shapes = {key: tuple(tensor.shape) for key, tensor in _module(channels=64, num_frames=8).state_dict().items()}
    assert {key: shape for key, shape in shapes.items() if "." not in key[4:] and key.endswith("weight")} == {
        "L.0.weight": (16, 64, 3),
        "L.1.weight": (16,),
        "L.3.weight": (64, 16, 1),
        "G.0.weight": (16, 8),
        "G.1.weight": (16,),
        "G.3.weight": (3, 16),
    }
    assert len(shapes) == 14
    assert sum(p.numel() for p in _module(channels=64, num_frames=8).parameters()) == 64**2 + 64 // 2 + 208


@pytest.mark.parametrize("shape", [(2, 4, 8, 6, 5), (2, 4, 8, 7)])
def test_channels_last_stays_so_in_output_and_gradient(shape: tuple[int, ...]) -> None:
    module = _module().train()
    features = _channels_last(torch.randn(shape)).requires_grad_()
    mixed = module(features)
    mixed.backward(_channels_last(torch.randn(shape)))
    assert features.grad is not None
    assert _is_channels_last(mixed)
    assert _is_channels_last(features.grad)
    with torch.no_grad():
        assert _is_channels_last(module(features))
    plain = features.detach().contiguous().requires_grad_()
    module(plain).backward(torch.randn(shape))
    assert plain.grad is not None
    assert plain.grad.is_contiguous()


def test_memory_formats_give_the_same_gradients_even_when_mixed() -> None:
    module = _module().train()
    features, arriving = torch.randn(2, 4, 8, 3, 3), torch.randn(2, 4, 8, 3, 3)
    gradients = []
    for features_format in (Tensor.contiguous, _channels_last):
        for arriving_format in (Tensor.contiguous, _channels_last):
            inputs = features_format(features).clone().requires_grad_()
            gradients.append(torch.autograd.grad(module(inputs), (inputs, *module.parameters()), arriving_format(arriving)))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-4, atol=1e-5)


def test_input_is_not_changed_and_only_input_and_weights_are_kept_for_the_backward() -> None:
    features, weights = torch.randn(2, 4, 8, 3, 3, requires_grad=True), torch.rand(3, 2, 4, 8, requires_grad=True)
    before = features.detach().clone()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.data_ptr()) or tensor, lambda tensor: tensor
    ):
        temporal_aggregate(features, weights).sum().backward()
    assert torch.equal(features.detach(), before)
    assert sorted(kept) == sorted([features.data_ptr(), weights.data_ptr()])


def test_parts_of_the_gradient_can_be_asked_for() -> None:
    features, weights = torch.randn(2, 4, 8, 3), torch.rand(3, 2, 4, 8)
    for wanted in (features, weights):
        wanted.requires_grad_()
        temporal_aggregate(features, weights).sum().backward()
        assert wanted.grad is not None
        wanted.requires_grad_(False)


def test_compiled_and_exported_modules_give_the_same() -> None:
    module = _module().eval()
    features = torch.randn(2, 4, 8, 3, 3)
    torch.compiler.reset()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(features), module(features))
    gradients = [torch.autograd.grad(m(features).square().sum(), list(module.parameters())) for m in (compiled, module)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)
    exported = torch.export.export(module, (features,), dynamic_shapes=({0: torch.export.Dim("clips", min=2, max=8)},))
    more = torch.randn(5, 4, 8, 3, 3)
    torch.testing.assert_close(exported.module()(more), module(more))
    assert not any("autograd" in str(node.target) for node in exported.graph.nodes)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*deprecated:FutureWarning")
def test_a_traced_module_takes_any_number_of_clips() -> None:
    module = _module().eval()
    with torch.no_grad():
        traced = torch.jit.trace(module, torch.randn(2, 4, 8, 3, 3))
        more = torch.randn(5, 4, 8, 3, 3)
        torch.testing.assert_close(traced(more), module(more))


def test_lower_precision_works_by_itself_and_by_autocast() -> None:
    module = _module().eval()
    features = torch.randn(2, 4, 8, 3, 3)
    expected = module(features)
    low = features.bfloat16().requires_grad_()
    mixed = copy.deepcopy(module).bfloat16()(low)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), expected, rtol=0.05, atol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        automatic = module(low)
    automatic.sum().backward()
    assert automatic.dtype == torch.bfloat16
    assert low.grad is not None
    assert low.grad.dtype == torch.bfloat16
    torch.testing.assert_close(automatic.float(), expected, rtol=0.05, atol=0.05)
    large = torch.full((1, 4, 8, 64, 64), 100.0, dtype=torch.half)
    assert torch.isfinite(copy.deepcopy(module).half()(large)).all()


def test_the_table_builds_it_before_the_spatial_layer() -> None:
    kind = TEMPORAL.get("tam")
    assert (kind.site, kind.sparse_from, kind.layouts) == ("spatial_conv", None, ("map", "tokens"))
    assert isinstance(kind.build(channels=8, num_frames=4, kernel_size=5), TemporalAdaptiveModule)


def test_clips_of_another_length_are_refused() -> None:
    message = r"clip has 6 frames, but the temporal adaptive module maps all 4 frames .* give clips of 4 frames, or build"
    with pytest.raises(ValueError, match=message):
        _module()(torch.zeros(2, 6, 8, 3, 3))


def test_features_without_space_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(B, T, C, \*spatial\), not \(2, 4, 8\)"):
        _module()(torch.zeros(2, 4, 8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 3}, r"beta \(3\) must divide the number of channels \(8\)"),
        ({"beta": 0}, r"beta \(0\) must be at least 1"),
        ({"alpha": 0}, r"alpha \(0\) must be at least 1"),
        ({"num_frames": 0}, r"num_frames \(0\) must be at least 1"),
        ({"kernel_size": 4}, r"kernel_size \(4\) must be odd and at least 1; the published value is 3"),
        ({"local_kernel_size": 2}, r"local_kernel_size \(2\) must be odd"),
    ],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _module(**settings)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.zeros(3, 2, 4, 7), r"weights of shape \(3, 2, 4, 7\) do not fit features of shape \(2, 4, 8, 3\)"),
        (torch.zeros(2, 2, 4, 8), r"must be \(K, B, T, C\) with K odd"),
        (
            torch.zeros(3, 2, 4, 8, dtype=torch.double),
            r"weights are torch.float64, features torch.float32; convert the weights",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        temporal_aggregate(torch.zeros(2, 4, 8, 3), weights)
