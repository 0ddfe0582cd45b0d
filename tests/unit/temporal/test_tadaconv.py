"""TAdaConv inside a network: its factors, the identity at birth, and the norm over neighboring frames."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from zoopraxis.temporal import TEMPORAL, RouteFuncMLP, TAdaConv2d, TemporalBatchNorm2d, TemporalCalibration

SHAPE = (2, 5, 8, 6, 7)


def _features(channels_last: bool = True, shape: tuple[int, ...] = SHAPE) -> Tensor:
    clips, frames, channels, height, width = shape
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(clips * frames, channels, height, width, generator=generator) + 0.3
    return features.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format).unflatten(
        0, (clips, frames)
    )


def _grown_calibration(channels: int = 8) -> TemporalCalibration:
    torch.manual_seed(0)
    module = TemporalCalibration(channels=channels)
    nn.init.normal_(module.b.weight, 0, 0.5)
    nn.init.uniform_(module.bn.running_mean, -0.5, 0.5)
    return module


def _norms(grown: bool) -> tuple[nn.BatchNorm2d, TemporalBatchNorm2d]:
    """A batch norm with values of a trained one, and the temporal norm that took its place."""
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(8)
    temporal = TemporalBatchNorm2d(copy.deepcopy(plain))
    for norm in (temporal, temporal.temporal) if grown else (temporal,):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    plain.load_state_dict({key: value for key, value in temporal.state_dict().items() if "temporal" not in key})
    return plain, temporal


def _plain_mean(features_BTCHW: Tensor) -> Tensor:
    """A third of each frame and its neighbors, with frames of zeros around the clip."""
    padded = functional.pad(features_BTCHW, (0, 0, 0, 0, 0, 0, 1, 1))
    return (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3


def _plain_norm(norm: nn.BatchNorm2d, features_BTCHW: Tensor) -> Tensor:
    """A batch norm over folded frames; running statistics stay as they are."""
    statistics = (None, None) if norm.training else (norm.running_mean, norm.running_var)
    out = functional.batch_norm(features_BTCHW.flatten(0, 1), *statistics, norm.weight, norm.bias, training=norm.training)
    return out.unflatten(0, features_BTCHW.shape[:2])


def _plain_sum(norm: TemporalBatchNorm2d, features_BTCHW: Tensor) -> Tensor:
    """The published formulation."""
    return _plain_norm(norm, features_BTCHW) + _plain_norm(norm.temporal, _plain_mean(features_BTCHW))


def test_parameters_have_the_published_names_and_shapes() -> None:
    shapes = {key: tuple(value.shape) for key, value in RouteFuncMLP(c_in=18, ratio=4, kernels=[3, 5]).state_dict().items()}
    assert shapes == {
        "g.weight": (18, 18, 1, 1, 1),
        "g.bias": (18,),
        "a.weight": (4, 18, 3, 1, 1),
        "a.bias": (4,),
        "bn.weight": (4,),
        "bn.bias": (4,),
        "bn.running_mean": (4,),
        "bn.running_var": (4,),
        "bn.num_batches_tracked": (),
        "b.weight": (18, 4, 5, 1, 1),
    }


def test_factors_are_exactly_one_at_birth_and_only_the_last_convolution_asks_to_be_left_alone() -> None:
    route = RouteFuncMLP(c_in=8, ratio=2, kernels=[3, 3])
    assert torch.equal(route(torch.randn(2, 8, 5, 4, 4)), torch.ones(2, 8, 5, 1, 1))
    assert [name for name, module in route.named_modules() if getattr(module, "skip_init", False)] == ["b"]


@pytest.mark.parametrize("kernels", [(3, 3), (1, 5)])
@pytest.mark.parametrize("num_frames", [1, 2, 7])
def test_factors_equal_those_of_convolutions_over_the_whole_clip(kernels: tuple[int, int], num_frames: int) -> None:
    torch.manual_seed(0)
    route = RouteFuncMLP(8, 4, kernels)
    nn.init.normal_(route.b.weight)
    x = torch.randn(3, 8, num_frames, 5, 4)
    pads = [(kernel // 2, 0, 0) for kernel in kernels]
    context = functional.conv3d(x.mean(dim=(2, 3, 4), keepdim=True), route.g.weight, route.g.bias)
    hidden = functional.conv3d(x.mean(dim=(3, 4), keepdim=True) + context, route.a.weight, route.a.bias, padding=pads[0])
    hidden = functional.batch_norm(hidden, None, None, route.bn.weight, route.bn.bias, training=True).relu()
    expected = 1 + functional.conv3d(hidden, route.b.weight, padding=pads[1])
    torch.testing.assert_close(route(x), expected, rtol=1e-4, atol=1e-5)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"ratio \(16\) must be at least 1 and at most the 8 channels; the published value is 4"
    ):
        RouteFuncMLP(8, 16, [3, 3])
    message = r"kernels \(\[3, 4\]\) must be two odd positive sizes; the published value is \[3, 3\]"
    with pytest.raises(ValueError, match=message):
        RouteFuncMLP(8, 4, [3, 4])


@pytest.mark.parametrize("name", ["tadaconv", "tada2d"])
def test_entries_of_the_table_stand_before_the_spatial_convolution_of_feature_maps(name: str) -> None:
    kind = TEMPORAL.get(name)
    assert (kind.site, kind.layouts) == ("spatial_conv", ("map",))
    assert (kind.norm is TemporalBatchNorm2d) == (name == "tada2d")
    module = kind.build(channels=8, num_frames=4, ratio=2, kernels=[1, 3])
    assert [tuple(module.get_parameter(key).shape[1:3]) for key in ("a.weight", "b.weight")] == [(8, 1), (4, 3)]


@pytest.mark.parametrize("channels_last", [True, False])
def test_calibration_before_a_convolution_is_the_published_operator(channels_last: bool) -> None:
    calibration = _grown_calibration().eval()
    operator = TAdaConv2d(8, 4, [1, 3, 3], padding=[0, 1, 1], bias=False)
    features = _features(channels_last)
    calibrated = calibration(features)
    assert calibrated.stride() == features.stride()
    out = functional.conv2d(calibrated.flatten(0, 1), operator.weight[0, 0], padding=1).unflatten(0, SHAPE[:2])
    x = features.transpose(1, 2)
    torch.testing.assert_close(out.transpose(1, 2), operator(x, RouteFuncMLP.forward(calibration, x)))


@pytest.mark.parametrize("spatial", [(), (6,), (3, 4, 2)])
def test_calibration_takes_any_number_of_spatial_axes(spatial: tuple[int, ...]) -> None:
    calibration = _grown_calibration().eval()
    features = torch.randn(2, 5, 8, *spatial)
    flat = features.reshape(2, 5, 8, -1, 1)
    assert torch.allclose(calibration(features).reshape(flat.shape), calibration(flat), atol=1e-6)


def test_calibration_at_birth_changes_no_bit() -> None:
    features = _features()
    assert torch.equal(TemporalCalibration(channels=8)(features), features)


def test_gradients_of_the_calibration_are_exact() -> None:
    calibration = _grown_calibration().double()
    features = _features(shape=(2, 3, 8, 3, 2)).double().requires_grad_()
    assert torch.autograd.gradcheck(calibration, features)


def test_gradient_of_the_calibration_keeps_the_memory_format() -> None:
    features = _features().requires_grad_()
    calibration = _grown_calibration()
    (gradient,) = torch.autograd.grad(calibration(features), features, torch.ones_like(features))
    assert gradient.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_half_precision_stays_and_means_do_not_overflow() -> None:
    calibration = _grown_calibration().eval()
    nn.init.normal_(calibration.b.weight, 0, 0.01)
    features = torch.full((1, 2, 8, 64, 64), 60.0)
    expected = calibration(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = calibration(features.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.05, atol=0.05)
    assert calibration.half()(features.half()).isfinite().all()


def test_a_network_with_it_can_go_to_channels_last() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), _grown_calibration())
    before = copy.deepcopy(network.state_dict())
    network.to(memory_format=torch.channels_last)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_norm_at_birth_is_the_plain_norm_bit_for_bit(is_training: bool, channels_last: bool) -> None:
    plain, temporal = _norms(grown=False)
    features = _features(channels_last)
    expected = plain.train(is_training)(features.flatten(0, 1)).unflatten(0, SHAPE[:2])
    assert torch.equal(temporal.train(is_training)(features), expected)
    for key, value in plain.state_dict().items():
        assert torch.equal(temporal.state_dict()[key], value), key


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("num_frames", [1, 2, 5])
@pytest.mark.parametrize("channels_last", [True, False])
def test_norm_equals_two_norms_and_an_average_pool(is_training: bool, num_frames: int, channels_last: bool) -> None:
    _, temporal = _norms(grown=True)
    temporal.train(is_training)
    features = _features(channels_last, (3, num_frames, 8, 4, 5))
    expected = _plain_sum(temporal, features)
    before = features.clone()
    out = temporal(features)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    assert out.stride() == features.stride()
    assert torch.equal(features, before)


@pytest.mark.parametrize("is_training", [True, False])
def test_gradients_of_the_norm_are_exact(is_training: bool) -> None:
    _, temporal = _norms(grown=True)
    temporal.double().train(is_training)
    features = _features(shape=(2, 4, 8, 2, 3)).double()
    names = [name for name, _ in temporal.named_parameters()]

    def gradients(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        leaf = features.clone().requires_grad_()
        weights = [temporal.get_parameter(name) for name in names]
        weighting = torch.linspace(-1, 1, features.numel(), dtype=torch.double).reshape(features.shape)
        return torch.autograd.grad((function(leaf) * weighting).sum(), [leaf, *weights])

    plain = functools.partial(_plain_sum, temporal)
    for mine, theirs in zip(gradients(temporal), gradients(plain), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_running_statistics_are_those_of_the_published_norms() -> None:
    _, temporal = _norms(grown=True)
    features = _features()
    expected = copy.deepcopy(temporal.temporal)
    expected(_plain_mean(features).flatten(0, 1))
    temporal(features)
    torch.testing.assert_close(temporal.temporal.state_dict(), expected.state_dict())
    assert temporal.num_batches_tracked == temporal.temporal.num_batches_tracked == 1


def test_norm_shares_the_plain_norms_parameters_and_keeps_its_keys_and_settings() -> None:
    plain = nn.BatchNorm2d(8, eps=1e-3, momentum=0.2).eval()
    temporal = TemporalBatchNorm2d(plain)
    assert temporal.weight is plain.weight
    assert temporal.running_var is plain.running_var
    assert {key for key in temporal.state_dict() if not key.startswith("temporal.")} == plain.state_dict().keys()
    assert {key.removeprefix("temporal.") for key in temporal.state_dict()} == plain.state_dict().keys()
    for norm in (temporal, temporal.temporal):
        assert (norm.eps, norm.momentum, norm.training) == (1e-3, 0.2, False)


def test_a_norm_without_weight_or_statistics_is_refused() -> None:
    message = r"must have weight, bias and running statistics; build the network with affine=True"
    with pytest.raises(ValueError, match=message):
        TemporalBatchNorm2d(nn.BatchNorm2d(8, affine=False))
    with pytest.raises(ValueError, match=message):
        TemporalBatchNorm2d(nn.BatchNorm2d(8, track_running_stats=False))


class Branch(nn.Module):
    """What a block of TAda2D has inside."""

    def __init__(self) -> None:
        super().__init__()
        self.calibration, self.norm = _grown_calibration(), _norms(grown=True)[1]

    def forward(self, features_BTCHW: Tensor) -> Tensor:
        return self.norm(self.calibration(features_BTCHW))


@pytest.mark.parametrize("is_training", [True, False])
def test_compiles_in_one_graph_with_gradients(is_training: bool) -> None:
    torch.compiler.reset()
    branch = Branch().train(is_training)
    compiled = torch.compile(copy.deepcopy(branch), backend="aot_eager", fullgraph=True)
    results = []
    for network in (compiled, branch):
        leaf = _features().requires_grad_()
        out = network(leaf)
        out.square().sum().backward()
        results.append((out, leaf.grad))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


def test_exports_for_any_number_of_clips_and_copies_give_the_same() -> None:
    branch = Branch().eval()
    features = _features()
    dynamic = ({0: torch.export.Dim("num_clips", min=2, max=16)},)
    exported = torch.export.export(branch, (features,), dynamic_shapes=dynamic).module()
    more = torch.cat([features, features[:1] + 1])
    expected = branch(more)
    torch.testing.assert_close(exported(more), expected)
    assert torch.equal(copy.deepcopy(branch)(more), expected)
    assert torch.equal(pickle.loads(pickle.dumps(branch))(more), expected)
