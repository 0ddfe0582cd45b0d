"""What the report on detection counts: curves, lengths, and the parts of videos that are shown."""

from __future__ import annotations

import numpy as np

from zoopraxis.evaluation.detection_map import detection_map
from zoopraxis.evaluation.detections import Detections, Truth
from zoopraxis.evaluation.report_detection_numbers import (
    busiest_part,
    choose_videos,
    mean_precision,
    recall_by_length,
)


def make_truth(num_videos: int = 6, num_segments: int = 60, num_classes: int = 5) -> Truth:
    generator = np.random.default_rng(0)
    starts = generator.uniform(0, 90, num_segments)
    segments = np.stack([starts, starts + generator.gamma(2, 2, num_segments) + 0.1], axis=1)
    videos = np.array([f"v{number}" for number in range(num_videos)])
    labels = {"label": generator.integers(0, num_classes, num_segments) * 3}
    return Truth(videos, np.full(num_videos, 120.0), generator.integers(0, num_videos, num_segments), segments, labels)


def make_detections(truth: Truth, *, repeats: int = 4) -> Detections:
    """Each segment several times, shifted; some with another class; the videos in another order."""
    generator = np.random.default_rng(1)
    rows = np.tile(np.arange(len(truth)), repeats)
    lengths = np.diff(truth.segments[rows], axis=1)
    segments = truth.segments[rows] + generator.normal(0, 0.3, (len(rows), 1)) * lengths
    labels = np.where(generator.random(len(rows)) < 0.7, truth.labels["label"][rows], generator.integers(0, 16, len(rows)))
    last = len(truth.video_ids) - 1
    scores = generator.random(len(rows)).round(2)
    return Detections(truth.video_ids[::-1], last - truth.video[rows], segments, scores, {"label": labels})


def test_the_area_under_a_mean_curve_is_the_mean_average_precision() -> None:
    truth = make_truth()
    detections = make_detections(truth)
    judged = detection_map(truth, detections, ["label"], [0.3, 0.5, 0.7])
    one = judged.tasks["label"]
    assert 0.1 < one.map[0] < 0.95
    fine = (np.arange(50_000) + 0.5) / 50_000
    curves = mean_precision(one, detections.labels["label"], detections.scores, fine)
    np.testing.assert_allclose(curves.mean(axis=1), one.map, atol=1e-4)
    assert (np.diff(curves, axis=1) <= 1e-12).all()


def test_a_curve_ends_where_no_more_is_found() -> None:
    truth = Truth(
        np.array(["a"]), np.array([9.0]), np.zeros(2, np.int64), np.array([[0.0, 1], [2, 3]]), {"label": np.array([7, 7])}
    )
    found = Detections(np.array(["a"]), np.zeros(1, np.int64), np.array([[0.0, 1]]), np.ones(1), {"label": np.array([7])})
    one = detection_map(truth, found, ["label"], [0.5]).tasks["label"]
    curve = mean_precision(one, found.labels["label"], found.scores, np.array([0.0, 0.5, 0.51, 1.0]))
    np.testing.assert_array_equal(curve, [[1, 1, 0, 0]])


def test_recall_counts_each_found_segment_once() -> None:
    truth = make_truth()
    bounds = np.array([2.0, 6.0, 1000.0])
    one = detection_map(truth, make_detections(truth), ["label"], [0.1, 0.9]).tasks["label"]
    recalls = recall_by_length(one, truth.segments, bounds)
    found = [set(row[row >= 0].tolist()) for row in one.matched]
    lengths = np.diff(truth.segments, axis=1)[:, 0]
    for place, (low, high) in enumerate(((0, 2), (2, 6), (6, 1000))):
        rows = np.flatnonzero((lengths >= low) & (lengths < high))
        np.testing.assert_allclose(recalls[place], [np.mean([row in level for row in rows]) for level in found])
    assert np.isnan(recalls[3]).all()
    assert (recalls[:3, 0] > recalls[:3, 1]).all()


def test_videos_are_chosen_from_the_best_to_the_worst() -> None:
    truth = make_truth()
    perfect = np.isin(truth.video, [3, 4])
    rows = np.flatnonzero(perfect | (truth.video == 1))
    wrong = truth.segments[rows] + np.where(truth.video[rows] == 1, 1000.0, 0.0)[:, None]
    found = Detections(truth.video_ids, truth.video[rows], wrong, np.ones(len(rows)), {"label": truth.labels["label"][rows]})
    matched = detection_map(truth, found, ["label"], [0.5]).tasks["label"].matched[0]
    chosen = choose_videos(truth, found, matched, 3)
    assert [part for _, part in chosen] == [1.0, 0.0, 0.0]
    assert chosen[0][0] in (3, 4)
    assert len(choose_videos(truth, found, matched, 99)) == 6


def test_only_the_best_detections_of_a_video_count_in_choosing() -> None:
    truth = Truth(np.array(["a"]), np.array([9.0]), np.zeros(1, np.int64), np.array([[0.0, 1]]), {"label": np.array([0])})
    segments, scores = np.array([[4.0, 5], [0, 1]]), np.array([0.9, 0.1])
    found = Detections(np.array(["a"]), np.zeros(2, np.int64), segments, scores, {"label": np.zeros(2, np.int64)})
    matched = detection_map(truth, found, ["label"], [0.5]).tasks["label"].matched[0]
    assert choose_videos(truth, found, matched, 4) == [(0, 0.0)]


def test_the_busiest_part_of_a_long_video_is_shown() -> None:
    early, late = np.arange(0, 100, 10.0), np.arange(5000, 5200, 2.0)
    starts = np.concatenate([early, late])
    segments = np.stack([starts, starts + 1], axis=1)
    zeros = np.zeros(len(starts), np.int64)
    truth = Truth(np.array(["a"]), np.array([7200.0]), zeros, segments, {"label": zeros})
    found = Detections(
        np.array(["a"]), np.tile(zeros, 2), np.tile(segments, (2, 1)), np.arange(220.0), {"label": np.tile(zeros, 2)}
    )
    part = busiest_part(truth, found, 0)
    assert (part.start, part.duration) == (5000.0, 240.0)
    assert part.true_rows.tolist() == list(range(10, 110))
    assert len(part.rows) == 100
    assert found.scores[part.rows].min() == 120.0


def test_a_short_video_is_shown_whole() -> None:
    truth = make_truth()
    part = busiest_part(truth, make_detections(truth), 2)
    assert (part.start, part.duration) == (0.0, 120.0)
    assert part.true_rows.tolist() == truth.of_video(2).tolist()


def test_a_video_without_detections_or_duration_is_shown_to_its_last_segment() -> None:
    zeros = np.zeros(1, np.int64)
    truth = Truth(np.array(["a"]), np.array([np.nan]), zeros, np.array([[2.0, 5.0]]), {"label": zeros})
    found = Detections(np.array(["b"]), zeros[:0], np.zeros((0, 2)), np.zeros(0), {"label": zeros[:0]})
    part = busiest_part(truth, found, 0)
    assert (part.start, part.duration, len(part.rows)) == (0.0, 5.0, 0)
