"""Accuracies, confusion matrices and intervals against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.errors import DataError
from zoopraxis.evaluation.accuracy import (
    check_labels,
    class_mean_accuracy,
    class_mean_interval,
    confusion_matrix,
    head_accuracies,
    per_class_accuracy,
    top_k_accuracy,
    wilson_interval,
)
from zoopraxis.evaluation.metrics import classification_metrics
from zoopraxis.evaluation.probabilities import log_softmax, reliability
from zoopraxis.evaluation.ranking import class_ranks, top_k_classes
from zoopraxis.evaluation.results import Results

SCORES = np.array([[3, 2, 1, 0], [0, 1, 2, 3], [1, 1, 1, 1], [0, 5, 0, 4]], dtype=np.float32)
LABELS = np.array([0, 2, 1, 0])


def test_ranks_count_better_classes_and_equal_ones_of_lower_number() -> None:
    assert class_ranks(SCORES, LABELS).tolist() == [0, 1, 1, 2]


def test_ranks_agree_with_the_list_of_the_best() -> None:
    generator = np.random.default_rng(1)
    scores = generator.integers(0, 4, size=(200, 7)).astype(np.float32)
    labels = generator.integers(0, 7, size=200)
    best = top_k_classes(scores, 7)
    assert (np.take_along_axis(best, class_ranks(scores, labels)[:, None], axis=1)[:, 0] == labels).all()
    assert top_k_classes(scores, 99).shape == (200, 7)


@pytest.mark.parametrize(("k", "expected"), [(1, 0.25), (2, 0.75), (3, 1.0), (9, 1.0)])
def test_top_k_accuracy(k: int, expected: float) -> None:
    assert top_k_accuracy(SCORES, LABELS, k) == expected


def test_confusion_matrix_has_true_classes_in_rows() -> None:
    confusion = confusion_matrix(np.array([0, 0, 2]), np.array([1, 0, 2]), 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(per_class_accuracy(confusion), [0.5, np.nan, 1.0])
    assert class_mean_accuracy(confusion) == 0.75


def test_wilson_interval_has_the_published_values() -> None:
    # Newcombe, Statistics in Medicine 1998, table I
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)


def test_wilson_interval_of_no_clips_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"num_clips \(0\) must be positive"):
        wilson_interval(0, 0)


def test_class_mean_interval_covers_the_mean_and_narrows_with_more_clips() -> None:
    few = np.array([[6, 4], [5, 15]])
    low, high = class_mean_interval(few, generator=np.random.default_rng(0))
    narrow_low, narrow_high = class_mean_interval(100 * few, generator=np.random.default_rng(0))
    assert low < narrow_low < class_mean_accuracy(few) < narrow_high < high
    assert class_mean_interval(few, generator=np.random.default_rng(0)) == (low, high)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"labels of head 'verb' must be 3 whole numbers, not int64 of shape \(2,\)"),
        ([0.0, 1.0, 2.0], "must be 3 whole numbers, not float64"),
        ([0, 1, 4], r"label 4 of head 'verb' is outside \[0, 3\]"),
        ([0, -1, 1], "1 of 3 clips have no label of head 'verb'; evaluate on a labelled split"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_labels(labels, head="verb", num_clips=3, num_classes=4)


def test_head_accuracies_has_actions_only_of_verb_and_noun() -> None:
    both = head_accuracies({"verb": SCORES, "noun": SCORES[:, ::-1]}, {"verb": LABELS, "noun": 3 - LABELS})
    assert set(both) == {f"{task}_acc@{k}" for task in ("verb", "noun", "action") for k in (1, 5)}
    assert both["verb_acc@1"] == 25.0
    assert both["action_acc@1"] == 25.0
    assert set(head_accuracies({"label": SCORES}, {"label": LABELS})) == {"label_acc@1", "label_acc@5"}


def test_classification_metrics_of_one_head() -> None:
    results = Results(np.array(list("abcd")), {"label": SCORES})
    table = classification_metrics(results, {"label": LABELS}, ks=(1, 2))
    assert table.as_dict() == {"label_accuracy_at_1": 25.0, "label_accuracy_at_2": 75.0}
    first = table.metrics[0]
    assert 0 < first.low < 25 < first.high < 100
    assert first.num_clips == 4
    with pytest.raises(DataError, match="there are no labels for head 'label' of the results; did you mean 'labels'"):
        classification_metrics(results, {"labels": LABELS})


def test_log_softmax_keeps_log_probabilities_and_survives_any_range() -> None:
    logs = log_softmax(np.array([[1000.0, 0.0, -1000.0]], dtype=np.float32))
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(np.exp(log_softmax(SCORES)).sum(axis=1), 1)
    np.testing.assert_allclose(log_softmax(log_softmax(SCORES)), log_softmax(SCORES), atol=1e-12)


def test_reliability_bins_and_calibration_error() -> None:
    outcome = reliability(np.array([0.95, 0.85, 0.15, 1.0]), np.array([True, False, False, True]), num_bins=2)
    assert outcome.counts.tolist() == [1, 3]
    np.testing.assert_allclose(outcome.confidences, [0.15, 2.8 / 3])
    np.testing.assert_allclose(outcome.accuracies, [0, 2 / 3])
    assert outcome.calibration_error == pytest.approx((0.15 + 0.8) / 4)
