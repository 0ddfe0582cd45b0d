"""Published tensors of the boundary-matching network, under our names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tiny_bmn import GEOMETRY, IN_DIM, published_tensors
from zoopraxis.errors import CheckpointError
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.localization.published import is_published, map_published

PUBLISHERS = ("tadaconv", "mmaction", "epic")


def _load(tensors: dict[str, Tensor], **given: Any) -> tuple[BoundaryMatchingNetwork, tuple[str, ...]]:
    arguments, mapped, ignored = map_published(tensors, given)
    network = BoundaryMatchingNetwork(**arguments)
    network.load_state_dict(mapped)
    return network, ignored


@pytest.mark.parametrize(
    ("publisher", "ignored"),
    [
        ("tadaconv", ("head.sample_mask",)),
        ("mmaction", ("sample_mask", "bm_mask")),
        ("epic", ("module.sample_mask",)),
    ],
)
def test_the_three_layouts_load_strictly_but_for_their_masks(publisher: str, ignored: tuple[str, ...]) -> None:
    tensors = published_tensors(publisher)
    assert is_published(tensors)
    network, left = _load(tensors)
    assert left == ignored
    assert {name: network.arguments[name] for name in GEOMETRY} == GEOMETRY
    assert network.arguments["in_dim"] == IN_DIM


def test_the_three_layouts_are_the_same_network() -> None:
    features_BCT = torch.randn(2, IN_DIM, GEOMETRY["num_steps"])
    first, *others = (_load(published_tensors(publisher))[0](features_BCT).confidence_B2DT for publisher in PUBLISHERS)
    assert all(torch.equal(first, other) for other in others)


def test_longest_proposals_shifts_and_classes_are_told_by_shapes() -> None:
    extras = {"x_2d_r": 2, "x_2d_verb": 5, "x_2d_noun": 7}
    network, _ = _load(published_tensors("tadaconv", extras=extras, max_duration=3, num_samples=6))
    assert network.arguments["max_duration"] == 3
    assert network.arguments["num_samples"] == 6
    assert network.arguments["regression"]
    assert network.arguments["heads"] == {"verb": 5, "noun": 7}


@pytest.mark.parametrize(("given", "groups"), [({}, 4), ({"in_dim": IN_DIM}, 4), ({"in_dim": 2, "base_groups": 1}, 1)])
def test_one_shared_layer_has_four_groups_unless_told(given: dict[str, int], groups: int) -> None:
    network, _ = _load(published_tensors("tadaconv", base_layers=1), **given)
    assert network.arguments["base_layers"] == 1
    assert network.arguments["base_groups"] == groups


def test_without_masks_the_window_is_given() -> None:
    tensors = {key: tensor for key, tensor in published_tensors("epic").items() if not key.endswith("_mask")}
    with pytest.raises(CheckpointError, match=r"no sample_mask, .*; give num_steps and max_duration, e\.g\. num_steps=200"):
        _load(tensors)
    network, ignored = _load(tensors, num_steps=9, max_duration=4)
    assert (network.arguments["num_steps"], network.arguments["max_duration"], ignored) == (9, 4, ())
    assert _load(tensors, num_steps=9)[0].arguments["max_duration"] == 9


@pytest.mark.parametrize("changes", [{"samples_per_bin": 2}, {"boundary_ratio": 0.25}])
def test_a_mask_made_otherwise_is_refused_unless_told(changes: dict[str, Any]) -> None:
    tensors = published_tensors("tadaconv", **changes)
    with pytest.raises(CheckpointError, match=r"sample_mask was not made with samples_per_bin 3 and boundary_ratio 0\.5; give"):
        _load(tensors)
    assert {name: _load(tensors, **changes)[0].arguments[name] for name in changes} == changes


def test_a_mask_of_another_shape_is_refused() -> None:
    tensors = published_tensors("mmaction") | {"sample_mask": torch.zeros(8, 33)}
    with pytest.raises(CheckpointError, match=r"sample_mask has shape \(8, 33\), which is not \(T, 4 \* D \* T\)"):
        _load(tensors)


def test_unknown_tensors_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"x_1d_q\.0\.weight is of no known part of a boundary-matching network"):
        _load(published_tensors("mmaction") | {"x_1d_q.0.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"no published boundary-matching network: it has no tensor x_1d_s\.0\.weight"):
        _load({"fc.weight": torch.zeros(1)})
    assert not is_published({"fc.weight": torch.zeros(1)})
