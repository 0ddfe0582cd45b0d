"""Many features drawn as points on a page, and how far apart two domains of points are.

N clips, D features, K components.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import MissingExtraError

__all__ = ["Projection", "principal_components", "project", "proxy_distance", "sample_rows"]

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]
Projection = Literal["pca", "umap"]

_OVERSAMPLING = 8
_NUM_POWERS = 6
_NUM_COMPONENTS = 64
_NUM_FOLDS = 5
_RIDGE = 0.1


def sample_rows(is_target_N: BoolArray, max_per_domain: int) -> IntArray:
    """Rows of at most so many clips of each domain, ascending; the same for the same clips."""
    generator = np.random.default_rng(0)
    kept = []
    for domain in (False, True):
        rows = np.flatnonzero(is_target_N == domain)
        kept.append(rows if len(rows) <= max_per_domain else generator.choice(rows, max_per_domain, replace=False))
    return np.sort(np.concatenate(kept))


def principal_components(features_ND: FloatArray, num_components: int) -> Float64Array:
    """Coordinates along the directions of greatest variance, the greatest first, shape (N, K), K <= num_components.

    A component's sign is such that the largest of its loadings by size is positive, so that equal features give equal pictures.

    Source: Halko et al., Finding structure with randomness, SIAM Review 2011, algorithms 4.4 and 5.1; exact where there are no
    more clips or features than components and some.
    """
    centered = features_ND.astype(np.float64) - features_ND.mean(axis=0, dtype=np.float64)
    width = min(num_components + _OVERSAMPLING, *centered.shape)
    basis = np.linalg.qr(centered @ np.random.default_rng(0).standard_normal((centered.shape[1], width)))[0]
    for _ in range(_NUM_POWERS):
        basis = np.linalg.qr(centered @ np.linalg.qr(centered.T @ basis)[0])[0]
    left, scales, loadings_KD = np.linalg.svd(basis.T @ centered, full_matrices=False)
    largest = np.abs(loadings_KD).argmax(axis=1)
    signs = np.where(np.take_along_axis(loadings_KD, largest[:, None], axis=1)[:, 0] < 0, -1.0, 1.0)
    coordinates: Float64Array = (basis @ (left * scales * signs))[:, :num_components]
    return coordinates


def project(features_ND: FloatArray, kind: Projection = "pca") -> Float64Array:
    """Features as points of a plane, shape (N, 2), in one projection for all clips.

    Args:
        features_ND: The features.
        kind: `pca`, the two principal components, or `umap`, neighborhoods as the package umap-learn lays them out.

    Raises:
        MissingExtraError: If `umap` is asked for and not installed.
    """
    points = _PROJECTIONS[kind](features_ND)
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def proxy_distance(features_ND: FloatArray, is_target_N: BoolArray) -> float:
    """How well a linear classifier tells the domains apart: the proxy A-distance, 2 (1 - 2 error), at least 0.

    0: the domains cannot be told apart; 2: always. The error is of held-out clips, each domain counting for half; the
    classifier is ridge regression on the principal components, so that neither the numbers of clips nor of features matter.

    Args:
        features_ND: The features.
        is_target_N: Whether each clip is of the target, shape (N,); each domain needs two clips at least.

    Source: Ben-David et al., A theory of learning from different domains, Machine Learning 2010; the proxy: Glorot et al.,
    Domain adaptation for large-scale sentiment classification, ICML 2011.
    """
    points = principal_components(features_ND, _NUM_COMPONENTS)
    points /= max(float(points.std()), np.finfo(np.float64).tiny)
    folds = _folds(is_target_N)
    is_wrong = np.zeros(len(points), dtype=np.bool_)
    for fold in range(_NUM_FOLDS):
        held_out = folds == fold
        scores = _ridge_scores(points[~held_out], is_target_N[~held_out], points[held_out])
        is_wrong[held_out] = (scores > 0) != is_target_N[held_out]
    error = (is_wrong[is_target_N].mean() + is_wrong[~is_target_N].mean()) / 2
    return max(0.0, float(2 * (1 - 2 * error)))


def _pca(features_ND: FloatArray) -> Float64Array:
    return principal_components(features_ND, 2)


def _umap(features_ND: FloatArray) -> Float64Array:
    try:
        from umap import UMAP
    except ImportError as error:
        raise MissingExtraError("umap-learn", "umap") from error
    return np.asarray(UMAP(n_components=2, random_state=0, n_jobs=1).fit_transform(features_ND), dtype=np.float64)


_PROJECTIONS = {"pca": _pca, "umap": _umap}


def _folds(is_target_N: BoolArray) -> IntArray:
    """The fold of each clip, shape (N,); each domain is dealt out evenly."""
    generator = np.random.default_rng(0)
    folds = np.empty(len(is_target_N), dtype=np.int64)
    for domain in (False, True):
        rows = generator.permutation(np.flatnonzero(is_target_N == domain))
        folds[rows] = np.arange(len(rows)) % _NUM_FOLDS
    return folds


def _ridge_scores(points_NK: Float64Array, is_target_N: BoolArray, others_MK: Float64Array) -> Float64Array:
    """Scores of others, shape (M,), positive where they look like the target; each domain weighs one half."""
    weights_N = np.where(is_target_N, 0.5 / max(1, is_target_N.sum()), 0.5 / max(1, (~is_target_N).sum()))
    center_K = weights_N @ points_NK
    shifted = points_NK - center_K
    covariance = (shifted * weights_N[:, None]).T @ shifted
    covariance += np.eye(len(covariance)) * (_RIDGE * np.trace(covariance) / len(covariance) + np.finfo(np.float64).tiny)
    answers_N = np.where(is_target_N, 1.0, -1.0)
    slope_K = np.linalg.solve(covariance, (shifted * weights_N[:, None]).T @ answers_N)
    scores: Float64Array = (others_MK - center_K) @ slope_K
    return scores
