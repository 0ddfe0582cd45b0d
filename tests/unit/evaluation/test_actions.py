"""The best pairs of a verb and a noun, against scoring all pairs one by one."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.evaluation.actions import action_hits, published_top_actions, top_actions


def all_pairs(verb_scores: np.ndarray, noun_scores: np.ndarray, k: int) -> list[list[tuple[int, int]]]:
    """Every pair of every clip, sorted by the sum of scores; equals by the places of verb and noun."""
    ranked = []
    for verbs, nouns in zip(verb_scores.astype(np.float64), noun_scores.astype(np.float64), strict=True):
        verb_places = {verb: place for place, verb in enumerate(np.argsort(-verbs, kind="stable"))}
        noun_places = {noun: place for place, noun in enumerate(np.argsort(-nouns, kind="stable"))}
        pairs = [(verb, noun) for verb in range(len(verbs)) for noun in range(len(nouns))]
        pairs.sort(key=lambda pair: (-(verbs[pair[0]] + nouns[pair[1]]), verb_places[pair[0]], noun_places[pair[1]]))
        ranked.append(pairs[:k])
    return ranked


@pytest.mark.parametrize("k", [1, 5, 17, 100])
@pytest.mark.parametrize("shape", [(97, 300), (3, 2), (8, 8)])
def test_equals_ranking_all_pairs(k: int, shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(k)
    verbs = generator.normal(size=(6, shape[0])).astype(np.float32)
    nouns = generator.normal(size=(6, shape[1])).astype(np.float32)
    best = top_actions(verbs, nouns, k)
    found = [list(zip(*rows, strict=True)) for rows in zip(best.verbs.tolist(), best.nouns.tolist(), strict=True)]
    assert found == all_pairs(verbs, nouns, k)


def test_equal_scores_come_in_the_documented_order() -> None:
    best = top_actions(np.zeros((1, 3), dtype=np.float32), np.array([[0, 2, 2]], dtype=np.float32), 5)
    assert best.verbs[0].tolist() == [0, 0, 1, 1, 2]
    assert best.nouns[0].tolist() == [1, 2, 1, 2, 1]


def test_probabilities_are_products_of_each_rows_softmax() -> None:
    verbs, nouns = np.array([[0.0, np.log(3)]]), np.array([[np.log(4), 0.0]])
    best = top_actions(verbs, nouns, 4)
    np.testing.assert_allclose(best.probabilities, [[0.6, 0.2, 0.15, 0.05]])
    assert (best.verbs[0, 0], best.nouns[0, 0]) == (1, 0)


def test_scores_far_apart_keep_their_order() -> None:
    verbs = np.array([[0, -200, -400], [500, 0, 0]], dtype=np.float32)
    nouns = np.array([[-300, 0, -100], [0, 0, 500]], dtype=np.float32)
    best = top_actions(verbs, nouns, 3)
    assert (best.verbs[0].tolist(), best.nouns[0].tolist()) == ([0, 0, 1], [1, 2, 1])


def test_the_published_ranking_agrees_where_nothing_underflows() -> None:
    generator = np.random.default_rng(3)
    verbs, nouns = (generator.normal(size=(300, width)).astype(np.float32) for width in (97, 300))
    ours, published = top_actions(verbs, nouns, 5), published_top_actions(verbs, nouns, 5)
    np.testing.assert_array_equal(ours.verbs, published.verbs)
    np.testing.assert_array_equal(ours.nouns, published.nouns)


def test_the_published_ranking_loses_rows_that_lie_far_below_the_highest() -> None:
    verbs = np.array([[3, 2, 1], [-200, -201, -202]], dtype=np.float32)
    nouns = np.array([[3, 2, 1], [3, 2, 1]], dtype=np.float32)
    assert (published_top_actions(verbs, nouns, 2).probabilities[1] == 0).all()
    assert (top_actions(verbs, nouns, 2).probabilities[1] > 0.1).all()


def test_hits_stand_where_the_right_pair_does() -> None:
    best = top_actions(np.array([[2.0, 1.0]] * 2), np.array([[3.0, 1.0]] * 2), 3)
    hits = action_hits(best, np.array([1, 1]), np.array([0, 1]))
    assert hits.tolist() == [[False, True, False], [False, False, False]]
