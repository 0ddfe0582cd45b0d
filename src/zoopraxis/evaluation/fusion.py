"""Late fusion: one results file from several of the same clips.

Source: EPIC-KITCHENS C1 baselines, fuse.py; a model for each head: jonmun/EPIC-KITCHENS-100_UDA_TA3N, `--noun_weights`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import ConfigError, DataError, did_you_mean
from zoopraxis.evaluation.probabilities import log_softmax
from zoopraxis.evaluation.results import Results

__all__ = ["Average", "fuse", "join_heads"]

Average = Literal["score", "prob"]

_NUM_NAMED = 3


def fuse(
    results: Sequence[Results],
    *,
    weights: Sequence[float] | None = None,
    average: Average = "score",
    names: Sequence[str] | None = None,
) -> Results:
    """The weighted mean of several results, clips sorted by id (as strings).

    Args:
        results: At least two, of the same clips in any order, with the same heads.
        weights: One for each, not negative, equal by default; only their ratios matter.
        average: `score` takes the mean of the scores before the softmax, as published; `prob` the mean of the
            probabilities, which is kept as log-probabilities, so that a softmax gives it back.
        names: What messages call the results, e.g. their files; "results 1", "results 2", ... by default.

    Actions of each view are left out: the best ones that two files keep of a clip are not the same ones. A fused file has the
    product of its verbs and nouns.

    Returns:
        Results whose meta tell the averaging, the weights (with the sum 1) and the meta of what was fused.

    Raises:
        DataError: If clip ids, heads or widths differ.
        ConfigError: If the weights do not fit.
    """
    if len(results) < 2:
        raise ConfigError(f"fusion needs at least 2 results, not {len(results)}; name the others too")
    shares = _shares(weights, len(results))
    ordered = [one.take(np.argsort(one.clip_ids, kind="stable")) for one in results]
    called = list(names) if names is not None else [f"results {number}" for number in range(1, len(results) + 1)]
    for name, other in zip(called[1:], ordered[1:], strict=True):
        _check_same_clips(ordered[0], other, called[0], name)
        if ordered[0].heads != other.heads:
            raise DataError(f"{name} has heads {other.heads}, but {called[0]} has {ordered[0].heads}; they must be the same")
    combine = _mean_scores if average == "score" else _mean_probabilities
    scores = {head: combine([one.scores[head] for one in ordered], shares) for head in ordered[0].scores}
    meta = {"averaging": average, "weights": shares, "fused": [dict(one.meta) for one in results]}
    return Results(ordered[0].clip_ids, scores, meta)


def join_heads(results: Sequence[Results], heads: Sequence[str], *, names: Sequence[str] | None = None) -> Results:
    """One head of each of several results, e.g. the verbs of one model and the nouns of another; clips sorted by id.

    Args:
        results: Of the same clips in any order.
        heads: Which head is taken from each, no head twice.
        names: What messages call the results, e.g. their files; "results 1", "results 2", ... by default.

    Raises:
        DataError: If clip ids differ, or a head is not there.
        ConfigError: If there is not one head for each, or one is named twice.
    """
    if len(heads) != len(results) or len(set(heads)) < len(heads):
        raise ConfigError(f"heads {', '.join(heads)} are given for {len(results)} results; give one for each, none twice")
    ordered = [one.take(np.argsort(one.clip_ids, kind="stable")) for one in results]
    called = list(names) if names is not None else [f"results {number}" for number in range(1, len(results) + 1)]
    for name, head, one in zip(called, heads, ordered, strict=True):
        if head not in one.scores:
            raise DataError(f"{name} has no head {head!r}; {did_you_mean(head, one.scores)}")
        _check_same_clips(ordered[0], one, called[0], name)
    scores = {head: one.scores[head] for head, one in zip(heads, ordered, strict=True)}
    joined = {head: dict(one.meta) for head, one in zip(heads, results, strict=True)}
    return Results(ordered[0].clip_ids, scores, {"joined": joined})


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    given = [1.0] * count if weights is None else [float(weight) for weight in weights]
    if len(given) != count:
        raise ConfigError(f"{len(given)} weights are given for {count} results; give one for each, in their order")
    if not all(np.isfinite(given)) or min(given) < 0 or sum(given) == 0:
        raise ConfigError(f"weights {given} must be numbers of at least 0 and not all 0")
    return [weight / sum(given) for weight in given]


def _check_same_clips(first: Results, other: Results, first_name: str, name: str) -> None:
    missing = np.setdiff1d(first.clip_ids, other.clip_ids)
    extra = np.setdiff1d(other.clip_ids, first.clip_ids)
    if len(missing) or len(extra):
        parts = [f"lacks {_some(missing)}"] * bool(len(missing)) + [f"has in addition {_some(extra)}"] * bool(len(extra))
        raise DataError(f"{name} {' and '.join(parts)}, compared with {first_name}; test all on the same split")


def _some(ids: npt.NDArray[np.str_]) -> str:
    named = ", ".join(ids[:_NUM_NAMED].tolist())
    return f"{len(ids)} clips ({named}{', ...' if len(ids) > _NUM_NAMED else ''})"


def _mean_scores(scores: Sequence[npt.NDArray[np.float32]], shares: Sequence[float]) -> npt.NDArray[np.float32]:
    total = np.zeros(scores[0].shape, dtype=np.float64)
    for share, one in zip(shares, scores, strict=True):
        total += share * one
    return total.astype(np.float32)


def _mean_probabilities(scores: Sequence[npt.NDArray[np.float32]], shares: Sequence[float]) -> npt.NDArray[np.float32]:
    total = np.full(scores[0].shape, -np.inf)
    for share, one in zip(shares, scores, strict=True):
        if share > 0:
            total = np.logaddexp(total, np.log(share) + log_softmax(one))
    return total.astype(np.float32)
