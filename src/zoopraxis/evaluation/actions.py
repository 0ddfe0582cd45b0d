"""Actions as pairs of a verb and a noun, scored from the two heads.

An action's probability is the product of its verb's and its noun's, so the best k of all pairs are found among few: the pair
of the i-th verb and the j-th noun (counted from 1) has at least i*j - 1 others that score no less, and can be among the best k
only where i*j <= k. For k = 5 that leaves 10 of EPIC-KITCHENS-100's 29,100 pairs.

Of a clip in several views there are two kinds of actions: the product of the averaged verbs and nouns, which any results file
gives, and the average of each view's product, whose best actions a test of several views keeps (`Results.view_actions`). The
second knows which verb was seen together with which noun.

N clips, V verbs, M nouns, P candidate pairs, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import DataError
from zoopraxis.evaluation.probabilities import log_softmax
from zoopraxis.evaluation.ranking import top_k_classes

__all__ = [
    "PUBLISHED_NUM_ACTIONS",
    "ActionSource",
    "TopActions",
    "action_hits",
    "check_view_actions",
    "published_top_actions",
    "top_actions",
]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating]
ActionSource = Literal["product", "views"]
"""Where actions come from: the product of the averaged verbs and nouns, or the average of each view's product."""

PUBLISHED_NUM_ACTIONS = 100
"""Verbs, nouns and actions a clip that the published evaluation keeps."""

_CHUNK = 256
_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class TopActions:
    """The best actions of N clips, best first.

    Attributes:
        verbs: Verb of each action, shape (N, A), int64.
        nouns: Noun of each action, shape (N, A), int64.
        probabilities: Verb's times noun's probability, shape (N, A); of several views, the mean of their products.
    """

    verbs: IntArray
    nouns: IntArray
    probabilities: FloatArray

    @classmethod
    def from_classes(cls, classes_NA: npt.NDArray[np.integer], probabilities_NA: FloatArray, num_nouns: int) -> Self:
        """Actions from their class numbers, verb * num_nouns + noun."""
        verbs, nouns = np.divmod(classes_NA.astype(np.int64), num_nouns)
        return cls(verbs, nouns, probabilities_NA)

    def classes(self, num_nouns: int) -> IntArray:
        """Class number of each action, verb * num_nouns + noun, shape (N, A)."""
        return self.verbs * num_nouns + self.nouns

    def take(self, rows: IntArray) -> Self:
        """The actions of some clips, in the order given."""
        return type(self)(self.verbs[rows], self.nouns[rows], self.probabilities[rows])


def top_actions(verb_scores_NV: FloatArray, noun_scores_NM: FloatArray, k: int) -> TopActions:
    """The best k pairs of a verb and a noun, by the softmax of each clip's own scores.

    Ranked by the sum of log-probabilities in float64, which no range of scores can bring to zero. Pairs of equal probability
    rank by their verb's place among the verbs, then by their noun's; verbs, and nouns, of equal score by their number.

    Returns:
        min(k, V * M) actions a clip.
    """
    verbs, nouns = top_k_classes(verb_scores_NV, k), top_k_classes(noun_scores_NM, k)
    verb_logs = np.take_along_axis(log_softmax(verb_scores_NV), verbs, axis=1)
    noun_logs = np.take_along_axis(log_softmax(noun_scores_NM), nouns, axis=1)
    verb_places_P, noun_places_P = _candidates(verbs.shape[1], nouns.shape[1], k)
    logs_NP = verb_logs[:, verb_places_P] + noun_logs[:, noun_places_P]
    best_NA = np.argsort(-logs_NP, axis=1, kind="stable")[:, :k]
    return TopActions(
        verbs=np.take_along_axis(verbs, verb_places_P[best_NA], axis=1),
        nouns=np.take_along_axis(nouns, noun_places_P[best_NA], axis=1),
        probabilities=np.exp(np.take_along_axis(logs_NP, best_NA, axis=1)),
    )


