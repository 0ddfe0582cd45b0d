"""Published features and several stores become one store: every value at its place, nothing missing passed over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from zoopraxis.data.features import FeatureWriter, open_features
from zoopraxis.data.prepare.features import convert_features, join_features
from zoopraxis.errors import DataError
from zoopraxis.pickles import save_pickle

Array = npt.NDArray[np.float32]


def write_published(path: Path, ids: list[str], *, seed: int = 0) -> dict[str, Array]:
    """A pickle as published, of 25 features a clip."""
    generator = np.random.default_rng(seed)
    features = {
        name: generator.normal(size=(len(ids), 25, width)).astype(np.float32) for name, width in (("RGB", 4), ("Flow", 3))
    }
    save_pickle(path, {"features": features, "narration_ids": ids})
    return features


def write_frames(folder: Path, numbers: list[int], *, width: int = 4) -> Array:
    """A video's features in the format of torch 0.4, a file a frame."""
    folder.mkdir(parents=True, exist_ok=True)
    vectors = np.random.default_rng(len(numbers)).normal(size=(len(numbers), width)).astype(np.float32)
    for number, vector in zip(numbers, vectors, strict=True):
        tensor = torch.from_numpy(vector.copy())
        torch.save(tensor, folder / f"img_{number:05d}.t7", _use_new_zipfile_serialization=False)
    return vectors


def write_store(out: Path, modality: str, ids: list[str], num: int = 2) -> dict[str, Array]:
    values = {clip_id: np.random.default_rng(len(modality)).normal(size=(num, 3)).astype(np.float32) for clip_id in ids}
    with FeatureWriter(out, {modality: 3}) as writer:
        for clip_id, features in values.items():
            writer.add(clip_id, {modality: features}, seconds=np.arange(num) if modality == "flow" else None)
    return values


def read(path: Path, clip_id: str, num: int) -> Array:
    store = open_features(path)
    features: Array = store.read(store.rows_of([clip_id]), np.arange(num)[None])[0]
    return features


def test_a_published_pickle(tmp_path: Path) -> None:
    features = write_published(tmp_path / "train.pkl", ["P01_01_0", "P01_01_1"])
    outcome = convert_features(tmp_path / "train.pkl", tmp_path / "out")
    assert (outcome.done, outcome.skipped, outcome.broken) == (2, 0, ())
    store = open_features(tmp_path / "out")
    assert dict(store.modalities) == {"RGB": 4, "Flow": 3}
    assert store.num_features.tolist() == [25, 25]
    expected = np.concatenate([features["RGB"][1], features["Flow"][1]], axis=1)
    np.testing.assert_array_equal(read(tmp_path / "out", "P01_01_1", 25), expected)
    assert convert_features(tmp_path / "train.pkl", tmp_path / "out").skipped == 2


def test_a_folder_of_pickles_of_different_clips(tmp_path: Path) -> None:
    folder = tmp_path / "pickles"
    folder.mkdir()
    write_published(folder / "a.pkl", ["one", "two"])
    features = write_published(folder / "b.pkl", ["three"], seed=1)
    convert_features(folder, tmp_path / "out", dtype="float16")
    assert open_features(tmp_path / "out").clip_ids.tolist() == ["one", "two", "three"]
    np.testing.assert_array_equal(
        read(tmp_path / "out", "three", 25)[:, :4], features["RGB"][0].astype(np.float16).astype(np.float32)
    )
    write_published(folder / "c.pkl", ["two"])
    with pytest.raises(DataError, match=r"clip 'two' is in .*a.pkl and in .*c.pkl; take one of them away"):
        convert_features(folder, tmp_path / "other")
    save_pickle(folder / "c.pkl", {"features": {"RGB": np.zeros((1, 25, 4), np.float32)}, "narration_ids": ["four"]})
    with pytest.raises(DataError, match=r"c.pkl has the features .*, but a.pkl .*; convert them one by one"):
        convert_features(folder, tmp_path / "other")


