"""From scores to probabilities, and whether the probabilities can be trusted.

N clips, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Reliability", "log_softmax", "reliability"]

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def log_softmax(scores_NK: npt.NDArray[np.floating]) -> Float64Array:
    """Log-probabilities of each row, shape (N, K), float64. Log-probabilities stay as they are."""
    shifted = scores_NK.astype(np.float64) - scores_NK.max(axis=1, keepdims=True)
    logs: Float64Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


@dataclass(frozen=True)
class Reliability:
    """Stated confidence against accuracy, in equal bins of confidence.

    Attributes:
        confidences: Mean confidence of the clips in each bin, shape (bins,), NaN where there is none.
        accuracies: Fraction of them that are right, shape (bins,), NaN where there is none.
        counts: Number of them, shape (bins,).
        calibration_error: Mean distance of accuracy and confidence, weighted by the counts, in [0, 1].
    """

    confidences: Float64Array
    accuracies: Float64Array
    counts: IntArray
    calibration_error: float


def reliability(confidences_N: Float64Array, is_right_N: npt.NDArray[np.bool_], *, num_bins: int = 10) -> Reliability:
    """Compare confidence in [0, 1] with what came true.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2.
    """
    bins_N = np.minimum((confidences_N * num_bins).astype(np.int64), num_bins - 1)
    counts = np.bincount(bins_N, minlength=num_bins)

    def mean_of_bins(values_N: npt.NDArray[np.float64]) -> Float64Array:
        sums = np.bincount(bins_N, weights=values_N, minlength=num_bins)
        means: Float64Array = np.divide(sums, counts, out=np.full(num_bins, np.nan), where=counts > 0)
        return means

    confidences, accuracies = mean_of_bins(confidences_N), mean_of_bins(is_right_N.astype(np.float64))
    error = float(np.nansum(np.abs(confidences - accuracies) * counts) / len(confidences_N))
    return Reliability(confidences, accuracies, counts, error)
