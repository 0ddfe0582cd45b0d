"""The boundary-matching network: its maps, and that it can be trained, copied, compiled and exported."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from zoopraxis.localization.network import BoundaryMaps, BoundaryMatchingNetwork

TINY = {"in_dim": 6, "num_steps": 10, "max_duration": 7, "num_samples": 4, "base_dim": 8, "match_dim": 12, "map_dim": 8}
HEADS = {"verb": 3, "noun": 5}


def _network(**changes: Any) -> BoundaryMatchingNetwork:
    torch.manual_seed(0)
    return BoundaryMatchingNetwork(**{**TINY, "groups": 2, **changes})


def _flat(maps: BoundaryMaps) -> list[torch.Tensor]:
    return [*maps[:3], *([] if maps.shift_B2DT is None else [maps.shift_B2DT]), *maps.classes.values()]


def test_maps_have_a_number_for_each_step_and_cell() -> None:
    maps = _network(regression=True, heads=HEADS)(torch.randn(2, 6, 10))
    assert maps.start_BT.shape == maps.end_BT.shape == (2, 10)
    assert maps.confidence_B2DT.shape == (2, 2, 7, 10)
    assert maps.shift_B2DT is not None
    assert maps.shift_B2DT.shape == (2, 2, 7, 10)
    assert {head: logits.shape for head, logits in maps.classes.items()} == {"verb": (2, 3, 7, 10), "noun": (2, 5, 7, 10)}
    for probabilities in maps[:3]:
        assert ((probabilities > 0) & (probabilities < 1)).all()


def test_optional_maps_are_left_out() -> None:
    maps = _network()(torch.randn(1, 6, 10))
    assert maps.shift_B2DT is None
    assert maps.classes == {}


def test_windows_do_not_see_each_other() -> None:
    network, features_BCT = _network(), torch.randn(3, 6, 10)
    together = network(features_BCT)
    for row in range(3):
        alone = network(features_BCT[row : row + 1])
        torch.testing.assert_close(alone.confidence_B2DT[0], together.confidence_B2DT[row])


def test_a_batch_without_windows_gives_none() -> None:
    assert _network()(torch.zeros(0, 6, 10)).confidence_B2DT.shape == (0, 2, 7, 10)


def test_every_parameter_learns() -> None:
    network = _network(regression=True, heads=HEADS)
    sum(values.square().sum() for values in _flat(network(torch.randn(2, 6, 10)))).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_its_arguments_build_it_again() -> None:
    network = _network(regression=True, heads=HEADS, base_layers=3, base_groups=1, boundary_ratio=0.25)
    again = BoundaryMatchingNetwork(**network.arguments)
    again.load_state_dict(network.state_dict())
    features_BCT = torch.randn(1, 6, 10)
    for ours, theirs in zip(_flat(again(features_BCT)), _flat(network(features_BCT)), strict=True):
        assert torch.equal(ours, theirs)


def test_the_state_holds_parameters_only() -> None:
    network = _network()
    assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}


def test_the_matching_starts_as_a_convolution_does() -> None:
    network = _network(base_dim=64, num_samples=8)
    bound = (64 * 8) ** -0.5
    assert 0.9 * bound < float(network.match_weight.detach().abs().max()) <= bound
    assert float(network.match_bias.detach().abs().max()) <= bound


def test_it_can_be_copied_and_counted() -> None:
    network = _network()
    copied = copy.deepcopy(network)
    features_BCT = torch.randn(1, 6, 10)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        assert torch.equal(copied(features_BCT).start_BT, network(features_BCT).start_BT)
    assert counter.get_total_flops() > 0


def test_it_can_be_built_on_no_device() -> None:
    with torch.device("meta"):
        maps = _network()(torch.zeros(1, 6, 10))
    assert maps.confidence_B2DT.device.type == "meta"


def test_it_can_be_exported_and_compiled() -> None:
    network = _network(regression=True, heads=HEADS).eval()
    features_BCT = torch.randn(2, 6, 10)
    expected = network(features_BCT)
    exported = torch.export.export(network, (features_BCT,), strict=False).module()(features_BCT)
    torch.testing.assert_close(exported.confidence_B2DT, expected.confidence_B2DT)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)(features_BCT)
    torch.testing.assert_close(compiled.confidence_B2DT, expected.confidence_B2DT)
    compiled.confidence_B2DT.sum().backward()
    assert network.match_weight.grad is not None


def test_it_works_in_bfloat16() -> None:
    network, features_BCT = _network(), torch.randn(2, 6, 10)
    expected = network(features_BCT).confidence_B2DT
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(network(features_BCT).confidence_B2DT.float(), expected, rtol=0.02, atol=0.02)
    found = network.bfloat16()(features_BCT.bfloat16()).confidence_B2DT
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_layers": 0}, r"base_layers \(0\) must be at least 1"),
        ({"groups": 3}, r"base_dim \(8\) must be divisible by groups \(3\)"),
        ({"in_dim": 7}, r"in_dim \(7\) must be divisible by base_groups \(2\)"),
        ({"heads": {"verb": 0}}, "head verb has 0 classes, it needs at least 1"),
        ({"num_steps": 0}, r"num_steps \(0\) must be at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _network(**changes)


def test_features_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"features must have shape \(B, 6, 10\): windows, features, steps; not \(2, 6, 9\)"):
        _network()(torch.zeros(2, 6, 9))
