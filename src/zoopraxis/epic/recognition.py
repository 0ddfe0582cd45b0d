"""The recognition challenge of EPIC-KITCHENS-100: verbs, nouns and actions, on all, unseen-kitchen and tail clips.

Source: EPIC-KITCHENS C1-Action-Recognition; Damen et al., Rescaling Egocentric Vision, IJCV 2022, section 4.1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.epic.annotations import class_labels
from zoopraxis.epic.vocabulary import HEADS
from zoopraxis.errors import AnnotationError, ConfigError, DataError, did_you_mean
from zoopraxis.evaluation.accuracy import check_labels
from zoopraxis.evaluation.actions import ActionSource, TopActions, action_hits, published_top_actions, top_actions
from zoopraxis.evaluation.metrics import Metric, MetricTable, accuracy_metric
from zoopraxis.evaluation.ranking import class_ranks
from zoopraxis.evaluation.results import Results

__all__ = ["RecognitionLabels", "Softmax", "actions_by_views", "labels_of", "recognition_metrics"]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Softmax = Literal["row", "global"]

_TASKS = ("verb", "noun", "action")


class RecognitionLabels(NamedTuple):
    """What is known of the clips of some results, in their order."""

    labels: dict[str, IntArray]
    """Head ("verb", "noun") to labels, shape (N,)."""
    participants: npt.NDArray[np.str_] | None
    """Participant of each clip, shape (N,); None where the annotations do not tell."""


def labels_of(clip_ids: npt.NDArray[np.str_], table: pd.DataFrame) -> RecognitionLabels:
    """Pick the rows of an annotation table (as `epic.annotations.read_table` gives it) by the clips' ids, in their order.

    Raises:
        AnnotationError: If the table has no labels, or an id more than once.
        DataError: If a clip is not in the table; the message names it.
    """
    for head in HEADS:
        if f"{head}_class" not in table.columns:
            raise AnnotationError(
                f"the annotations have no column '{head}_class'; the test split's labels are private: evaluate on validation"
            )
    if not table.index.is_unique:
        repeated = table.index[table.index.duplicated()]
        raise AnnotationError(f"the annotations have {len(repeated)} repeated ids, first {repeated[0]}; leave one row each")
    rows = table.index.get_indexer(pd.Index(clip_ids))
    absent = clip_ids[rows < 0]
    if len(absent):
        raise DataError(
            f"{len(absent)} of {len(clip_ids)} clips of the results are not in the annotations, first {absent[0]!s};"
            " are these the annotations of the split that was tested?"
        )
    labels = {head: class_labels(table, head, "the annotations")[rows] for head in HEADS}
    if "participant_id" not in table.columns:
        return RecognitionLabels(labels, None)
    return RecognitionLabels(labels, table["participant_id"].to_numpy()[rows].astype(np.str_))


def recognition_metrics(
    results: Results,
    labels: Mapping[str, IntArray],
    *,
    participants: npt.NDArray[np.str_] | None = None,
    unseen_participants: Collection[str] | None = None,
    tail_verbs: Collection[int] | None = None,
    tail_nouns: Collection[int] | None = None,
    softmax: Softmax = "row",
    actions: ActionSource = "product",
) -> MetricTable:
    """The challenge's accuracies in percent, named as published: `all_verb_accuracy_at_1`, ..., `tail_action_accuracy_at_1`.

    Where the results have actions of each view, the accuracies of the other kind of actions follow at the end, of all clips, as
    `all_action_by_views_accuracy_at_1` or `all_action_by_product_accuracy_at_1` (and `at_5`).

    Args:
        results: Scores of the heads verb and noun, of any widths.
        labels: Verb and noun of each clip, in the results' order, shape (N,).
        participants: Participant of each clip, shape (N,); needed for the unseen block.
        unseen_participants: Participants without training clips: gives the unseen block (top-1).
        tail_verbs: Rare verbs; with `tail_nouns` they give the tail block (top-1).
        tail_nouns: Rare nouns. An action is of the tail if its verb or its noun is.
        softmax: `row` ranks actions by the probabilities of each clip, `global` as published, over all clips together.
        actions: Which actions the challenge's metrics are of: `product` of the averaged verbs and nouns, as the challenge forms
            them where a submission has no actions, or by `views`, as a submission with the actions of each view has them.

    Returns:
        The metrics with their 95% intervals; a block without clips is left out, with a warning.

    Raises:
        DataError: If a head is missing, or labels do not fit the results.
        ConfigError: If only one of the tail lists is given, unseen participants without the clips' participants, or actions by
            views with the softmax over all clips.

    Differs: the softmax is of each clip's own scores, as the challenge describes it; the published code takes it over all
    clips, which in float32 loses the order of actions whose scores lie far below the highest. Without any clip of the tail
    the tail metrics are left out with a warning, as the unseen ones are; the published code fails.
    """
    true = _check(results, labels)
    hits = _hits(results, true, softmax, actions)
    everything = np.ones(len(results), dtype=np.bool_)
    metrics: list[Metric] = []
    warnings: list[str] = []
    metrics += [_metric("all", task, k, hits[task], everything) for task in _TASKS for k in (1, 5)]
    if unseen_participants is not None:
        if participants is None:
            raise ConfigError("the unseen metrics need the clips' participants; annotate them in a column participant_id")
        is_unseen = np.isin(participants, list(unseen_participants))
        _add_block("unseen", dict.fromkeys(_TASKS, is_unseen), hits, metrics, warnings)
    if (tail_verbs is None) != (tail_nouns is None):
        raise ConfigError("the tail metrics need both the tail verbs and the tail nouns; name the other too")
    if tail_verbs is not None and tail_nouns is not None:
        is_verb, is_noun = np.isin(true["verb"], list(tail_verbs)), np.isin(true["noun"], list(tail_nouns))
        _add_block("tail", {"verb": is_verb, "noun": is_noun, "action": is_verb | is_noun}, hits, metrics, warnings)
    other: ActionSource = "product" if actions == "views" else "views"
    if results.view_actions is not None:
        in_other = _action_hits(results, true, softmax, other)
        metrics += [_metric("all", f"action_by_{other}", k, in_other, everything) for k in (1, 5)]
    return MetricTable(tuple(metrics), tuple(warnings))


def _check(results: Results, labels: Mapping[str, IntArray]) -> dict[str, IntArray]:
    for head in HEADS:
        if head not in results.scores:
            raise DataError(
                f"the recognition challenge needs head {head!r} in the results; {did_you_mean(head, results.scores)}"
            )
        if head not in labels:
            raise DataError(f"there are no labels for head {head!r}; {did_you_mean(head, labels)}")
    return {
        head: check_labels(labels[head], head=head, num_clips=len(results), num_classes=results.heads[head]) for head in HEADS
    }


def _hits(
    results: Results, true: Mapping[str, IntArray], softmax: Softmax, actions: ActionSource
) -> dict[str, dict[int, BoolArray]]:
    """Task to k to whether each clip is right among the best k, shape (N,)."""
    hits = {"action": _action_hits(results, true, softmax, actions)}
    for head in HEADS:
        ranks = class_ranks(results.scores[head], true[head])
        hits[head] = {1: ranks < 1, 5: ranks < 5}
    return hits


def _action_hits(
    results: Results, true: Mapping[str, IntArray], softmax: Softmax, source: ActionSource
) -> dict[int, BoolArray]:
    """k to whether each clip's action is right among the best k, shape (N,)."""
    in_action = action_hits(_best_actions(results, softmax, source), true["verb"], true["noun"])
    return {k: np.logical_or.reduce(in_action[:, :k], axis=1) for k in (1, 5)}


