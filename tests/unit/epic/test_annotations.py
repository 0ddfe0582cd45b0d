"""EPIC's annotation files are read as they are shipped, and broken ones refused with the row."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoopraxis.epic.annotations import (
    class_labels,
    class_names_beside,
    read_classes,
    read_table,
    read_tail_classes,
    read_unseen_participants,
    read_video_info,
    segment_seconds,
    timestamp_seconds,
    to_flow_frames,
)
from zoopraxis.errors import AnnotationError, DataError

HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
ROWS = (
    "P01_11_0,P01,P01_11,00:00:00.560,00:00:00.00,00:00:01.89,1,113,take plate,take,0,plate,2,['plate'],[2]\n"
    "P01_101_1,P01,P01_101,,01:02:03.45,01:02:04.00,186172,186200,null,none,96,tap,299,\"['tap', 'nan']\",\"[299, 0]\"\n"
)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "EPIC_100_validation.csv"
    path.write_text(HEADER + ROWS)
    return path


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(text)
    return path


def test_a_csv_is_indexed_by_narration_id(labelled: Path) -> None:
    table = read_table(labelled)
    assert table.index.name == "narration_id"
    assert table.index.tolist() == ["P01_11_0", "P01_101_1"]
    assert table.columns.tolist() == HEADER.strip().split(",")[1:]
    assert table["verb_class"].tolist() == [0, 96]
    assert table["start_frame"].tolist() == [1, 186172]


def test_words_that_look_like_missing_values_are_words(labelled: Path) -> None:
    table = read_table(labelled)
    assert table["narration"].tolist() == ["take plate", "null"]
    assert table["verb"].tolist() == ["take", "none"]
    assert table["narration_timestamp"].isna().tolist() == [False, True]


@pytest.mark.parametrize("name", ["narration_id", "uid"])
@pytest.mark.parametrize("is_index", [True, False])
def test_a_pickle_gives_the_same_table(labelled: Path, tmp_path: Path, name: str, is_index: bool) -> None:
    table = read_table(labelled).rename_axis(name)
    (table if is_index else table.reset_index()).to_pickle(tmp_path / "EPIC_100_validation.pkl")
    pd.testing.assert_frame_equal(read_table(tmp_path / "EPIC_100_validation.pkl"), table)


def test_numbers_as_uid_become_text(tmp_path: Path) -> None:
    path = write(tmp_path, "uid,video_id,start_timestamp,stop_timestamp\n7,P01_11,00:00:01.00,00:00:02.00\n")
    table = read_table(path)
    assert table.index.tolist() == ["7"]
    assert table["participant_id"].tolist() == ["P01"]


def test_the_30_fps_file_gets_epics_column_names(tmp_path: Path) -> None:
    path = write(tmp_path, "narration_id,video,start,stop,verb,noun,action\nP01_01_0,P01_01,4,101,3,5,2413\n")
    table = read_table(path)
    assert table.loc["P01_01_0", ["participant_id", "video_id", "verb_class", "noun_class"]].tolist() == ["P01", "P01_01", 3, 5]
    assert not {"start_frame", "stop_frame"} & set(table.columns)
    start, stop = segment_seconds(table, path) or (None, None)
    np.testing.assert_allclose(np.concatenate([start, stop]), [4 / 30, 101 / 30])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no readable CSV file"),
        ('narration_id,"broken\n', "is no readable CSV file"),
        (
            "video_id,start_frame\nP01_11,1\n",
            "has neither a column nor an index narration_id or uid; its columns: video_id, start_frame",
        ),
        ("narration_id,videoid\na,b\n", "has no column 'video_id'; did you mean 'videoid'"),
        (
            "narration_id,video_id,start_frame\na,P01_11,1\nb,P01_11,x\n",
            "row 1: start_frame 'x' is no whole number; mend or remove",
        ),
        ("narration_id,video_id,start_frame\na,P01_11,1.5\n", r"row 0: start_frame 1\.5 is no whole number"),
        ("narration_id,video_id,start_frame\na,P01_11,\n", r"row 0: start_frame \(empty\) is no whole number"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason) as info:
        read_table(write(tmp_path, text))
    assert "\n" not in str(info.value)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"cannot read the annotations .*none\.csv: No such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(AnnotationError, match="is no readable CSV file"):
        read_table(tmp_path / "binary.csv")


def test_pickles_of_anything_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(AnnotationError, match="holds a list, not a pandas DataFrame"):
        read_table(tmp_path / "list.pkl")
    (tmp_path / "code.pkl").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"posix\.system"):
        read_table(tmp_path / "code.pkl")


def test_timestamps_of_all_kinds_become_seconds(tmp_path: Path) -> None:
    text = pd.Series(["00:00:01.89", None, "01:02:03", "100:00:00.5"])
    np.testing.assert_array_equal(timestamp_seconds(text, "a"), [1.89, np.nan, 3723, 360000.5])
    np.testing.assert_array_equal(timestamp_seconds(text.astype(object), "a"), [1.89, np.nan, 3723, 360000.5])
    np.testing.assert_array_equal(timestamp_seconds(pd.to_timedelta(pd.Series(["00:00:02.5", None])), "a"), [2.5, np.nan])
    np.testing.assert_array_equal(timestamp_seconds(pd.Series([1, 2]), "a"), [1.0, 2.0])
    assert timestamp_seconds(pd.Series([], dtype="str"), "a").shape == (0,)
    with pytest.raises(AnnotationError, match=r"a\.csv row 1: start_timestamp '1:2' is not of the form 01:02:03\.45"):
        timestamp_seconds(pd.Series(["00:00:01.89", "1:2"], name="start_timestamp"), "a.csv")


def test_labels_are_whole_numbers_or_unknown() -> None:
    table = pd.DataFrame({"verb_class": [1.0, np.nan], "noun_class": ["2", "spoon"]})
    assert class_labels(table, "verb", "a.csv").tolist() == [1, -1]
    assert class_labels(table, "action", "a.csv").tolist() == [-1, -1]
    with pytest.raises(AnnotationError, match=r"a\.csv row 1: noun_class 'spoon' is no whole number"):
        class_labels(table, "noun", "a.csv")


def test_flow_frames_are_every_second_one_of_2018_and_every_one_of_2020(labelled: Path) -> None:
    table = read_table(labelled).assign(key_frame=[4, 5], frame_rate=[60, 50])
    flow = to_flow_frames(table)
    assert flow[["start_frame", "stop_frame", "key_frame"]].to_numpy().tolist() == [[1, 57, 2], [186172, 186200, 5]]
    assert flow["frame_rate"].tolist() == [60, 50]
    assert flow.columns.tolist() == table.columns.tolist()
    assert table["stop_frame"].tolist() == [113, 186200]


def test_classes_are_ordered_by_id(tmp_path: Path) -> None:
    path = write(tmp_path, "id,key,instances\n1,null,\"['a']\"\n0,take,[]\n")
    assert read_classes(path) == ["take", "null"]
    with pytest.raises(AnnotationError, match="has 2 classes but none with id 1; ids must count from 0 without a gap"):
        read_classes(write(tmp_path, "id,key\n0,take\n2,put\n"))
    with pytest.raises(AnnotationError, match="has no column 'key'"):
        read_classes(write(tmp_path, "id,name\n0,take\n"))


def test_class_names_come_from_the_folder_or_the_one_above_or_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "uda").mkdir()
    path = tmp_path / "uda" / "EPIC_100_uda_source_train.csv"
    (tmp_path / "EPIC_100_verb_classes.csv").write_text("id,key\n0,take\n1,put\n")
    names = class_names_beside(path)
    assert names["verb"] == ("take", "put")
    assert names["noun"] == tuple(str(noun) for noun in range(300))
    (tmp_path / "uda" / "EPIC_100_verb_classes.csv").write_text("id,key\n0,wash\n")
    assert class_names_beside(path)["verb"] == ("wash",)


def test_lists_of_rare_classes_and_unseen_participants_are_read(tmp_path: Path) -> None:
    assert read_tail_classes(write(tmp_path, "verb\n10\n12\n")).tolist() == [10, 12]
    assert read_tail_classes(write(tmp_path, "noun\n56\n")).tolist() == [56]
    with pytest.raises(AnnotationError, match="row 1: noun 'x' is no whole number"):
        read_tail_classes(write(tmp_path, "noun\n56\nx\n"))
    assert read_unseen_participants(write(tmp_path, "participant_id\nP18\nP32\n")) == ["P18", "P32"]
    with pytest.raises(AnnotationError, match="has no column 'participant_id'"):
        read_unseen_participants(write(tmp_path, "id\nP18\n"))


def test_video_info_gives_numbers(tmp_path: Path) -> None:
    info = read_video_info(write(tmp_path, "video_id,duration,fps,resolution\nP01_01,1652.15,59.94,1920x1080\n"))
    assert info.loc["P01_01"].tolist() == [1652.15, 59.94, 1920, 1080]
    with pytest.raises(AnnotationError, match="row 0: resolution 'HD' is not of the form 1920x1080"):
        read_video_info(write(tmp_path, "video_id,duration,fps,resolution\nP01_01,1,59.94,HD\n"))


@pytest.mark.real_data
def test_the_shipped_files_are_read(real_data: Path) -> None:
    folder = real_data / "epic100"
    rows = {
        "EPIC_100_validation": 9668,
        "EPIC_100_test_timestamps": 13092,
        "train_30fps": 67217,
        "uda/EPIC_100_uda_source_train": 16115,
        "uda/EPIC_100_uda_target_train_timestamps": 26115,
        "uda/EPIC_100_uda_source_test_timestamps": 4298,
        "uda/EPIC_100_uda_target_test_timestamps": 5909,
        "uda/EPIC_100_uda_source_val": 5002,
        "uda/EPIC_100_uda_target_val": 7906,
    }
    for name, num_rows in rows.items():
        table = read_table(folder / f"{name}.csv")
        assert (len(table), table.index.is_unique) == (num_rows, True), name
        start, stop = segment_seconds(table, name) or (None, None)
        assert (stop > start).all(), name
    assert len(read_classes(folder / "EPIC_100_verb_classes.csv")) == 97
    assert len(read_classes(folder / "EPIC_100_noun_classes.csv")) == 300
    assert len(read_tail_classes(folder / "EPIC_100_tail_verbs.csv")) == 86
    assert len(read_tail_classes(folder / "EPIC_100_tail_nouns.csv")) == 228
    assert read_unseen_participants(folder / "EPIC_100_unseen_participant_ids_test.csv") == ["P33", "P34", "P36"]
    assert len(read_video_info(folder / "EPIC_100_video_info.csv")) == 700


@pytest.mark.real_data
def test_seconds_of_the_30_fps_file_are_those_of_the_timestamps(real_data: Path) -> None:
    resampled = read_table(real_data / "epic100" / "train_30fps.csv")
    table = read_table(real_data / "epic100" / "uda" / "EPIC_100_uda_source_train.csv")
    shared = table.index.intersection(resampled.index)
    assert len(shared) > 16_000
    for ours, other in zip(
        segment_seconds(resampled.loc[shared], "30 fps") or (), segment_seconds(table.loc[shared], "uda") or (), strict=True
    ):
        assert np.abs(ours - other).max() <= 1 / 30 + 1e-6
