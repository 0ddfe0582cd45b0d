"""TAdaConv's optimizer groups and learning rates, against our recipes."""

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
from zoopraxis.models import VideoModel
from zoopraxis.models.key_layouts import map_keys
from zoopraxis.training.build import build_model
from zoopraxis.training.optim import build_optimizer, check_schedule, learning_rate_factor

_BACKBONES = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101", (3, 8, 36, 3): "resnet152"}
_RECIPES = (
    (r"tada/(\w+)/tada2d_(\w+)", r"tada2d_r50_\1_\2"),
    (r"(tadaconvnextv2|tadaformer)/(\1_\w+_(?:k400|ssv2))_\d+f", r"\2"),
    (r"epic-kitchen-ar/(\w+)/csn", r"csn_\1"),
    (r"epic-kitchen-ar/(\w+)/vivit_fac_enc\w*", r"vivit_fe_\1"),
    (r"mosi/ft-(\w+)/r2d3ds", r"r2d3d_\1"),
    (r"mosi/ft-(\w+)/r2p1d", r"r2plus1d_\1"),
)
"""Published configurations of recognition under `projects/`, and what our recipes of them are called."""
_STEPS_PER_EPOCH = 100
"""The listed epochs have two decimals."""


def matches(case: Mapping[str, Any]) -> bool:
    return {"groups", "lr_at_epoch", "defaults"} <= case.keys() and _recipe_name(case) is not None


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    published = {name: (group["weight_decay"], group["lr_mult"]) for group in case["groups"] for name in group["names"]}
    ours = _our_names(published)
    heads = {name.split(".")[1]: 5 for name in ours.values() if name.startswith("classifiers.")}
    config = _our_config(case, published, ours, heads)
    model = _build(config, heads)
    expected = {ours[name]: value for name, value in published.items()}
    assert set(dict(model.named_parameters())) == expected.keys()
    optimizer = build_optimizer(model, config.optim)
    assert _groups(optimizer, model, config) == {name: pytest.approx(value) for name, value in expected.items()}
    assert len(set(expected.values())) > 1, "the case does not see groups"
    assert type(optimizer).__name__ == case["optimizer"]
    for name, value in case["defaults"].items():
        default = optimizer.defaults[name]
        assert default == (tuple(value) if isinstance(value, list) else value), f"{name} is {default}, expected {value}"
    _check_rates(case["lr_at_epoch"], config)


def _recipe_name(case: Mapping[str, Any]) -> str | None:
    published = str(PurePosixPath(str(case.get("config"))).with_suffix("")).partition("projects/")[2]
    found = (match.expand(name) for pattern, name in _RECIPES if (match := re.fullmatch(pattern, published)))
    return next((re.sub(r"_hmdb$", "_hmdb51", re.sub(r"_ucf$", "_ucf101", name)) for name in found), None)


def _our_config(
    case: Mapping[str, Any], published: Mapping[str, Any], ours: Mapping[str, str], heads: Mapping[str, int]
) -> TrainConfig:
    """Our recipe of the published configuration, or, where we have none, one of the same network with its numbers."""
    name = _recipe_name(case)
    assert name is not None
    overrides = []
    if name.startswith("tada2d"):
        overrides.append(f"model.backbone={_image_network(published)}")
        multiples = {group["lr_mult"] for group in case["groups"] if group["names"]}
        overrides += ["optim.groups=tada2d_finetune"] if multiples != {1} else []
    if name in recipe_names():
        return load_config(name, overrides, allow_missing=True)
    rates = {float(epoch): rate for epoch, rate in case["lr_at_epoch"].items()}
    overrides += [
        f"optim.lr={case['defaults']['lr']}",
        f"optim.weight_decay={case['defaults']['weight_decay']}",
        f"trainer.max_epochs={round(max(rates))}",
        f"schedule.warmup_start_lr={rates[0.0]}",
    ]
    words = name.split("_")
    alike = sorted(
        (other for other in recipe_names() if other.split("_")[0] == words[0]), key=lambda r: r.split("_")[2:3] != words[2:3]
    )
    for recipe in alike:
        config = load_config(recipe, overrides, allow_missing=True)
        if set(dict(_build(config, heads).named_parameters())) == set(ours.values()):
            return config
    pytest.fail(f"there is neither a recipe {name} nor another of this network")


def _our_names(published: Mapping[str, Any]) -> dict[str, str]:
    """Published parameter name to ours, by the loader's own key map; a single head is called `label`."""
    mapped = map_keys({name: torch.empty(0) for name in published})
    assert not mapped.unknown
    return {theirs: re.sub(r"^classifier\.", "classifiers.label.", ours) for ours, theirs in mapped.original.items()}


def _image_network(published: Mapping[str, Any]) -> str:
    blocks = {match.groups() for name in published if (match := re.search(r"\.conv(\d)\.res_(\d+)\.", name))}
    sizes = Counter(stage for stage, _ in blocks)
    return _BACKBONES[tuple(sizes[stage] for stage in sorted(sizes))]


def _build(config: TrainConfig, heads: Mapping[str, int]) -> VideoModel:
    with torch.device("meta"):
        return build_model(config, heads, pretrained=False)


def _groups(optimizer: torch.optim.Optimizer, model: torch.nn.Module, config: TrainConfig) -> dict[str, tuple[float, float]]:
    """Parameter name to (weight decay, multiple of the learning rate)."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["weight_decay"], group["lr"] / config.optim.lr)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


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
