"""How fast detections are made and judged, against plain loops.

Run as `python benchmarks/detection.py [--quick]`. It prints one line a claim; above 1 means ours is better by so much:

    ratio soft_nms        time of the plain loop / time of ours, 10,000 candidates; promised: at least 20
    ratio detection_map   time of a loop over predictions / time of ours, 19,336 detections; promised: at least 50

The plain soft-NMS is the published formulation: lists, and a loop over all candidates for every one that is taken. It is timed
on two kinds of candidates: those of a video of 533 seconds (2,000 steps, up to 100 steps long, one proposal a second is kept),
and those of a network that sees a whole video as one window (400 steps, up to 400 steps long, 200 are kept), where most of them
overlap. The claim is the smaller of the two ratios. Both sides keep as many, and must give the same.

Detections are judged as the EPIC-KITCHENS-100 challenge judges them: verbs, nouns and actions at five overlaps, two detections
a segment of the validation annotations, which are those of the folder ZOOPRAXIS_REAL_DATA, else as many drawn at random. The
plain evaluation is a loop over the rows of tables, as published; how the same loop does with lists and small arrays is printed
too. The published one takes a minute, so that it has one turn, with `--quick` on every sixth video. All must give the same.

CPU time, medians of turns that alternate, one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from plain_detection import WAYS, plain_detection_map
from zoopraxis.cli.truth import read_segment_truth
from zoopraxis.epic.detection import challenge_map
from zoopraxis.epic.vocabulary import HEADS, NUM_NOUNS
from zoopraxis.evaluation.detection_map import EPIC_THRESHOLDS
from zoopraxis.evaluation.detections import Detections, Truth
from zoopraxis.localization.soft_nms import soft_nms

NUM_CANDIDATES, SEED = 10_000, 0
NUM_VIDEOS, NUM_SEGMENTS, SECONDS = 138, 9_668, 350.0
ALPHA, LOW, HIGH = 0.4, 0.25, 0.9

KINDS = {"long video": (2_000, 100, 534), "whole-video window": (400, 400, 200)}
"""Candidates: steps, steps of the longest, how many are kept."""

FloatArray = npt.NDArray[np.float64]
Turn = Callable[[], object]


def main() -> None:
    """Measure and print one line a claim."""
    parser = argparse.ArgumentParser(description="Speed of making and judging detections, against plain loops.")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    is_quick = parser.parse_args().quick
    for name, measure in CLAIMS.items():
        print(f"ratio {name} {measure(is_quick):.1f}", flush=True)


def measure_soft_nms(is_quick: bool) -> float:
    """The smaller of the ratios of the two kinds of candidates."""
    ratios = []
    for kind, (num_steps, num_durations, keep) in KINDS.items():
        candidates = make_candidates(num_steps, num_durations)

        def ours(given: tuple[FloatArray, ...] = candidates, keep: int = keep) -> object:
            return soft_nms(*given, alpha=ALPHA, low=LOW, high=HIGH, keep=keep)

        def plain(given: tuple[FloatArray, ...] = candidates, keep: int = keep) -> object:
            return plain_soft_nms(*given, alpha=ALPHA, low=LOW, high=HIGH, keep=keep)

        for found, expected in zip(ours(), plain(), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)
        medians = time_turns({"plain": plain, "ours": ours}, 1 if is_quick else 5)
        ratios.append(medians["plain"] / medians["ours"])
        times = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in medians.items())
        print(f"soft_nms of {NUM_CANDIDATES:,} candidates, {kind}, {keep} kept: {times}, ratio {ratios[-1]:.0f}")
    return min(ratios)


def make_candidates(num_steps: int, num_durations: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Starts, stops and scores of distinct cells of a map, drawn at random."""
    generator = np.random.default_rng(SEED)
    durations, steps = np.indices((num_durations, num_steps)).reshape(2, -1)
    cells = generator.permutation(np.flatnonzero(steps + durations + 1 < num_steps))[:NUM_CANDIDATES]
    assert len(cells) == NUM_CANDIDATES
    starts, stops = steps[cells], steps[cells] + durations[cells] + 1
    return starts / num_steps, stops / num_steps, generator.beta(1, 4, size=NUM_CANDIDATES)


