"""Errors of detections: each kind once, told apart, and worth what mending it brings."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.evaluation.detection_errors import KINDS, detection_errors, main_level
from zoopraxis.evaluation.detection_map import EPIC_THRESHOLDS, detection_map
from zoopraxis.evaluation.detections import Detections, Truth

SEGMENTS = np.array([[0.0, 10.0], [20.0, 30.0], [40.0, 50.0], [60.0, 70.0]])
TRUTH = Truth(np.array(["a"]), np.array([100.0]), np.zeros(4, np.int64), SEGMENTS, {"label": np.array([0, 1, 0, 1])})

FOUND = {
    "right": (0.0, 10.0, 0),
    "duplicate": (0.0, 9.0, 0),
    "label": (20.0, 30.0, 0),
    "boundary": (40.0, 43.0, 0),
    "both": (60.0, 62.0, 0),
    "background": (80.0, 90.0, 0),
}


def make_found(*kinds: str) -> Detections:
    rows = [FOUND[kind] for kind in kinds]
    segments, labels = np.array([row[:2] for row in rows]), np.array([row[2] for row in rows])
    return Detections(
        np.array(["a"]), np.zeros(len(rows), np.int64), segments, 1 - np.arange(len(rows)) / 10, {"label": labels}
    )


def test_every_kind_is_told_apart_and_counted() -> None:
    found = make_found(*FOUND)
    errors = detection_errors(TRUTH, found, detection_map(TRUTH, found, ["label"], [0.5]), "label")
    assert errors.kinds.tolist() == list(FOUND)
    assert errors.missed.tolist() == [3]
    assert errors.counts == dict.fromkeys(KINDS, 1)
    assert errors.threshold == 0.5


@pytest.mark.parametrize(
    ("kinds", "kind", "gain"),
    [
        (("right", "label"), "label", 25.0),  # the second class's precision from 0 to 1/2
        (("right", "boundary"), "boundary", 25.0),  # the first class's from 1/2 to 1
        (("duplicate", "right"), "duplicate", 0.0),
        (("background", "right"), "background", 12.5),  # the first class's from 1/4 to 1/2
        (("both", "right"), "both", 12.5),
        (("right",), "missed", 75.0),  # nothing is left to be found: the first class alone, from 1/4 in the mean to 1
    ],
)
def test_mending_a_kind_is_worth_its_gain(kinds: tuple[str, ...], kind: str, gain: float) -> None:
    found = make_found(*kinds)
    errors = detection_errors(TRUTH, found, detection_map(TRUTH, found, ["label"], [0.5]), "label")
    assert errors.gains[kind] == pytest.approx(gain)


def test_a_detection_of_a_class_that_is_not_there_can_have_its_label_mended() -> None:
    found = Detections(np.array(["a"]), np.array([0]), SEGMENTS[:1], np.array([1.0]), {"label": np.array([9])})
    errors = detection_errors(TRUTH, found, detection_map(TRUTH, found, ["label"], [0.5]), "label")
    assert errors.kinds.tolist() == ["label"]
    assert errors.gains["label"] == pytest.approx(25.0)


def test_only_the_best_of_a_segment_is_mended() -> None:
    found = make_found("label", "label", "right")
    one = detection_errors(TRUTH, found, detection_map(TRUTH, found, ["label"], [0.5]), "label")
    assert one.counts["label"] == 2
    # the second class from 0 to 1/2; the first, now without both, from 1/2 * 1/3 to 1/2
    assert one.gains["label"] == pytest.approx(100 * ((0.5 + 0.5) / 2 - (0.5 / 3) / 2))


def test_the_threshold_that_stands_for_all_is_a_half_or_the_middle() -> None:
    assert main_level(np.array(EPIC_THRESHOLDS)) == 4
    assert main_level(np.array([0.1, 0.2, 0.3])) == 1
