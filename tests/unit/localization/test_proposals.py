"""Candidates and proposals against a loop over all cells."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.localization.proposals import candidates, proposals, suppress


def looped_bins(values: np.ndarray, edge: int, peak: float) -> list[bool]:
    bins = [False] * len(values)
    bins[edge] = True
    for step in range(1, len(values) - 1):
        if (values[step] > values[step + 1] and values[step] > values[step - 1]) or values[step] > peak * values.max():
            bins[step] = True
    return bins


def maps(num_steps: int, num_durations: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    shapes = ((num_steps,), (num_steps,), (2, num_durations, num_steps))
    start, end, confidence = (generator.random(shape, dtype=np.float32) for shape in shapes)
    return start, end, confidence


@pytest.mark.parametrize("peak", [0.5, 0.9])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 30])
def test_candidates_are_peaks_high_steps_and_one_edge(num_steps: int, peak: float) -> None:
    start, end, _ = maps(num_steps, 1)
    is_start, is_end = candidates(start, end, peak=peak)
    assert is_start.tolist() == looped_bins(start, 0, peak)
    assert is_end.tolist() == looped_bins(end, -1, peak)


def test_a_plateau_is_no_peak() -> None:
    is_start, is_end = candidates([0.0, 0.3, 0.3, 0.0, 1.0, 0.0], [0.0] * 6)
    assert is_start.tolist() == [True, False, False, False, True, False]
    assert is_end.tolist() == [False] * 5 + [True]


@pytest.mark.parametrize(("num_steps", "num_durations"), [(1, 3), (2, 1), (12, 5), (12, 12), (9, 20), (60, 7)])
def test_proposals_equal_the_loop_in_its_order(num_steps: int, num_durations: int) -> None:
    start, end, confidence = maps(num_steps, num_durations, seed=num_steps)
    starts, ends = looped_bins(start, 0, 0.5), looped_bins(end, -1, 0.5)
    expected = []
    for duration in range(num_durations):
        for step in range(num_steps):
            stop = step + duration + 1
            if stop < num_steps and starts[step] and ends[stop]:
                overlap, sure = (float(value) for value in confidence[:, duration, step])
                score = float(start[step]) ** 2 * float(end[stop]) * sure**1.2 * overlap**0.5
                row = [duration, step, step / num_steps, stop / num_steps, start[step], end[stop], sure, overlap, score]
                expected.append(row)
    powers = {"start_power": 2, "end_power": 1, "confidence_power": 1.2, "overlap_power": 0.5}
    found = proposals(start, end, confidence, **powers)
    factors = (found.start_scores, found.end_scores, found.confidences, found.overlaps, found.scores)
    actual = np.stack([found.durations, found.steps, *found.segments.T, *factors], axis=1)
    np.testing.assert_allclose(actual, np.array(expected).reshape(-1, 9), rtol=1e-12)


def test_only_proposals_above_the_lowest_score_are_given() -> None:
    start, end, confidence = maps(12, 5)
    confidence[1, 2:] = 0
    found = proposals(start, end, confidence, min_score=0.0)
    assert 0 < len(found) < len(proposals(start, end, confidence))
    assert (found.scores > 0).all()


def test_a_shift_moves_by_parts_of_the_length_and_is_clipped() -> None:
    start, end, confidence = maps(20, 6)
    plain = proposals(start, end, confidence)
    same = proposals(start, end, confidence, shift_2DT=np.zeros((2, 6, 20)))
    np.testing.assert_allclose(same.segments, plain.segments, atol=1e-15)
    shift = np.stack([np.full((6, 20), 0.5), np.full((6, 20), np.log(2))])
    moved = proposals(start, end, confidence, shift_2DT=shift)
    starts, stops = plain.segments.T
    expected = np.clip(np.stack([starts, stops + (stops - starts)], axis=1), 0, 1)
    np.testing.assert_allclose(moved.segments, expected, atol=1e-12)


def test_proposals_that_a_shift_moves_out_of_the_video_are_left_out() -> None:
    start, end, confidence = maps(20, 6)
    shift = np.zeros((2, 6, 20))
    shift[0, :, :8] = -30
    found = proposals(start, end, confidence, shift_2DT=shift)
    assert len(found)
    assert found.steps.min() >= 8


def test_suppress_gives_the_best_first_with_what_is_known_of_them() -> None:
    start, end, confidence = maps(60, 20)
    found = proposals(start, end, confidence)
    kept = suppress(found, alpha=0.4, low=0.25, high=0.9, keep=60)
    assert len(kept) == 60
    assert (np.diff(kept.scores) <= 0).all()
    np.testing.assert_array_equal(kept.confidences, confidence[1, kept.durations, kept.steps])
    undecayed = kept.start_scores * kept.end_scores * kept.confidences * kept.overlaps
    assert (kept.scores <= undecayed * (1 + 1e-12)).all()
    assert (kept.scores < undecayed * 0.99).any()


def test_seconds_are_clipped_to_the_video() -> None:
    start, end, confidence = maps(10, 4)
    seconds = proposals(start, end, confidence).seconds(33.3)
    assert seconds.dtype == np.float64
    assert seconds.min() >= 0
    assert seconds.max() == pytest.approx(0.9 * 33.3)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((5,), (4,), (2, 3, 5)), r"one probability a step, not shapes \(5,\) and \(4,\)"),
        (((0,), (0,), (2, 3, 0)), r"one probability a step, not shapes \(0,\) and \(0,\)"),
        (((5,), (5,), (2, 3, 4)), r"the maps of 5 steps must have shape \(2, durations, 5\), not \(2, 3, 4\)"),
        (((5,), (5,), (3, 5)), r"must have shape \(2, durations, 5\), not \(3, 5\)"),
    ],
)
def test_refuses(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        proposals(*(np.zeros(shape) for shape in shapes))
