"""A small network learns two made-up windows: network, targets and losses fit together."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoopraxis.localization.losses import LocalizationLoss
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.localization.targets import boundary_targets

STEPS, DURATIONS = 16, 8


@pytest.mark.parametrize("balance", ["tadaconv", "mmaction", "epic"])
def test_a_small_network_learns_where_segments_are_and_what(balance: Any) -> None:
    torch.manual_seed(0)
    segments_BG2 = torch.tensor([[[2, 6], [9, 14]], [[5, 12], [0, 0]]], dtype=torch.float64) / STEPS
    labels = {"verb": torch.tensor([[0, 1], [2, 0]])}
    targets = boundary_targets(segments_BG2, torch.tensor([[1, 1], [1, 0]]), num_steps=STEPS, max_duration=DURATIONS)
    features_BCT = 0.1 * torch.randn(2, 8, STEPS)
    for window, row, (start, stop) in [(0, 0, (2, 6)), (0, 1, (9, 14)), (1, 2, (5, 12))]:
        features_BCT[window, row, start:stop] += 1
        features_BCT[window, 3 + row, start] += 1
        features_BCT[window, 3 + row, stop] -= 1
    network = BoundaryMatchingNetwork(
        in_dim=8,
        num_steps=STEPS,
        max_duration=DURATIONS,
        num_samples=6,
        base_dim=16,
        match_dim=16,
        map_dim=16,
        regression=True,
        heads={"verb": 3},
    )
    loss, generator = LocalizationLoss(balance=balance), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    draws = torch.rand(2, DURATIONS, STEPS, generator=generator), torch.rand(2, DURATIONS, STEPS, generator=generator)
    before = loss(network(features_BCT), targets, labels, draws=draws)
    for _ in range(120):
        optimizer.zero_grad()
        total, _ = loss(network(features_BCT), targets, labels, generator=generator)
        total.backward()
        optimizer.step()
    maps = network(features_BCT)
    after = loss(maps, targets, labels, draws=draws)
    assert after[0] < before[0] / 5
    assert all(after[1][name] < before[1][name] / 3 for name in before[1])
    best = maps.confidence_B2DT.prod(1).mul(targets.valid_DT).flatten(1).argmax(1)
    window = torch.arange(2)
    assert targets.overlap_BDT.flatten(1)[window, best].min() > 0.75
    row = targets.segment_BDT.flatten(1)[window, best]
    found = maps.classes["verb"].flatten(2)[window, :, best].argmax(1)
    assert torch.equal(found, labels["verb"][window, row])
