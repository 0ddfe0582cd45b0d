"""The recognition challenge's metrics on clips counted by hand, and on the real validation rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from zoopraxis.epic.recognition import labels_of, recognition_metrics
from zoopraxis.errors import AnnotationError, ConfigError, DataError
from zoopraxis.evaluation.actions import TopActions
from zoopraxis.evaluation.results import Results

IDS = np.array(["P01_01_0", "P01_01_1", "P02_01_0", "P18_01_0"])
VERBS, NOUNS = np.array([0, 1, 2, 0]), np.array([1, 0, 2, 2])
PARTICIPANTS = np.array(["P01", "P01", "P02", "P18"])


def make_results() -> Results:
    """Right are: the verbs of clips 0, 1, 3; the nouns of clips 0, 3; so the actions of clips 0, 3."""
    verb, noun = np.zeros((4, 11), dtype=np.float32), np.zeros((4, 12), dtype=np.float32)
    verb[[0, 1, 2, 3], [0, 1, 9, 0]] = 4
    noun[[0, 1, 2, 3], [1, 6, 9, 2]] = 3
    return Results(IDS, {"verb": verb, "noun": noun})


def metrics_of(**options: Any) -> Any:
    return recognition_metrics(make_results(), {"verb": VERBS, "noun": NOUNS}, participants=PARTICIPANTS, **options)


def test_all_blocks_have_the_published_names_and_values() -> None:
    table = metrics_of(unseen_participants={"P18"}, tail_verbs=[2], tail_nouns=[0])
    assert table.warnings == ()
    assert table.as_dict() == {
        "all_verb_accuracy_at_1": 75.0,
        "all_verb_accuracy_at_5": 100.0,
        "all_noun_accuracy_at_1": 50.0,
        "all_noun_accuracy_at_5": 100.0,
        "all_action_accuracy_at_1": 50.0,
        "all_action_accuracy_at_5": 75.0,
        "unseen_verb_accuracy_at_1": 100.0,
        "unseen_noun_accuracy_at_1": 100.0,
        "unseen_action_accuracy_at_1": 100.0,
        "tail_verb_accuracy_at_1": 0.0,
        "tail_noun_accuracy_at_1": 0.0,
        "tail_action_accuracy_at_1": 0.0,
    }
    assert [metric.num_clips for metric in table.metrics[-6:]] == [1, 1, 1, 1, 1, 2]


def test_blocks_that_are_not_asked_for_are_not_there() -> None:
    table = metrics_of()
    assert {name.split("_")[0] for name in table.as_dict()} == {"all"}
    assert table.warnings == ()


def test_a_block_without_clips_is_left_out_with_a_warning() -> None:
    table = metrics_of(unseen_participants=["P33"], tail_verbs=[4], tail_nouns=[0])
    names = table.as_dict()
    assert not any(name.startswith("unseen") for name in names)
    assert "tail_verb_accuracy_at_1" not in names
    assert "tail_noun_accuracy_at_1" in names
    assert table.warnings[0].startswith("there are no unseen segments to evaluate")
    assert table.warnings[1].startswith("there are no tail verb segments to evaluate")
    nothing = metrics_of(tail_verbs=[4], tail_nouns=[6])
    assert nothing.warnings[0].startswith("there are no tail segments to evaluate")
    assert not any(name.startswith("tail") for name in nothing.as_dict())


def test_global_softmax_loses_actions_far_below_the_highest() -> None:
    results = make_results()
    results.scores["verb"][0] -= 300  # type: ignore[index]
    labels = {"verb": VERBS, "noun": NOUNS}
    row = recognition_metrics(results, labels).as_dict()
    published = recognition_metrics(results, labels, softmax="global").as_dict()
    assert row["all_action_accuracy_at_1"] == 50.0
    assert published["all_action_accuracy_at_1"] == 25.0
    assert published["all_verb_accuracy_at_1"] == row["all_verb_accuracy_at_1"] == 75.0


def test_rows_are_picked_by_id_in_the_results_order() -> None:
    table = pd.DataFrame(
        {"verb_class": [5, 6, 7, 8], "noun_class": [1, 2, 3, 4], "participant_id": ["P09", "P08", "P07", "P06"]},
        index=pd.Index(["x", *IDS[[2, 0]], "y"], name="narration_id"),
    )
    picked = labels_of(IDS[[0, 2]], table)
    assert picked.labels["verb"].tolist() == [7, 6]
    assert picked.labels["noun"].tolist() == [3, 2]
    assert picked.participants is not None
    assert picked.participants.tolist() == ["P07", "P08"]
    assert labels_of(IDS[:1], table.drop(columns="participant_id")).participants is None


def test_clips_without_a_row_and_tables_without_labels_are_refused() -> None:
    table = pd.DataFrame({"verb_class": [1], "noun_class": [1]}, index=pd.Index(["P01_01_0"]))
    with pytest.raises(DataError, match="3 of 4 clips of the results are not in the annotations, first P01_01_1"):
        labels_of(IDS, table)
    with pytest.raises(AnnotationError, match="the annotations have 1 repeated ids, first P01_01_0"):
        labels_of(IDS[:1], pd.concat([table, table]))
    with pytest.raises(AnnotationError, match="no column 'verb_class'; the test split's labels are private"):
        labels_of(IDS, table.drop(columns="verb_class"))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": {"verb": VERBS}}, DataError, "there are no labels for head 'noun'"),
        ({"labels": {"verb": VERBS + 9, "noun": NOUNS}}, DataError, r"label 11 of head 'verb' is outside \[0, 10\]"),
        ({"unseen_participants": ["P18"]}, ConfigError, "the unseen metrics need the clips' participants"),
        ({"tail_verbs": [1]}, ConfigError, "the tail metrics need both the tail verbs and the tail nouns"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"labels": {"verb": VERBS, "noun": NOUNS}, **change}
    with pytest.raises(error, match=message):
        recognition_metrics(make_results(), **arguments)


def test_a_missing_head_is_named() -> None:
    results = Results(IDS, {"verbs": np.zeros((4, 2))})
    with pytest.raises(DataError, match="needs head 'verb' in the results; did you mean 'verbs'"):
        recognition_metrics(results, {"verb": VERBS, "noun": NOUNS})


@pytest.mark.real_data
def test_perfect_scores_of_the_real_validation_rows_are_all_right(real_data: Path) -> None:
    from zoopraxis.epic.annotations import read_table

    folder = real_data / "epic100"
    table = read_table(folder / "EPIC_100_validation.csv")
    ids = table.index.to_numpy(dtype=np.str_)[::-1]
    picked = labels_of(ids, table)
    scores = {"verb": np.eye(97)[picked.labels["verb"]], "noun": np.eye(300)[picked.labels["noun"]]}
    tail = {head: pd.read_csv(folder / f"EPIC_100_tail_{head}s.csv")[head].tolist() for head in ("verb", "noun")}
    metrics = recognition_metrics(
        Results(ids, scores),
        picked.labels,
        participants=picked.participants,
        unseen_participants=["P18", "P32"],
        tail_verbs=tail["verb"],
        tail_nouns=tail["noun"],
    )
    assert set(metrics.as_dict().values()) == {100.0}
    assert [metric.num_clips for metric in metrics.metrics[6:]] == [1065, 1065, 1065, 1760, 1900, 3105]


def make_viewed_results() -> Results:
    """By views the actions of clips 0 and 1 come first, that of clip 3 second; by the product those of clips 0 and 3."""
    verbs, nouns = np.array([[0, 5], [1, 5], [5, 6], [5, 0]]), np.array([[1, 5], [0, 5], [5, 6], [5, 2]])
    return replace(make_results(), view_actions=TopActions(verbs, nouns, np.array([[0.5, 0.25]] * 4)))


@pytest.mark.parametrize(
    ("actions", "leading", "other"), [("product", (50.0, 75.0), "views"), ("views", (50.0, 75.0), "product")]
)
def test_both_kinds_of_actions_are_reported_and_one_leads(actions: Any, leading: tuple[float, float], other: str) -> None:
    labels = {"verb": VERBS, "noun": NOUNS}
    table = recognition_metrics(
        make_viewed_results(), labels, participants=PARTICIPANTS, unseen_participants={"P18"}, actions=actions
    ).as_dict()
    assert (table["all_action_accuracy_at_1"], table["all_action_accuracy_at_5"]) == leading
    assert list(table)[-2:] == [f"all_action_by_{other}_accuracy_at_{k}" for k in (1, 5)]
    assert table["unseen_action_accuracy_at_1"] == (100.0 if actions == "product" else 0.0)


def test_actions_by_views_need_results_that_have_them() -> None:
    with pytest.raises(DataError, match=r"the results have no actions by views; test with several views into \.npz or"):
        metrics_of(actions="views")
    with pytest.raises(ConfigError, match="actions by views have their probabilities already: leave out --global-softmax"):
        metrics_of(actions="views", softmax="global")
