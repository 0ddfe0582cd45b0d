from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zoopraxis.config.localization import ClassesConfig
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.localization.naming import rank_classes, read_video_scores


def test_verbs_and_nouns_are_joined_to_actions() -> None:
    verbs, nouns = np.array([[0.2, 0.7, 0.1]]), np.array([[0.6, 0.4]])
    names = rank_classes({"verb": verbs, "noun": nouns}, ClassesConfig(per_proposal=3))
    assert names.labels["verb"].tolist() == [[1, 1, 0]]
    assert names.labels["noun"].tolist() == [[0, 1, 0]]
    np.testing.assert_allclose(names.scores, [[0.42, 0.28, 0.12]])


def test_one_head_is_ranked_alone() -> None:
    names = rank_classes({"label": np.array([[0.1, 0.3, 0.6], [0.5, 0.5, 0.0]])}, ClassesConfig(per_proposal=2))
    assert names.labels["label"].tolist() == [[2, 1], [0, 1]]
    np.testing.assert_allclose(names.scores, [[0.6, 0.3], [0.5, 0.5]])


def test_heads_that_make_no_action_are_refused() -> None:
    scores = np.ones((1, 2))
    with pytest.raises(ConfigError, match=r"cannot be named by verb, label together; choose one of them with data\.heads"):
        rank_classes({"verb": scores, "label": scores}, ClassesConfig())


def test_scores_of_videos_are_read_from_both_formats(tmp_path: Path) -> None:
    path = tmp_path / "cuhk.json"
    path.write_text(json.dumps({"results": {"a": [0.1, 0.9], "b": [1, 0]}, "class": ["jump", "run"]}))
    found, names = read_video_scores(path)
    assert {video: scores.tolist() for video, scores in found.items()} == {"a": [0.1, 0.9], "b": [1, 0]}
    assert names == ("jump", "run")
    np.savez(tmp_path / "own.npz", video_ids=["a"], scores=[[0.25, 0.75]])
    found, names = read_video_scores(tmp_path / "own.npz")
    assert found["a"].tolist() == [0.25, 0.75]
    assert names is None


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        (
            "s.json",
            '{"results": {"a": [1, 0], "b": [1]}}',
            r"s\.json must have one score a class of each video, as many for all",
        ),
        ("s.json", '{"results": {}}', r"s\.json must have one score a class of each video"),
        ("s.json", '{"results": {"a": [1, 0]}, "class": ["run"]}', r"s\.json must have one score a class of each video"),
        ("s.json", '{"results": {"a": [1, NaN], "b": [1, 0]}}', r"NaN or infinite scores of 1 of 2 videos \(first: a\)"),
        ("s.json", "{}", r"s\.json has no class scores of videos: it lacks 'results'; check the path"),
        ("s.json", "[", r"s\.json cannot be read as class scores of videos"),
        ("s.txt", "", r"s\.txt has no class scores of videos: it must be \.json or \.npz; check the path"),
        ("s.npz", "no archive", r"s\.npz cannot be read as class scores of videos"),
    ],
)
def test_broken_scores_of_videos_are_told(name: str, content: str, line: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=line):
        read_video_scores(tmp_path / name)
