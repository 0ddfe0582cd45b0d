"""Checkpoints of networks that find actions in long videos: ours and the published ones, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_bmn import GEOMETRY, IN_DIM, published_tensors
from zoopraxis.config.load import config_to_dict
from zoopraxis.config.localization import LocalizationConfig
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.models import load_model
from zoopraxis.models.archives import LocalizationNetworkError
from zoopraxis.training.adaptation.checkpoints import load_adaptation
from zoopraxis.training.localization.checkpoints import initialize_localizer, load_localizer

HEADS = {"verb": 5, "noun": 7}
META = {"model": {"name": "tsn"}, "window": 2.0, "stride": 1.0}


def _network(**changes: Any) -> BoundaryMatchingNetwork:
    torch.manual_seed(1)
    sizes = {"in_dim": IN_DIM, "base_dim": 8, "match_dim": 12, "map_dim": 4}
    return BoundaryMatchingNetwork(**{**GEOMETRY, **sizes, **changes})


def _save(built: BoundaryMatchingNetwork, path: Path, **record: Any) -> Path:
    kept = {
        "task": "localization",
        "network": built.arguments,
        "features": {"modalities": {"rgb": 5, "flow": 3}, "meta": META},
        "class_names": {head: [str(number) for number in range(classes)] for head, classes in HEADS.items()},
        "config": config_to_dict(LocalizationConfig()),
    }
    tensors = {f"model.{key}": tensor for key, tensor in built.state_dict().items()}
    torch.save({"state_dict": tensors, "zoopraxis": {**kept, **record}}, path)
    return path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pyth"
    torch.save({"epoch": 9, "model_state": published_tensors("tadaconv", extras={"x_2d_verb": 5})}, path)
    return path


def test_a_checkpoint_of_ours_gives_its_network_back(tmp_path: Path) -> None:
    network = _network(heads=HEADS, regression=True).eval()
    localizer = load_localizer(_save(network, tmp_path / "last.ckpt"))
    features_BCT = torch.randn(2, IN_DIM, 8)
    assert torch.equal(localizer.network(features_BCT).confidence_B2DT, network(features_BCT).confidence_B2DT)
    assert not localizer.network.training
    assert localizer.class_names["verb"] == ("0", "1", "2", "3", "4")
    assert localizer.modalities == {"rgb": 5, "flow": 3}
    assert localizer.extractor == META
    assert localizer.config == LocalizationConfig()
    title = "boundary-matching network (8 steps, proposals of up to 8, shifts, 5 verbs, 7 nouns)"
    assert localizer.found == f"{title} in the layout of zoopraxis"


def test_a_published_checkpoint_is_told_by_its_keys(published: Path) -> None:
    localizer = load_localizer(published)
    assert localizer.network.arguments["heads"] == {"verb": 5}
    assert (localizer.class_names, localizer.modalities, localizer.config, localizer.extractor) == ({}, {}, None, None)
    assert localizer.found.endswith("in the layout of TAdaConv's authors (head.sample_mask left)")


@pytest.mark.parametrize("publisher", ["mmaction", "epic"])
def test_the_other_publishers_files_load(publisher: str, tmp_path: Path) -> None:
    path = tmp_path / "best.pth.tar"
    torch.save({"epoch": 9, "state_dict": published_tensors(publisher)}, path)
    assert "in the layout of MMAction2 and the EPIC-KITCHENS baseline" in load_localizer(path).found


def test_what_a_published_file_does_not_tell_is_given(tmp_path: Path) -> None:
    path = tmp_path / "bmn.pth"
    tensors = {key: tensor for key, tensor in published_tensors("mmaction").items() if not key.endswith("_mask")}
    torch.save({"state_dict": tensors}, path)
    with pytest.raises(CheckpointError, match=r"bmn\.pth: the checkpoint has no sample_mask"):
        load_localizer(path)
    assert load_localizer(path, architecture={"num_steps": 12}).network.arguments["max_duration"] == 12
    with pytest.raises(ConfigError, match="the architecture 'bmn' is no argument of a network on features"):
        load_localizer(path, architecture="bmn")


def test_a_run_starts_from_weights_of_another_window(published: Path) -> None:
    network = _network(num_steps=20, max_duration=5, heads={"verb": 5, "noun": 7})
    kept = initialize_localizer(network, published)
    assert {name.partition(".")[2].partition(".")[0] for name in kept} == {"noun"}
    expected = load_localizer(published).network
    assert torch.equal(network.match_weight, expected.match_weight)
    assert torch.equal(network.classes["verb"][6].weight, expected.classes["verb"][6].weight)


def test_weights_of_another_width_are_refused(published: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds another network: .*match_bias has shape \(12,\), not \(16,\);"):
        initialize_localizer(_network(match_dim=16), published)


def test_checkpoints_of_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"state_dict": {"fc.weight": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match="holds no network that finds actions in long videos"):
        load_localizer(path)
    with pytest.raises(CheckpointError, match=r"describes a network that cannot be built: num_steps \(0\) must"):
        load_localizer(_save(_network(), tmp_path / "last.ckpt", network={**_network().arguments, "num_steps": 0}))
    with pytest.raises(CheckpointError, match=r"match_weight has shape \(8, 4, 12\), not \(8, 5, 12\)"):
        load_localizer(_save(_network(), tmp_path / "last.ckpt", network={**_network().arguments, "num_samples": 5}))


def test_networks_on_clips_and_of_adaptation_refuse_it(tmp_path: Path, published: Path) -> None:
    ours = _save(_network(), tmp_path / "last.ckpt")
    for path in (ours, published):
        with pytest.raises(LocalizationNetworkError, match=r"finds actions in long videos.*zoopraxis\.load_localizer"):
            load_model(path)
        with pytest.raises(CheckpointError, match="holds no network of domain adaptation on features"):
            load_adaptation(path)
