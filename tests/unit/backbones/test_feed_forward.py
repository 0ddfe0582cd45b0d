"""Two linear maps with a quick GELU between them: the numbers and gradients of the three steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.backbones.feed_forward import quick_gelu_maps
from zoopraxis.temporal import quick_gelu


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_three_steps(bias: bool) -> None:
    torch.manual_seed(0)
    first, second = (nn.Linear(*widths, bias=bias).double() for widths in ((6, 24), (24, 5)))
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    out, expected = quick_gelu_maps(x, first, second), second(quick_gelu(first(x)))
    torch.testing.assert_close(out, expected)
    leaves = [x, *first.parameters(), *second.parameters()]
    for mine, theirs in zip(_gradients(out, leaves), _gradients(expected, leaves), strict=True):
        torch.testing.assert_close(mine, theirs)
    with torch.no_grad():
        torch.testing.assert_close(quick_gelu_maps(x, first, second), expected)


def _gradients(out: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(out.square().sum(), leaves, retain_graph=True)


def test_it_runs_under_autocast() -> None:
    first, second = nn.Linear(6, 24), nn.Linear(24, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = quick_gelu_maps(torch.ones(2, 6), first, second)
    assert out.dtype == torch.bfloat16
