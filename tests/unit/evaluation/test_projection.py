"""Principal components, and how far apart two domains are."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from zoopraxis.errors import MissingExtraError
from zoopraxis.evaluation.projection import principal_components, project, proxy_distance, sample_rows

GENERATOR = np.random.default_rng(0)
IS_TARGET = np.arange(300) % 3 == 0


def test_components_are_those_of_the_decomposition() -> None:
    features = GENERATOR.normal(size=(300, 20)) * np.linspace(5, 0.1, 20)
    left, scales, loadings = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    found = principal_components(features.astype(np.float32), 3)
    expected = (left * scales)[:, :3] * np.sign(loadings[np.arange(3), np.abs(loadings[:3]).argmax(axis=1)])
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_equal_features_give_equal_components_whatever_their_sign() -> None:
    features = GENERATOR.normal(size=(50, 400))
    found = principal_components(features, 2)
    np.testing.assert_array_equal(found, principal_components(features.copy(), 2))
    assert found.shape == (50, 2)


def test_a_single_feature_still_gives_points_of_a_plane() -> None:
    points = project(GENERATOR.normal(size=(6, 1)))
    assert points.shape == (6, 2)
    assert (points[:, 1] == 0).all()


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0, 40.0])
def test_distance_follows_the_best_linear_classifier(shift: float) -> None:
    is_target = np.arange(4000) % 4 == 0
    features = GENERATOR.normal(size=(4000, 10))
    features[is_target, 4] += shift
    accuracy = (1 + math.erf(shift / 2 / math.sqrt(2))) / 2
    assert proxy_distance(features, is_target) == pytest.approx(2 * (2 * accuracy - 1), abs=0.08)


def test_distance_does_not_see_scale_or_the_sizes_of_domains() -> None:
    features = GENERATOR.normal(size=(300, 2000)).astype(np.float32)
    assert proxy_distance(features, IS_TARGET) < 0.4
    features[IS_TARGET] += 0.5
    assert proxy_distance(features, IS_TARGET) == proxy_distance(1000 * features, IS_TARGET) == 2
    assert proxy_distance(np.ones((30, 4)), IS_TARGET[:30]) == 0


def test_samples_are_of_both_domains() -> None:
    rows = sample_rows(IS_TARGET, 40)
    assert len(rows) == 80
    assert IS_TARGET[rows].sum() == 40
    assert (np.diff(rows) > 0).all()
    assert sample_rows(IS_TARGET, 1000).tolist() == list(range(300))


def test_umap_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtraError, match=r"needs the package umap-learn, .* pip install 'zoopraxis\[umap\]'"):
        project(GENERATOR.normal(size=(6, 3)), "umap")
