"""The adaptation challenge's metrics: those of recognition on all clips, of the target only."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.epic.adaptation import adaptation_metrics, check_domain
from zoopraxis.epic.recognition import recognition_metrics
from zoopraxis.errors import DataError
from zoopraxis.evaluation.results import Results

NUM_CLIPS = 200
GENERATOR = np.random.default_rng(0)
IDS = np.array([f"P01_{101 + row // 50}_{row}" for row in range(NUM_CLIPS)])
LABELS = {"verb": GENERATOR.integers(0, 12, NUM_CLIPS), "noun": GENERATOR.integers(0, 20, NUM_CLIPS)}
SCORES = {"verb": GENERATOR.normal(size=(NUM_CLIPS, 12)), "noun": GENERATOR.normal(size=(NUM_CLIPS, 20))}


def test_metrics_are_those_of_all_clips() -> None:
    results = Results(IDS, SCORES)
    metrics = adaptation_metrics(results, LABELS)
    assert metrics.metrics[:-1] == recognition_metrics(results, LABELS).metrics
    assert [metric.name for metric in metrics.metrics[:-1]] == [
        f"all_{task}_accuracy_at_{k}" for task in ("verb", "noun", "action") for k in (1, 5)
    ]
    assert all(metric.low <= metric.percent < metric.high for metric in metrics.metrics)


def test_the_published_top_5_of_actions_asks_for_both_heads_alone() -> None:
    metrics = adaptation_metrics(Results(IDS, SCORES), LABELS).as_dict()
    in_five = {
        head: (np.argsort(-scores, axis=1)[:, :5] == LABELS[head][:, None]).any(axis=1) for head, scores in SCORES.items()
    }
    expected = 100 * (in_five["verb"] & in_five["noun"]).mean()
    assert metrics["all_verb_with_noun_accuracy_at_5"] == pytest.approx(expected)
    assert metrics["all_verb_with_noun_accuracy_at_5"] > metrics["all_action_accuracy_at_5"] > 0


def test_clips_of_the_other_domain_are_refused() -> None:
    mixed = np.array([*IDS[:-1], "P01_11_7"])
    with pytest.raises(
        DataError, match=r"1 of 200 clips of the results are of the source \(videos of 2018\), first P01_11_7; the challenge is"
    ):
        adaptation_metrics(Results(mixed, SCORES), LABELS)
    with pytest.raises(DataError, match=r"199 of 200 clips .* are of the target \(videos of 2020\), first P01_101_0; give"):
        check_domain(Results(mixed, SCORES), "source")


def test_ids_that_are_not_of_epic_may_be_of_either_domain() -> None:
    for domain in ("source", "target"):
        check_domain(Results(np.array(["video_1", "a"]), {"label": np.zeros((2, 3))}), domain)


def test_results_without_a_head_are_refused() -> None:
    with pytest.raises(DataError, match="the adaptation challenge needs head 'noun' in the results; known: verb"):
        adaptation_metrics(Results(IDS, {"verb": SCORES["verb"]}), LABELS)
