"""Records of published weights: each describes a network that can be built and fed, and says what that costs."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch

from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models import (
    WEIGHTS,
    Evaluation,
    ModelCost,
    Preprocessing,
    PublishedWeights,
    create_model,
    load_families,
    load_model,
    measure_cost,
)

load_families()

DATA_SETS = {
    "EPIC-KITCHENS-100": {"verb": 97, "noun": 300},
    "Kinetics-400": {"label": 400},
    "Something-Something V1": {"label": 174},
    "Something-Something V2": {"label": 174},
    "HMDB51": {"label": 51},
    "UCF101": {"label": 101},
}


@cache
def _cost(arguments: str, preprocessing: str, num_frames: int, size: int) -> tuple[ModelCost, str]:
    """What a network costs, and its backbone; several records share one."""
    with torch.device("meta"):
        model = create_model(**json.loads(arguments), preprocessing=Preprocessing.from_dict(json.loads(preprocessing)))
    return measure_cost(model, num_frames=num_frames, size=size), str(model.architecture["backbone"])


@pytest.mark.parametrize("name", WEIGHTS.names())
def test_a_record_describes_its_network_and_what_a_view_costs(name: str) -> None:
    record = WEIGHTS.get(name)
    first = record.evaluations[0]
    cost, backbone = _cost(json.dumps(record.model), json.dumps(record.preprocessing.to_dict()), first.num_frames, first.size)
    assert cost.num_parameters == record.num_parameters
    assert cost.gmacs == pytest.approx(record.gmacs, rel=1e-9)
    architecture, _, tag = name.partition(".")
    assert architecture == f"{record.model['name']}_{backbone}"
    assert tag
    assert record.model["heads"] == DATA_SETS[record.data]
    assert (record.url or record.page).startswith("https://")
    assert record.source


@pytest.mark.parametrize("name", WEIGHTS.names())
def test_published_results_are_percentages_with_their_protocol(name: str) -> None:
    record = WEIGHTS.get(name)
    for evaluation in record.evaluations:
        assert evaluation.num_clips * evaluation.num_crops == evaluation.num_views >= 1
        assert evaluation.num_crops in (1, 3, 5, 10)
        assert evaluation.average in ("score", "prob")
        assert next(iter(evaluation.accuracy)).endswith("@1")
        for metric, percent in evaluation.accuracy.items():
            split, _, measure = metric.partition("/")
            head, _, top = measure.partition("@")
            assert split in ("val", "test")
            assert head in (*record.model["heads"], "action")
            assert top in ("1", "5")
            assert 1 < percent < 100
            assert evaluation.accuracy[f"{split}/{head}@1"] <= percent


def test_the_epic_weights_keep_their_historic_normalization_and_published_accuracy() -> None:
    rgb, flow = WEIGHTS.get("tsm_resnet50.epic100_rgb"), WEIGHTS.get("tsm_resnet50.epic100_flow")
    assert rgb.preprocessing.std == rgb.preprocessing.mean
    published = [record.evaluations[0].accuracy["val/action@1"] for record in (rgb, flow)]
    assert published == [35.75, 27.79]
    assert (flow.preprocessing.in_channels, flow.preprocessing.std) == (10, (0.226,))


@pytest.mark.parametrize(
    ("name", "views", "published"),
    [
        ("tanet_resnet50.mmaction2_kinetics_dense_1x1x8", "10x3", (76.28, 92.60)),
        ("tanet_resnet50.mmaction2_sthv1_1x1x8", "1x1", (47.34, 75.72)),
        ("tanet_resnet50.mmaction2_sthv1_1x1x8", "2x3", (49.58, 77.31)),
        ("tanet_resnet50.mmaction2_sthv1_1x1x16", "1x1", (49.05, 77.90)),
        ("tanet_resnet50.mmaction2_sthv1_1x1x16", "2x3", (50.91, 79.13)),
        ("tada2d_resnet50.kinetics_8x8", "10x3", (76.7, 92.6)),
        ("tada2d_resnet50.kinetics_16x5", "10x3", (77.4, 93.1)),
        ("tada2d_resnet50.sthv2_8f", "2x3", (64.0, 88.0)),
        ("tada2d_resnet50.sthv2_16f", "2x3", (65.6, 89.1)),
    ],
)
def test_published_tables_stand_in_the_records(name: str, views: str, published: tuple[float, float]) -> None:
    found = [
        tuple(evaluation.accuracy.get(f"val/label@{top}") for top in (1, 5))
        for evaluation in WEIGHTS.get(name).evaluations
        if f"{evaluation.num_clips}x{evaluation.num_crops}" == views
    ]
    assert published in found


def _record(**changed: Any) -> PublishedWeights:
    return PublishedWeights(
        **{
            "name": "tsn_resnet18.by_hand",
            "model": {"name": "tsn", "backbone": "resnet18", "heads": {"label": 3}},
            "num_parameters": 1,
            "gmacs": 1.0,
            "preprocessing": Preprocessing(),
            "data": "Kinetics-400",
            "evaluations": (Evaluation(accuracy={"val/label@1": 50.0}, num_frames=8),),
            "source": "a test",
            "page": "https://example.org/view",
            **changed,
        }
    )


def test_weights_without_an_address_say_where_a_person_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    record = _record()
    monkeypatch.setitem(WEIGHTS._entries, record.name, record)
    message = (
        r"a program cannot fetch tsn_resnet18.by_hand; download it by hand from https://example.org/view "
        r"and give the file's path instead"
    )
    with pytest.raises(CheckpointError, match=message):
        load_model(record.name)


def test_a_record_without_any_address_or_result_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'tsn_resnet18.by_hand' need the address of their file \(url\) or of a page"):
        _record(page="")
    with pytest.raises(ConfigError, match=r"'tsn_resnet18.by_hand' need at least one evaluation"):
        _record(evaluations=())


def test_mmaction2_averages_probabilities() -> None:
    names = [name for name in WEIGHTS.names() if ".mmaction2_" in name]
    assert len(names) == 8
    assert {evaluation.average for name in names for evaluation in WEIGHTS.get(name).evaluations} == {"prob"}