def plain_soft_nms(
    starts: FloatArray, stops: FloatArray, scores: FloatArray, *, alpha: float, low: float, high: float, keep: int
) -> tuple[list[int], list[float]]:
    """The published formulation: one after another in Python."""
    order = np.argsort(-scores, kind="stable")
    rows, left, right, left_scores = order.tolist(), list(starts[order]), list(stops[order]), list(scores[order])
    taken: list[int] = []
    decayed: list[float] = []
    while len(left_scores) > 1 and len(taken) < keep:
        best = left_scores.index(max(left_scores))
        start, stop = left[best], right[best]
        all_left, all_right = np.array(left), np.array(right)
        shared = np.maximum(np.minimum(all_right, stop) - np.maximum(all_left, start), 0.0)
        overlaps = shared / (all_right - all_left - shared + stop - start)
        for number in range(len(left_scores)):
            if number != best:
                overlap = overlaps[number]
                width = right[best] - left[best]
                if overlap > low + (high - low) * width:
                    left_scores[number] = left_scores[number] * np.exp(-np.power(overlap, 2.0) / alpha)
        taken.append(rows.pop(best))
        decayed.append(left_scores.pop(best))
        left.pop(best)
        right.pop(best)
    return taken, decayed


def time_turns(turns: dict[str, Turn], num_turns: int) -> dict[str, float]:
    """Median CPU seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(num_turns):
        for name, turn in turns.items():
            begin = time.process_time()
            turn()
            seconds[name].append(time.process_time() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure_detection_map(is_quick: bool) -> float:
    """The published loop's time over ours."""
    truth, detections = make_detections(os.environ.get("ZOOPRAXIS_REAL_DATA"), every=6 if is_quick else 1)

    def ours() -> list[FloatArray]:
        return [one.map for one in challenge_map(truth, detections).tasks.values()]

    def plain(way: str) -> list[FloatArray]:
        return plain_detection_map(truth, detections, EPIC_THRESHOLDS, num_nouns=NUM_NOUNS, way=way)

    medians = time_turns({"lean": lambda: plain("lean"), "ours": ours}, 5)
    expected: list[FloatArray] = []
    medians |= time_turns({"published": lambda: expected.extend(plain("published"))}, 1)
    for maps in (ours(), plain("lean")):
        np.testing.assert_allclose(maps, expected, rtol=1e-12, atol=0)
    times = ", ".join(f"{name} {1e3 * seconds:.1f} ms" for name, seconds in medians.items())
    ratios = {way: medians[way] / medians["ours"] for way in WAYS}
    print(f"detection_map of {len(detections):,} detections: {times}, ratio to the lean loop {ratios['lean']:.0f}")
    return ratios["published"]


def make_detections(real_data: str | None, *, every: int) -> tuple[Truth, Detections]:
    """The validation segments of every so many videos, and two detections of each, the second farther off."""
    truth = (
        make_truth() if real_data is None else read_segment_truth(Path(real_data) / "epic100" / "EPIC_100_validation.csv")[0]
    )
    rows = np.flatnonzero(truth.video % every == 0)
    labels = {head: values[rows] for head, values in truth.labels.items()}
    truth = Truth(truth.video_ids, truth.durations, truth.video[rows], truth.segments[rows], labels)
    generator = np.random.default_rng(SEED)
    lengths = (truth.segments[:, 1] - truth.segments[:, 0])[:, None]
    found = []
    for shift in (0.0, 0.6):
        ends = np.sort(truth.segments + lengths * (shift + 0.25 * generator.standard_normal((len(rows), 2))), axis=1)
        starts = ends[:, 0].clip(0)
        found.append(np.stack([starts, np.maximum(ends[:, 1], starts + 0.1)], axis=1))
    classes = {
        head: np.where(
            generator.random(2 * len(rows)) < 0.35, generator.integers(width, size=2 * len(rows)), np.tile(values, 2)
        )
        for (head, width), values in zip(HEADS.items(), labels.values(), strict=True)
    }
    scores = generator.random(2 * len(rows)) * np.repeat([1.0, 0.6], len(rows))
    return truth, Detections(truth.video_ids, np.tile(truth.video, 2), np.concatenate(found), scores, classes)


def make_truth() -> Truth:
    """As many videos and segments as the validation split has, drawn at random."""
    generator = np.random.default_rng(SEED)
    video = np.sort(generator.integers(NUM_VIDEOS, size=NUM_SEGMENTS))
    starts = generator.uniform(0, SECONDS, size=NUM_SEGMENTS)
    segments = np.stack([starts, starts + generator.lognormal(0.7, 0.9, size=NUM_SEGMENTS) + 0.1], axis=1)
    labels = {
        head: np.minimum(generator.geometric(8 / width, size=NUM_SEGMENTS) - 1, width - 1) for head, width in HEADS.items()
    }
    video_ids = np.array([f"P{number // 10:02d}_{number % 10:02d}" for number in range(NUM_VIDEOS)])
    return Truth(video_ids, np.full(NUM_VIDEOS, 2 * SECONDS), video, segments, labels)


CLAIMS: dict[str, Callable[[bool], float]] = {"soft_nms": measure_soft_nms, "detection_map": measure_detection_map}
"""Name of each claim to what measures its ratio; it is told whether the run is to be quick."""


if __name__ == "__main__":
    main()
