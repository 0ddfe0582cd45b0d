"""Recall of proposals against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.detections import Detections, Truth
from zoopraxis.evaluation.proposal_recall import proposal_recall

VIDEOS = np.array(["a", "b"])
TRUTH = Truth(VIDEOS, np.full(2, 100.0), np.array([0, 0, 1]), np.array([[0.0, 10.0], [20.0, 30.0], [0.0, 10.0]]))


def propose(*rows: tuple[int, float, float, float]) -> Detections:
    video, starts, stops, scores = (np.array(column) for column in zip(*rows, strict=True))
    return Detections(VIDEOS, video, np.stack([starts, stops], axis=1), scores)


def test_recall_grows_with_the_proposals_that_are_counted() -> None:
    found = propose((0, 0, 10, 0.9), (0, 20, 30, 0.1), (1, 50, 60, 0.9), (1, 0, 10, 0.5))
    recall = proposal_recall(TRUTH, found, [0.5, 0.9], max_average=2)
    np.testing.assert_allclose(recall.proposals_per_video, np.arange(1, 101) / 50)
    assert recall.at(1) == pytest.approx(100 / 3)
    assert recall.at(2) == pytest.approx(100)
    assert recall.at(0.98) == 0.0
    # 1/3 from 1 on, 1 at 2 only; between two numbers the curve is straight
    expected = (0.01 * (1 / 3) + 0.98 * (1 / 3) + 0.01 * (4 / 3) + 0.0) / 2
    assert recall.auc == pytest.approx(100 * expected, rel=0.02)


def test_each_video_gives_the_same_part_of_its_proposals() -> None:
    rows = [(0, 40.0 + k, 41.0 + k, 0.9 - k / 100) for k in range(8)]
    found = propose(*rows, (0, 0, 10, 0.1), (0, 20, 30, 0.05), (1, 0, 10, 0.9), (1, 50, 60, 0.8))
    recall = proposal_recall(TRUTH, found, [0.5], max_average=3)
    # six proposals of twelve: five of the first video, which find nothing, and one of the second
    assert recall.at(3) == pytest.approx(100 / 3)


def test_overlap_must_reach_the_threshold_and_missing_videos_are_not_found() -> None:
    found = propose((0, 0, 8, 0.9), (0, 20, 30, 0.8))
    recall = proposal_recall(TRUTH, found, [0.7, 0.9], max_average=1)
    np.testing.assert_allclose(recall.recall[:, -1], [2 / 3, 1 / 3])
    assert recall.average[-1] == pytest.approx(0.5)


def test_recall_is_told_at_the_usual_numbers() -> None:
    recall = proposal_recall(TRUTH, propose((0, 0, 8, 0.9)), [0.5])
    assert list(recall.as_dict()) == ["ar_at_1", "ar_at_5", "ar_at_10", "ar_at_100", "auc"]
    assert recall.as_dict()["ar_at_100"] == pytest.approx(100 / 3)


def test_nothing_to_judge_is_refused() -> None:
    found = propose((0, 0, 8, 0.9))
    with pytest.raises(ConfigError, match=r"max_average \(0\) must be above 0; try 100"):
        proposal_recall(TRUTH, found, max_average=0)
    with pytest.raises(DataError, match=r"0 proposals and 3 segments: recall needs both"):
        proposal_recall(TRUTH, found.take(np.zeros(0, np.int64)))
    with pytest.raises(DataError, match=r"no video has proposals enough for an average of 0\.1; allow more"):
        proposal_recall(TRUTH, found, max_average=0.1)
