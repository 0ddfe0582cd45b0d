"""Detections: their order, their files, and a refusal of what cannot be a detection."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from zoopraxis.errors import DataError
from zoopraxis.evaluation.detections import (
    Detections,
    Truth,
    from_results,
    load_detections,
    renumber_classes,
    save_detections,
    to_results,
)

VIDEOS = np.array(["P01_11", "P01_12", "P01_13"])


def make_detections(**changes: Any) -> Detections:
    fields: dict[str, Any] = {
        "video_ids": VIDEOS,
        "video": np.array([1, 0, 1, 0]),
        "segments": np.array([[0.0, 1.0], [1.0, 2.5], [2.0, 3.0], [0.5, 4.0]]),
        "scores": np.array([0.2, 0.3, 0.9, 0.3]),
        "labels": {"verb": np.array([0, 1, 2, 3]), "noun": np.array([4, 5, 6, 7])},
        "meta": {"split": "val"},
    }
    return Detections(**(fields | changes))


def test_the_best_of_each_video_comes_first_and_ties_keep_their_order() -> None:
    found = make_detections()
    assert found.video.tolist() == [0, 0, 1, 1]
    assert found.scores.tolist() == [0.3, 0.3, 0.9, 0.2]
    assert found.labels["verb"].tolist() == [1, 3, 2, 0]
    assert found.of_video(1).tolist() == [2, 3]
    assert found.of_video(2).tolist() == []
    assert found.ranks().tolist() == [0, 1, 0, 1]
    assert found.take(found.ranks() == 0).scores.tolist() == [0.3, 0.9]


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("labels", [{}, {"label": np.array([3, 0, 1, 1])}, {"verb": np.arange(4), "noun": np.arange(4)}])
def test_files_give_the_same_detections_back(tmp_path: Path, suffix: str, labels: dict[str, Any]) -> None:
    found = make_detections(labels=labels)
    save_detections(found, tmp_path / f"found{suffix}")
    read = load_detections(tmp_path / f"found{suffix}")
    for name in ("video_ids", "video", "segments", "scores"):
        np.testing.assert_array_equal(getattr(read, name), getattr(found, name))
    assert read.meta == found.meta
    assert set(read.labels) == set(labels)
    for head, values in found.labels.items():
        np.testing.assert_array_equal(read.labels[head], values)


def test_json_has_the_challenge_s_keys_and_activitynet_s_names() -> None:
    entry = to_results(make_detections())["P01_12"][0]
    assert entry == {"verb": 2, "noun": 6, "action": "2,6", "score": 0.9, "segment": [2.0, 3.0]}
    named = make_detections(labels={"label": np.array([0, 1, 1, 0])}, meta={"class_names": {"label": ["run", "sit"]}})
    assert to_results(named)["P01_12"][0] == {"label": "sit", "score": 0.9, "segment": [2.0, 3.0]}


def test_labels_of_verb_and_noun_are_taken_apart_and_names_numbered() -> None:
    entry = {"score": 1, "segment": [0, 1]}
    pairs = from_results({"results": {"a": [{**entry, "label": "3,14"}]}})
    assert {head: values.tolist() for head, values in pairs.labels.items()} == {"verb": [3], "noun": [14]}
    document = {"results": {"a": [{**entry, "label": "sit"}, {**entry, "label": "run"}]}}
    own = from_results(document)
    assert own.labels["label"].tolist() == [1, 0]
    assert own.class_names == {"label": ("run", "sit")}
    given = from_results(document, class_names={"label": ["sit", "jump", "run"]})
    assert given.labels["label"].tolist() == [0, 2]
    with pytest.raises(DataError, match=r"1 classes are unknown, first 'sit'; did you mean 'sitz'\?"):
        from_results(document, class_names={"label": ["sitz", "run"]})


def test_classes_are_renumbered_by_their_names() -> None:
    found = make_detections(labels={"label": np.array([0, 1, 2, 2])}, meta={"class_names": {"label": ["run", "sit", "fly"]}})
    renumbered = renumber_classes(found, {"label": ["sit", "run"]})
    assert renumbered.class_names == {"label": ("sit", "run", "fly")}
    names = np.array(["run", "sit", "fly"])[found.labels["label"]]
    assert np.array(renumbered.class_names["label"])[renumbered.labels["label"]].tolist() == names.tolist()
    untouched = renumber_classes(found, {"label": ["0", "1"]})
    assert untouched.labels["label"].tolist() == found.labels["label"].tolist()


@pytest.mark.parametrize("suffix", [".csv", ".pkl"])
def test_the_baseline_s_table_of_proposals_is_read(tmp_path: Path, suffix: str) -> None:
    table = pd.DataFrame(
        {
            "narration_id": ["P01_11_0", "P01_11_1"],
            "video_id": ["P01_11", "P01_11"],
            "start_seconds": [0.5, 1.0],
            "stop_seconds": [2.0, 3.0],
            "score": [0.1, 0.7],
        }
    )
    if suffix == ".csv":
        table.to_csv(tmp_path / "proposals.csv", index=False)
    else:
        (tmp_path / "proposals.pkl").write_bytes(pickle.dumps(table))
    found = load_detections(tmp_path / f"proposals{suffix}")
    assert found.segments.tolist() == [[1.0, 3.0], [0.5, 2.0]]
    assert found.labels == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scores": np.array([0.1, np.nan, 0.1, 0.1])},
            r"1 of 4 segments have NaN or infinite scores, first of video P01_11: nan",
        ),
        ({"segments": np.full((4, 2), np.inf)}, r"4 of 4 segments have NaN or infinite times"),
        ({"segments": np.tile([2.0, 1.0], (4, 1))}, r"do not stop after their start, first of video P01_12: \[2.0, 1.0\]"),
        ({"segments": np.tile([2.0, 2.0], (4, 1))}, r"4 of 4 segments do not stop after their start"),
        ({"labels": {"verb": np.array([0, -1, 0, 0])}}, r"1 of 4 segments have a negative verb class"),
        ({"labels": {"verb": np.array([0.0, 1.0, 0.0, 0.0])}}, r"labels of verb must be numbers of kind int64, not float64"),
        ({"labels": {"verb": np.array([0])}}, r"there are 1 verb, but the videos of 4 segments"),
        ({"video": np.array([0, 0, 0, 3])}, r"1 segments are of videos that do not exist, first row 3 of 3"),
        ({"video_ids": np.array(["a", "b", "a", "c"])}, r"1 videos are repeated, first a; each may stand once"),
        ({"scores": np.ones(4, dtype=np.complex128)}, r"the scores must be numbers of kind float64, not complex128"),
        ({"segments": np.ones((4, 2)) * 1j}, r"segments must be pairs of numbers, start and stop in seconds"),
        ({"meta": {"class_names": {"verb": 3}}}, r"class_names of its meta must be a list of names for each head; mend them"),
        ({"segments": np.zeros((4, 3))}, r"segments must be pairs \(start, stop\), shape \(segments, 2\), not \(4, 3\)"),
    ],
)
def test_what_cannot_be_a_detection_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_detections(**changes)


ENTRY = {"verb": 1, "noun": 2, "action": "1,2", "score": 0.5, "segment": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**ENTRY, "action": "2,1"}, r"detection 1 of video a has action '2,1', but verb and noun '1,2'; make them agree"),
        ({**ENTRY, "score": "0.5"}, r"detection 1 of video a has score '0.5'; it must be a number"),
        ({**ENTRY, "segment": [1.0]}, r"has segment \[1.0\]; it must be \[start, stop\] in seconds"),
        (
            {**ENTRY, "verb": True, "action": "True,2"},
            r"detection 1 of video a has verb True; it must be the number of a class",
        ),
        ({"score": 1, "segment": [0, 1]}, r"detection 1 of video a has no 'action'; give it to each detection"),
        ([1, 2], r"detection 1 of video a is list; it must be an object"),
    ],
)
def test_broken_entries_are_told_by_their_place(tmp_path: Path, entry: Any, message: str) -> None:
    file = tmp_path / "found.json"
    file.write_text(json.dumps({"results": {"a": [ENTRY, entry]}}))
    with pytest.raises(DataError, match=message) as told:
        load_detections(file)
    assert str(file) in str(told.value)


def test_a_class_that_the_first_entry_lacks_is_missed() -> None:
    first = {"noun": 2, "score": 0.5, "segment": [1.0, 2.0]}
    with pytest.raises(DataError, match=r"detection 0 of video a has no 'verb'; give it to each detection"):
        from_results({"results": {"a": [first, {**first, "verb": 1}]}})


def test_what_is_no_class_is_passed_over() -> None:
    found = from_results({"results": {"a": [{**ENTRY, "note": "sharp"}, {**ENTRY, "score": 0.4}]}})
    assert set(found.labels) == {"verb", "noun"}


def test_names_of_classes_must_be_a_list() -> None:
    entry = {"label": "jump", "score": 0.5, "segment": [1.0, 2.0]}
    with pytest.raises(DataError, match=r"class_names of its meta must be a list of names for each head"):
        from_results({"results": {"a": [entry]}, "meta": {"class_names": 3}})


def test_files_that_are_no_detections_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    np.savez(tmp_path / "b.npz", video=np.zeros(1))
    (tmp_path / "g.npz").write_text("text")
    pd.DataFrame({"video_id": ["a"]}).to_csv(tmp_path / "c.csv")
    for name, message in {
        "a.json": "has no object 'results' with a list of detections a video",
        "b.npz": "has no array 'video_ids'; did you mean 'video'",
        "g.npz": "it is no .npz file, or a truncated one; make it again",
        "c.csv": "the table of proposals has no column 'start_seconds'",
        "d.npz": "there is no file of detections",
        "e.txt": "is no file of detections; the suffix must be one of .npz, .json, .pkl, .csv",
    }.items():
        with pytest.raises(DataError, match=message):
            load_detections(tmp_path / name)
    with pytest.raises(DataError, match=r"cannot write detections to .*\.csv; the suffix must be one of \.npz, \.json"):
        save_detections(make_detections(), tmp_path / "f.csv")


def test_truth_refuses_segments_that_end_before_they_start() -> None:
    with pytest.raises(DataError, match=r"1 of 1 segments of the truth do not stop after their start, first of video P01_11"):
        Truth(VIDEOS, np.ones(3), np.array([0]), np.array([[1.0, 1.0]]))
    with pytest.raises(DataError, match=r"there are 2 durations, but 3 videos"):
        Truth(VIDEOS, np.ones(2), np.array([0]), np.array([[0.0, 1.0]]))
