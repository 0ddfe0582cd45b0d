import ast
import csv
import dataclasses
import math
from pathlib import Path

import pytest

from zoopraxis.toy import ToyConfig, ToyKitchen
from zoopraxis.toy.annotations import write_annotations
from zoopraxis.toy.script import write_scripts

_LABELLED = ["EPIC_100_train", "EPIC_100_validation", "EPIC_100_test_labels", "uda/EPIC_100_uda_source_train"]
_TIMES = ["EPIC_100_test_timestamps", "uda/EPIC_100_uda_source_test_timestamps", "uda/EPIC_100_uda_target_train_timestamps"]


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _header(path: Path) -> str:
    return path.read_text().split("\n", 1)[0]


def _seconds(timestamp: str) -> float:
    hours, minutes, seconds = timestamp.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


@pytest.fixture(scope="module")
def default_annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotations")
    write_annotations(folder, ToyConfig(), write_scripts(ToyConfig()))
    return folder


def test_labelled_columns_are_those_of_epic(tiny_kitchen: ToyKitchen) -> None:
    assert _header(tiny_kitchen.train) == (
        "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
        "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
    )


@pytest.mark.real_data
def test_files_and_columns_are_those_of_epic(real_data: Path, tiny_kitchen: ToyKitchen) -> None:
    shared = 0
    for ours in sorted(tiny_kitchen.annotations.rglob("*.csv")):
        theirs = real_data / "epic100" / ours.relative_to(tiny_kitchen.annotations)
        if ours.name in ("EPIC_100_train.csv", "EPIC_100_test_labels.csv"):
            theirs = real_data / "epic100" / "EPIC_100_validation.csv"
        assert _header(ours) == _header(theirs), ours.name
        shared += 1
    assert shared == 17


@pytest.mark.parametrize("name", _LABELLED)
def test_labelled_rows_have_epics_formats(tiny_kitchen: ToyKitchen, name: str) -> None:
    rows = _rows(tiny_kitchen.annotations, name)
    assert rows
    assert [row["narration_id"] for row in rows] == sorted(row["narration_id"] for row in rows)
    for row in rows:
        assert row["narration_id"].rsplit("_", 1)[0] == row["video_id"]
        assert row["video_id"].split("_")[0] == row["participant_id"]
        assert len(row["start_timestamp"]) == len(row["stop_timestamp"]) == len("00:00:00.00")
        assert len(row["narration_timestamp"]) == len("00:00:00.000")
        assert row["verb"] == tiny_kitchen.verbs[int(row["verb_class"])]
        assert row["noun"] == tiny_kitchen.nouns[int(row["noun_class"])]
        assert ast.literal_eval(row["all_nouns"]) == [row["noun"]]
        assert ast.literal_eval(row["all_noun_classes"]) == [int(row["noun_class"])]


@pytest.mark.parametrize("name", _TIMES)
def test_unlabelled_rows_tell_times_only(tiny_kitchen: ToyKitchen, name: str) -> None:
    rows = _rows(tiny_kitchen.annotations, name)
    assert rows
    assert not {"narration", "verb", "noun", "verb_class", "noun_class"} & rows[0].keys()


@pytest.mark.parametrize("fps", [10.0, 12.0, 29.97, 50.0])
def test_frames_of_a_segment_are_those_between_its_timestamps(tmp_path: Path, tiny_config: ToyConfig, fps: float) -> None:
    config = dataclasses.replace(tiny_config, fps=fps)
    write_annotations(tmp_path, config, write_scripts(config))
    lengths = {row["video_id"]: float(row["duration"]) for row in _rows(tmp_path, "EPIC_100_video_info")}
    for row in _rows(tmp_path, "EPIC_100_train"):
        num_frames = round(lengths[row["video_id"]] * fps)
        start, stop = _seconds(row["start_timestamp"]), _seconds(row["stop_timestamp"])
        inside = [frame for frame in range(num_frames) if start <= frame / fps + 1e-9 and frame / fps + 1e-9 < stop]
        assert (inside[0] + 1, inside[-1] + 1) == (int(row["start_frame"]), int(row["stop_frame"]))
        assert 1 <= int(row["start_frame"]) < int(row["stop_frame"]) <= num_frames


def test_splits_follow_epics_protocol(default_annotations: Path) -> None:
    train = _rows(default_annotations, "EPIC_100_train")
    validation = _rows(default_annotations, "EPIC_100_validation")
    test = _rows(default_annotations, "EPIC_100_test_timestamps")
    assert (len(train), len(validation), len(test)) == (640, 160, 160)
    videos = [{row["video_id"] for row in rows} for rows in (train, validation, test)]
    assert not videos[0] & videos[1]
    assert not videos[0] & videos[2]
    assert {len(video.split("_")[1]) for video in videos[0]} == {2, 3}
    assert {len(video.split("_")[1]) for video in videos[1]} == {2}
    assert {len(video.split("_")[1]) for video in videos[2]} == {3}
    assert _rows(default_annotations, "EPIC_100_test_labels")[0]["narration_id"] == test[0]["narration_id"]
    for split, rows in (("validation", validation), ("test", test)):
        unseen = {row["participant_id"] for row in _rows(default_annotations, f"EPIC_100_unseen_participant_ids_{split}")}
        assert len(unseen) == 1
        assert unseen < {row["participant_id"] for row in rows}
        assert not unseen & {row["participant_id"] for row in train}


def test_adaptation_splits_are_of_one_domain_and_tune_on_participants_of_their_own(default_annotations: Path) -> None:
    train_videos = {row["video_id"] for row in _rows(default_annotations, "EPIC_100_train")}
    for domain, digits, training in (("source", 2, "source_train"), ("target", 3, "target_train_timestamps")):
        names = (training, f"{domain}_val", f"{domain}_test_timestamps")
        splits = [_rows(default_annotations / "uda", f"EPIC_100_uda_{name}") for name in names]
        participants = [{row["participant_id"] for row in rows} for rows in splits]
        assert all(len(row["video_id"].split("_")[1]) == digits for rows in splits for row in rows)
        assert participants[0] == participants[2]
        assert participants[1]
        assert not participants[0] & participants[1]
        assert all(row["video_id"] in train_videos for rows in splits[:2] for row in rows)
        assert not any(row["video_id"] in train_videos for row in splits[2])


def test_tail_classes_are_the_rarest_in_training_and_hold_at_most_a_fifth_of_it(default_annotations: Path) -> None:
    train = _rows(default_annotations, "EPIC_100_train")
    for head in ("verb", "noun"):
        tail = {row[head] for row in _rows(default_annotations, f"EPIC_100_tail_{head}s")}
        labels = [row[f"{head}_class"] for row in train]
        counts = {label: labels.count(label) for label in set(labels)}
        assert len(counts) == 8
        assert len(tail) == 2
        assert max(counts[label] for label in tail) < min(counts[label] for label in counts.keys() - tail)
        assert sum(counts[label] for label in tail) <= math.floor(0.2 * len(train))
