"""The detection challenge: its metrics, its submissions, and what it refuses."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.epic.detection import (
    challenge_map,
    check_detection_document,
    check_detection_submission,
    detection_document,
    read_detection_submission,
    write_detection_submission,
)
from zoopraxis.epic.submission import SupervisionLevels
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.detections import Detections, Truth

VIDEOS = {"P01_11": 60.0, "P01_12": float("nan")}
LEVELS = SupervisionLevels(2, 3, 3)
ENTRY = {"verb": 1, "noun": 2, "action": "1,2", "score": 0.5, "segment": [1.0, 2.0]}
DOCUMENT: dict[str, Any] = {
    "version": "0.2",
    "challenge": "action_detection",
    "sls_pt": 2,
    "sls_tl": 3,
    "sls_td": 3,
    "results": {"P01_11": [ENTRY, {**ENTRY, "score": 0.4}], "P01_12": []},
}


def make_detections() -> Detections:
    labels = {"verb": np.array([1, 1]), "noun": np.array([2, 2])}
    return Detections(np.array(list(VIDEOS)), np.zeros(2, np.int64), np.array([[1.0, 2.0]] * 2), np.array([0.4, 0.5]), labels)


def test_a_submission_is_the_published_document_and_reads_back(tmp_path: Path) -> None:
    write_detection_submission(make_detections(), tmp_path / "out.zip", LEVELS, videos=VIDEOS)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == ["test.json"]
        text = archive.read("test.json").decode()
    assert json.loads(text, object_pairs_hook=list) == json.loads(json.dumps(DOCUMENT), object_pairs_hook=list)
    read, levels = read_detection_submission(tmp_path / "out.zip", videos=VIDEOS)
    assert levels == LEVELS
    assert read.scores.tolist() == [0.5, 0.4]
    assert read.num_videos == 2


def test_actions_are_ranked_with_verbs_and_nouns() -> None:
    labels = {"verb": np.array([1]), "noun": np.array([2])}
    truth = Truth(np.array(list(VIDEOS)), np.array([60.0, 60.0]), np.array([0]), np.array([[1.0, 2.0]]), labels)
    table = challenge_map(truth, make_detections()).as_dict()
    assert set(table) == {
        f"{t}_map_{end}" for t in ("verb", "noun", "action") for end in ("avg", *(f"at_0{k}" for k in range(1, 6)))
    }
    assert table["action_map_avg"] == pytest.approx(100)


def in_entry(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["results"]["P01_11"][1].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(challenge="action"), r"the submission has challenge 'action'; it must be 'action_detection'"),
        (lambda d: d.update(version="0.1"), r"the submission has version '0\.1'; it must be '0\.2'"),
        (lambda d: d.pop("sls_pt"), r"the submission has no 'sls_pt'; state a whole number from 0 to 5"),
        (lambda d: d.pop("results"), r"it has no object 'results'"),
        (lambda d: d.update(results={}), r"the submission's 'results' have no video; give each video of the split a list"),
        (lambda d: d["results"].update(P99_01=[ENTRY]), r"1 videos of the detections are not in the split, first P99_01"),
        (lambda d: d["results"].pop("P01_12"), r"1 videos of the split are not in the detections, first P01_12"),
        (lambda d: d["results"]["P01_11"][1].pop("noun"), r"detection 1 of video P01_11 has no 'noun'"),
        (lambda d: [entry.pop("action") for entry in d["results"]["P01_11"]], r"detection 0 of video P01_11 has no 'action'"),
        (in_entry(verb=97, action="97,2"), r"1 detections have a verb class out of range, first 97 of P01_11; there are 97"),
        (in_entry(action="97,1"), r"has action '97,1', but verb and noun '1,2'; make them agree"),
        (in_entry(verb=1.0, action="1.0,2"), r"detection 1 of video P01_11 has verb 1\.0; it must be the number of a class"),
        (in_entry(segment=[1.0, 2.0, 3.0]), r"has segment \[1\.0, 2\.0, 3\.0\]; it must be \[start, stop\]"),
        (in_entry(segment=[2.0, 1.0]), r"1 of 2 segments do not stop after their start"),
        (
            in_entry(segment=[50.0, 70.0]),
            r"1 of 2 detections go past the ends of their video, first 50\.00 to 70\.00 s of P01_11",
        ),
        (in_entry(score=float("nan")), r"1 of 2 segments have NaN or infinite scores"),
        (in_entry(weight=float("nan")), r"detection 1 of video P01_11 has 'weight' NaN; leave it out"),
        (in_entry(score=float("inf")), r"1 of 2 segments have NaN or infinite scores"),
    ],
)
def test_what_the_challenge_could_not_score_is_refused(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    check_detection_document(document, videos=VIDEOS)
    change(document)
    with pytest.raises(DataError, match=message):
        check_detection_document(document, videos=VIDEOS)


@pytest.mark.parametrize("level", [6, -1, 2.5, True])
def test_levels_are_whole_numbers_up_to_five(level: Any) -> None:
    with pytest.raises(ConfigError, match=r"sls_td \(.*\) must be a whole number from 0 to 5"):
        check_detection_document({**DOCUMENT, "sls_td": level})


def test_a_video_may_stand_once(tmp_path: Path) -> None:
    text = json.dumps(DOCUMENT).replace("P01_12", "P01_11")
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("test.json", text)
    with pytest.raises(DataError, match=r"the submission has 'P01_11' more than once in one object"):
        read_detection_submission(tmp_path / "out.zip")


def test_proposals_and_other_widths_are_refused() -> None:
    found = make_detections()
    proposals = Detections(found.video_ids, found.video, found.segments, found.scores)
    with pytest.raises(DataError, match=r"a submission needs verb classes of each detection"):
        check_detection_submission(proposals)
    with pytest.raises(DataError, match=r"2 detections have a noun class out of range, first 2 of P01_11; there are 2 classes"):
        check_detection_submission(found, classes={"verb": 2, "noun": 2})


def test_no_detections_are_a_submission_too() -> None:
    document = {**DOCUMENT, "results": {video: [] for video in VIDEOS}}
    detections, levels = check_detection_document(document, videos=VIDEOS)
    assert len(detections) == 0
    assert detection_document(detections, levels) == document
