"""Places of classes by score. Classes of equal score rank by their number, the lower first.

N clips, K classes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["class_ranks", "top_k_classes"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating]

_MAX_SCANS = 8
"""Up to so many best classes, looking for the largest again and again is faster than sorting (some 10 times for 5 of 300)."""


def class_ranks(scores_NK: FloatArray, labels_N: IntArray) -> IntArray:
    """Place of each clip's own class among all, 0 the best, shape (N,)."""
    true_N1 = np.take_along_axis(scores_NK, labels_N[:, None], axis=1)
    classes_K = np.arange(scores_NK.shape[1])
    is_before_NK = (scores_NK > true_N1) | ((scores_NK == true_N1) & (classes_K < labels_N[:, None]))
    ranks_N: IntArray = is_before_NK.sum(axis=1)
    return ranks_N


def top_k_classes(scores_NK: FloatArray, k: int) -> IntArray:
    """The best k classes of each clip (all, where there are fewer), best first, shape (N, min(k, K))."""
    if k > _MAX_SCANS or k >= scores_NK.shape[1]:
        return np.argsort(-scores_NK, axis=1, kind="stable")[:, :k]
    left_NK = scores_NK.copy()
    best = np.empty((len(scores_NK), k), dtype=np.int64)
    for place in range(k):
        best[:, place] = left_NK.argmax(axis=1)
        np.put_along_axis(left_NK, best[:, place : place + 1], -np.inf, axis=1)
    return best
