"""Fusion: the mean of the same clips' scores, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.actions import TopActions
from zoopraxis.evaluation.fusion import fuse, join_heads
from zoopraxis.evaluation.probabilities import log_softmax
from zoopraxis.evaluation.results import Results

IDS = np.array(["b_10", "b_9", "a_1"])
RGB = np.array([[1, 0], [2, 0], [3, 0]], dtype=np.float32)
FLOW = np.array([[0, 5], [0, 6], [0, 7]], dtype=np.float32)


def results_of(scores: np.ndarray, ids: np.ndarray = IDS, **meta: Any) -> Results:
    return Results(ids, {"verb": scores}, meta)


def test_scores_are_averaged_by_id_and_sorted_as_strings() -> None:
    shuffled = results_of(FLOW[[2, 0, 1]], IDS[[2, 0, 1]])
    fused = fuse([results_of(RGB), shuffled])
    assert fused.clip_ids.tolist() == ["a_1", "b_10", "b_9"]
    np.testing.assert_array_equal(fused.scores["verb"], [[1.5, 3.5], [0.5, 2.5], [1.0, 3.0]])


def test_weights_count_by_their_ratio_and_are_recorded() -> None:
    fused = fuse([results_of(RGB, model="rgb"), results_of(FLOW, model="flow")], weights=[3, 1])
    np.testing.assert_allclose(fused.scores["verb"][0], [2.25, 1.75])
    assert fused.meta == {"averaging": "score", "weights": [0.75, 0.25], "fused": [{"model": "rgb"}, {"model": "flow"}]}


def test_probabilities_are_averaged_and_kept_as_logarithms() -> None:
    fused = fuse([results_of(RGB), results_of(FLOW)], average="prob")
    mean = (np.exp(log_softmax(RGB)) + np.exp(log_softmax(FLOW)))[[2, 0, 1]] / 2
    np.testing.assert_allclose(np.exp(fused.scores["verb"]), mean, rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_softmax(fused.scores["verb"])), mean, rtol=1e-6)
    assert fused.meta["averaging"] == "prob"


def test_probabilities_stay_finite_however_far_scores_lie_apart() -> None:
    fused = fuse([results_of(1000 * RGB), results_of(1000 * RGB)], average="prob")
    assert np.isfinite(fused.scores["verb"]).all()


def test_missing_and_additional_ids_are_named() -> None:
    other = results_of(FLOW, np.array(["b_10", "x_1", "x_2"]))
    with pytest.raises(DataError, match=r"flow lacks 2 clips \(a_1, b_9\) and has in addition 2 clips \(x_1, x_2\), compared"):
        fuse([results_of(RGB), other], names=["rgb", "flow"])


def test_other_heads_are_refused() -> None:
    with pytest.raises(DataError, match=r"results 2 has heads \{'verb': 3\}, but results 1 has \{'verb': 2\}"):
        fuse([results_of(RGB), results_of(np.zeros((3, 3)))])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "1 weights are given for 2 results"),
        ([1.0, -1.0], "must be numbers of at least 0 and not all 0"),
        ([0.0, 0.0], "must be numbers of at least 0 and not all 0"),
        ([1.0, float("nan")], "must be numbers of at least 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fuse([results_of(RGB), results_of(FLOW)], weights=weights)


def test_one_file_is_no_fusion() -> None:
    with pytest.raises(ConfigError, match="fusion needs at least 2 results, not 1"):
        fuse([results_of(RGB)])


def test_actions_by_views_are_left_out() -> None:
    one = np.zeros((3, 1), dtype=np.int64)
    scores = {"verb": RGB, "noun": FLOW}
    results = Results(IDS, scores, {}, TopActions(one, one, np.full((3, 1), 0.5)))
    assert fuse([results, Results(IDS, scores)]).view_actions is None


def test_heads_of_two_models_are_joined_by_clip() -> None:
    ids, generator = np.array(["b", "a", "c"]), np.random.default_rng(0)
    verbs, nouns = ({"verb": generator.normal(size=(3, 4)), "noun": generator.normal(size=(3, 2))} for _ in range(2))
    order = np.array([2, 0, 1])
    first = Results(ids, verbs, {"model": "x"})
    joined = join_heads([first, Results(ids, nouns).take(order)], ["verb", "noun"])
    assert joined.clip_ids.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(joined.scores["verb"], first.scores["verb"][[1, 0, 2]])
    np.testing.assert_array_equal(joined.scores["noun"], Results(ids, nouns).scores["noun"][[1, 0, 2]])
    assert joined.meta == {"joined": {"verb": {"model": "x"}, "noun": {}}}


def test_joining_refuses_other_clips_and_heads() -> None:
    one = Results(np.array(["a", "b"]), {"verb": np.zeros((2, 4))})
    with pytest.raises(ConfigError, match="heads verb, verb are given for 2 results; give one for each, none twice"):
        join_heads([one, one], ["verb", "verb"])
    with pytest.raises(DataError, match="results 2 has no head 'noun'; known: verb"):
        join_heads([one, one], ["verb", "noun"])
    other = Results(np.array(["a", "c"]), {"noun": np.zeros((2, 4))})
    with pytest.raises(DataError, match=r"y lacks 1 clips \(b\) and has in addition 1 clips \(c\), compared with x"):
        join_heads([one, other], ["verb", "noun"], names=["x", "y"])
