"""Published tensors of both versions, under our names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.adaptation.network import AdaptationNetwork
from zoopraxis.adaptation.published import is_published, map_published
from zoopraxis.errors import CheckpointError

WIDTH, DIM, RELATION = 6, 4, 3


def _layer(name: str, num_inputs: int, num_outputs: int) -> dict[str, Tensor]:
    return {f"{name}.{key}": values for key, values in nn.Linear(num_inputs, num_outputs).state_dict().items()}


def _norms(name: str, dim: int) -> dict[str, Tensor]:
    return {f"{name}_{domain}.{key}": v for domain in "ST" for key, v in nn.BatchNorm1d(dim).state_dict().items()}


def _published(heads: dict[str, int], *, aggregation: str = "trn-m", num_segments: int = 3) -> dict[str, Tensor]:
    """A checkpoint of either version: head "" is the only one."""
    video_dim = RELATION if aggregation == "trn-m" else DIM
    tensors = {
        **_layer("fc_feature_shared_source", WIDTH, DIM),
        **_layer("fc_feature_source", DIM, DIM),
        **_layer("fc_feature_domain", DIM, DIM),
        **_layer("fc_classifier_domain", DIM, 2),
        **_layer("fc_feature_video_source", video_dim, video_dim),
        **_layer("fc_feature_video_source_2", video_dim, video_dim),
        **_layer("fc_feature_domain_video", video_dim, video_dim),
        **_layer("fc_classifier_domain_video", video_dim, 2),
    }
    for head, classes in heads.items():
        tensors |= _layer(f"fc_classifier_source{head}", DIM, classes)
        tensors |= _layer(f"fc_classifier_video{head}_source", video_dim, classes)
    if aggregation == "trn-m":
        for number, scale in enumerate(range(num_segments, 1, -1)):
            tensors |= _layer(f"TRN.fc_fusion_scales.{number}.1", scale * DIM, RELATION)
            tensors |= _layer(f"relation_domain_classifier_all.{number}.0", RELATION, RELATION)
            tensors |= _layer(f"relation_domain_classifier_all.{number}.2", RELATION, 2)
        tensors |= _norms("bn_trn", RELATION)
    return tensors


def _load(tensors: dict[str, Tensor], **given: Any) -> tuple[AdaptationNetwork, dict[str, Tensor], tuple[str, ...]]:
    arguments, mapped, ignored = map_published(tensors, given)
    network = AdaptationNetwork(**arguments)
    network.load_state_dict(mapped)
    return network, mapped, ignored


@pytest.mark.parametrize("heads", [{"": 5}, {"_verb": 5, "_noun": 7}])
def test_both_versions_load_strictly(heads: dict[str, int]) -> None:
    tensors = _published(heads)
    network, mapped, ignored = _load(tensors)
    assert network.arguments["heads"] == {name.removeprefix("_") or "label": classes for name, classes in heads.items()}
    assert network.arguments["num_segments"] == 3
    assert network.arguments["relation_dim"] == RELATION
    assert len(mapped) + len(ignored) == len(tensors)
    assert {key.partition(".")[0] for key in ignored} == {
        "fc_feature_source",
        "fc_feature_video_source",
        "fc_feature_video_source_2",
        "bn_trn_S",
        "bn_trn_T",
        *(f"fc_classifier_source{head}" for head in heads),
    }


@pytest.mark.parametrize("prefix", ["module.", "model.", "module.model."])
def test_keys_behind_a_wrapper_are_known(prefix: str) -> None:
    tensors = {f"{prefix}{key}": values for key, values in _published({"": 5}).items()}
    assert is_published(tensors)
    _, _, ignored = _load(tensors)
    assert all(key in tensors for key in ignored)


def test_tensors_that_nothing_uses_may_be_missing() -> None:
    tensors = {key: v for key, v in _published({"": 5}).items() if not key.startswith(("fc_feature_video", "bn_trn"))}
    _, mapped, ignored = _load(tensors)
    _, whole, also_ignored = _load(_published({"": 5}))
    assert mapped.keys() == whole.keys()
    assert set(ignored) < set(also_ignored)


def test_predictions_of_frames_take_the_classifiers_of_frames() -> None:
    tensors = _published({"": 5}) | _layer("fc_classifier_video_source_2", RELATION, 5)
    network, mapped, ignored = _load(tensors, prediction="average")
    assert mapped["classifiers.label.weight"] is tensors["fc_classifier_source.weight"]
    assert "fc_classifier_video_source.weight" in ignored
    assert "fc_classifier_video_source_2.weight" in ignored
    assert not network.arguments["second_classifier"]


def test_what_a_network_has_is_told_from_its_tensors() -> None:
    tensors = _published({"": 5})
    tensors |= _layer("fc_feature_shared_2_source", DIM, DIM) | _layer("fc_feature_shared_2_target", DIM, DIM)
    tensors |= _layer("fc_feature_shared_target", WIDTH, DIM) | _layer("fc_feature_target", DIM, DIM)
    tensors |= _layer("fc_classifier_target", DIM, 5) | _layer("fc_classifier_video_target", RELATION, 5)
    tensors |= _norms("bn_shared", DIM) | _norms("bn_source", DIM) | _norms("bn_source_video_2", RELATION)
    tensors |= _layer("attn_layer.0", RELATION, RELATION) | _layer("attn_layer.2", RELATION, 1) | {"alpha": torch.ones(1)}
    arguments, mapped, _ = map_published(tensors)
    told = ("num_shared_layers", "attention", "norm", "autodial", "share_parameters", "second_classifier")
    assert [arguments[name] for name in told] == [2, "general", "autodial", "published", False, False]
    AdaptationNetwork(**arguments).load_state_dict(mapped)


@pytest.mark.parametrize(("cell", "layers", "directions"), [("lstm", 1, 1), ("gru", 2, 2), ("lstm", 2, 2)])
def test_recurrent_networks_are_told(cell: str, layers: int, directions: int) -> None:
    made = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](DIM, DIM // directions, layers, bidirectional=directions == 2)
    tensors = _published({"": 5}, aggregation="rnn") | {f"rnn.{key}": values for key, values in made.state_dict().items()}
    tensors |= {f"bn_before_rnn.{key}": values for key, values in nn.BatchNorm2d(1).state_dict().items()}
    network, _, _ = _load(tensors)
    told = ("aggregation", "rnn_cell", "rnn_layers", "rnn_directions")
    assert [network.arguments[name] for name in told] == ["rnn", cell, layers, directions]


def test_general_attention_over_frames_was_never_used() -> None:
    tensors = _published({"": 5}, aggregation="avgpool")
    tensors |= _layer("attn_layer.0", DIM, DIM) | _layer("attn_layer.2", DIM, 1)
    network, _, ignored = _load(tensors)
    assert network.arguments["attention"] == "none"
    assert "attn_layer.0.weight" in ignored


def test_a_convolution_over_time_and_its_norms() -> None:
    tensors = _published({"": 5}, aggregation="temconv") | _norms("bn_1", DIM) | _norms("bn_2", DIM)
    for name, outputs in {"tcl_3_1": 1, "tcl_5_1": 1, "tcl_3_2": 1, "tcl_5_2": 2}.items():
        tensors[f"{name}.conv2d.weight"] = torch.ones(outputs, outputs, int(name[4]), 1)
        tensors[f"{name}.conv2d.bias"] = torch.ones(outputs)
    _, _, ignored = _load(tensors)
    assert "bn_1_S.weight" in ignored
    _, mapped, ignored = _load(tensors | _norms("bn_shared", DIM))
    assert "bn_1_S.weight" not in ignored
    assert mapped["aggregator.norms.target.bias"] is tensors["bn_1_T.bias"]


def test_one_relation_of_all_frames() -> None:
    tensors = _published({"": 5}, aggregation="trn") | _layer("TRN.classifier.1", 8 * DIM, DIM)
    network, _, _ = _load(tensors)
    assert (network.arguments["aggregation"], network.arguments["num_segments"]) == ("relation", 8)


def test_tensors_of_something_else_are_refused() -> None:
    assert not is_published({"conv1.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"^no published TA3N: .* fc_feature_shared_source\.weight, this has 1 others$"):
        map_published({"conv1.weight": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"^1 tensors are of no known part of TA3N, the first module\.fc\.weight; "):
        map_published({f"module.{key}": v for key, v in (_published({"": 5}) | {"fc.weight": torch.ones(1)}).items()})
