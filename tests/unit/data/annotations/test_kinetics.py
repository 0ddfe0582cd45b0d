"""Kinetics' CSV files and lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoopraxis.data.annotations.kinetics import read_kinetics
from zoopraxis.data.index import Clip
from zoopraxis.errors import AnnotationError

HEADER = "label,youtube_id,time_start,time_end,split"


def write(tmp_path: Path, *lines: str, name: str = "kinetics.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_are_trimmed_clips_in_folders_by_label(tmp_path: Path) -> None:
    path = write(
        tmp_path, f"{HEADER},is_cc", "testifying,---QUuC4vJs,84,94,validate,0", '"eating, fast",--3ouPhoy2A,20,30.0,train,0'
    )
    index = read_kinetics(path)
    assert index[0] == Clip("testifying/---QUuC4vJs_000084_000094", "testifying/---QUuC4vJs_000084_000094")
    assert index[1].source == "eating, fast/--3ouPhoy2A_000020_000030"
    assert index.class_names == {"label": ("eating, fast", "testifying")}
    assert index.labels()["label"].tolist() == [1, 0]
    assert read_kinetics(path, split="val").clip_ids.tolist() == ["testifying/---QUuC4vJs_000084_000094"]


def test_ids_with_a_dot_keep_it(tmp_path: Path) -> None:
    index = read_kinetics(write(tmp_path, HEADER, "a.b,id,0,10,train"))
    assert index.clip_ids.tolist() == ["a.b/id_000000_000010"]


def test_the_test_split_has_no_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "youtube_id,time_start,time_end,split", "--3ouPhoy2A,20,30,test")
    assert read_kinetics(path).heads == {}
    index = read_kinetics(path, class_names={"label": ["a", "b"]})
    assert index[0].source == "--3ouPhoy2A_000020_000030"
    assert index.labels()["label"].tolist() == [-1]


@pytest.mark.parametrize(
    "header", ["label,youtube_id,time_start,time_end,split,is_cc", "label,youtube_id,time_start,time_end,split"]
)
def test_kinetics_400_600_and_700_have_the_same_columns(header: str, tmp_path: Path) -> None:
    rows = [
        f"{label},id{n},{n},{n + 10},{split}" for n, (label, split) in enumerate([("b", "train"), ("a", "val"), ("b", "test")])
    ]
    rows = [row + ",0" * ("is_cc" in header) for row in rows]
    index = read_kinetics(write(tmp_path, header, *rows))
    assert index.labels()["label"].tolist() == [1, 0, 1]
    assert index.column("split").tolist() == ["train", "val", "test"]
    assert index.column("source").tolist() == ["b/id0_000000_000010", "a/id1_000001_000011", "b/id2_000002_000012"]


@pytest.mark.parametrize(("name", "split"), [("train", "train"), ("val", "val"), ("test", "test")])
def test_the_lists_of_tadaconv(name: str, split: str, tmp_path: Path) -> None:
    index = read_kinetics(write(tmp_path, "abseiling/a_000001_000011.mp4 0", name=f"kinetics400_{name}_list.txt"))
    assert index[0].source == "abseiling/a_000001_000011.mp4"
    assert index.column("split").tolist() == [split]


@pytest.mark.parametrize("name", ["hmdb51_train_list.txt", "ucf101_train_list.txt"])
def test_the_lists_of_tadaconv_for_small_data_sets(name: str, tmp_path: Path) -> None:
    index = read_kinetics(write(tmp_path, "wave/a_nm_np1.avi 50", "chew/b.avi 4", name=name))
    assert index.labels()["label"].tolist() == [50, 4]
    assert index.column("source").tolist() == ["wave/a_nm_np1.avi", "chew/b.avi"]
    assert index.column("split").tolist() == ["train", "train"]


def test_lists_are_read_too(tmp_path: Path) -> None:
    assert read_kinetics(write(tmp_path, "a.mp4 1", name="val.txt")).labels()["label"].tolist() == [1]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["label,youtube_id,start", "a,b,1"], "has no column 'time_start'; did you mean 'start'"),
        ([HEADER, "a,b,0,10,train", "a,b,ten,20,train"], "row 1: times ten and 20 are not whole seconds"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        read_kinetics(write(tmp_path, *lines))
