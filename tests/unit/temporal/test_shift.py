"""The temporal shift: which channels see which frame, its gradient, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from zoopraxis.errors import ConfigError
from zoopraxis.temporal import TEMPORAL, TemporalShift, temporal_max_pool, temporal_shift


def _plain_shift(features: torch.Tensor, shift_div: int) -> torch.Tensor:
    fold = features.shape[2] // shift_div
    shifted = features.clone()
    for frame in range(features.shape[1]):
        is_last = frame == features.shape[1] - 1
        shifted[:, frame, :fold] = 0 if is_last else features[:, frame + 1, :fold]
        shifted[:, frame, fold : 2 * fold] = 0 if frame == 0 else features[:, frame - 1, fold : 2 * fold]
    return shifted


@pytest.mark.parametrize("shape", [(2, 8, 16, 3, 3), (1, 1, 8, 2, 2), (3, 2, 9, 5), (2, 5, 20)])
@pytest.mark.parametrize("shift_div", [2, 4, 8])
def test_first_channels_take_the_next_frame_and_second_the_previous(shape: tuple[int, ...], shift_div: int) -> None:
    features = torch.randn(shape)
    assert torch.equal(temporal_shift(features, shift_div=shift_div), _plain_shift(features, shift_div))


def test_fewer_channels_than_the_divisor_stay_as_they_are() -> None:
    features = torch.randn(2, 4, 7, 3)
    assert torch.equal(temporal_shift(features, shift_div=8), features)


def test_first_and_second_gradients_are_exact() -> None:
    features = torch.randn(2, 4, 10, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: temporal_shift(x, shift_div=4), features)
    assert torch.autograd.gradgradcheck(lambda x: temporal_shift(x, shift_div=4), features)


def test_channels_last_stays_channels_last() -> None:
    frames = torch.randn(6, 16, 4, 4).contiguous(memory_format=torch.channels_last)
    shifted = temporal_shift(frames.unflatten(0, (2, 3))).flatten(0, 1)
    assert shifted.is_contiguous(memory_format=torch.channels_last)


def test_input_is_not_changed() -> None:
    features = torch.randn(1, 3, 8, 2)
    before = features.clone()
    temporal_shift(features)
    assert torch.equal(features, before)


def test_a_divisor_below_two_is_refused() -> None:
    message = r"shift_div \(1\) must be at least 2; the published value is 8"
    with pytest.raises(ValueError, match=message):
        temporal_shift(torch.zeros(1, 2, 8), shift_div=1)
    with pytest.raises(ValueError, match=message):
        TemporalShift(shift_div=1)


def test_features_without_a_channel_axis_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(B, T, C, \*spatial\), not \(4, 8\)"):
        temporal_shift(torch.zeros(4, 8))


@pytest.mark.parametrize(("num_frames", "num_pooled"), [(8, 4), (5, 3), (1, 1)])
def test_max_pool_takes_each_second_frame_with_its_neighbors(num_frames: int, num_pooled: int) -> None:
    features = torch.randn(2, num_frames, 3, 4, 5)
    pooled = temporal_max_pool(features)
    assert pooled.shape == (2, num_pooled, 3, 4, 5)
    for frame in range(num_pooled):
        window = features[:, max(0, 2 * frame - 1) : 2 * frame + 2]
        assert torch.equal(pooled[:, frame], window.amax(1))


def test_an_unknown_temporal_module_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="unknown temporal 'shfit'; did you mean 'shift'"):
        TEMPORAL.get("shfit")
