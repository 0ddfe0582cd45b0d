"""Holds detection mAP to TAdaConv's evaluator, which leaves out detections of actions that the truth does not have."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.cli.truth import read_segment_truth
from zoopraxis.evaluation.detection_map import TaskMap, average_precision, detection_map, task_labels
from zoopraxis.evaluation.detections import load_detections

TASKS = ("action", "noun", "verb")


def matches(case: dict[str, Any]) -> bool:
    return str(case["case"]).startswith("tal_eval")


def check(case: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], context: Any) -> None:
    path = context.folder / case["gt"]
    truth, _ = read_segment_truth(path)
    detections = load_detections(context.folder / case["pred"])
    found = detection_map(truth, detections, TASKS, case["tiou"], drop_absent="action")
    changes = []
    for task in TASKS:
        one = found.tasks[task]
        np.testing.assert_allclose(one.map, arrays[f"map_{task}"], rtol=1e-9, atol=0)
        order = published_order(case, task, found.num_nouns, json.loads(path.read_text()))
        np.testing.assert_allclose(one.ap[:, np.searchsorted(one.classes, order)], arrays[f"ap_{task}"], rtol=1e-9, atol=1e-12)
        labels = task_labels(detections.labels, task, found.num_nouns)
        worse = map_in_order_of_file(one, labels)
        changes.append(np.abs(worse - arrays[f"map_{task}"]).max())
    finds_any = any(one.map.any() for one in found.tasks.values())
    assert max(changes) > 1e-3 or not finds_any, "all tasks pass without the scores' order"


def published_order(case: dict[str, Any], task: str, num_nouns: int, document: dict[str, Any]) -> list[int]:
    """The classes in the columns' order: as the case tells, else as they first appear in the truth."""
    rows = [row["label"] for video in document["database"].values() for row in video["annotations"]]
    pairs = {"action": lambda text: text, "verb": lambda text: text.split(",")[0], "noun": lambda text: text.split(",")[1]}
    names = [str(name) for name in case.get(f"{task}_class_order", case.get(f"{task}_order")) or map(pairs[task], rows)]
    numbers = [
        int(name.split(",")[0]) * num_nouns + int(name.split(",")[1]) if task == "action" else int(name) for name in names
    ]
    return list(dict.fromkeys(numbers))


def map_in_order_of_file(one: TaskMap, labels: npt.NDArray[np.int64]) -> Any:
    """What the same right detections would give if they were ranked as they stand instead of by their scores."""
    known = np.flatnonzero(np.isin(labels, one.classes))[::-1]
    places = np.searchsorted(one.classes, labels[known])
    return average_precision(places, one.matched[:, known] >= 0, one.num_segments).mean(axis=1)
