"""TAdaConv's optimizer groups and learning rates, against our recipes: TAda2D."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch

from zoopraxis.config.load import load_config, recipe_names
from zoopraxis.config.schema import TrainConfig
from zoopraxis.models import create_model
from zoopraxis.models.key_layouts import map_keys
from zoopraxis.training.optim import build_optimizer, check_schedule, learning_rate_factor

_BACKBONES = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101", (3, 8, 36, 3): "resnet152"}
_STEPS_PER_EPOCH = 100
"""The listed epochs have two decimals."""


def matches(case: Mapping[str, Any]) -> bool:
    return {"groups", "lr_at_epoch", "defaults"} <= case.keys() and _published_name(case).startswith("tada2d")


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    config = _our_config(case)
    expected = {name: (group["weight_decay"], group["lr_mult"]) for group in case["groups"] for name in group["names"]}
    ours = _our_names(expected)
    heads = {name.split(".")[1]: 5 for name in ours.values() if name.startswith("classifiers.")}
    with torch.device("meta"):
        plain = create_model("tsn", heads=heads, backbone=_backbone(expected))
        model = create_model("tada2d", heads=heads, backbone=_backbone(expected))
    assert set(dict(plain.named_parameters())) < set(ours.values())
    optimizer = build_optimizer(model, config.optim)
    _check_groups(optimizer, model, {ours[name]: value for name, value in expected.items()}, config.optim.lr)
    assert type(optimizer).__name__ == case["optimizer"]
    for name, value in case["defaults"].items():
        assert optimizer.defaults[name] == value, f"{name} is {optimizer.defaults[name]}, expected {value}"
    _check_rates(case["lr_at_epoch"], config)


def _published_name(case: Mapping[str, Any]) -> str:
    return PurePosixPath(str(case.get("config"))).stem


def _our_config(case: Mapping[str, Any]) -> TrainConfig:
    """Our recipe of the published configuration, or, where we have none, one with its numbers."""
    path = PurePosixPath(case["config"])
    name = f"tada2d_r50_{path.parent.name}_{path.stem.removeprefix('tada2d_')}"
    multiples = {group["lr_mult"] for group in case["groups"] if group["names"]}
    overrides = ["optim.groups=tada2d_finetune"] if multiples != {1} else []
    if name in recipe_names():
        return load_config(name, overrides, allow_missing=True)
    rates = {float(epoch): rate for epoch, rate in case["lr_at_epoch"].items()}
    overrides += [
        f"optim.lr={case['defaults']['lr']}",
        f"optim.weight_decay={case['defaults']['weight_decay']}",
        f"trainer.max_epochs={round(max(rates))}",
        f"schedule.warmup_start_lr={rates[0.0]}",
    ]
    is_something = "ssv2" in case["config"]
    return load_config("tada2d_r50_ssv2_8f" if is_something else "tada2d_r50_k400_8x8", overrides, allow_missing=True)


def _our_names(published: Mapping[str, Any]) -> dict[str, str]:
    """Published parameter name to ours, by the loader's own key map; a single head is called `label`."""
    mapped = map_keys({name: torch.empty(0) for name in published})
    assert not mapped.unknown
    return {theirs: re.sub(r"^classifier\.", "classifiers.label.", ours) for ours, theirs in mapped.original.items()}


def _backbone(published: Mapping[str, Any]) -> str:
    blocks = {match.groups() for name in published if (match := re.search(r"\.conv(\d)\.res_(\d+)\.", name))}
    sizes = Counter(stage for stage, _ in blocks)
    return _BACKBONES[tuple(sizes[stage] for stage in sorted(sizes))]


def _check_groups(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module, expected: Mapping[str, tuple[float, float]], lr: float
) -> None:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: (group["weight_decay"], group["lr"] / lr)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found.keys() == expected.keys()
    assert {name for name in found if found[name] != pytest.approx(expected[name])} == set()


def _check_rates(expected: Mapping[str, float], config: TrainConfig) -> None:
    num_epochs = config.trainer["max_epochs"]
    assert check_schedule(config.schedule, lr=config.optim.lr, num_epochs=num_epochs) is None
    factor = learning_rate_factor(
        config.schedule,
        base_lr=config.optim.lr,
        steps_per_epoch=_STEPS_PER_EPOCH,
        num_steps=num_epochs * _STEPS_PER_EPOCH,
    )
    rates = {epoch: config.optim.lr * factor(round(float(epoch) * _STEPS_PER_EPOCH)) for epoch in expected}
    assert rates == pytest.approx(dict(expected), rel=1e-6)
