"""Parameters and multiply-adds of the published networks: to the last parameter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from zoopraxis.models import VideoModel, create_model, measure_cost

LATER = ("TAdaConvNeXtV2", "TAdaFormer", "ViViT", "ir-CSN", "R2D3Ds", "R(2+1)D", "S3D-G", "SlowFast", "BMN")
"""How the names of networks begin that this package does not have yet."""


def matches(case: Mapping[str, Any]) -> bool:
    rows = case.get("rows", [])
    return bool(rows) and all(isinstance(row, Mapping) and {"params", "gmac"} <= row.keys() for row in rows)


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    rows = [row for row in case["rows"] if not row["name"].startswith(LATER)]
    assert rows, f"{case['case']} has no network that this package has"
    for row in rows:
        _check_row(row)


def _check_row(row: Mapping[str, Any]) -> None:
    found = re.match(r"TAda2D-R(\d+)\b", row["name"])
    assert found is not None, f"no network of ours is known for {row['name']}"
    num_frames, size = row["frames_size"]
    head_parameters = row["params"] - row["backbone_params"]
    with torch.device("meta"):
        model = create_model("tada2d", heads={"label": 1}, backbone=f"resnet{found[1]}", num_segments=num_frames)
        num_classes, rest = divmod(head_parameters, model.backbone.num_features + 1)
        assert rest == 0, f"{row['name']}: {head_parameters} are not the parameters of one linear map"
        arguments = {**model.architecture, "heads": {"label": num_classes}}
        model = create_model(**arguments)
        plain = create_model(**{**arguments, "name": "tsn"})
    cost = measure_cost(model, num_frames=num_frames, size=size)
    assert cost.num_parameters == row["params"], row["name"]
    assert _count(model.backbone) == row["backbone_params"], row["name"]
    assert cost.gmacs == pytest.approx(row["gmac"], rel=1e-6), row["name"]
    assert _count(plain) != row["params"], f"{row['name']} could be the network without temporal modules"
    assert measure_cost(plain, num_frames=num_frames, size=size).gmacs != pytest.approx(row["gmac"], rel=1e-6), row["name"]


def _count(module: torch.nn.Module | VideoModel) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
