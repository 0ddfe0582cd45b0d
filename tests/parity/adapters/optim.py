"""The baselines' optimizer groups: what is in them, what they were meant to do, and what they did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from zoopraxis.models import create_model
from zoopraxis.models.parameter_groups import parameter_groups

_NUM_CLASSES = 397
_OURS = {"BN scale/shift": "norm"}
_RENAMED = {"base_model.": "backbone.network.", ".net.": ".", "new_fc.": "classifiers.label."}
_RENAMED_IN_TRN = {**_RENAMED, "new_fc.": "projection.", "consensus.": "relation."}


def matches(case: Mapping[str, Any]) -> bool:
    return "optim_policies" in str(case.get("case")) and "C1 models" in str(case.get("source"))


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    for name, (*groups, summary) in case["extra"].items():
        family, modality = name.split("_")
        with torch.device("meta"):
            model = create_model(
                family, heads={"label": _NUM_CLASSES}, modality=modality, segment_length=5 if modality == "flow" else 1
            )
        model.train()
        _check_groups(model, groups)
        _check_effective(model, groups)
        _check_frozen(model, summary)


def _check_groups(model: nn.Module, groups: list[dict[str, Any]]) -> None:
    ours = {group["name"]: group for group in parameter_groups(model, policy="multipliers")}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in groups:
        if not group["n_params"]:
            assert group["name"] not in ours
            continue
        found = ours.pop(_OURS.get(group["name"], group["name"]))
        assert len(found["params"]) == group["n_params"]
        assert sum(parameter.numel() for parameter in found["params"]) == group["n_elements"]
        assert (found["lr_mult"], found["decay_mult"]) == (group["lr_mult"], group["decay_mult"])
        assert names[id(found["params"][0])] == _our_key(model, group["first"])
        assert names[id(found["params"][-1])] == _our_key(model, group["last"])
    assert not ours


def _check_effective(model: nn.Module, groups: list[dict[str, Any]]) -> None:
    published = [group for group in groups if group["n_params"]]
    optimizer = torch.optim.SGD(parameter_groups(model, policy="effective"), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for ours, group in zip(optimizer.param_groups, published, strict=True):
        assert ours["lr"] * ours["lr_mult"] == group["effective_lr_in_torch_SGD"]
        assert ours["weight_decay"] * ours["decay_mult"] == group["effective_weight_decay"]


def _check_frozen(model: nn.Module, summary: Mapping[str, Any]) -> None:
    grouped = {id(p) for group in parameter_groups(model) for p in group["params"]}
    outside = [parameter for parameter in model.parameters() if id(parameter) not in grouped]
    assert len(outside) == summary["parameters_not_in_any_group"]
    assert not any(parameter.requires_grad for parameter in outside)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == summary["bn_layers"]
    assert sum(not norm.training for norm in norms) == summary["bn_layers_in_eval_after_train()"]


def _our_key(model: nn.Module, published: str) -> str:
    for theirs, ours in (_RENAMED_IN_TRN if hasattr(model, "relation") else _RENAMED).items():
        published = published.replace(theirs, ours)
    return published
