"""Holds actions by views, and those by the product, to the published EPIC-KITCHENS meter of several views.

The case tells labels, accuracies and the best actions, but not its input: the softmax of logits called `meter_verb` and
`meter_noun`, of 6 views a clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from zoopraxis.epic.recognition import recognition_metrics
from zoopraxis.evaluation.accuracy import head_accuracies, view_action_accuracies
from zoopraxis.evaluation.actions import TopActions, top_actions
from zoopraxis.evaluation.results import Results, load_results, save_results
from zoopraxis.training.system import average_views
from zoopraxis.training.view_actions import top_view_actions

NUM_CLASSES = {"verb": 97, "noun": 300}
NUM_VIEWS = 6
SCALE = 2.0


def matches(case: Mapping[str, Any]) -> bool:
    return str(case["case"]).startswith("epic_meter")


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    labels = {head: arrays[f"label_{head}"] for head in NUM_CLASSES}
    num_clips, num_best = arrays["sum_action_top5"].shape
    logits = {
        head: context.tensor(f"meter_{head}", (num_clips, NUM_VIEWS, width), SCALE).flatten(0, 1)
        for head, width in NUM_CLASSES.items()
    }
    expected = {name: tuple(values) for name, values in case["acc_top1_top5"].items()}

    scores = {head: average_views(values, NUM_VIEWS, "prob").numpy() for head, values in logits.items()}
    found = head_accuracies(scores, labels)
    for head in NUM_CLASSES:
        assert (found[f"{head}_acc@1"], found[f"{head}_acc@5"]) == pytest.approx(expected[f"{head}_class"])

    classes, probabilities = top_view_actions(logits["verb"], logits["noun"], NUM_VIEWS)
    by_views = TopActions.from_classes(classes.numpy(), probabilities.numpy(), NUM_CLASSES["noun"])
    assert by_views.classes(NUM_CLASSES["noun"])[:, :num_best].tolist() == arrays["sum_action_top5"].tolist()
    accuracies = view_action_accuracies(by_views, labels)
    assert tuple(accuracies.values()) == pytest.approx(expected["action_class_ind_pred"])

    by_product = top_actions(scores["verb"], scores["noun"], num_best).classes(NUM_CLASSES["noun"])
    assert by_product.tolist() != arrays["sum_action_top5"].tolist(), "the average of products cannot be told from the product"
    _check_results_file(scores, by_views, labels, expected["action_class_ind_pred"], context)
    _check_joint(scores, labels, arrays["prod_of_sums_top5"], expected["joint_class"])


def _check_results_file(
    scores: dict[str, np.ndarray],
    actions: TopActions,
    labels: dict[str, np.ndarray],
    expected: tuple[float, float],
    context: Any,
) -> None:
    """The challenge's metrics, from a results file, are those of the meter."""
    ids = np.array([f"P01_01_{row}" for row in range(len(labels["verb"]))])
    save_results(Results(ids, scores, {}, actions), context.tmp_path / "views.npz")
    metrics = recognition_metrics(load_results(context.tmp_path / "views.npz"), labels, actions="views").as_dict()
    assert (metrics["all_action_accuracy_at_1"], metrics["all_action_accuracy_at_5"]) == pytest.approx(expected)


def _check_joint(
    scores: dict[str, np.ndarray], labels: dict[str, np.ndarray], best: np.ndarray, expected: tuple[float, float]
) -> None:
    """The published `joint_class` takes the softmax of summed probabilities once more, as our product of any scores does."""
    sums = {head: NUM_VIEWS * np.exp(values) for head, values in scores.items()}
    assert top_actions(sums["verb"], sums["noun"], best.shape[1]).classes(NUM_CLASSES["noun"]).tolist() == best.tolist()
    found = head_accuracies(sums, labels)
    assert (found["action_acc@1"], found["action_acc@5"]) == pytest.approx(expected)
