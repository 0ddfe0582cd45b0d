"""Class scores at cells against sampling point by point, and pairs of a verb and a noun against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoopraxis.localization import naming
from zoopraxis.localization.naming import class_probabilities, join_actions, sample_class_scores


def sampled(scores: np.ndarray, duration: int, step: int, num_points: int, per_bin: int, num_views: int) -> np.ndarray:
    """Mean over points and views of the softmax of the mean of a few interpolated logits."""
    positions = step + np.linspace(0, duration, num_points * per_bin)
    values = np.stack([np.interp(positions, np.arange(scores.shape[1]), row) for row in scores], axis=1)
    logits = values.reshape(num_points, per_bin, num_views, -1).mean(axis=1)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (exponentials / exponentials.sum(axis=-1, keepdims=True)).mean(axis=(0, 1))


@pytest.mark.parametrize(("num_points", "per_bin", "num_views"), [(6, 3, 3), (1, 3, 1), (4, 1, 2)])
def test_scores_at_cells_are_those_of_their_points(num_points: int, per_bin: int, num_views: int) -> None:
    scores = np.random.default_rng(0).normal(size=(num_views * 5, 12)).astype(np.float32) * 3
    cells = [(duration, step) for duration in range(12) for step in range(12) if step + duration < 12]
    durations, steps = np.array(cells).T
    settings = {"num_points": num_points, "samples_per_bin": per_bin, "num_views": num_views}
    found = sample_class_scores(torch.from_numpy(scores), durations, steps, **settings)
    expected = [sampled(scores, duration, step, num_points, per_bin, num_views) for duration, step in cells]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.sum(dim=1), np.ones(len(cells)), rtol=1e-5)


def test_many_cells_are_sampled_in_parts_that_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    durations, steps = np.arange(9), np.zeros(9, dtype=np.int64)
    whole = sample_class_scores(scores, durations, steps, num_views=2)
    monkeypatch.setattr(naming, "_MAX_NUMBERS", 6 * 9 * 2)
    torch.testing.assert_close(sample_class_scores(scores, durations, steps, num_views=2), whole)


def test_no_cells_give_no_scores() -> None:
    assert sample_class_scores(torch.zeros(6, 9), np.zeros(0), np.zeros(0), num_views=2).shape == (0, 3)


def test_maps_of_logits_give_probabilities_at_cells() -> None:
    logits = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)).half()
    found = class_probabilities(logits, np.array([2, 0]), np.array([1, 4]))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[1], logits[:, 0, 4].float().softmax(dim=0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_views": 4}, r"class scores of shape \(6, 9\) are not those of 4 views"),
        ({"num_points": 0}, r"num_points \(0\) and samples_per_bin \(3\) must be positive"),
        ({"steps_P": [0, 8]}, r"cell 1 lasts 3 steps from step 8, outside the window's 9 steps"),
        ({"durations_P": [-1, 0]}, r"cell 0 lasts 0 steps from step 0, outside"),
    ],
)
def test_refuses_what_cannot_be_sampled(changed: dict[str, object], message: str) -> None:
    given = {"durations_P": [0, 2], "steps_P": [0, 1], "num_views": 2} | changed
    with pytest.raises(ValueError, match=message):
        sample_class_scores(torch.zeros(6, 9), **given)


@pytest.mark.parametrize(("num_verbs", "num_nouns", "top"), [(97, 300, 20), (10, 30, 20), (3, 2, 20), (1, 1, 1)])
@pytest.mark.parametrize("shape", [(97, 300), (4, 6)])
def test_joined_actions_are_the_best_of_the_joined_pairs(
    shape: tuple[int, int], num_verbs: int, num_nouns: int, top: int
) -> None:
    generator = np.random.default_rng(0)
    verbs, nouns = (generator.dirichlet(np.full(width, 0.3), size=4).astype(np.float32) for width in shape)
    classes, scores = join_actions(verbs, nouns, num_verbs=num_verbs, num_nouns=num_nouns, top=top)
    for row in range(4):
        best_verbs = np.argsort(-verbs[row], kind="stable")[:num_verbs].tolist()
        best_nouns = np.argsort(-nouns[row], kind="stable")[:num_nouns].tolist()
        pairs = [(verb, noun) for noun in best_nouns for verb in best_verbs]
        pairs.sort(key=lambda pair: -(nouns[row][pair[1]] * verbs[row][pair[0]]))
        assert classes[row].tolist() == [list(pair) for pair in pairs[:top]]
        chosen_verbs, chosen_nouns = classes[row].T
        expected = [verbs[row][chosen_verbs], nouns[row][chosen_nouns], verbs[row][chosen_verbs] * nouns[row][chosen_nouns]]
        np.testing.assert_array_equal(scores[row], np.stack(expected, axis=1))


def test_equal_pairs_are_in_the_order_of_their_nouns_then_verbs() -> None:
    classes, _ = join_actions(np.full((1, 2), 0.5), np.full((1, 3), 1 / 3), top=4)
    assert classes[0].tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]


def test_no_proposals_have_no_actions() -> None:
    classes, scores = join_actions(np.zeros((0, 97)), np.zeros((0, 300)))
    assert classes.shape == (0, 20, 2)
    assert scores.shape == (0, 20, 3)


@pytest.mark.parametrize(
    ("shapes", "top", "message"),
    [
        (((2, 3), (1, 3)), 5, r"of the same proposals, not of shapes \(2, 3\) and \(1, 3\)"),
        (((3,), (3,)), 5, r"of the same proposals, not of shapes \(3,\) and \(3,\)"),
        (((2, 3), (2, 3)), 0, r"top \(0\) must be positive"),
    ],
)
def test_refuses_what_cannot_be_joined(shapes: tuple[tuple[int, ...], ...], top: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        join_actions(*(np.ones(shape) for shape in shapes), top=top)
