"""Checkpoints of networks on features: ours and the published ones, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoopraxis.adaptation.network import AdaptationNetwork
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models import load_model
from zoopraxis.training.adaptation.checkpoints import initialize_network, load_adaptation

D, WIDTH, RELATION = 6, 4, 256
HEADS = {"verb": 3, "noun": 2}


def _linear(name: str, num_out: int, num_in: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.randn(num_out, num_in), f"{name}.bias": torch.randn(num_out)}


def _published() -> dict[str, Tensor]:
    """The tensors of a small TA3N as its authors' code for EPIC-KITCHENS-100 names them, one of them unused."""
    torch.manual_seed(0)
    tensors = _linear("fc_feature_shared_source", WIDTH, D) | _linear("fc_feature_source", WIDTH, WIDTH)
    for name, width in (("", WIDTH), ("_video", RELATION)):
        tensors |= _linear(f"fc_feature_domain{name}", width, width) | _linear(f"fc_classifier_domain{name}", 2, width)
    for scale in range(4):
        tensors |= _linear(f"TRN.fc_fusion_scales.{scale}.1", RELATION, (5 - scale) * WIDTH)
        tensors |= _linear(f"relation_domain_classifier_all.{scale}.0", RELATION, RELATION)
        tensors |= _linear(f"relation_domain_classifier_all.{scale}.2", 2, RELATION)
    for head, classes in HEADS.items():
        tensors |= _linear(f"fc_classifier_video_{head}_source", classes, RELATION)
    return {f"module.{key}": tensor for key, tensor in tensors.items()}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"epoch": 30, "arch": "TBN", "state_dict": _published(), "best_prec1": 1.0, "prec1": 0.5}, path)
    return path


def _network(**arguments: Any) -> AdaptationNetwork:
    return AdaptationNetwork(**{"feature_dim": D, "num_segments": 5, "heads": HEADS, "shared_dim": WIDTH, **arguments})


def _save(built: AdaptationNetwork, path: Path, **record: Any) -> Path:
    kept = {
        "task": "adaptation",
        "network": built.arguments,
        "features": {"modalities": {"rgb": 4, "flow": 2}, "num_segments": 5},
        "class_names": {head: [str(number) for number in range(classes)] for head, classes in HEADS.items()},
        "config": None,
    }
    tensors = {f"model.{key}": tensor for key, tensor in built.state_dict().items()}
    torch.save({"state_dict": tensors, "zoopraxis": {**kept, **record}}, path)
    return path


def test_a_checkpoint_of_ours_gives_its_network_back(tmp_path: Path) -> None:
    network = _network(norm="adabn").eval()
    adapted = load_adaptation(_save(network, tmp_path / "last.ckpt"))
    features = torch.randn(2, 5, D)
    assert torch.equal(adapted.network(features)["verb"], network(features)["verb"])
    assert not adapted.network.training
    assert adapted.modalities == {"rgb": 4, "flow": 2}
    assert adapted.class_names == {"verb": ("0", "1", "2"), "noun": ("0", "1")}
    assert adapted.found == "adaptation network (aggregation relations, 3 verbs, 2 nouns) in the layout of zoopraxis"


def test_a_published_checkpoint_is_told_by_its_keys(published: Path) -> None:
    adapted = load_adaptation(published)
    assert adapted.network.arguments["heads"] == HEADS
    assert adapted.network.arguments["attention"] == "transferable"
    assert (adapted.class_names, adapted.modalities, adapted.config) == ({}, {}, None)
    assert adapted.found.endswith("in the layout of TA3N's authors (2 tensors that nothing uses are left)")


def test_what_keys_do_not_tell_can_be_said(published: Path) -> None:
    features = torch.randn(2, 5, D)
    plain, attending = (load_adaptation(published, architecture=given).network for given in ({"attention": "none"}, None))
    assert not torch.allclose(plain(features)["verb"], attending(features)["verb"])
    with pytest.raises(ConfigError, match=r"the architecture 'ta3n' is no argument of a network on features; give e\.g\. att"):
        load_adaptation(published, architecture="ta3n")


def test_a_network_starts_from_another_but_for_classifiers_of_other_classes(published: Path) -> None:
    network = _network(heads={"verb": 3, "noun": 7})
    kept = initialize_network(network, published)
    assert kept == ["classifiers.noun.weight", "classifiers.noun.bias"]
    assert torch.equal(
        network.state_dict()["classifiers.verb.bias"], _published()["module.fc_classifier_video_verb_source.bias"]
    )


def test_another_network_is_refused_by_its_first_tensors(published: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"holds another network: alpha is missing; frame_norms\S+ is missing.* and \d+ more"
    ):
        initialize_network(_network(norm="autodial"), published)
    with pytest.raises(
        CheckpointError, match=r"aggregator\.layers\.0\.weight has shape \(256, 20\), not \(256, 25\); .* and \d+ more"
    ):
        initialize_network(_network(shared_dim=5), published)


def test_a_broken_record_is_one_line(tmp_path: Path) -> None:
    path = _save(_network(), tmp_path / "last.ckpt", network={"aggregation": "relations"})
    with pytest.raises(CheckpointError, match=r"last\.ckpt describes a network that cannot be built: "):
        load_adaptation(path)


def test_a_network_on_clips_is_not_one_on_features(tmp_path: Path) -> None:
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth holds no network of domain adaptation on features; name a"):
        load_adaptation(tmp_path / "other.pth")


def test_networks_on_features_are_not_loaded_as_models(published: Path, tmp_path: Path) -> None:
    for path in (published, _save(_network(), tmp_path / "last.ckpt")):
        with pytest.raises(
            CheckpointError, match=r"holds a network of domain adaptation on features, which sees no frames; score"
        ):
            load_model(path)
