"""What one results file is better at than another of the same clips: differences of accuracies, and gains class by class.

N clips, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import DataError
from zoopraxis.evaluation.accuracy import check_labels
from zoopraxis.evaluation.actions import action_hits, top_actions
from zoopraxis.evaluation.ranking import class_ranks
from zoopraxis.evaluation.results import Results

__all__ = ["ClassGains", "Difference", "align_baseline", "class_gains", "compare", "paired_interval"]

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_KS = (1, 5)
_ACTION_HEADS = ("verb", "noun")


@dataclass(frozen=True)
class Difference:
    """How much better an accuracy is than the baseline's, on the same clips.

    Attributes:
        name: `verb_accuracy_at_1`, ...
        percent: The accuracy less the baseline's, in points of percent.
        low: Lower bound of its 95% interval.
        high: Upper bound.
        baseline_percent: The baseline's accuracy.
        num_gained: Clips that are right here and wrong in the baseline.
        num_lost: Clips that are wrong here and right in the baseline.
        p_value: Probability that clips which changed fall so unevenly by chance: McNemar's exact test, two-sided.
    """

    name: str
    percent: float
    low: float
    high: float
    baseline_percent: float
    num_gained: int
    num_lost: int
    p_value: float


@dataclass(frozen=True, eq=False)
class ClassGains:
    """Each class's accuracy here and in the baseline, of the K classes that have clips.

    Attributes:
        classes: Number of each class, shape (K,); of actions, (K, 2): verb and noun.
        counts: Its clips, shape (K,).
        accuracies: Fraction of them that is right, shape (K,).
        baseline: The same of the baseline, shape (K,).
    """

    classes: IntArray
    counts: IntArray
    accuracies: Float64Array
    baseline: Float64Array

    @property
    def gains(self) -> Float64Array:
        """Accuracies less the baseline's, shape (K,)."""
        gains: Float64Array = self.accuracies - self.baseline
        return gains


def align_baseline(results: Results, baseline: Results) -> Results:
    """The baseline with its clips in the order of the results.

    Raises:
        DataError: If its clips or heads are not those of the results.
    """
    for problem, ids in (
        ("of the results are not in the baseline", np.setdiff1d(results.clip_ids, baseline.clip_ids)),
        ("of the baseline are not in the results", np.setdiff1d(baseline.clip_ids, results.clip_ids)),
    ):
        if len(ids):
            raise DataError(f"{len(ids)} clips {problem}, first {ids[0]!s}; test both on the same split")
    if results.heads != baseline.heads:
        raise DataError(f"the baseline has heads {baseline.heads}, but the results have {results.heads}; they must be the same")
    order = np.argsort(baseline.clip_ids, kind="stable")
    return baseline.take(order[np.searchsorted(baseline.clip_ids, results.clip_ids, sorter=order)])


def compare(results: Results, baseline: Results, labels: Mapping[str, IntArray]) -> tuple[Difference, ...]:
    """Differences of the top-1 and top-5 accuracies of each head, and of actions where the heads have verb and noun.

    Args:
        results: The scores.
        baseline: Scores of the same clips in the same order (`align_baseline`).
        labels: Head name to labels in the order of the results, shape (N,).

    Raises:
        DataError: If a label is out of its head's range.
    """
    better, worse = _hits(results, labels), _hits(baseline, labels)
    return tuple(_difference(name, better[name], worse[name]) for name in better)


def class_gains(results: Results, baseline: Results, labels: Mapping[str, IntArray]) -> dict[str, ClassGains]:
    """Top-1 accuracies of each class, head by head, and of actions where the heads have verb and noun.

    The arguments are those of `compare`. Classes stand in the order of their numbers.
    """
    better, worse = _hits(results, labels), _hits(baseline, labels)
    classes = {head: np.asarray(labels[head]) for head in results.scores}
    if set(_ACTION_HEADS) <= classes.keys():
        classes["action"] = np.stack([classes[head] for head in _ACTION_HEADS], axis=1)
    return {task: _gains(of, better[_name(task, 1)], worse[_name(task, 1)]) for task, of in classes.items()}


def paired_interval(num_gained: int, num_lost: int, num_clips: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of the true difference of two accuracies on the same clips, as fractions in [-1, 1].

    Raises:
        ValueError: If there is no clip, or more changed than there are.

    Source: Bonett and Price, Adjusted Wald confidence interval for a difference of binomial proportions based on paired data,
    Journal of Educational and Behavioral Statistics 2012.
    """
    if num_clips <= 0 or num_gained + num_lost > num_clips:
        raise ValueError(
            f"num_clips ({num_clips}) must be positive and at least num_gained + num_lost ({num_gained + num_lost})"
        )
    gained, lost = (num_gained + 1) / (num_clips + 2), (num_lost + 1) / (num_clips + 2)
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt((gained + lost - (gained - lost) ** 2) / (num_clips + 2))
    return max(-1.0, gained - lost - half), min(1.0, gained - lost + half)


def _name(task: str, k: int) -> str:
    return f"{task}_accuracy_at_{k}"


def _hits(results: Results, labels: Mapping[str, IntArray]) -> dict[str, BoolArray]:
    """Whether each clip is right among the best k, shape (N,), by the accuracy's name."""
    hits: dict[str, BoolArray] = {}
    for head, scores in results.scores.items():
        if head not in labels:
            raise DataError(f"there are no labels for head {head!r} of the results; give annotations of the tested clips")
        true = check_labels(labels[head], head=head, num_clips=len(results), num_classes=scores.shape[1])
        ranks = class_ranks(scores, true)
        hits |= {_name(head, k): ranks < k for k in _KS}
    if set(_ACTION_HEADS) <= results.scores.keys():
        best = top_actions(results.scores["verb"], results.scores["noun"], max(_KS))
        right = action_hits(best, np.asarray(labels["verb"]), np.asarray(labels["noun"]))
        hits |= {_name("action", k): np.logical_or.reduce(right[:, :k], axis=1) for k in _KS}
    return hits


def _difference(name: str, is_hit: BoolArray, is_baseline_hit: BoolArray) -> Difference:
    num_gained, num_lost = int((is_hit & ~is_baseline_hit).sum()), int((~is_hit & is_baseline_hit).sum())
    low, high = paired_interval(num_gained, num_lost, len(is_hit))
    return Difference(
        name=name,
        percent=100 * (num_gained - num_lost) / len(is_hit),
        low=100 * low,
        high=100 * high,
        baseline_percent=100 * float(is_baseline_hit.mean()),
        num_gained=num_gained,
        num_lost=num_lost,
        p_value=_mcnemar(num_gained, num_lost),
    )


def _mcnemar(num_gained: int, num_lost: int) -> float:
    """Twice the smaller tail of a fair coin's throws."""
    total = num_gained + num_lost
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in range(min(num_gained, num_lost) + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(log - total * math.log(2)) for log in logs))


def _gains(classes: IntArray, is_hit: BoolArray, is_baseline_hit: BoolArray) -> ClassGains:
    unique, rows, counts = np.unique(classes, axis=0, return_inverse=True, return_counts=True)
    rows = rows.reshape(-1)
    here, before = (np.bincount(rows, weights=hits, minlength=len(unique)) / counts for hits in (is_hit, is_baseline_hit))
    return ClassGains(unique, counts, here, before)
