"""A table of metrics with their intervals: what an evaluation returns, whatever the challenge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import DataError, did_you_mean
from zoopraxis.evaluation.accuracy import check_labels, wilson_interval
from zoopraxis.evaluation.ranking import class_ranks
from zoopraxis.evaluation.results import Results

__all__ = ["Metric", "MetricTable", "accuracy_metric", "classification_metrics"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Metric:
    """One accuracy.

    Attributes:
        name: As published where there is a published one: `all_verb_accuracy_at_1`.
        percent: The accuracy.
        low: Lower bound of its 95% interval, percent.
        high: Upper bound, percent.
        num_clips: Clips that it is the mean of.
    """

    name: str
    percent: float
    low: float
    high: float
    num_clips: int


@dataclass(frozen=True)
class MetricTable:
    """Metrics in their order, and what had to be left out."""

    metrics: tuple[Metric, ...]
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, float]:
        """Name to percent."""
        return {metric.name: metric.percent for metric in self.metrics}


def accuracy_metric(name: str, is_hit_N: npt.NDArray[np.bool_]) -> Metric:
    """The accuracy of at least one clip, with its Wilson interval."""
    low, high = wilson_interval(int(is_hit_N.sum()), len(is_hit_N))
    return Metric(name, 100 * float(is_hit_N.mean()), 100 * low, 100 * high, len(is_hit_N))


def classification_metrics(results: Results, labels: Mapping[str, IntArray], *, ks: Sequence[int] = (1, 5)) -> MetricTable:
    """Plain top-k accuracies of every head, named `<head>_accuracy_at_<k>`.

    Args:
        results: The scores.
        labels: Head name to labels in the order of the results, shape (N,); one for each head of the results.
        ks: Numbers of best classes among which the right one is looked for.

    Raises:
        DataError: If a head has no labels, or a label is out of its range.
    """
    metrics = []
    for head, scores in results.scores.items():
        if head not in labels:
            raise DataError(f"there are no labels for head {head!r} of the results; {did_you_mean(head, labels)}")
        true = check_labels(labels[head], head=head, num_clips=len(results), num_classes=scores.shape[1])
        ranks = class_ranks(scores, true)
        metrics += [accuracy_metric(f"{head}_accuracy_at_{k}", ranks < k) for k in ks]
    return MetricTable(tuple(metrics))
