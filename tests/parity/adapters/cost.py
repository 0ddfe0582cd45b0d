"""Parameters and multiply-adds of the published networks: to the last parameter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from zoopraxis.backbones.resnet3d import BLOCKS
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.models import MODELS, VideoModel, create_model, load_families, measure_cost

LOCALIZER = r"BMN T(\d+) D(\d+) in(\d+)"
"""The networks that find actions in long videos: steps, durations, features."""
HAS_POSITIONS = ("tadaformer", "vivit", "timesformer")
"""Networks that are built for a size: that of the row, or the usual one if the row tests at another."""
USUAL_SIZE = 224

Arguments = Callable[[re.Match[str], str], dict[str, Any]]
"""From a row's name and what it and the name of its configuration say of the data set to arguments of `create_model`."""


def matches(case: Mapping[str, Any]) -> bool:
    rows = case.get("rows", [])
    return bool(rows) and all(isinstance(row, Mapping) and {"params", "gmac"} <= row.keys() for row in rows)


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    load_families()
    for row in case["rows"]:
        match = re.fullmatch(LOCALIZER, row["name"])
        if match is None:
            _check_row(row)
        else:
            _check_localizer(row, match)


def _tada2d(match: re.Match[str], _: str) -> dict[str, Any]:
    return {"name": "tada2d", "backbone": f"resnet{match[1]}"}


def _tadaconvnextv2(match: re.Match[str], _: str) -> dict[str, Any]:
    return {"name": "tadaconvnextv2", "backbone": {"T": "tiny", "S": "small", "B": "base"}[match[1]]}


def _tadaformer(match: re.Match[str], text: str) -> dict[str, Any]:
    """Those of Something-Something have a second TAda block in each layer, which look at neighboring frames."""
    own = {"double_tada": True, "temporal_enhancement": True} if "ssv2" in text else {}
    return {"name": "tadaformer", "backbone": f"{match[1]}{match[2]}".lower(), **own}


def _vivit(match: re.Match[str], _: str) -> dict[str, Any]:
    return {"name": "vivit", "backbone": f"{match[2].lower()}_{'fe' if match[1] == '-FE' else 'joint'}"}


def _timesformer(_match: re.Match[str], _: str) -> dict[str, Any]:
    return {"name": "timesformer"}


def _csn(match: re.Match[str], _: str) -> dict[str, Any]:
    return {"name": "csn", "backbone": f"{match[1]}{match[2]}"}


def _residual(match: re.Match[str], _: str) -> dict[str, Any]:
    return {"name": "r2plus1d" if match[1] == "R(2+1)D" else "r2d3d", "backbone": f"r{match[2]}"}


def _s3dg(match: re.Match[str], _: str) -> dict[str, Any]:
    return {"name": "s3dg", "backbone": "s3dg" if match[1] else "s3d"}


def _slowfast(match: re.Match[str], _: str) -> dict[str, Any]:
    """A depth without a variant of its own is the variant of that sampling with other blocks."""
    mode, depth, sampling = match[1].lower(), int(match[2]), match[3]
    variant = f"r{depth}_{sampling}"
    if variant in MODELS.get("slowfast").variants:
        return {"name": "slowfast", "backbone": variant, "mode": mode}
    blocks = {"blocks": BLOCKS[depth], "has_bottlenecks": depth >= 50}
    return {"name": "slowfast", "backbone": f"r50_{sampling}", "mode": mode, **blocks}


NETWORKS: tuple[tuple[str, Arguments], ...] = (
    (r"TAda2D-R(\d+)\b", _tada2d),
    (r"TAdaConvNeXtV2-([TSB])\b", _tadaconvnextv2),
    (r"TAdaFormer-([BL])/(\d+)\b", _tadaformer),
    (r"ViViT(-FE| joint) (\w+)\b", _vivit),
    (r"TimeSformer\b", _timesformer),
    (r"(i[rp])-CSN-(\d+)\b", _csn),
    (r"(R2D3Ds?|R\(2\+1\)D)-(\d+)\b", _residual),
    (r"S3D(-G)?(?!\S)", _s3dg),
    (r"(SlowFast|SlowOnly|FastOnly)-R(\d+) (\d+x\d+)\b", _slowfast),
)
"""How the names of networks begin, and what they say."""


