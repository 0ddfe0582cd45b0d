"""Clips of two domains: where they are found, what a step sees, going on in an epoch, and the network on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from zoopraxis.config.adaptation import AdaptationConfig, AdaptationDataConfig, AdaptationModelConfig
from zoopraxis.config.schema import TransformConfig
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.prepare.gulp import write_gulp
from zoopraxis.errors import CheckpointError, ConfigError, DataError
from zoopraxis.models import create_model, save_model
from zoopraxis.models.ta3n import TA3N
from zoopraxis.training.adaptation.clips import (
    build_loaders,
    build_validation_loader,
    build_video_network,
    check_clip_settings,
    clip_inputs,
    open_clip_store,
)
from zoopraxis.training.adaptation.pairs import ClipPairs

HEADS = {"verb": 3}
NUM_CLIPS = {"source": 7, "target": 4}


class _Frames:
    """Frames that are made when they are read: each clip has its own brightness."""

    def num_frames(self, clip: Clip) -> int:
        return 8

    def frame_rate(self, clip: Clip) -> float | None:
        return None

    def check(self, clip: Clip) -> None:
        return None

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return np.full((len(frames), 20, 24, 3), 10 * int(clip.clip_id.split("_")[1]), dtype=np.uint8)


def _index(domain: str, num_clips: int | None = None) -> ClipIndex:
    count = NUM_CLIPS[domain] if num_clips is None else num_clips
    ids = [f"{domain}_{number}" for number in range(count)]
    return ClipIndex.from_columns(
        clip_id=ids, source=ids, labels={"verb": np.arange(count) % 3}, class_names={"verb": ["a", "b", "c"]}, domain=domain
    )


def _data(**settings: Any) -> AdaptationDataConfig:
    small = {"root": "unused", "store": "gulp", "batch_size": 3, "num_workers": 0, "pin_memory": False, "num_segments": 2}
    return AdaptationDataConfig(**{**small, "transform": TransformConfig(size=16, resize=20), **settings})


def _pairs(*, domains: tuple[str, ...] = ("source", "target"), target_batch_size: int = 3, **settings: Any) -> ClipPairs:
    process = {name: settings.pop(name) for name in ("rank", "world_size") if name in settings}
    return build_loaders(
        _data(**settings),
        {domain: _index(domain) for domain in domains},
        stores={domain: _Frames() for domain in domains},
        heads=HEADS,
        target_batch_size=target_batch_size,
        seed=0,
        **process,
    )


def _rows(pairs: ClipPairs, epoch: int = 0) -> list[dict[str, list[int]]]:
    pairs.set_epoch(epoch)
    return [{domain: batch["index"].tolist() for domain, batch in pair.items()} for pair in pairs]  # type: ignore[attr-defined]


def _joined(rows: list[dict[str, list[int]]], domain: str) -> list[int]:
    return [row for pair in rows for row in pair[domain]]


def test_a_step_has_clips_of_both_domains() -> None:
    pairs = _pairs()
    first = next(iter(pairs))
    assert first["source"]["clip"].shape == first["target"]["clip"].shape == (3, 2, 3, 16, 16)
    assert first["source"]["clip"].dtype == torch.uint8
    for domain in ("source", "target"):
        batch = first[domain]  # type: ignore[literal-required]
        assert (batch["clip"].float().mean((1, 2, 3, 4)) / 10).round().tolist() == batch["index"].tolist()
        assert batch["labels"]["verb"].tolist() == [row % 3 for row in batch["index"].tolist()]


def test_an_epoch_ends_with_the_shorter_domain() -> None:
    pairs = _pairs(epoch="shorter")
    rows = _rows(pairs)
    assert len(pairs) == len(rows) == 2
    assert sorted(_joined(rows, "target")) == [0, 1, 2, 3]
    assert len(set(_joined(rows, "source"))) == 6
    assert _rows(pairs) == rows
    assert _rows(pairs, epoch=1) != rows


def test_in_the_longer_epoch_the_other_domain_begins_anew_in_another_order() -> None:
    pairs = _pairs(epoch="longer")
    rows = _rows(pairs)
    assert len(pairs) == len(rows) == 3
    assert sorted(_joined(rows, "source")) == list(range(7))
    target = _joined(rows, "target")
    assert sorted(target[:4]) == sorted(target[4:]) == [0, 1, 2, 3]
    assert target[:4] != target[4:]


def test_the_source_alone_takes_whole_epochs() -> None:
    rows = _rows(_pairs(domains=("source",)))
    assert [list(pair) for pair in rows] == [["source"]] * 3
    assert sorted(_joined(rows, "source")) == list(range(7))


@pytest.mark.parametrize("epoch", ["shorter", "longer"])
@pytest.mark.parametrize("num_given", [0, 1, 2])
def test_an_epoch_is_taken_up_where_it_was_left(epoch: str, num_given: int) -> None:
    whole = _rows(_pairs(epoch=epoch), epoch=3)
    broken = _pairs(epoch=epoch)
    broken.set_epoch(3)
    iterator = iter(broken)
    for _ in range(num_given):
        next(iterator)
    resumed = _pairs(epoch=epoch)
    resumed.load_state_dict(broken.state_dict())
    assert _rows(resumed, epoch=3) == whole[num_given:]
    assert len(_rows(resumed, epoch=4)) == len(whole)


def test_an_epoch_of_another_division_is_not_taken_up_in_its_middle() -> None:
    pairs = _pairs(epoch="longer")
    next(iter(pairs))
    with pytest.raises(ConfigError, match=r"after batch 1 of epoch 0 with clips_per_step 3, but now it is 2; resume with"):
        _pairs(epoch="longer", target_batch_size=2).load_state_dict(pairs.state_dict())
    for _ in pairs:
        pass
    _pairs(epoch="longer", target_batch_size=2).load_state_dict(pairs.state_dict())


def test_processes_share_the_clips_of_a_step() -> None:
    alone = _rows(_pairs(epoch="longer", batch_size=4, target_batch_size=4))
    shares = [_rows(_pairs(epoch="longer", batch_size=2, target_batch_size=2, rank=rank, world_size=2)) for rank in (0, 1)]
    assert len(shares[0]) == len(shares[1]) == len(alone)
    both = [{domain: sorted(one[domain] + other[domain]) for domain in one} for one, other in zip(*shares, strict=True)]
    assert both[0] == {domain: sorted(rows) for domain, rows in alone[0].items()}
    assert set(_joined(both, "source")) == set(range(7))


def test_validation_sees_each_clip_once_in_order() -> None:
    shares = [
        build_validation_loader(_data(), _index("source"), store=_Frames(), heads=HEADS, rank=rank, world_size=2)
        for rank in (0, 1)
    ]
    rows = [[row for batch in loader for row in batch["index"].tolist()] for loader in shares]
    assert rows == [[0, 2, 4, 6], [1, 3, 5, -1]]


def test_clips_are_normalized_as_the_network_wants() -> None:
    config = AdaptationConfig(data=_data(), model=AdaptationModelConfig(backbone="test_resnet", mean=[0.5], std=[0.25]))
    model = build_video_network(config, HEADS, pretrained=False)
    batch = {"clip": torch.full((1, 2, 3, 4, 4), 255, dtype=torch.uint8)}
    assert torch.allclose(clip_inputs(batch, model.preprocessing), torch.tensor(2.0))


def test_clips_are_found_in_any_gulp_folder_of_the_root(tmp_path: Path) -> None:
    for split, domain in (("train", "source"), ("test", "target")):
        write_gulp(_index(domain), _Frames(), tmp_path / f"rgb_{split}")
    config = _data(root=str(tmp_path))
    store = open_clip_store(config, "source")
    assert [store.num_frames(index[0]) for index in (_index("source"), _index("target"))] == [8, 8]
    with pytest.raises(DataError, match=r"clip 'source_9' is not in the gulp folder .*rgb_test.*; 1 other stores lack it, too"):
        store.check(Clip("source_9", "source_9"))
    apart = _data(root=str(tmp_path / "rgb_train"), target_root=str(tmp_path / "rgb_test"))
    open_clip_store(apart, "target").check(Clip("target_1", "target_1"))
    with pytest.raises(DataError, match="clip 'target_1' is not in the gulp folder"):
        open_clip_store(apart, "source").check(Clip("target_1", "target_1"))


def test_a_root_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.target_root=.*nowhere does not exist; name the folder of the gulp store"):
        open_clip_store(_data(root=str(tmp_path), target_root=str(tmp_path / "nowhere")), "target")
    with pytest.raises(DataError, match=r"holds no data_<n>\.gulp"):
        open_clip_store(_data(root=str(tmp_path)), "source")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"sampling": "densee"}}, "unknown sampling 'densee'; did you mean 'dense'"),
        ({"data": {"transform": TransformConfig(size=64, resize=32)}}, r"data\.transform\.size=64 is larger than the frames"),
        ({"data": {"transform": TransformConfig(area=[1.0], crop="random_resized")}}, r"data\.transform\.area is \[1\.0\]"),
        (
            {"model": {"weights": "a.ckpt", "backbone_weights": "b.ckpt"}},
            r"model\.backbone_weights=b\.ckpt is for the backbone, but model\.weights=a\.ckpt has one, too; leave one",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, Any], message: str) -> None:
    config = AdaptationConfig(data=_data())
    changed = {name: dataclasses.replace(getattr(config, name), **values) for name, values in changes.items()}
    with pytest.raises(ConfigError, match=message):
        check_clip_settings(dataclasses.replace(config, **changed))


def test_the_network_is_the_settings() -> None:
    model = AdaptationModelConfig(
        backbone="test_resnet", temporal="shift", aggregation="average", shared_dim=8, attention="none", share_norms=False
    )
    config = AdaptationConfig(data=_data(num_segments=3), model=model)
    config.adapt.mcd = True
    network = build_video_network(config, HEADS, pretrained=False)
    assert isinstance(network, TA3N)
    arguments = network.adaptation.arguments
    assert (arguments["aggregation"], arguments["shared_dim"], arguments["second_classifier"]) == ("average", 8, True)
    assert (network.share_norms, network.preprocessing.num_segments, network.preprocessing.size) == (False, 3, 16)
    assert network.architecture["temporal"] == "shift"
    again = build_video_network(config, HEADS, pretrained=False)
    torch.testing.assert_close(again.state_dict(), network.state_dict())


def test_the_backbone_starts_from_recognition_and_the_whole_from_adaptation(tmp_path: Path) -> None:
    file = save_model(create_model("tsn", heads={"label": 9}, backbone="test_resnet"), tmp_path / "tsn.safetensors")
    config = AdaptationConfig(data=_data(), model=AdaptationModelConfig(backbone="test_resnet", backbone_weights=str(file)))
    started, fresh = (build_video_network(config, HEADS, pretrained=is_first) for is_first in (True, False))
    for name, tensor in started.state_dict().items():
        is_taken = not torch.equal(tensor, fresh.state_dict()[name])
        assert is_taken <= name.startswith("backbone.")
    assert not torch.equal(next(started.backbone.parameters()), next(fresh.backbone.parameters()))
    whole = save_model(fresh, tmp_path / "ta3n.safetensors")
    config.model = AdaptationModelConfig(backbone="test_resnet", weights=str(whole))
    torch.testing.assert_close(build_video_network(config, HEADS, pretrained=True).state_dict(), fresh.state_dict())
    config.model = AdaptationModelConfig(backbone="test_convnext", backbone_weights=str(file))
    with pytest.raises(CheckpointError, match=r"tsn\.safetensors is of another architecture than a TA3N network \(test_conv"):
        build_video_network(config, HEADS, pretrained=True)
