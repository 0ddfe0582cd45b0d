"""Holds the detection challenge's metrics to the published evaluator, on detections made from the validation annotations.

Two detections a labelled segment: its times jittered by a quarter of its length (the second also moved on by 0.6 of it), now
and then another verb or noun, and a score. The numbers that decide are drawn once for all segments: a part of the videos takes
those of its segments' rows. The digest of the submission's JSON tells whether the detections are those that were judged.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.cli.truth import read_segment_truth
from zoopraxis.epic.detection import challenge_map, check_detection_document
from zoopraxis.epic.vocabulary import HEADS
from zoopraxis.evaluation.detection_map import (
    EPIC_THRESHOLDS,
    average_precision,
    best_first,
    overlapping_pairs,
    task_labels,
    video_rows,
)
from zoopraxis.evaluation.detections import Detections, Truth

JITTER, SHIFT, SHORTEST = 0.25, 0.6, 0.1
OTHER_BELOW = {"verb": -0.4, "noun": -0.2}
EVERY = re.compile(r"every (\d+)\w* video")
CORRECT_AT = 1
"""The threshold whose right detections the published code counts as correct@0.5, though it is 0.2."""


def matches(case: dict[str, Any]) -> bool:
    return str(case["case"]).startswith("c2_detection_map")


def check(case: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], context: Any) -> None:
    path = context.real_data() / "epic100" / "EPIC_100_validation.csv"
    every, _ = read_segment_truth(path)
    for name, expected in case["extra"].items():
        described = EVERY.search(case["config"][name])
        videos = np.sort(every.video_ids)[:: int(described[1]) if described else 1]
        rows = np.flatnonzero(np.isin(every.video_ids[every.video], videos))
        document = make_document(every, rows, name, context)
        digest = hashlib.sha256(json.dumps(document).encode()).hexdigest()
        assert digest == expected["json_sha256"], f"the detections of {name} are not those that were judged"
        truth = part_of(every, rows)
        assert len(truth) == expected["gt_rows"]
        detections, _ = check_detection_document(document)
        assert len(detections) == expected["n_detections"]
        hold(truth, detections, expected)


def hold(truth: Truth, detections: Detections, expected: dict[str, Any]) -> None:
    """All numbers of the published evaluator, and that they would be others if a segment could be found twice."""
    found = challenge_map(truth, detections)
    printed = {name: f"{value:.2f}" for name, value in found.as_dict().items()}
    assert printed == {name: value for name, value in expected["printed"].items() if not name.startswith("sls")}
    for task, numbers in expected["exact"].items():
        one = found.tasks[task]
        np.testing.assert_allclose(one.map, numbers["map@0.1..0.5"], rtol=1e-9, atol=0)
        np.testing.assert_allclose(one.average, numbers["avg"], rtol=1e-9, atol=0)
        assert len(one.classes) == numbers["n_classes"]
        assert one.num_detections.sum() == numbers["predictions_kept"]
        assert (one.matched[CORRECT_AT] >= 0).sum() == numbers["correct_flag_sum"]
        repeated = map_with_repeats(truth, detections, task, found.num_nouns)
        assert abs(repeated - numbers["map@0.1..0.5"][-1]) > 1e-3, f"{task} passes with segments found twice"


def map_with_repeats(truth: Truth, detections: Detections, task: str, num_nouns: int) -> float:
    """The mean average precision at 0.5 where each detection that overlaps a segment counts, also one found before."""
    true, labels = (task_labels(one.labels, task, num_nouns) for one in (truth, detections))
    video = video_rows(truth, detections)
    pairs = overlapping_pairs(truth.video, truth.segments, video, detections.segments, least=EPIC_THRESHOLDS[-1])
    pairs = pairs.take(true[pairs.segment] == labels[pairs.detection])
    is_hit = np.isin(np.arange(len(detections)), pairs.detection)
    classes, counts = np.unique(true, return_counts=True)
    order = best_first(detections.scores)
    order = order[np.isin(labels[order], classes)]
    return float(average_precision(np.searchsorted(classes, labels[order]), is_hit[None, order], counts).mean())


def part_of(truth: Truth, rows: npt.NDArray[np.int64]) -> Truth:
    """The videos of some segments, with these segments."""
    videos, video = np.unique(truth.video[rows], return_inverse=True)
    labels = {head: values[rows] for head, values in truth.labels.items()}
    return Truth(truth.video_ids[videos], truth.durations[videos], video, truth.segments[rows], labels)


def make_document(truth: Truth, rows: npt.NDArray[np.int64], tag: str, context: Any) -> dict[str, Any]:
    """The submission."""
    shapes = {"jit": (len(truth), 2, 2), "cls": (len(truth), 2, 2), "rnd": (len(truth), 2, 2), "score": (len(truth), 2)}
    drawn = {name: context.tensor(f"c2_{tag}_{name}", shape).numpy().astype(np.float64) for name, shape in shapes.items()}
    results: dict[str, list[dict[str, Any]]] = {}
    for row in rows.tolist():
        segment, labels = truth.segments[row], {head: int(truth.labels[head][row]) for head in HEADS}
        entries = results.setdefault(str(truth.video_ids[truth.video[row]]), [])
        entries += [make_entry(segment, labels, {name: one[row, k] for name, one in drawn.items()}, k) for k in (0, 1)]
    head = {"version": "0.2", "challenge": "action_detection", "sls_pt": 2, "sls_tl": 3, "sls_td": 3}
    return {**head, "results": results}


def make_entry(segment: Any, labels: dict[str, int], drawn: dict[str, Any], number: int) -> dict[str, Any]:
    """The first or second detection of a segment."""
    length = segment[1] - segment[0]
    ends = sorted(segment + JITTER * length * drawn["jit"] + SHIFT * length * number)
    start = max(0.0, float(ends[0]))
    stop = max(float(ends[1]), start + SHORTEST)
    classes = dict(labels)
    for place, (head, width) in enumerate(HEADS.items()):
        if drawn["cls"][place] < OTHER_BELOW[head]:
            classes[head] = int(abs(drawn["rnd"][place]) * 1000) % width
    score = 1 / (1 + np.exp(-(drawn["score"] + 1 - 1.5 * number)))
    action = f"{classes['verb']},{classes['noun']}"
    return {**classes, "action": action, "score": round(float(score), 9), "segment": [round(start, 3), round(stop, 3)]}