def _check_row(row: Mapping[str, Any]) -> None:
    num_frames, size = row["frames_size"]
    model = _build(row)
    cost = measure_cost(model, num_frames=num_frames, size=size)
    assert cost.num_parameters == row["params"], row["name"]
    assert cost.gmacs == pytest.approx(row["gmac"], rel=1e-6), row["name"]
    if model.architecture["name"] == "tada2d":
        with torch.device("meta"):
            num_classes = model.classifiers["label"].out_features
            plain = create_model(**{**model.architecture, "name": "tsn", "heads": {"label": num_classes}})
        assert _count(plain) != row["params"], f"{row['name']} could be the network without temporal modules"
        assert measure_cost(plain, num_frames=num_frames, size=size).gmacs != pytest.approx(row["gmac"], rel=1e-6), row["name"]


def _check_localizer(row: Mapping[str, Any], match: re.Match[str]) -> None:
    """Its published form multiplies by a dense mask, which ours does not: it is counted with that in the matching's place."""
    num_steps, max_duration, in_dim = (int(number) for number in match.groups())
    with torch.device("meta"):
        network = BoundaryMatchingNetwork(in_dim=in_dim, num_steps=num_steps, max_duration=max_duration)
        features_BCT = torch.empty(1, in_dim, num_steps)
    assert _count(network) == row["params"]
    assert _count(network.base) == row["backbone_params"]
    ours = _gmacs(network, features_BCT)
    network.matching = _DenseMatching(num_steps, max_duration, network.arguments["num_samples"])
    assert _gmacs(network, features_BCT) == pytest.approx(row["gmac"], rel=1e-6)
    assert ours < row["gmac"] / 10, "the matching without a mask costs as much as with one"


class _DenseMatching(torch.nn.Module):
    """The published formulation, on no device."""

    def __init__(self, num_steps: int, max_duration: int, num_samples: int) -> None:
        super().__init__()
        self.sizes = num_samples, max_duration, num_steps
        self.mask = torch.empty(num_steps, num_samples * max_duration * num_steps, device="meta")

    def forward(self, features_BCT: Tensor, weight_OCN: Tensor, bias_O: Tensor) -> Tensor:
        sampled = torch.unflatten(features_BCT @ self.mask, 2, self.sizes)
        return torch.nn.functional.conv3d(sampled, weight_OCN[..., None, None], bias_O).squeeze(2)


def _gmacs(network: torch.nn.Module, features_BCT: Tensor) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(features_BCT)
    return counter.get_total_flops() / 2 / 1e9


def _build(row: Mapping[str, Any]) -> VideoModel:
    """The row's network, its head as wide as the row's parameters beside the backbone's tell; on no device."""
    num_frames, size = row["frames_size"]
    arguments = _arguments(row)
    sizes = ({"image_size": size}, {"image_size": USUAL_SIZE}) if arguments["name"] in HAS_POSITIONS else ({},)
    counted = []
    for own in sizes:
        with torch.device("meta"):
            model = create_model(**arguments, **own, heads={"label": 1}, num_segments=num_frames)
        counted.append(_count(model.backbone))
        if counted[-1] == row["backbone_params"]:
            num_classes, rest = divmod(row["params"] - row["backbone_params"], model.backbone.num_features + 1)
            assert rest == 0, f"{row['name']}: its head is made of no linear maps of {model.backbone.num_features} features"
            model.classifiers["label"] = torch.nn.Linear(model.backbone.num_features, num_classes, device="meta")
            return model
    pytest.fail(f"the backbone of {row['name']} has {row['backbone_params']} parameters, ours ({arguments}) {counted}")


def _arguments(row: Mapping[str, Any]) -> dict[str, Any]:
    text = f"{row['name']} {row.get('config')}".lower()
    for pattern, arguments in NETWORKS:
        match = re.match(pattern, row["name"])
        if match is not None:
            return arguments(match, text)
    pytest.fail(f"no network of ours is known for {row['name']}")


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
