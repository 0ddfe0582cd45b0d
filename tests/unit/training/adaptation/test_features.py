"""Where a split's features are found, and several stores as one."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from zoopraxis.config.adaptation import AdaptationDataConfig
from zoopraxis.data.features import FeatureWriter, open_features
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.adaptation.features import JoinedFeatures, open_domain_features


def write(path: Path, clip_ids: Sequence[str], widths: Mapping[str, int] | None = None, *, value: float = 0.0) -> Path:
    """A store whose features of clip n are value + n."""
    writer = FeatureWriter(path, widths or {"RGB": 2, "Flow": 1})
    for number, clip_id in enumerate(clip_ids):
        rows = {
            name: np.full((3, width), value + number, np.float32) for name, width in (widths or {"RGB": 2, "Flow": 1}).items()
        }
        writer.add(clip_id, rows)
    writer.close()
    return path


def ids_of(config: AdaptationDataConfig, split: str) -> list[str]:
    return open_domain_features(config, split).clip_ids.tolist()


def test_one_store_for_all(tmp_path: Path) -> None:
    write(tmp_path / "all", ["a", "b"])
    config = AdaptationDataConfig(root=str(tmp_path / "all"))
    assert ids_of(config, "source") == ids_of(config, "target_val") == ["a", "b"]


def test_a_folder_of_a_store_a_split(tmp_path: Path) -> None:
    for name in ("source_train", "source_val", "target_train", "target_val", "target_test"):
        write(tmp_path / name, [name])
    config = AdaptationDataConfig(root=str(tmp_path))
    assert ids_of(config, "source") == ids_of(config, "source_train") == ["source_train"]
    assert ids_of(config, "target") == ids_of(config, "train") == ["target_train"]
    assert ids_of(config, "test") == ["target_test"]
    tune = AdaptationDataConfig(root=str(tmp_path), phase="tune")
    assert ids_of(tune, "source") == ["source_val"]
    assert ids_of(tune, "target") == ids_of(tune, "target_val") == ["target_val"]


def test_a_store_named_as_the_annotations_or_in_part(tmp_path: Path) -> None:
    for name in ("kitchen_source_train_25", "toy", "other"):
        write(tmp_path / name, [name])
    assert ids_of(AdaptationDataConfig(root=str(tmp_path)), "source") == ["kitchen_source_train_25"]
    assert ids_of(AdaptationDataConfig(root=str(tmp_path), source="lists/toy.csv"), "source") == ["toy"]


def test_a_split_without_a_store_of_its_name_is_looked_for_in_all(tmp_path: Path) -> None:
    write(tmp_path / "x", ["a", "b"])
    write(tmp_path / "y", ["c"])
    assert ids_of(AdaptationDataConfig(root=str(tmp_path)), "source") == ["a", "b", "c"]


def test_a_folder_of_published_pickles(tmp_path: Path) -> None:
    for name in ("source_train", "target_train"):
        features = {"RGB": np.full((1, 25, 2), len(name), np.float32)}
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps({"features": features, "narration_ids": np.array([name])}))
    (tmp_path / "notes.txt").write_text("not features")
    store = open_domain_features(AdaptationDataConfig(root=str(tmp_path)), "target")
    assert store.clip_ids.tolist() == ["target_train"]
    assert store.read(np.asarray([0]), np.asarray([[2, 7]])).tolist() == [[[12.0, 12.0], [12.0, 12.0]]]


def test_the_target_may_have_a_store_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "ucf", ["u"])
    write(tmp_path / "hmdb", ["h"])
    config = AdaptationDataConfig(root=str(tmp_path / "ucf"), target_root=str(tmp_path / "hmdb"))
    assert ids_of(config, "source_val") == ["u"]
    assert ids_of(config, "target_val") == ids_of(config, "test") == ["h"]


def test_missing_stores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"data\.root=.*nowhere does not exist; name a store of features, or a folder of them"
    ):
        open_domain_features(AdaptationDataConfig(root=str(tmp_path / "nowhere")), "source")
    with pytest.raises(ConfigError, match=r"data\.target_root=.*nowhere does not exist"):
        open_domain_features(AdaptationDataConfig(root=str(tmp_path), target_root=str(tmp_path / "nowhere")), "target")
    with pytest.raises(DataError, match=r"data\.root=.* holds no features; make them with: zoopraxis prepare features"):
        open_domain_features(AdaptationDataConfig(root=str(tmp_path)), "source")


def test_joined_stores_read_each_clip_from_the_one_that_has_it(tmp_path: Path) -> None:
    stores = [
        open_features(write(tmp_path / "x", ["a", "b"], value=10)),
        open_features(write(tmp_path / "y", ["c", "z"], value=20)),
    ]
    joined = JoinedFeatures(tmp_path, stores)
    assert len(joined) == 4
    rows = joined.rows_of(["c", "b", "a"])
    positions = np.asarray([[0, 2]] * 3)
    found = joined.read(rows, positions, ["Flow", "RGB"])
    assert found.shape == (3, 2, 3)
    assert found[:, 0, 0].tolist() == [20, 11, 10]
    assert np.array_equal(joined.read(rows[1:], positions[1:]), stores[0].read(np.asarray([1, 0]), positions[1:]))
    assert joined.num_features[rows].tolist() == [3, 3, 3]
    assert joined.widths(["flow"]) == {"Flow": 1}
    assert joined.seconds(2) is None
    with pytest.raises(DataError, match=r"2 of 3 clips have no features in .*, first d; extract them with: zoopraxis prepare"):
        joined.rows_of(["d", "a", "e"])


def test_a_clip_in_several_joined_stores_is_refused(tmp_path: Path) -> None:
    stores = [open_features(write(tmp_path / name, ids)) for name, ids in (("x", ["a", "b"]), ("y", ["b", "c"]))]
    joined = JoinedFeatures(tmp_path, stores)
    assert joined.rows_of(["a", "c"]).tolist() == [0, 3]
    with pytest.raises(DataError, match=r"1 of 2 clips have features in several stores, first b in .*x and .*y; name one"):
        joined.rows_of(["a", "b"])


def test_stores_of_other_modalities_are_not_joined(tmp_path: Path) -> None:
    write(tmp_path / "x", ["a"])
    write(tmp_path / "y", ["b"], {"RGB": 3})
    with pytest.raises(
        DataError, match=r"differ: .*x has RGB of 2, Flow of 1, .*y has RGB of 3; make them by the same network"
    ):
        open_domain_features(AdaptationDataConfig(root=str(tmp_path)), "source")
