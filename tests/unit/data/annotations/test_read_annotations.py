"""One function reads every format, and tells which it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.data.annotations import FORMATS, detect_format, read_annotations
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import AnnotationError, ConfigError, DataError

EPIC = "narration_id,video_id,start_timestamp,stop_timestamp\nP01_11_0,P01_11,00:00:00.00,00:00:01.00\n"


def make(tmp_path: Path, name: str, content: str | bytes = "") -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", EPIC, "epic"),
        ("a.csv", '"uid","video_id"\n', "epic"),
        ("a.csv", "\ufeffnarration_id,video,start,stop\n", "epic"),
        ("a.pkl", "", "epic"),
        ("a.csv", "path,label\n", "csv"),
        ("a.csv", "label, path\n", "csv"),
        ("a.csv", "label,youtube_id,time_start,time_end,split\n", "kinetics"),
        ("a.txt", "a.mp4 0\n", "kinetics"),
        ("a.csv", "100218;Something falling, like a feather\n", "something"),
        ("a.json", "[]", "something"),
        ("a.parquet", "", "index"),
        ("folder/meta_0.gmeta", "{}", "gulp"),
        ("folder/class/a.mp4", "", "folder"),
        ("folder/classInd.txt", "1 a\n", "ucf101"),
        ("folder/wave_test_split2.txt", "a.avi 1\n", "hmdb51"),
        ("trainlist01.txt", "a/b.avi 1\n", "ucf101"),
    ],
)
def test_the_format_is_told_from_the_file(tmp_path: Path, name: str, content: str, expected: str) -> None:
    path = make(tmp_path, name, content)
    assert detect_format(tmp_path / "folder" if name.startswith("folder") else path) == expected
    assert expected in FORMATS


@pytest.mark.parametrize(("name", "content"), [("a.csv", "id,key\n0,take\n"), ("a.csv", ""), ("a.mp4", "x"), ("README", "")])
def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path, name: str, content: str) -> None:
    path = make(tmp_path, name, content)
    with pytest.raises(
        AnnotationError,
        match=r"cannot tell the format of .* name it: epic, csv, folder, kinetics, something, ucf101, hmdb51, index, gulp",
    ):
        read_annotations(path)


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    path = make(tmp_path, "a.csv", EPIC)
    with pytest.raises(ConfigError, match="unknown annotation format 'epics'; did you mean 'epic'"):
        read_annotations(path, format="epics")
    wrong: Any = "flows"
    with pytest.raises(ConfigError, match="unknown modality 'flows'; did you mean 'flow'"):
        read_annotations(path, modality=wrong)


def test_lists_of_ucf101_are_told_by_the_classes_beside_them(tmp_path: Path) -> None:
    make(tmp_path, "classInd.txt", "1 Archery\n2 Biking\n")
    path = make(tmp_path, "testlist03.txt", "Biking/v_1.avi\n")
    assert detect_format(path) == "ucf101"
    assert read_annotations(path, split="val").labels()["label"].tolist() == [1]
    make(tmp_path, "testlist02.txt", "Archery/v_2.avi\n")
    assert read_annotations(tmp_path, split="val", official_split=2).clip_ids.tolist() == ["Archery/v_2"]
    with pytest.raises(ConfigError, match="official_split is 4, but UCF101 and HMDB51 have 1, 2 and 3"):
        read_annotations(tmp_path, official_split=4)


def test_missing_annotations_are_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"the annotations .*none\.csv do not exist; check the path"):
        read_annotations(tmp_path / "none.csv")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path, "EPIC_100_train.pkl", b"cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"posix\.system"):
        read_annotations(path)


def test_a_saved_index_is_read_back_and_cut_to_a_split(tmp_path: Path) -> None:
    index = ClipIndex.from_columns(
        clip_id=["a", "b", "c"],
        source=["a", "b", "c"],
        labels={"label": np.arange(3)},
        class_names={"label": ["x", "y", "z"]},
        split=["train", "val", "train"],
    )
    index.save(tmp_path / "index.parquet")
    assert len(read_annotations(tmp_path / "index.parquet")) == 3
    assert read_annotations(tmp_path / "index.parquet", split="validation").clip_ids.tolist() == ["b"]
    assert len(read_annotations(tmp_path / "index.parquet", class_names=["x", "y", "z"])) == 3
    with pytest.raises(AnnotationError, match=r"has other classes of head 'label' than those given; make it anew with them"):
        read_annotations(tmp_path / "index.parquet", class_names=["x", "z", "y"])


def test_a_saved_index_without_splits_is_all_of_any_split(tmp_path: Path) -> None:
    index = ClipIndex.from_columns(clip_id=["a"], source=["a"], labels={}, class_names={})
    index.save(tmp_path / "index.parquet")
    assert len(read_annotations(tmp_path / "index.parquet", split="train")) == 1


def test_class_names_of_a_head_that_is_not_there_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path, "a.csv", EPIC)
    with pytest.raises(
        AnnotationError, match=r"class names are given for head 'label', which .* does not have; known: noun, verb"
    ):
        read_annotations(path, class_names=["a", "b"])


@pytest.mark.parametrize("format", ["csv", "kinetics", "something", "epic"])
def test_binary_files_are_refused_in_one_line(tmp_path: Path, format: str) -> None:
    path = make(tmp_path, "a.csv", bytes(range(256)) * 8)
    with pytest.raises(AnnotationError) as info:
        read_annotations(path, format=format)
    assert str(path) in str(info.value)
    assert "\n" not in str(info.value)


@pytest.mark.real_data
def test_all_real_annotations_index_in_one_call(real_data: Path) -> None:
    files = sorted((real_data / "epic100").rglob("*.csv"))
    annotations = [file for file in files if "30fps" in file.name or "timestamps" in file.name or "uda" in file.name]
    annotations = [
        file for file in [*annotations, real_data / "epic100" / "EPIC_100_validation.csv"] if "lengths" not in file.name
    ]
    assert len(annotations) == 9
    for modality in ("rgb", "flow"):
        sizes = {file.name: len(read_annotations(file, modality=modality)) for file in annotations}
        assert sizes["train_30fps.csv"] == 67217
        assert sizes["EPIC_100_validation.csv"] == 9668
        assert sizes["EPIC_100_test_timestamps.csv"] == 13092
    index = read_annotations(real_data / "weizmann4" / "labels.csv", split="test")
    assert index.heads == {"label": 4}
    assert 0 < len(index) < 36
    assert json.loads(json.dumps(index.class_names))["label"] == sorted(index.class_names["label"])
    assert len(read_annotations(real_data / "weizmann4")) == 36
