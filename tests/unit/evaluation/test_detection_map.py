"""Detection mAP against a loop over detections, and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.detection_map import (
    ACTIVITYNET_THRESHOLDS,
    EPIC_THRESHOLDS,
    average_precision,
    check_detections,
    default_thresholds,
    detection_map,
    segment_tiou,
    tasks_of,
)
from zoopraxis.evaluation.detections import Detections, Truth

VIDEOS = np.array(["a", "b", "c"])
FloatArray = npt.NDArray[np.float64]


def make_truth(rows: list[tuple[int, float, float, int]], **labels: list[int]) -> Truth:
    video, starts, stops, classes = (np.array(column) for column in zip(*rows, strict=True))
    every = {head: np.array(values) for head, values in labels.items()} or {"label": classes}
    return Truth(VIDEOS, np.full(3, 100.0), video, np.stack([starts, stops], axis=1), every)


def make_found(rows: list[tuple[int, float, float, int, float]], **labels: list[int]) -> Detections:
    video, starts, stops, classes, scores = (np.array(column) for column in zip(*rows, strict=True))
    every = {head: np.array(values) for head, values in labels.items()} or {"label": classes}
    return Detections(VIDEOS, video, np.stack([starts, stops], axis=1), scores, every)


def make_random(seed: int, num_segments: int, num_found: int, *, coarse: bool) -> tuple[Truth, Detections]:
    """Crowded videos: many segments overlap, and with `coarse` times many overlaps are equal."""
    generator = np.random.default_rng(seed)

    def segments(number: int) -> FloatArray:
        starts, lengths = generator.uniform(0, 20, size=number), generator.uniform(1, 10, size=number)
        if coarse:
            starts, lengths = starts.round(), lengths.round()
        return np.stack([starts, starts + lengths], axis=1)

    labels = [{"verb": generator.integers(3, size=n), "noun": generator.integers(4, size=n)} for n in (num_segments, num_found)]
    truth = Truth(VIDEOS, np.full(3, 40.0), generator.integers(3, size=num_segments), segments(num_segments), labels[0])
    videos = generator.integers(3, size=num_found)
    return truth, Detections(VIDEOS, videos, segments(num_found), generator.permutation(num_found) / num_found, labels[1])


def plain_map(truth: Truth, found: Detections, true: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> FloatArray:
    """One detection after another, in Python."""
    means = []
    for threshold in EPIC_THRESHOLDS:
        precisions = []
        for number in np.unique(true):
            taken: set[int] = set()
            hits = []
            for row in sorted(np.flatnonzero(labels == number), key=lambda row: -found.scores[row]):
                rows = np.flatnonzero((true == number) & (truth.video == found.video[row]))
                tiou = segment_tiou(found.segments[[row]], truth.segments[rows])[0]
                free = [(tiou[k], rows[k]) for k in range(len(rows)) if tiou[k] >= threshold and rows[k] not in taken]
                hits.append(bool(free))
                taken |= {max(free)[1]} if free else set()
            precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
            best = [precision[place:].max() for place, is_hit in enumerate(hits) if is_hit]
            precisions.append(sum(best) / (true == number).sum())
        means.append(np.mean(precisions))
    return np.array(means)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize(("seed", "num_segments", "num_found"), [(0, 40, 200), (1, 200, 60), (2, 5, 300)])
def test_all_tasks_are_those_of_a_loop_over_detections(seed: int, num_segments: int, num_found: int, coarse: bool) -> None:
    truth, found = make_random(seed, num_segments, num_found, coarse=coarse)
    judged = detection_map(truth, found, ["verb", "noun", "action"], EPIC_THRESHOLDS)
    pairs = [(truth.labels[head], found.labels[head]) for head in ("verb", "noun")]
    pairs.append((truth.labels["verb"] * 4 + truth.labels["noun"], found.labels["verb"] * 4 + found.labels["noun"]))
    for task, (true, labels) in zip(judged.tasks, pairs, strict=True):
        np.testing.assert_allclose(judged.tasks[task].map, plain_map(truth, found, true, labels), rtol=1e-12)


def test_a_segment_is_found_once_and_by_the_best() -> None:
    truth = make_truth([(0, 0, 10, 0), (0, 20, 30, 0)])
    found = make_found([(0, 0, 10, 0, 0.5), (0, 0, 9, 0, 0.9), (0, 20, 30, 0, 0.1)])
    one = detection_map(truth, found, ["label"], [0.5]).tasks["label"]
    assert one.matched.tolist() == [[0, -1, 1]]
    assert one.ap.tolist() == [[pytest.approx((1 + 2 / 3) / 2)]]


def test_a_segment_that_is_taken_leaves_the_next_one_to_be_found() -> None:
    truth = make_truth([(0, 0, 10, 0), (0, 2, 12, 0)])
    found = make_found([(0, 0, 10, 0, 0.9), (0, 0.5, 10.5, 0, 0.8)])
    matched = detection_map(truth, found, ["label"], [0.5, 0.8]).tasks["label"].matched
    assert matched.tolist() == [[0, 1], [0, -1]]


def test_classes_without_detections_count_and_those_without_segments_do_not() -> None:
    truth = make_truth([(0, 0, 10, 7), (1, 0, 10, 2)])
    found = make_found([(0, 0, 10, 7, 0.9), (1, 0, 10, 5, 0.9), (1, 0, 10, 900, 0.8)])
    one = detection_map(truth, found, ["label"], [0.5]).tasks["label"]
    assert one.classes.tolist() == [2, 7]
    assert one.ap.tolist() == [[0.0, 1.0]]
    assert one.num_detections.tolist() == [0, 1]
    assert one.average == 0.5


def test_dropping_absent_actions_changes_what_counts_against_verbs() -> None:
    truth = make_truth([(0, 0, 10, 0)], verb=[0], noun=[1])
    found = make_found([(0, 30, 40, 0, 0.9), (0, 0, 10, 0, 0.5)], verb=[0, 0], noun=[2, 1])
    kept = detection_map(truth, found, ["verb"], [0.5]).tasks["verb"]
    dropped = detection_map(truth, found, ["verb"], [0.5], drop_absent="action").tasks["verb"]
    assert (kept.average, dropped.average) == (0.5, 1.0)


def test_metrics_have_the_published_names() -> None:
    truth, found = make_random(0, 20, 40, coarse=False)
    names = list(detection_map(truth, found, ["verb"], EPIC_THRESHOLDS).as_dict())
    assert names == [f"verb_map_{end}" for end in ("at_01", "at_02", "at_03", "at_04", "at_05", "avg")]
    fine = list(detection_map(truth, found, ["verb"], ACTIVITYNET_THRESHOLDS).as_dict())
    assert fine[:3] == ["verb_map_at_05", "verb_map_at_055", "verb_map_at_06"]
    assert len(set(fine)) == 11


def test_overlaps_are_those_of_the_data_set() -> None:
    assert default_thresholds("epic", ["noun"]) == EPIC_THRESHOLDS
    assert default_thresholds("activitynet", ["verb", "noun"]) == EPIC_THRESHOLDS  # TAdaConv's files of EPIC-KITCHENS
    assert default_thresholds("thumos14", ["label"]) == pytest.approx((0.3, 0.4, 0.5, 0.6, 0.7))
    assert default_thresholds("hacs", ["label"]) == default_thresholds("mmaction", ["label"]) == ACTIVITYNET_THRESHOLDS


def test_actions_are_judged_where_there_are_verbs_and_nouns() -> None:
    assert tasks_of({"noun": 1, "verb": 2}) == ["verb", "noun", "action"]
    assert tasks_of(["verb"]) == ["verb"]


def test_the_envelope_of_one_class_does_not_reach_into_the_next() -> None:
    groups = np.array([0, 1, 0, 1])
    is_hit = np.array([[False, True, True, True], [True, False, False, True]])
    found = average_precision(groups, is_hit, np.array([1, 2]))
    np.testing.assert_allclose(found, [[0.5, 1.0], [1.0, 0.25]])


def test_no_detections_at_all_is_precision_zero() -> None:
    nothing = Detections(VIDEOS, np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0), {"label": np.zeros(0, np.int64)})
    assert detection_map(make_truth([(0, 0, 1, 3)]), nothing, ["label"], [0.5]).tasks["label"].ap.tolist() == [[0.0]]


def test_what_cannot_be_judged_is_refused() -> None:
    truth, found = make_truth([(0, 0, 10, 0)]), make_found([(0, 0, 10, 0, 0.9)])
    with pytest.raises(ConfigError, match=r"thresholds of overlap \(\[0\.0, 0\.5\]\) must be above 0 and at most 1"):
        detection_map(truth, found, ["label"], [0, 0.5])
    with pytest.raises(DataError, match=r"there are no labels of head 'verb' for the task action"):
        detection_map(truth, found, ["action"], [0.5])
    strange = Detections(np.array(["a", "zz"]), found.video, found.segments, found.scores, found.labels)
    with pytest.raises(DataError, match=r"1 of 2 videos of the detections are not in the annotations, first zz"):
        detection_map(truth, strange, ["label"], [0.5])
    empty = Truth(VIDEOS, np.ones(3), np.zeros(0, np.int64), np.zeros((0, 2)), {"label": np.zeros(0, np.int64)})
    with pytest.raises(DataError, match=r"the annotations have no segment to be found"):
        detection_map(empty, found, ["label"], [0.5])


def test_detections_outside_their_videos_and_classes_are_told() -> None:
    truth = make_truth([(0, 0, 10, 0)])
    assert check_detections(truth, make_found([(0, 98, 100.5, 0, 0.9)]), num_classes={"label": 1}) is None
    warning = check_detections(truth, make_found([(0, 98, 103, 0, 0.9)]))
    assert warning is not None
    assert warning.startswith(
        "1 of 1 detections go past the ends of their video, first 98.00 to 103.00 s of a, which lasts 100.00"
    )
    with pytest.raises(DataError, match=r"1 of 1 detections lie outside their video, first 200\.00 to 210\.00 s of b"):
        check_detections(truth, make_found([(1, 200, 210, 0, 0.9)]))
    with pytest.raises(DataError, match=r"1 detections have a label class out of range, first 4 of a; there are 4 classes"):
        check_detections(truth, make_found([(0, 0, 1, 4, 0.9)]), num_classes={"label": 4})
