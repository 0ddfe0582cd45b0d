"""Gradient checkpointing: a step of training ends as it would without."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from zoopraxis.backbones.recompute import recompute

_IS_TRACED_WHOLE = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 15)
"""torch 2.9 cannot trace a block whose batch norms are counted once; releases in between were not tried."""


class _Network(nn.Module):
    """Blocks with everything that a second run could do twice or otherwise."""

    def __init__(self, *, momentum: float | None = 0.1, drop: float = 0.5) -> None:
        super().__init__()
        self.is_recomputed = False
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(4, 4, 3, padding=1),
                nn.BatchNorm2d(4, momentum=momentum),
                nn.ReLU(),
                nn.Dropout(drop),
                StochasticDepth(drop, mode="row"),
            )
            for _ in range(2)
        )

    def forward(self, maps: Tensor) -> Tensor:
        for block in self.blocks:
            maps = maps + recompute(block, maps, enable=self.is_recomputed)
        return maps


def _step(network: nn.Module, run: Any = None, *, is_autocast: bool = False) -> dict[str, Tensor]:
    """Gradients and buffers after one step from the same random state."""
    torch.manual_seed(1)
    maps = torch.randn(6, 4, 5, 5)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
        out = network(maps) if run is None else run(maps)
    out.float().square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {**gradients, **dict(network.named_buffers()), "out": out.detach()}


def _pair(**args: Any) -> tuple[_Network, _Network]:
    torch.manual_seed(0)
    plain = _Network(**args)
    other = copy.deepcopy(plain)
    other.is_recomputed = True
    return plain, other


@pytest.mark.parametrize("is_autocast", [False, True])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_step_ends_as_without(momentum: float | None, is_autocast: bool) -> None:
    plain, other = _pair(momentum=momentum)
    expected, found = _step(plain, is_autocast=is_autocast), _step(other, is_autocast=is_autocast)
    assert int(found["blocks.0.1.num_batches_tracked"]) == 1
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_step_ends_as_without(backend: str) -> None:
    plain, other = _pair(drop=0.0)
    torch._dynamo.reset()
    expected = _step(plain)
    found = _step(other, torch.compile(other, backend=backend, fullgraph=_IS_TRACED_WHOLE))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, msg=name)


class _Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.num_runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.num_runs += 1
        return self.linear(x).sin()


def test_a_block_runs_again_only_where_gradients_are_wanted_of_a_training_block() -> None:
    block = _Counter()
    recompute(block, torch.ones(2, 3)).sum().backward()
    assert block.num_runs == 2
    recompute(block, torch.ones(2, 3), enable=False).sum().backward()
    with torch.no_grad():
        recompute(block, torch.ones(2, 3))
    recompute(block.eval(), torch.ones(2, 3)).sum().backward()
    assert block.num_runs == 5


def test_frozen_norms_stay_as_they_are() -> None:
    _, other = _pair(drop=0.0)
    for block in other.blocks:
        block[1].eval()
    found = _step(other)
    assert int(found["blocks.0.1.num_batches_tracked"]) == 0
    assert torch.equal(found["blocks.0.1.running_mean"], torch.zeros(4))
