"""EPIC's rows as clips: frames from 0 and half-open, seconds from the timestamps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.data.annotations.epic import read_epic
from zoopraxis.data.index import Clip
from zoopraxis.data.validation import validate
from zoopraxis.epic.annotations import read_table
from zoopraxis.errors import AnnotationError

TIMES = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame"
ROWS = [
    "P01_11_0,P01,P01_11,00:00:00.00,00:00:01.89,1,113",
    "P01_101_1,P01,P01_101,00:00:01.56,01:00:02.45,93,147",
]


def write(tmp_path: Path, name: str = "EPIC_100_validation.csv", labels: bool = True) -> Path:
    rows = [f"{row},{i},{i + 1}" if labels else row for i, row in enumerate(ROWS)]
    path = tmp_path / name
    path.write_text("\n".join([TIMES + ",verb_class,noun_class" * labels, *rows]) + "\n")
    return path


def test_rgb_frames_include_the_stop_frame(tmp_path: Path) -> None:
    index = read_epic(write(tmp_path))
    assert index[0] == Clip("P01_11_0", "P01/P01_11", 0.0, 1.89, 0, 113)
    assert index[1] == Clip("P01_101_1", "P01/P01_101", 1.56, 3602.45, 92, 147)


def test_flow_frames_are_converted_and_leave_the_stop_frame_out(tmp_path: Path) -> None:
    index = read_epic(write(tmp_path), modality="flow")
    assert index[0] == Clip("P01_11_0", "P01/P01_11", 0.0, 1.89, 0, 56)
    assert index[1] == Clip("P01_101_1", "P01/P01_101", 1.56, 3602.45, 92, 146)


def test_labels_and_participants_are_columns(tmp_path: Path) -> None:
    index = read_epic(write(tmp_path))
    assert {head: labels.tolist() for head, labels in index.labels().items()} == {"verb": [0, 1], "noun": [1, 2]}
    assert index.heads == {"verb": 97, "noun": 300}
    assert index.column("participant_id").tolist() == ["P01", "P01"]


def test_rows_without_labels_are_unlabelled(tmp_path: Path) -> None:
    index = read_epic(write(tmp_path, labels=False))
    assert index.heads == {"verb": 97, "noun": 300}
    assert index.labels()["noun"].tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("name", "split", "domain"),
    [
        ("EPIC_100_train.csv", "train", None),
        ("EPIC_100_validation.csv", "val", None),
        ("EPIC_100_test_timestamps.csv", "test", None),
        ("EPIC_100_uda_source_train.csv", "train", "source"),
        ("EPIC_100_uda_target_test_timestamps.csv", "test", "target"),
        ("mine.csv", None, None),
    ],
)
def test_the_name_tells_split_and_domain(tmp_path: Path, name: str, split: str | None, domain: str | None) -> None:
    index = read_epic(write(tmp_path, name))
    assert index.column("split").tolist() == [split, split]
    assert index.column("domain").tolist() == [domain, domain]
    assert read_epic(write(tmp_path, name), split="validation").column("split").tolist() == ["val", "val"]


def test_class_files_and_given_names_set_the_width(tmp_path: Path) -> None:
    (tmp_path / "EPIC_100_noun_classes.csv").write_text("id,key\n0,tap\n1,spoon\n2,plate\n")
    index = read_epic(write(tmp_path), class_names={"verb": ["take", "put"]})
    assert index.class_names == {"verb": ("take", "put"), "noun": ("tap", "spoon", "plate")}
    assert validate(index) == []


def test_the_30_fps_file_has_seconds_only(tmp_path: Path) -> None:
    path = tmp_path / "train_30fps.csv"
    path.write_text("narration_id,video,start,stop,verb,noun,action\nP01_01_0,P01_01,3,102,3,5,2413\n")
    assert read_epic(path)[0] == Clip("P01_01_0", "P01/P01_01", 0.1, 3.4, None, None)
    assert read_epic(path, modality="flow")[0] == read_epic(path)[0]


def test_frames_alone_are_enough_but_neither_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("narration_id,video_id,start_frame,stop_frame\na,P01_11,1,10\n")
    assert read_epic(path)[0] == Clip("a", "P01/P01_11", None, None, 0, 10)
    path.write_text("narration_id,video_id\na,P01_11\n")
    with pytest.raises(
        AnnotationError, match="tells neither times nor frames; give the columns start_timestamp and stop_timestamp"
    ):
        read_epic(path)


def test_pickles_give_the_same_index(tmp_path: Path) -> None:
    path = write(tmp_path)
    read_table(path).to_pickle(tmp_path / "EPIC_100_validation.pkl")
    assert read_epic(tmp_path / "EPIC_100_validation.pkl").table.equals(read_epic(path).table)


@pytest.mark.real_data
def test_real_rows_are_sound_clips(real_data: Path) -> None:
    golden: dict[str, Any] = {"rgb": (31, 8820), "flow": (15, 4409)}
    for modality, (fewest, most) in golden.items():
        index = read_epic(real_data / "epic100" / "EPIC_100_validation.csv", modality="rgb" if modality == "rgb" else "flow")
        assert validate(index) == []
        lengths = index.column("stop_frame") - index.column("start_frame")
        assert (lengths.min(), lengths.max()) == (fewest, most)
        seconds = index.column("stop_seconds") - index.column("start_seconds")
        assert np.median(np.abs(lengths / seconds - (60 if modality == "rgb" else 30))) < 1
        assert index.class_names["verb"][:2] == ("take", "put")
