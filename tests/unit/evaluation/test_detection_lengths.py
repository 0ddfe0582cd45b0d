"""Detection mAP by length: each range asks for its own segments only."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.errors import ConfigError
from zoopraxis.evaluation.detection_lengths import length_bounds, map_by_length
from zoopraxis.evaluation.detection_map import detection_map
from zoopraxis.evaluation.detections import Detections, Truth

SHORT, LONG = [0.0, 1.0], [10.0, 30.0]
TRUTH = Truth(
    np.array(["a"]), np.array([99.0]), np.zeros(2, np.int64), np.array([SHORT, LONG]), {"label": np.zeros(2, np.int64)}
)


def find(*segments: list[float]) -> Detections:
    number = len(segments)
    zeros = np.zeros(number, np.int64)
    return Detections(np.array(["a"]), zeros, np.array(segments), 1 - np.arange(number) / 10, {"label": zeros})


def test_a_range_asks_for_its_segments_and_counts_wrong_detections_of_its_length() -> None:
    found = find([50.0, 51.0], SHORT, LONG)
    judged = detection_map(TRUTH, found, ["label"], [0.5])
    by_length = map_by_length(TRUTH, found, judged, bounds=[5.0])
    assert by_length.names == ("below 5 s", "from 5 s")
    assert by_length.num_segments.tolist() == [1, 1]
    assert by_length.maps["label"].tolist() == [[0.5], [1.0]]


def test_one_range_is_the_whole_and_an_empty_one_is_not_a_number() -> None:
    found = find(SHORT, [60.0, 70.0], LONG)
    judged = detection_map(TRUTH, found, ["label"], [0.3, 0.5])
    whole = map_by_length(TRUTH, found, judged, bounds=[])
    assert whole.names == ("all",)
    np.testing.assert_array_equal(whole.maps["label"][0], judged.tasks["label"].map)
    empty = map_by_length(TRUTH, found, judged, bounds=[5.0, 100.0])
    assert np.isnan(empty.maps["label"][2]).all()


def test_bounds_split_the_segments_evenly_and_must_ascend() -> None:
    lengths = np.arange(1, 101) / 10
    bounds = length_bounds(np.stack([np.zeros(100), lengths], axis=1))
    assert bounds.tolist() == [2.1, 4.1, 6.0, 8.0]
    found = find(SHORT)
    with pytest.raises(ConfigError, match=r"bounds of lengths \(\[2\.0, 1\.0\]\) must be above 0 and ascend"):
        map_by_length(TRUTH, found, detection_map(TRUTH, found, ["label"], [0.5]), bounds=[2.0, 1.0])
