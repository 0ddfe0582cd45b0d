"""A CSV file of a person's own videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoopraxis.data.annotations.table import read_csv_table
from zoopraxis.data.index import Clip
from zoopraxis.errors import AnnotationError


def write(tmp_path: Path, *lines: str, name: str = "mine.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_paths_and_labels_are_enough(tmp_path: Path) -> None:
    index = read_csv_table(write(tmp_path, "path,label,person", "walks/a.mp4,walk,ann", "b.mp4,run,bob", "c.mp4,,bob"))
    assert index[0] == Clip("walks/a", "walks/a.mp4")
    assert index.class_names == {"label": ("run", "walk")}
    assert index.labels()["label"].tolist() == [1, 0, -1]
    assert index.column("split").tolist() == [None, None, None]


def test_numbers_are_labels_as_they_are(tmp_path: Path) -> None:
    index = read_csv_table(write(tmp_path, "path,label", "a.mp4,2", "b.mp4,0", "c.mp4,"))
    assert index.class_names == {"label": ("0", "1", "2")}
    assert index.labels()["label"].tolist() == [2, 0, -1]
    named = read_csv_table(write(tmp_path, "path,label", "a.mp4,1"), class_names={"label": ["walk", "run"]})
    assert named.labels()["label"].tolist() == [1]


def test_verb_and_noun_are_two_heads(tmp_path: Path) -> None:
    index = read_csv_table(write(tmp_path, "path,verb,noun", "a.mp4,take,3", "b.mp4,put,1"))
    assert index.heads == {"verb": 2, "noun": 4}
    assert index.labels()["verb"].tolist() == [1, 0]
    assert index.labels()["noun"].tolist() == [3, 1]


def test_without_labels_there_are_no_heads(tmp_path: Path) -> None:
    assert read_csv_table(write(tmp_path, "path", "a.mp4")).heads == {}


@pytest.mark.parametrize("names", ["start,stop", "start_seconds,stop_seconds"])
def test_spans_are_seconds_or_timestamps(tmp_path: Path, names: str) -> None:
    index = read_csv_table(write(tmp_path, f"path,{names}", "a.mp4,1.5,3", "a.mp4,00:01:00,00:01:02.5", "b.mp4,,"))
    assert index[0] == Clip("a@1.5-3", "a.mp4", 1.5, 3.0)
    assert index[1] == Clip("a@60-62.5", "a.mp4", 60.0, 62.5)
    assert index[2] == Clip("b", "b.mp4")


def test_spans_in_frames_are_taken_as_they_are(tmp_path: Path) -> None:
    index = read_csv_table(write(tmp_path, "path,start_frame,stop_frame", "a,0,10", "a,10,20", "b,,"))
    assert [index[row] for row in range(3)] == [
        *(Clip("a@f0-10", "a", None, None, 0, 10), Clip("a@f10-20", "a", None, None, 10, 20), Clip("b", "b")),
    ]


def test_further_columns_of_the_index_are_taken(tmp_path: Path) -> None:
    path = write(
        tmp_path, "clip_id,path,split,participant_id,domain", "x,a.mp4,training,P01,source", "y,b.mp4,Validation,P02,target"
    )
    index = read_csv_table(path)
    assert index.clip_ids.tolist() == ["x", "y"]
    assert index.column("split").tolist() == ["train", "val"]
    assert index.column("participant_id").tolist() == ["P01", "P02"]
    assert index.column("domain").tolist() == ["source", "target"]


def test_a_split_is_cut_out_with_the_classes_of_all(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label,split", "a.mp4,walk,train", "b.mp4,run,train", "c.mp4,walk,val")
    index = read_csv_table(path, split="val")
    assert index.clip_ids.tolist() == ["c"]
    assert index.class_names == {"label": ("run", "walk")}
    with pytest.raises(AnnotationError, match="has no clips of split 'test'; known: train, val"):
        read_csv_table(path, split="test")


def test_without_splits_the_name_or_the_caller_tells(tmp_path: Path) -> None:
    path = write(tmp_path, "path", "a.mp4", name="my_val.csv")
    assert read_csv_table(path).column("split").tolist() == ["val"]
    assert read_csv_table(path, split="train").column("split").tolist() == ["train"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["file,label", "a.mp4,1"], "has no column 'path'"),
        (["path,label", ",1"], "row 0: the path is empty; remove the row or name its video"),
        (
            ["path,start,stop", "a.mp4,0,1", "b.mp4,soon,2"],
            "row 1: start_seconds 'soon' is neither seconds nor a time as 00:01:02.5",
        ),
        (["path,start,stop", "a.mp4,0:1,2"], "row 0: start_seconds '0:1' is not of the form 01:02:03.45"),
        (["path,start", "a.mp4,0"], "has a column for one end of the clips but no column 'stop'; give both"),
        (["path,start_frame,stop_frame", "a,0,1.5"], "row 0: stop_frame '1.5' is no whole number; frames count from 0"),
    ],
)
def test_malformed_tables_are_refused_with_the_row(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        read_csv_table(write(tmp_path, *lines))


def test_a_name_that_is_no_class_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label", "a.mp4,walk", "b.mp4,runn")
    with pytest.raises(AnnotationError, match="row 1: 'runn' is no class of head 'label'; did you mean 'run'"):
        read_csv_table(path, class_names={"label": ["walk", "run"]})