def _best_actions(results: Results, softmax: Softmax, source: ActionSource) -> TopActions:
    if source == "product":
        ranking = top_actions if softmax == "row" else published_top_actions
        return ranking(results.scores["verb"], results.scores["noun"], 5)
    if softmax == "global":
        raise ConfigError(
            "actions by views have their probabilities already: leave out --global-softmax, or the actions by views"
        )
    return actions_by_views(results)


def actions_by_views(results: Results) -> TopActions:
    """The actions of each view that results carry.

    Raises:
        DataError: If they carry none.
    """
    if results.view_actions is None:
        raise DataError(
            "the results have no actions by views; test with several views into .npz or .safetensors, or use --actions product"
        )
    return results.view_actions


def _metric(block: str, task: str, k: int, hits: Mapping[int, BoolArray], rows: BoolArray) -> Metric:
    return accuracy_metric(f"{block}_{task}_accuracy_at_{k}", hits[k][rows])


def _add_block(
    block: str,
    rows_of: Mapping[str, BoolArray],
    hits: Mapping[str, Mapping[int, BoolArray]],
    metrics: list[Metric],
    warnings: list[str],
) -> None:
    empty: Sequence[Any] = [task for task in _TASKS if not rows_of[task].any()]
    if empty:
        which = block if len(empty) == len(_TASKS) else f"{block} {' and '.join(empty)}"
        warnings.append(f"there are no {which} segments to evaluate: their metrics are left out; is the list for this split?")
    metrics += [_metric(block, task, 1, hits[task], rows_of[task]) for task in _TASKS if task not in empty]
