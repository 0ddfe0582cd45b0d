"""Records of published weights: each describes a network that can be built and fed."""

from __future__ import annotations

import pytest
import torch

from zoopraxis.models import WEIGHTS, create_model, load_families

load_families()


@pytest.mark.parametrize("name", WEIGHTS.names())
def test_a_record_describes_its_network(name: str) -> None:
    record = WEIGHTS.get(name)
    with torch.device("meta"):
        model = create_model(**record.model, preprocessing=record.preprocessing)
    assert sum(parameter.numel() for parameter in model.parameters()) == record.num_parameters
    architecture, _, tag = name.partition(".")
    assert architecture == f"{record.model['name']}_{model.architecture['backbone']}"
    assert tag
    assert record.url.startswith("https://")
    assert record.accuracy
    assert record.sampling
    assert record.source


def test_the_epic_weights_keep_their_historic_normalization_and_published_accuracy() -> None:
    rgb, flow = WEIGHTS.get("tsm_resnet50.epic100_rgb"), WEIGHTS.get("tsm_resnet50.epic100_flow")
    assert rgb.preprocessing.std == rgb.preprocessing.mean
    assert (rgb.accuracy["val/action@1"], flow.accuracy["val/action@1"]) == (35.75, 27.79)
    assert (flow.preprocessing.in_channels, flow.preprocessing.std) == (10, (0.226,))