def test_features_of_frames_one_file_each(tmp_path: Path) -> None:
    walk = write_frames(tmp_path / "in" / "v_Walk_g01", list(range(1, 12)))
    write_frames(tmp_path / "in" / "class" / "v_Run_g01", [0, 1, 2])
    outcome = convert_features(tmp_path / "in", tmp_path / "out", modality="rgb")
    assert (outcome.done, outcome.broken) == (2, ())
    store = open_features(tmp_path / "out")
    assert store.clip_ids.tolist() == ["class/v_Run_g01", "v_Walk_g01"]
    assert (store.num_features.tolist(), dict(store.modalities)) == ([3, 11], {"rgb": 4})
    np.testing.assert_array_equal(read(tmp_path / "out", "v_Walk_g01", 11), walk)


def test_videos_with_gaps_and_broken_files_are_set_aside(tmp_path: Path) -> None:
    write_frames(tmp_path / "in" / "a_whole", [1, 2])
    write_frames(tmp_path / "in" / "b_gap", [1, 2, 4])
    write_frames(tmp_path / "in" / "c_wide", [1], width=5)
    write_frames(tmp_path / "in" / "d_broken", [1, 2])
    (tmp_path / "in" / "d_broken" / "img_00002.t7").write_bytes(b"no tensor")
    write_frames(tmp_path / "in" / "e_table", [1])
    torch.save({"a": 1}, tmp_path / "in" / "e_table" / "img_00001.t7")
    outcome = convert_features(tmp_path / "in", tmp_path / "out")
    assert outcome.done == 1
    reasons = {one.item: one.reason for one in outcome.broken}
    assert list(reasons) == ["b_gap", "c_wide", "d_broken", "e_table"]
    assert "b_gap has 3 frames up to number 4, but no img_00003.t7; get or make its features again" in reasons["b_gap"]
    assert "has 5 values, but those before it have 4" in reasons["c_wide"]
    assert "d_broken/img_00002.t7 cannot be read as a tensor" in reasons["d_broken"]
    assert "holds no vector of numbers" in reasons["e_table"]
    write_frames(tmp_path / "in" / "b_gap", [1, 2, 3, 4])
    again = convert_features(tmp_path / "in", tmp_path / "out")
    assert (again.done, again.skipped, len(again.broken)) == (1, 1, 3)


def test_sources_without_features_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there are no features .*absent; check the path"):
        convert_features(tmp_path / "absent", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no published features: neither pickles .*zoopraxis prepare features extract"):
        convert_features(tmp_path / "empty", tmp_path / "out")
    write_frames(tmp_path / "gap" / "video", [2])
    with pytest.raises(DataError, match=r"none of 1 videos' features can be read; the first: .* but no img_00001.t7"):
        convert_features(tmp_path / "gap", tmp_path / "out")


def test_modalities_stand_side_by_side(tmp_path: Path) -> None:
    rgb = write_store(tmp_path / "rgb", "rgb", ["one", "two"])
    flow = write_store(tmp_path / "flow", "flow", ["two", "one"])
    assert join_features([tmp_path / "rgb", tmp_path / "flow"], tmp_path / "out").done == 2
    assert dict(open_features(tmp_path / "out").modalities) == {"rgb": 3, "flow": 3}
    np.testing.assert_array_equal(read(tmp_path / "out", "two", 2), np.concatenate([rgb["two"], flow["two"]], axis=1))
    seconds = open_features(tmp_path / "out").seconds(0)
    assert seconds is not None
    assert seconds.tolist() == [0, 1]


def test_stores_that_do_not_fit_are_not_joined(tmp_path: Path) -> None:
    write_store(tmp_path / "rgb", "rgb", ["one", "two"])
    write_store(tmp_path / "less", "flow", ["one"])
    write_store(tmp_path / "longer", "flow", ["one", "two"], num=3)
    with pytest.raises(DataError, match="rgb has the modality 'rgb' again; a store can hold it once"):
        join_features([tmp_path / "rgb", tmp_path / "rgb"], tmp_path / "out")
    with pytest.raises(DataError, match=r"less lacks 1 of the clips of .*rgb \(first: two\); extract both of the same clips"):
        join_features([tmp_path / "rgb", tmp_path / "less"], tmp_path / "out")
    with pytest.raises(DataError, match=r"less lacks 1 of the clips of .*rgb \(first: two\); extract both of the same clips"):
        join_features([tmp_path / "less", tmp_path / "rgb"], tmp_path / "out")
    with pytest.raises(DataError, match=r"clip 'one' has 3 features in .*longer, but 2 in .*rgb; extract both with the same"):
        join_features([tmp_path / "rgb", tmp_path / "longer"], tmp_path / "out")
