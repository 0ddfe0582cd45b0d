"""Holds `zoopraxis.epic.recognition` to the numbers of the published evaluation script, on real validation labels.

The case tells in words how its scores are made: a tag for each set of scores, a scale, a bonus on some rows' true class.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.epic.annotations import read_table, read_tail_classes, read_unseen_participants
from zoopraxis.epic.recognition import labels_of, recognition_metrics
from zoopraxis.evaluation.accuracy import head_accuracies
from zoopraxis.evaluation.actions import published_top_actions, top_actions
from zoopraxis.evaluation.probabilities import log_softmax
from zoopraxis.evaluation.results import Results

TOLERANCE = 1e-9
LOWERED_BY = 150
SETS = {
    "main": ("main", "row", "validation"),
    "main_with_test_unseen_ids_as_README_says": ("main", "row", "test"),
    "main_rowwise_softmax_for_comparison": ("main", "row", "validation"),
    "full_9668": ("full", "row", "validation"),
    "wide_range": ("wide", "global", "validation"),
    "wide_range_rowwise_softmax_for_comparison": ("wide", "row", "validation"),
}
"""Name of the metrics to the scores, the softmax and the split of the unseen participants that give them."""


def matches(case: dict[str, Any]) -> bool:
    return str(case["case"]).startswith("c1_eval_metrics")


def check(case: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], context: Any) -> None:
    folder = context.real_data() / "epic100"
    table = read_table(folder / "EPIC_100_validation.csv")
    scored = _score_sets(case["config"]["scores"], table, arrays["row_index"], context)
    assert scored["main"].clip_ids.tolist() == arrays["narration_ids"].tolist()
    for name, expected in case["extra"]["metrics"].items():
        if name not in SETS:
            continue
        scores, softmax, split = SETS[name]
        _check_metrics(name, expected, scored[scores], table, folder, softmax=softmax, split=split)
    published = case["extra"]["metrics"]
    _check_metrics("main, published softmax", published["main"], scored["main"], table, folder, softmax="global")
    _check_metrics("full, published softmax", published["full_9668"], scored["full"], table, folder, softmax="global")
    wrong = {name: value for name, value in published["wide_range"].items() if name.startswith("all_action")}
    by_row = _metrics(scored["wide"], table, folder, softmax="row")[0]
    assert all(abs(by_row[name] - value) > TOLERANCE for name, value in wrong.items()), "the two softmaxes cannot be told apart"
    _check_top_actions(arrays, scored["main"])
    _check_training_metrics(published, scored["main"], table)


def _score_sets(text: str, table: pd.DataFrame, rows: npt.NDArray[np.int64], context: Any) -> dict[str, Results]:
    every = np.arange(len(table))
    found = re.findall(r"tag (\w+)(?: scale (\d+) bonus (\d+))?(?: on (all))?", text)
    assert len(found) == 3, f"the case describes {len(found)} sets of scores, not main, full and wide: {text}"
    sets, scale, bonus = {}, 0.0, 0.0
    for name, (tag, new_scale, new_bonus, is_of_all) in zip(("main", "full", "wide"), found, strict=True):
        scale, bonus = float(new_scale or scale), float(new_bonus or bonus)
        sets[name] = make_results(tag, table.iloc[every if is_of_all else rows], scale, bonus, context)
    wide = sets["wide"].scores["verb"].copy()
    wide[::2] -= LOWERED_BY
    sets["wide"] = Results(sets["wide"].clip_ids, {"verb": wide, "noun": sets["wide"].scores["noun"]})
    return sets


def make_results(tag: str, table: pd.DataFrame, scale: float, bonus: float, context: Any) -> Results:
    scores = {}
    for head, width in (("verb", 97), ("noun", 300)):
        values = context.tensor(f"{tag}_{head}", (len(table), width), scale).numpy().copy()
        rows = np.flatnonzero(context.tensor(f"{tag}_bonus_{head}", (len(table),)).numpy() > -0.3)
        values[rows, table[f"{head}_class"].to_numpy()[rows]] += bonus
        scores[head] = values
    return Results(table.index.to_numpy(dtype=np.str_), scores)


def _metrics(
    results: Results, table: pd.DataFrame, folder: Path, *, softmax: Any, split: str = "validation"
) -> tuple[dict[str, float], tuple[str, ...]]:
    picked = labels_of(results.clip_ids, table)
    metrics = recognition_metrics(
        results,
        picked.labels,
        participants=picked.participants,
        unseen_participants=read_unseen_participants(folder / f"EPIC_100_unseen_participant_ids_{split}.csv"),
        tail_verbs=read_tail_classes(folder / "EPIC_100_tail_verbs.csv").tolist(),
        tail_nouns=read_tail_classes(folder / "EPIC_100_tail_nouns.csv").tolist(),
        softmax=softmax,
    )
    return metrics.as_dict(), metrics.warnings


def _check_metrics(
    name: str,
    expected: dict[str, Any],
    results: Results,
    table: pd.DataFrame,
    folder: Path,
    *,
    softmax: str,
    split: str = "validation",
) -> None:
    metrics, warnings = _metrics(results, table, folder, softmax=softmax, split=split)
    numbers = {key: value for key, value in expected.items() if not key.startswith("_")}
    assert metrics.keys() == numbers.keys(), f"{name}: {metrics.keys() ^ numbers.keys()}"
    for key, value in numbers.items():
        assert abs(metrics[key] - value) <= TOLERANCE, f"{name}: {key} is {metrics[key]}, published {value}"
    warned = [expected["_warning"].lower()] if "_warning" in expected else []
    assert len(warnings) == len(warned), f"{name}: {warnings}"
    assert all(ours.startswith(theirs) for ours, theirs in zip(warnings, warned, strict=True)), f"{name}: {warnings}"


def _check_top_actions(arrays: dict[str, npt.NDArray[Any]], results: Results) -> None:
    verbs, nouns = arrays["top100_action_verbs"], arrays["top100_action_nouns"]
    num_clips, num_actions = verbs.shape
    for ranking in (published_top_actions, top_actions):
        best = ranking(results.scores["verb"], results.scores["noun"], num_actions)
        np.testing.assert_array_equal(best.verbs[:num_clips], verbs, err_msg=ranking.__name__)
        np.testing.assert_array_equal(best.nouns[:num_clips], nouns, err_msg=ranking.__name__)
    published = published_top_actions(results.scores["verb"], results.scores["noun"], num_actions)
    expected = arrays["top100_action_scores_reference_global_softmax"]
    np.testing.assert_allclose(published.probabilities[:num_clips], expected, rtol=1e-5)


def _check_training_metrics(published: dict[str, Any], results: Results, table: pd.DataFrame) -> None:
    labels = labels_of(results.clip_ids, table).labels
    accuracies = head_accuracies(results.scores, labels)
    losses = {}
    for head, scores in results.scores.items():
        expected = published["torch_metrics_accuracy"][f"{head}@1,5"]
        np.testing.assert_allclose([accuracies[f"{head}_acc@{k}"] for k in (1, 5)], expected, rtol=0, atol=TOLERANCE)
        losses[head] = -log_softmax(scores)[np.arange(len(results)), labels[head]].mean()
        assert abs(losses[head] - published["loss"][head]) < 1e-5
