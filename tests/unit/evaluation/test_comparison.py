"""Comparison of two results files of the same clips."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zoopraxis.errors import DataError
from zoopraxis.evaluation.comparison import align_baseline, class_gains, compare, paired_interval
from zoopraxis.evaluation.metrics import classification_metrics
from zoopraxis.evaluation.results import Results

IDS = np.array([f"c{number}" for number in range(8)])
LABELS = {"verb": np.array([0, 0, 0, 0, 1, 1, 1, 2]), "noun": np.array([0, 1, 0, 1, 0, 1, 0, 1])}


def scored(verbs: list[int], nouns: list[int]) -> Results:
    """Results whose answers are given."""
    return Results(IDS, {"verb": np.eye(3)[verbs], "noun": np.eye(2)[nouns]})


HERE = scored([0, 0, 0, 1, 1, 1, 1, 0], LABELS["noun"].tolist())
BASELINE = scored([0, 1, 1, 0, 1, 0, 0, 2], LABELS["noun"].tolist())


def test_differences_count_clips_that_changed() -> None:
    differences = {one.name: one for one in compare(HERE, BASELINE, LABELS)}
    assert list(differences) == [f"{task}_accuracy_at_{k}" for task in ("verb", "noun", "action") for k in (1, 5)]
    verb = differences["verb_accuracy_at_1"]
    assert (verb.num_gained, verb.num_lost) == (4, 2)
    assert verb.percent == 25
    accuracies = [classification_metrics(one, LABELS).as_dict()["verb_accuracy_at_1"] for one in (HERE, BASELINE)]
    assert verb.percent == accuracies[0] - accuracies[1]
    assert verb.baseline_percent == accuracies[1]
    assert verb.low < verb.percent < verb.high
    assert verb.p_value == pytest.approx(2 * (1 + 6 + 15) / 2**6)
    assert differences["action_accuracy_at_1"].percent == 25
    assert (differences["noun_accuracy_at_1"].percent, differences["noun_accuracy_at_1"].p_value) == (0, 1)


def test_gains_are_of_classes_that_have_clips() -> None:
    gains = class_gains(HERE, BASELINE, LABELS)
    assert list(gains) == ["verb", "noun", "action"]
    assert gains["verb"].classes.tolist() == [0, 1, 2]
    assert gains["verb"].counts.tolist() == [4, 3, 1]
    np.testing.assert_allclose(gains["verb"].gains, [0.25, 2 / 3, -1])
    assert gains["action"].classes.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 1]]
    np.testing.assert_allclose(gains["action"].gains @ gains["action"].counts / len(IDS), 0.25)


def test_interval_covers_the_true_difference() -> None:
    generator = np.random.default_rng(0)
    draws = generator.multinomial(60, [0.25, 0.1, 0.65], size=3000)
    intervals = np.array([paired_interval(int(gained), int(lost), 60) for gained, lost, _ in draws])
    covered = ((intervals[:, 0] <= 0.15) & (intervals[:, 1] >= 0.15)).mean()
    assert 0.94 < covered < 0.98
    assert paired_interval(3, 3, 10) == pytest.approx((-math.sqrt(8 / 12 / 12) * 1.959964, math.sqrt(8 / 12 / 12) * 1.959964))


def test_interval_of_impossible_counts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_clips \(2\) must be positive and at least num_gained \+ num_lost \(3\)"):
        paired_interval(2, 1, 2)


def test_baseline_is_put_in_order() -> None:
    order = np.array([7, 6, 5, 4, 3, 2, 1, 0])
    aligned = align_baseline(HERE, BASELINE.take(order))
    assert aligned.clip_ids.tolist() == IDS.tolist()
    np.testing.assert_array_equal(aligned.scores["verb"], BASELINE.scores["verb"])


def test_other_clips_and_heads_are_refused() -> None:
    with pytest.raises(
        DataError, match="1 clips of the results are not in the baseline, first c7; test both on the same split"
    ):
        align_baseline(HERE, BASELINE.take(np.arange(7)))
    with pytest.raises(DataError, match="1 clips of the baseline are not in the results, first c7"):
        align_baseline(HERE.take(np.arange(7)), BASELINE)
    with pytest.raises(DataError, match=r"the baseline has heads \{'verb': 3\}, but the results have"):
        align_baseline(HERE, Results(IDS, {"verb": BASELINE.scores["verb"]}))
    with pytest.raises(DataError, match="there are no labels for head 'noun'"):
        compare(HERE, BASELINE, {"verb": LABELS["verb"]})
