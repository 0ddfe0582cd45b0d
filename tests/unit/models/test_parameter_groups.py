"""Optimizer groups: each trainable parameter once, with the multipliers that were meant or those that were used."""

from __future__ import annotations

import pytest

from zoopraxis.errors import ConfigError
from zoopraxis.models import create_model
from zoopraxis.models.parameter_groups import parameter_groups

HEADS = {"label": 3}


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("partial_bn", [True, False])
def test_groups_hold_each_trainable_parameter_once(backbone: str, partial_bn: bool) -> None:
    model = create_model("tsn", heads=HEADS, backbone=backbone, partial_bn=partial_bn)
    grouped = [id(parameter) for group in parameter_groups(model) for parameter in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_effective_multipliers_are_one() -> None:
    model = create_model("tsm", heads=HEADS, backbone="test_resnet", modality="flow", segment_length=5)
    groups = parameter_groups(model, policy="effective")
    assert {(group["lr_mult"], group["decay_mult"]) for group in groups} == {(1.0, 1.0)}


def test_meant_multipliers_spare_biases_and_norms_from_decay() -> None:
    model = create_model("tsn", heads=HEADS, backbone="test_convnext", modality="flow", segment_length=5)
    groups = {group["name"]: group for group in parameter_groups(model, policy="multipliers")}
    assert {name: (group["lr_mult"], group["decay_mult"]) for name, group in groups.items()} == {
        "first_conv_weight": (5.0, 1.0),
        "first_conv_bias": (10.0, 0.0),
        "normal_weight": (1.0, 1.0),
        "normal_bias": (2.0, 0.0),
        "norm": (1.0, 0.0),
    }
    assert all(parameter.ndim == 1 for name in ("normal_bias", "norm") for parameter in groups[name]["params"])


def test_an_unknown_policy_is_refused() -> None:
    model = create_model("tsn", heads=HEADS, backbone="test_resnet")
    with pytest.raises(ConfigError, match="unknown policy 'real' of parameter groups; known: effective, multipliers"):
        parameter_groups(model, policy="real")
