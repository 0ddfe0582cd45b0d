"""Submissions: the published bytes, and a refusal of what the challenge would refuse."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.epic.submission import (
    SupervisionLevels,
    check_submission,
    read_submission,
    submission_json,
    write_submission,
)
from zoopraxis.epic.vocabulary import HEADS
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.actions import TopActions
from zoopraxis.evaluation.results import Results

IDS = np.array(["P18_07_27", "P01_11_0"])
LEVELS = SupervisionLevels(sls_pt=1, sls_tl=3, sls_td=4)


def make_results(verbs: int = 97, nouns: int = 300) -> Results:
    generator = np.random.default_rng(0)
    return Results(IDS, {"verb": generator.normal(size=(2, verbs)), "noun": generator.normal(size=(2, nouns))})


def test_bytes_are_those_of_the_whole_document_dumped_at_once() -> None:
    results = make_results()
    document = {
        "version": "0.2",
        "challenge": "action_recognition",
        "sls_pt": 1,
        "sls_tl": 3,
        "sls_td": 4,
        "results": {
            clip_id: {
                head: {str(number): float(score) for number, score in enumerate(results.scores[head][row])}
                for head in ("verb", "noun")
            }
            for row, clip_id in enumerate(IDS.tolist())
        },
    }
    assert submission_json(results, LEVELS) == json.dumps(document).encode()


def test_zip_has_one_deflated_member_and_equal_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_submission(make_results(), tmp_path / name, LEVELS, expected_ids=IDS.tolist())
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        members = archive.infolist()
        assert [member.filename for member in members] == ["test.json"]
        assert members[0].compress_type == zipfile.ZIP_DEFLATED
        assert archive.read("test.json") == submission_json(make_results(), LEVELS)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_reading_gives_back_scores_and_levels(tmp_path: Path) -> None:
    write_submission(make_results(), tmp_path / "s.zip", LEVELS)
    results, levels = read_submission(tmp_path / "s.zip")
    assert levels == LEVELS
    assert results.clip_ids.tolist() == IDS.tolist()
    np.testing.assert_array_equal(results.scores["noun"], make_results().scores["noun"])
    check_submission(results, expected_ids=IDS.tolist())


@pytest.mark.parametrize("level", [-1, 6, 2.5, True, "3"])
def test_levels_outside_0_to_5_are_refused(level: Any) -> None:
    with pytest.raises(ConfigError, match=rf"sls_tl \({level}\) must be a whole number from 0 to 5; give it by --sls-tl"):
        SupervisionLevels(1, level, 3)


@pytest.mark.parametrize(
    ("results", "expected", "message"),
    [
        (make_results(verbs=96), None, "needs 97 verb classes, but the results have 96"),
        (make_results(nouns=301), None, "needs 300 noun classes, but the results have 301"),
        (Results(IDS, {"verb": np.zeros((2, 97))}), None, "needs scores of head 'noun', but the results have verb"),
        (make_results(), ["P18_07_27", "P01_11_0", "P02_1"], "1 clips of the split are not in the results, first P02_1"),
        (make_results(), ["P01_11_0"], "1 clips of the results are not in the split, first P18_07_27"),
    ],
)
def test_what_the_challenge_would_refuse_is_refused(results: Results, expected: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        write_submission(results, tmp_path / "s.zip", LEVELS, expected_ids=expected)
    assert not (tmp_path / "s.zip").exists()


def test_another_vocabulary_may_be_written_when_it_is_told(tmp_path: Path) -> None:
    results = make_results(verbs=8, nouns=6)
    write_submission(results, tmp_path / "toy.zip", LEVELS, classes={"verb": 8, "noun": 6})
    assert read_submission(tmp_path / "toy.zip")[0].heads == {"verb": 8, "noun": 6}


def write_document(path: Path, text: str, member: str = "test.json") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, text)
    return path


def document(**changes: Any) -> str:
    entry = {head: dict.fromkeys(map(str, range(width)), 0.5) for head, width in HEADS.items()}
    levels = {"sls_pt": 1, "sls_tl": 3, "sls_td": 3}
    return json.dumps({"version": "0.2", "challenge": "action_recognition", **levels, "results": {"a_1": entry}, **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "cannot be read as a submission"),
        ("[]", "has no object 'results'"),
        (document(version="0.1"), "has version '0.1'; it must be '0.2'"),
        (document(challenge="action_detection"), "has challenge 'action_detection'"),
        (document(results={"a_1": {"verb": {"0": 1.0}}}), "clip a_1 of the submission has no noun scores"),
        (document(results={"a_1": {"verb": {"0": 1.0, "2": 1.0}}}), "has 2 classes that are not numbered 0 to 1"),
        (document(results={"a_1": {"verb": {"0": "high"}}}), "cannot be read as a submission"),
        (document().replace("0.5", "null", 1), "head 'verb' has NaN or infinite scores for 1 clips, first a_1"),
        (document().replace('"1": 0.5', '"0": 0.5', 1), "has '0' more than once in one object"),
        (document().replace("0.5", "NaN", 1), "head 'verb' has NaN or infinite scores for 1 clips, first a_1"),
    ],
)
def test_a_broken_submission_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_submission(write_document(tmp_path / "s.zip", text))


def test_missing_levels_members_and_archives_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sls_pt \(7\) must be a whole number from 0 to 5"):
        read_submission(write_document(tmp_path / "s.zip", document(sls_pt=7)))
    with pytest.raises(DataError, match=r"has no member test.json; it must lie at the top of the zip"):
        read_submission(write_document(tmp_path / "t.zip", document(), member="out/test.json"))
    (tmp_path / "u.zip").write_bytes(b"garbage")
    with pytest.raises(DataError, match="cannot be read as a submission"):
        read_submission(tmp_path / "u.zip")


def test_actions_follow_verbs_and_nouns_where_they_are_asked_for() -> None:
    actions = TopActions(np.array([[3, 0], [96, 1]]), np.array([[299, 7], [0, 0]]), np.array([[0.5, 0.25], [1, 0]]))
    results = replace(make_results(), view_actions=actions)
    assert submission_json(results, LEVELS) == submission_json(make_results(), LEVELS)
    clips = json.loads(submission_json(results, LEVELS, actions="views"))["results"]
    assert [list(clip) for clip in clips.values()] == [["verb", "noun", "action"]] * 2
    assert [clip["action"] for clip in clips.values()] == [{"3,299": 0.5, "0,7": 0.25}, {"96,0": 1.0, "1,0": 0.0}]

    clip = json.loads(submission_json(results, LEVELS, actions="product"))["results"]["P18_07_27"]
    assert len(clip["action"]) == 100
    scores = {head: np.array(list(clip[head].values())) for head in ("verb", "noun")}
    verb, noun = (np.exp(values) / np.exp(values).sum() for values in scores.values())
    products = np.outer(verb, noun)
    name, first = next(iter(clip["action"].items()))
    assert name == ",".join(str(place) for place in np.unravel_index(products.argmax(), products.shape))
    assert first == pytest.approx(products.max())


def test_a_submission_with_actions_is_read(tmp_path: Path) -> None:
    write_submission(make_results(), tmp_path / "s.zip", LEVELS, actions="product")
    results, _ = read_submission(tmp_path / "s.zip")
    np.testing.assert_array_equal(results.scores["verb"], make_results().scores["verb"])


def test_actions_by_views_cannot_be_submitted_without_having_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the results have no actions by views; .* or use --actions product"):
        write_submission(make_results(), tmp_path / "s.zip", LEVELS, actions="views")
    assert not (tmp_path / "s.zip").exists()
