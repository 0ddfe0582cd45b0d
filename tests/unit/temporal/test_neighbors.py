"""The mean over neighboring frames: its numbers, its gradient and its memory format."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoopraxis.temporal import neighbor_mean


def _plain(features_BTHWC: Tensor) -> Tensor:
    padded = functional.pad(features_BTHWC, (0, 0, 0, 0, 0, 0, 1, 1))
    return (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_it_divides_by_three_at_the_ends_too(num_frames: int) -> None:
    features = torch.randn(2, num_frames, 3, 4, 6, generator=torch.Generator().manual_seed(0)).double()
    permuted = features.permute(0, 1, 4, 2, 3).contiguous().permute(0, 1, 3, 4, 2)
    for given in (features, permuted):
        leaf = given.detach().requires_grad_()
        mean = neighbor_mean(leaf)
        torch.testing.assert_close(mean, _plain(features))
        assert mean.stride() == given.stride()
        with torch.no_grad():
            assert torch.equal(neighbor_mean(given), mean)
        incoming = torch.randn(mean.shape, dtype=mean.dtype)
        (mine,) = torch.autograd.grad(mean, leaf, incoming)
        (theirs,) = torch.autograd.grad(_plain(leaf), leaf, incoming)
        torch.testing.assert_close(mine, theirs)


def test_it_compiles_with_gradients() -> None:
    compiled = torch.compile(neighbor_mean, backend="eager", fullgraph=True)
    features = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    leaf, plain = features.clone().requires_grad_(), features.clone().requires_grad_()
    compiled(leaf).square().sum().backward()
    neighbor_mean(plain).square().sum().backward()
    torch.testing.assert_close(leaf.grad, plain.grad)
