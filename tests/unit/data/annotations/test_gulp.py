"""A gulp folder's own annotations as an index, and an index as a gulp folder's annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.data.annotations.gulp import gulp_metadata, read_gulp
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.data.stores.gulp import GulpStore
from zoopraxis.data.stores.gulp_writer import GulpWriter
from zoopraxis.errors import AnnotationError

FRAMES = np.full((2, 8, 8, 3), 90, dtype=np.uint8)

EPIC_ROW = {
    "participant_id": "P01",
    "video_id": "P01_11",
    "narration_timestamp": "00:00:00.560",
    "start_timestamp": "01:02:03.50",
    "stop_timestamp": "01:02:05.89",
    "start_frame": 93,
    "stop_frame": 147,
    "narration": "put down plate",
    "verb": "put-down",
    "verb_class": 1,
    "noun": "plate",
    "noun_class": 2,
    "all_noun_classes": [2],
}


def write(root: Path, items: Mapping[str, Mapping[str, Any]]) -> Path:
    with GulpWriter(root).chunk(0) as chunk:
        for key, metadata in items.items():
            chunk.append(key, FRAMES, metadata)
    return root


def test_the_baselines_rows_are_read(tmp_path: Path) -> None:
    index = read_gulp(write(tmp_path, {"P01_11_1": EPIC_ROW, "P01_11_0": {**EPIC_ROW, "noun_class": 7}}), split="train")

    assert index.clip_ids.tolist() == ["P01_11_1", "P01_11_0"]
    assert index.heads == {"verb": 97, "noun": 300}
    assert index.labels()["verb"].tolist() == [1, 1]
    assert index.labels()["noun"].tolist() == [2, 7]
    row = index.table.to_pylist()[0]
    assert (row["source"], row["participant_id"], row["split"]) == ("P01/P01_11", "P01", "train")
    assert (row["start_frame"], row["stop_frame"]) == (92, 147)
    assert (row["start_seconds"], row["stop_seconds"]) == (3723.5, 3725.89)


def test_a_flow_folders_stop_frame_is_not_part_of_the_clip(tmp_path: Path) -> None:
    row = read_gulp(write(tmp_path, {"P01_11_1": EPIC_ROW}), modality="flow").table.to_pylist()[0]

    assert (row["start_frame"], row["stop_frame"]) == (92, 146)


def test_clips_keyed_by_uid_are_named_by_narration_and_found_by_the_store(tmp_path: Path) -> None:
    index = read_gulp(write(tmp_path, {"4972": {**EPIC_ROW, "narration_id": "P01_11_1"}}))

    assert index[0].clip_id == "P01_11_1"
    assert index[0].source == "4972"
    assert GulpStore(tmp_path).num_frames(index[0]) == 2


def test_a_test_split_has_no_labels(tmp_path: Path) -> None:
    stored = {name: EPIC_ROW[name] for name in ("participant_id", "video_id", "start_frame", "stop_frame")}
    folder = write(tmp_path, {"a": {**stored, "narration_id": "a"}, "b": {**stored, "narration_id": "b"}})

    index = read_gulp(folder)

    assert index.heads == {"verb": 97, "noun": 300}
    assert index.labels()["verb"].tolist() == [UNLABELLED, UNLABELLED]


def test_given_class_names_go_before_the_stored_ones(tmp_path: Path) -> None:
    index = read_gulp(write(tmp_path, {"a": EPIC_ROW}), class_names={"verb": ["take", "put", "open"]})

    assert index.heads == {"verb": 3, "noun": 300}
    assert index.class_names["verb"] == ("take", "put", "open")
    assert index.labels()["verb"].tolist() == [1]


def test_a_split_is_kept_where_splits_are_stored_and_named_where_not(tmp_path: Path) -> None:
    both = write(tmp_path / "both", {"a": {**EPIC_ROW, "split": "train"}, "b": {**EPIC_ROW, "split": "val"}})
    plain = write(tmp_path / "rgb_train", {"a": EPIC_ROW, "b": EPIC_ROW})

    assert read_gulp(both, split="validation").clip_ids.tolist() == ["b"]
    assert read_gulp(both).column("split").tolist() == ["train", "val"]
    assert read_gulp(plain, split="test").column("split").tolist() == ["test", "test"]
    assert read_gulp(plain).column("split").tolist() == ["train", "train"]
    with pytest.raises(AnnotationError, match="the index has no clips of split 'test'"):
        read_gulp(both, split="test")


def test_a_folder_without_labels_or_names_has_no_heads(tmp_path: Path) -> None:
    index = read_gulp(write(tmp_path, {"a": {}}))

    assert index.heads == {}
    assert index[0].source == "a"


@pytest.mark.parametrize("modality", ["rgb", "flow"])
def test_an_index_comes_back_from_the_metadata_it_gave(tmp_path: Path, modality: str) -> None:
    index = ClipIndex.from_columns(
        clip_id=["P01_11_0", "P01_11_1", "P02_101_0"],
        source=["P01/P01_11", "P01/P01_11", "P02/P02_101"],
        labels={"verb": [3, UNLABELLED, 0], "noun": [1, 2, 0], "grip": [0, 1, 1]},
        class_names={"verb": ["a", "b", "c", "d"], "noun": ["e", "f", "g"], "grip": ["left", "right"]},
        start_seconds=[0.1, 2.25, None],
        stop_seconds=[1.7, 3.125, None],
        start_frame=[5, 110, None],
        stop_frame=[85, 160, None],
        split=["train", "val", "train"],
        participant_id=["P01", "P01", "P02"],
        domain=["source", "source", "target"],
    )
    write(tmp_path, {index[row].clip_id: gulp_metadata(index, row, modality=modality) for row in range(3)})
    names = {"class_names": index.class_names, "modality": modality, "num_chunks": 1}
    (tmp_path / "zoopraxis.json").write_text(json.dumps(names))

    again = read_gulp(tmp_path, modality=modality)

    assert again.class_names == index.class_names
    assert again.table.to_pylist() == index.table.to_pylist()


def test_epic_columns_are_stored_as_epic_counts_them() -> None:
    index = ClipIndex.from_columns(
        clip_id=["P01_11_0", "P01_11_1"],
        source=["P01/P01_11"] * 2,
        labels={"verb": [3, UNLABELLED], "noun": [1, 2]},
        class_names={"verb": ["a", "b", "c", "d"], "noun": ["e", "f", "g"]},
        start_seconds=[3723.5, None],
        stop_seconds=[3725.1239, None],
        start_frame=[92, 0],
        stop_frame=[147, 60],
        participant_id="P01",
    )

    rgb, unlabelled = (gulp_metadata(index, row) for row in (0, 1))
    flow = gulp_metadata(index, 0, modality="flow")

    assert rgb["narration_id"] == "P01_11_0"
    assert (rgb["participant_id"], rgb["video_id"]) == ("P01", "P01_11")
    assert (rgb["start_timestamp"], rgb["stop_timestamp"]) == ("01:02:03.500", "01:02:05.124")
    assert (rgb["start_frame"], rgb["stop_frame"]) == (93, 147)
    assert (flow["start_frame"], flow["stop_frame"]) == (93, 148)
    assert (rgb["verb_class"], rgb["noun_class"]) == (3, 1)
    assert "verb_class" not in unlabelled
    assert "start_timestamp" not in unlabelled
    assert None not in unlabelled.values()


def test_labels_that_only_some_clips_have_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": EPIC_ROW, "b": {"verb_class": 1}})

    with pytest.raises(AnnotationError, match=r"1 of 2 clips in .* have no noun label, the first 'b'"):
        read_gulp(folder)


def test_a_label_that_is_no_whole_number_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": {**EPIC_ROW, "noun_class": 1.5}})

    with pytest.raises(AnnotationError, match=r"clip 'a' in .* has noun label 1\.5; it must be a whole number"):
        read_gulp(folder)


def test_our_labels_without_class_names_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": {"label:grip": 1}})

    with pytest.raises(AnnotationError, match=r"has labels of grip but no class names; restore its zoopraxis\.json"):
        read_gulp(folder)