def published_top_actions(verb_scores_NV: FloatArray, noun_scores_NM: FloatArray, k: int = PUBLISHED_NUM_ACTIONS) -> TopActions:
    """The best k of at most 100 actions as the published evaluation ranks them; for comparing with numbers made by it.

    It takes the softmax over the scores of all clips together, in float32: clips whose scores lie some 90 below the highest of
    all get probabilities of zero, and their actions come in no meaningful order. It keeps 100 verbs, 100 nouns and 100 actions
    a clip and sorts the actions twice, each time reversing the order of equals.

    Differs: equals keep the order that this reversal gives them, while the published sort leaves it to the NumPy at hand.

    Source: EPIC-KITCHENS C1-Action-Recognition, evaluation of actions.
    """
    verbs, nouns = (_descending(scores)[:, :PUBLISHED_NUM_ACTIONS] for scores in (verb_scores_NV, noun_scores_NM))
    verb_probs = _softmax_over_all(np.take_along_axis(verb_scores_NV, verbs, axis=1))
    noun_probs = _softmax_over_all(np.take_along_axis(noun_scores_NM, nouns, axis=1))
    chunks = []
    for start in range(0, len(verbs), _CHUNK):
        rows = slice(start, start + _CHUNK)
        pairs = (verb_probs[rows, :, None] * noun_probs[rows, None, :]).reshape(len(verb_probs[rows]), -1)
        kept = _descending(pairs)[:, :PUBLISHED_NUM_ACTIONS]
        again = _descending(np.take_along_axis(pairs, kept, axis=1))[:, :k]
        best = np.take_along_axis(kept, again, axis=1)
        verb_places, noun_places = np.divmod(best, nouns.shape[1])
        chunks.append(
            (
                np.take_along_axis(verbs[rows], verb_places, axis=1),
                np.take_along_axis(nouns[rows], noun_places, axis=1),
                np.take_along_axis(pairs, best, axis=1),
            )
        )
    best_verbs, best_nouns, probabilities = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return TopActions(best_verbs, best_nouns, probabilities)


def check_view_actions(actions: TopActions, *, num_clips: int, heads: Mapping[str, int]) -> None:
    """Refuse actions that cannot be the best ones of these clips.

    Args:
        actions: The actions.
        num_clips: Number of clips that they should be of.
        heads: Head name to number of classes.

    Raises:
        DataError: If a head is missing, shapes differ, an action is out of range or repeated within a clip, or its probability
            is not in [0, 1] or greater than that of the one before.
    """
    if not {"verb", "noun"} <= heads.keys():
        raise DataError(f"actions need the scores of heads verb and noun beside them, but the heads are {', '.join(heads)}")
    shapes = {array.shape for array in (actions.verbs, actions.nouns, actions.probabilities)}
    shape = actions.verbs.shape
    if len(shapes) > 1 or len(shape) != 2 or shape[0] != num_clips or shape[1] == 0:
        found = ", ".join(str(shape) for shape in sorted(shapes))
        raise DataError(f"actions must have shape ({num_clips}, actions of a clip) in all their arrays, not {found}")
    for head, numbers in (("verb", actions.verbs), ("noun", actions.nouns)):
        out = numbers[(numbers < 0) | (numbers >= heads[head])]
        if len(out):
            raise DataError(f"an action has {head} {out[0]}, outside [0, {heads[head] - 1}], the classes that were scored")
    ordered = np.sort(actions.classes(heads["noun"]), axis=1)
    if (np.diff(ordered, axis=1) == 0).any():
        raise DataError("an action stands twice among the best ones of a clip; test again")
    probabilities = actions.probabilities
    is_right = np.isfinite(probabilities) & (probabilities >= 0) & (probabilities <= 1 + _TOLERANCE)
    if not is_right.all():
        raise DataError(f"an action has the probability {probabilities[~is_right][0]}, which is outside [0, 1]; test again")
    if (np.diff(probabilities, axis=1) > 0).any():
        raise DataError("the actions of a clip are not in the order of their probabilities, the greatest first; test again")


def action_hits(actions: TopActions, verbs_N: IntArray, nouns_N: IntArray) -> npt.NDArray[np.bool_]:
    """Where the right action stands among the best, shape (N, A): at most one True a row."""
    hits: npt.NDArray[np.bool_] = (actions.verbs == verbs_N[:, None]) & (actions.nouns == nouns_N[:, None])
    return hits


def _candidates(num_verbs: int, num_nouns: int, k: int) -> tuple[IntArray, IntArray]:
    verb_places, noun_places = np.indices((num_verbs, num_nouns)).reshape(2, -1)
    can_win = (verb_places + 1) * (noun_places + 1) <= k
    return verb_places[can_win], noun_places[can_win]


def _descending(values: FloatArray) -> IntArray:
    return np.argsort(values, axis=1, kind="stable")[:, ::-1]


def _softmax_over_all(scores: FloatArray) -> npt.NDArray[np.float32]:
    exponentials: npt.NDArray[np.float32] = np.exp(scores.astype(np.float32) - scores.max().astype(np.float32))
    exponentials /= exponentials.sum()
    return exponentials
