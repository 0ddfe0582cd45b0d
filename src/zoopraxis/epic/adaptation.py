"""The domain adaptation challenge of EPIC-KITCHENS-100: verbs, nouns and actions on the target, learned without its labels.

The source are the videos of 2018, the target those of 2020, which a clip's id tells: P01_11_0 is of the source, P01_101_0 of
the target.

Source: Damen et al., Rescaling Egocentric Vision, IJCV 2022, section 4.4; the metrics are those that EPIC-KITCHENS
C1-Action-Recognition calls `all`; `all_verb_with_noun_*`: jonmun/EPIC-KITCHENS-100_UDA_TA3N, test_models.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from zoopraxis.epic.recognition import recognition_metrics
from zoopraxis.epic.vocabulary import HEADS, is_2020, video_of
from zoopraxis.errors import DataError, did_you_mean
from zoopraxis.evaluation.metrics import MetricTable, accuracy_metric
from zoopraxis.evaluation.ranking import class_ranks
from zoopraxis.evaluation.results import Results

__all__ = ["Domain", "adaptation_metrics", "check_domain"]

IntArray = npt.NDArray[np.int64]
Domain = Literal["source", "target"]

_EPIC_ID = re.compile(r"P\d+_\d+_\d+")
_YEARS: dict[Domain, int] = {"source": 2018, "target": 2020}
_CURES: dict[Domain, str] = {
    "source": "give results of the source's clips",
    "target": "the challenge is judged on the target: give results of its clips",
}


def adaptation_metrics(results: Results, labels: Mapping[str, IntArray]) -> MetricTable:
    """The challenge's accuracies in percent: `all_verb_accuracy_at_1`, ..., `all_action_accuracy_at_5`.

    They are those of `epic.recognition.recognition_metrics` of all clips. At the end stands `all_verb_with_noun_accuracy_at_5`:
    how often both the verb and the noun are among their five best, which is what the published code prints as the action's
    Prec@5. Actions by their product are never right more often.

    Args:
        results: Scores of the heads verb and noun of clips of the target.
        labels: Verb and noun of each clip, in the results' order, shape (N,).

    Raises:
        DataError: If clips are of the source, a head is missing, or labels do not fit the results.
    """
    for head in HEADS:
        if head not in results.scores:
            raise DataError(
                f"the adaptation challenge needs head {head!r} in the results; {did_you_mean(head, results.scores)}"
            )
    check_domain(results, "target")
    table = recognition_metrics(results, labels)
    in_five = [class_ranks(results.scores[head], np.asarray(labels[head])) < 5 for head in HEADS]
    both = accuracy_metric("all_verb_with_noun_accuracy_at_5", in_five[0] & in_five[1])
    return MetricTable((*table.metrics, both), table.warnings)


def check_domain(results: Results, domain: Domain) -> None:
    """Refuse results that hold clips of the other domain, as far as ids are EPIC-KITCHENS-100's.

    Raises:
        DataError: If there is one; the message names it.
    """
    ids = [clip_id for clip_id in results.clip_ids.tolist() if _EPIC_ID.fullmatch(clip_id)]
    is_target = is_2020([video_of(clip_id) for clip_id in ids])
    wrong = np.flatnonzero(is_target != (domain == "target"))
    if len(wrong):
        other: Domain = "source" if domain == "target" else "target"
        raise DataError(
            f"{len(wrong)} of {len(results)} clips of the results are of the {other} (videos of {_YEARS[other]}),"
            f" first {ids[wrong[0]]}; {_CURES[domain]}"
        )
