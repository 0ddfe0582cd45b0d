"""How often the right class is among the best: accuracies, confusion matrices and their 95% intervals.

Accuracies here are fractions in [0, 1], except where the name or the docstring says percent.

N clips, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import DataError
from zoopraxis.evaluation.actions import TopActions, action_hits, top_actions
from zoopraxis.evaluation.ranking import class_ranks

__all__ = [
    "check_labels",
    "class_mean_accuracy",
    "class_mean_interval",
    "confusion_matrix",
    "head_accuracies",
    "per_class_accuracy",
    "top_k_accuracy",
    "view_action_accuracies",
    "wilson_interval",
]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating]

_UNLABELLED = -1


def check_labels(labels: npt.ArrayLike, *, head: str, num_clips: int, num_classes: int) -> IntArray:
    """Labels as an int64 array, shape (N,), each in [0, num_classes).

    Raises:
        DataError: If there is not one label a clip, one is out of range, or one is -1, which stands for no label.
    """
    array = np.asarray(labels)
    if array.shape != (num_clips,) or array.dtype.kind not in "iu":
        raise DataError(f"labels of head {head!r} must be {num_clips} whole numbers, not {array.dtype} of shape {array.shape}")
    num_unlabelled = int((array == _UNLABELLED).sum())
    if num_unlabelled:
        raise DataError(f"{num_unlabelled} of {num_clips} clips have no label of head {head!r}; evaluate on a labelled split")
    out = array[(array < 0) | (array >= num_classes)]
    if len(out):
        raise DataError(
            f"label {out[0]} of head {head!r} is outside [0, {num_classes - 1}], the classes that were scored"
            f" ({len(out)} of {num_clips} clips); are these the labels that the model was trained for?"
        )
    return array.astype(np.int64)


def top_k_accuracy(scores_NK: FloatArray, labels_N: IntArray, k: int = 1) -> float:
    """Fraction of the clips whose class is among the best k."""
    return float((class_ranks(scores_NK, labels_N) < k).mean())


def head_accuracies(scores: Mapping[str, FloatArray], labels: Mapping[str, IntArray]) -> dict[str, float]:
    """Top-1 and top-5 accuracies in percent, named `<head>_acc@<k>`; of actions too where the heads are verb and noun.

    Args:
        scores: Head name to scores, shape (N, K).
        labels: Head name to labels, shape (N,); at least those of the scores' heads.

    Raises:
        DataError: If a label is out of its head's range.
    """
    true = {
        head: check_labels(labels[head], head=head, num_clips=len(values), num_classes=values.shape[1])
        for head, values in scores.items()
    }
    ranks = {head: class_ranks(values, true[head]) for head, values in scores.items()}
    accuracies = {f"{head}_acc@{k}": 100 * float((ranks[head] < k).mean()) for head in scores for k in (1, 5)}
    if {"verb", "noun"} <= scores.keys():
        hits = action_hits(top_actions(scores["verb"], scores["noun"], 5), true["verb"], true["noun"])
        accuracies |= {f"action_acc@{k}": 100 * float(hits[:, :k].any(axis=1).mean()) for k in (1, 5)}
    return accuracies


def view_action_accuracies(actions: TopActions, labels: Mapping[str, IntArray]) -> dict[str, float]:
    """Top-1 and top-5 accuracies in percent of actions that were formed of each view, named `action_by_views_acc@<k>`.

    Args:
        actions: The best actions of N clips.
        labels: Verb and noun of each clip, shape (N,).
    """
    hits = action_hits(actions, labels["verb"], labels["noun"])
    return {f"action_by_views_acc@{k}": 100 * float(hits[:, :k].any(axis=1).mean()) for k in (1, 5)}


def confusion_matrix(labels_N: IntArray, predictions_N: IntArray, num_classes: int) -> IntArray:
    """Number of clips of each class (row) that were taken for each class (column), shape (K, K)."""
    flat = np.bincount(labels_N * num_classes + predictions_N, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


def per_class_accuracy(confusion_KK: IntArray) -> npt.NDArray[np.float64]:
    """Fraction of each class's clips that were recognized, shape (K,), NaN for a class without clips."""
    counts_K = confusion_KK.sum(axis=1)
    hits_K = confusion_KK.diagonal()
    accuracies_K: npt.NDArray[np.float64] = np.divide(hits_K, counts_K, out=np.full(len(counts_K), np.nan), where=counts_K > 0)
    return accuracies_K


def class_mean_accuracy(confusion_KK: IntArray) -> float:
    """Mean of the classes' accuracies, over the classes that have clips."""
    return float(np.nanmean(per_class_accuracy(confusion_KK)))


def wilson_interval(num_hits: int, num_clips: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of the true accuracy, given `num_hits` of `num_clips`: the score interval, sound for few clips and near 0 and 1.

    Raises:
        ValueError: If there is no clip.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927.
    """
    if num_clips <= 0:
        raise ValueError(f"num_clips ({num_clips}) must be positive: no accuracy can be told from no clips")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    accuracy = num_hits / num_clips
    scale = 1 + z**2 / num_clips
    center = (accuracy + z**2 / (2 * num_clips)) / scale
    half = z / scale * np.sqrt(accuracy * (1 - accuracy) / num_clips + z**2 / (4 * num_clips**2))
    low = 0.0 if num_hits == 0 else float(center - half)
    high = 1.0 if num_hits == num_clips else float(center + half)
    return low, high


def class_mean_interval(
    confusion_KK: IntArray, *, generator: np.random.Generator, confidence: float = 0.95, num_resamples: int = 2000
) -> tuple[float, float]:
    """Bootstrap bounds of the class-mean accuracy; every class's clips are drawn again among themselves.

    The hits of such a draw are binomial, so no clip needs to be drawn one by one.
    """
    counts_K = confusion_KK.sum(axis=1)
    has_clips = counts_K > 0
    counts, accuracies = counts_K[has_clips], per_class_accuracy(confusion_KK)[has_clips]
    means = (generator.binomial(counts, accuracies, size=(num_resamples, len(counts))) / counts).mean(axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)
