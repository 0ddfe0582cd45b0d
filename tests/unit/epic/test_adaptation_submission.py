"""Submissions to the adaptation challenge: the published form, and a refusal of what the challenge would refuse."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.epic.submission import (
    SupervisionLevels,
    adaptation_json,
    read_submission,
    write_adaptation_submission,
    write_submission,
)
from zoopraxis.errors import DataError
from zoopraxis.evaluation.results import Results

TARGET_IDS = ["P03_101_0", "P01_102_3"]
SOURCE_IDS = ["P01_11_0", "P22_05_4", "P22_05_5"]
LEVELS = SupervisionLevels(sls_pt=2, sls_tl=3, sls_td=3)


def make_results(ids: list[str], *, verbs: int = 97, nouns: int = 300, seed: int = 0) -> Results:
    generator = np.random.default_rng(seed)
    scores = {"verb": 5 * generator.normal(size=(len(ids), verbs)), "noun": 5 * generator.normal(size=(len(ids), nouns))}
    return Results(np.array(ids), scores)


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def entries(results: Results) -> dict[str, Any]:
    probabilities = {head: softmax(scores).astype(np.float32) for head, scores in results.scores.items()}
    return {
        clip_id: {
            head: {str(number): float(value) for number, value in enumerate(values[row])}
            for head, values in probabilities.items()
        }
        for row, clip_id in enumerate(results.clip_ids.tolist())
    }


TAIL = {"version": "0.2", "challenge": "domain_adaptation", "sls_pt": 2, "sls_tl": 3, "sls_td": 3}


def test_document_is_the_published_one_with_probabilities() -> None:
    target, source = make_results(TARGET_IDS), make_results(SOURCE_IDS, seed=1)
    alone, both = adaptation_json(target, LEVELS), adaptation_json(target, LEVELS, source=source)
    assert alone == json.dumps({"results_target": entries(target), **TAIL}).encode()
    assert both == json.dumps({"results_target": entries(target), "results_source": entries(source), **TAIL}).encode()
    noun = json.loads(alone)["results_target"]["P01_102_3"]["noun"]
    assert sum(noun.values()) == pytest.approx(1, abs=1e-5)


def test_zip_is_that_of_recognition_and_is_read_back(tmp_path: Path) -> None:
    target, source = make_results(TARGET_IDS), make_results(SOURCE_IDS, seed=1)
    expected = {"expected_ids": TARGET_IDS[::-1], "expected_source_ids": SOURCE_IDS}
    write_adaptation_submission(target, tmp_path / "s.zip", LEVELS, source=source, **expected)
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.namelist() == ["test.json"]
        assert archive.read("test.json") == adaptation_json(target, LEVELS, source=source)
    for domain, given in (("target", target), ("source", source)):
        read, levels = read_submission(tmp_path / "s.zip", domain=domain)
        assert levels == LEVELS
        assert read.meta == {"averaging": "prob", "domain": domain}
        assert read.clip_ids.tolist() == given.clip_ids.tolist()
        for head, scores in given.scores.items():
            np.testing.assert_allclose(softmax(read.scores[head]), softmax(scores), rtol=2e-5)


def test_a_probability_of_zero_is_read_as_the_least_above(tmp_path: Path) -> None:
    target = make_results(TARGET_IDS)
    target.scores["verb"][0] = -500
    target.scores["verb"][0, 3] = 500
    write_adaptation_submission(target, tmp_path / "s.zip", LEVELS)
    read, _ = read_submission(tmp_path / "s.zip")
    assert read.scores["verb"][0].max() == 0
    assert np.isfinite(read.scores["verb"]).all()
    assert read.scores["verb"][0].argmax() == 3


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (make_results(SOURCE_IDS), {}, r"results of the target: 3 of 3 clips .* are of the source \(videos of 2018\)"),
        (
            make_results(TARGET_IDS),
            {"source": make_results(TARGET_IDS)},
            r"results of the source: 2 of 2 clips .* are of the target \(videos of 2020\)",
        ),
        (
            make_results(TARGET_IDS),
            {"expected_ids": [*TARGET_IDS, "P04_101_9"]},
            "results of the target: 1 clips of the split are not in the results, first P04_101_9",
        ),
        (
            make_results(TARGET_IDS),
            {"source": make_results(SOURCE_IDS), "expected_source_ids": SOURCE_IDS[:2]},
            "results of the source: 1 clips of the results are not in the split, first P22_05_5",
        ),
        (make_results(TARGET_IDS, verbs=8), {}, "results of the target: a submission needs 97 verb classes, but the results"),
    ],
)
def test_what_the_challenge_would_refuse_is_refused(target: Results, options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        write_adaptation_submission(target, tmp_path / "s.zip", LEVELS, **options)
    assert not (tmp_path / "s.zip").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"challenge": "detection"}, r"has challenge 'detection'; it must be 'action_recognition' or 'domain_adaptation'"),
        ({"version": "1"}, "has version '1'; it must be '0.2'"),
        ({"results_target": [1]}, "has no object 'results_target' with the scores of each clip"),
        ({"results_target": {"P01_101_0": {"verb": {"0": -0.5}, "noun": {"0": 1.0}}}}, "has a verb probability of -0.5;"),
        ({"results_target": {"P01_101_0": {"verb": {"0": 1.0}}}}, "clip P01_101_0 of the submission has no noun scores"),
    ],
)
def test_a_broken_submission_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    document = {"results_target": entries(make_results(TARGET_IDS)), **TAIL, **changes}
    if "challenge" in changes:
        document["results"] = document["results_target"]
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("test.json", json.dumps(document))
    with pytest.raises(DataError, match=message):
        read_submission(tmp_path / "s.zip")


def test_a_submission_without_the_source_has_none_to_read(tmp_path: Path) -> None:
    write_adaptation_submission(make_results(TARGET_IDS), tmp_path / "s.zip", LEVELS)
    with pytest.raises(DataError, match="has no object 'results_source' with the scores of each clip"):
        read_submission(tmp_path / "s.zip", domain="source")
    write_submission(make_results(TARGET_IDS), tmp_path / "r.zip", LEVELS)
    read, _ = read_submission(tmp_path / "r.zip")
    assert read.meta == {}
    np.testing.assert_array_equal(read.scores["verb"], make_results(TARGET_IDS).scores["verb"])
