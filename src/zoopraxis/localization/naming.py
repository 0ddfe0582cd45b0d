"""What proposals are called: class scores sampled inside them, and verbs joined with nouns.

Beside the features of a video lie the class scores (logits) of a network of recognition, for several views side by side. A
proposal takes them at some points between its first and its last step, each of them the mean of a few finer ones; the softmax
is of each view and point by itself, and the probabilities are averaged.

B windows, C scores of all views, K classes, T steps, D durations, P cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["class_probabilities", "join_actions", "sample_class_scores"]

_MAX_NUMBERS = 1 << 24
"""Sampled logits, or weights of the sampling, that are held at once."""


def sample_class_scores(
    scores_CT: Tensor,
    durations_P: npt.NDArray[np.integer] | Tensor,
    steps_P: npt.NDArray[np.integer] | Tensor,
    *,
    num_points: int = 6,
    samples_per_bin: int = 3,
    num_views: int = 1,
) -> Tensor:
    """Class probabilities of some cells of a window.

    Args:
        scores_CT: Logits at the window's steps, all classes of the first view, then those of the next, shape
            (num_views * K, T).
        durations_P: Duration of each cell, d, in [0, D).
        steps_P: Its first step, t; t + d lies within the window.
        num_points: Points of a cell; the first of the finer ones lies at step t, the last at t + d.
        samples_per_bin: Finer points whose mean each is.
        num_views: Views that lie side by side.

    Returns:
        Probabilities, shape (P, K), float32.

    Raises:
        ValueError: If the scores are not of so many views, a count is not positive, or a cell ends outside the window.

    Source: Qing et al., A Stronger Baseline for Ego-Centric Action Detection, 2021; its published code samples all cells.
    """
    if scores_CT.ndim != 2 or num_views < 1 or scores_CT.shape[0] % num_views:
        raise ValueError(f"class scores of shape {tuple(scores_CT.shape)} are not those of {num_views} views side by side")
    if num_points < 1 or samples_per_bin < 1:
        raise ValueError(f"num_points ({num_points}) and samples_per_bin ({samples_per_bin}) must be positive")
    num_steps = scores_CT.shape[1]
    durations, steps = (torch.as_tensor(cells, device=scores_CT.device, dtype=torch.int64) for cells in (durations_P, steps_P))
    is_outside = (steps < 0) | (durations < 0) | (steps + durations >= num_steps)
    if bool(is_outside.any()):
        row = int(is_outside.int().argmax())
        cell = f"cell {row} lasts {int(durations[row]) + 1} steps from step {int(steps[row])}"
        raise ValueError(f"{cell}, outside the window's {num_steps} steps")
    logits_TC = scores_CT.float().T.contiguous()
    chunk = max(1, _MAX_NUMBERS // (num_points * max(logits_TC.shape)))
    parts = []
    for begin in range(0, len(steps), chunk):
        rows = slice(begin, begin + chunk)
        weights_QT = _point_weights(durations[rows], steps[rows], num_points, samples_per_bin, num_steps)
        logits = (weights_QT @ logits_TC).view(-1, num_points, num_views, logits_TC.shape[1] // num_views)
        parts.append(logits.softmax(dim=-1).mean(dim=(1, 2)))
    return torch.cat(parts) if parts else logits_TC.new_zeros(0, logits_TC.shape[1] // num_views)


def class_probabilities(logits_KDT: Tensor, durations_P: npt.NDArray[np.integer], steps_P: npt.NDArray[np.integer]) -> Tensor:
    """Class probabilities of some cells, from a map of logits that the network itself predicts; shape (P, K), float32."""
    durations, steps = (torch.as_tensor(cells, device=logits_KDT.device, dtype=torch.int64) for cells in (durations_P, steps_P))
    return logits_KDT[:, durations, steps].float().softmax(dim=0).T


def join_actions(
    verb_PK: npt.ArrayLike, noun_PK: npt.ArrayLike, *, num_verbs: int = 10, num_nouns: int = 30, top: int = 20
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]:
    """The likeliest pairs of a verb and a noun, by the product of their probabilities.

    Only the `num_verbs` likeliest verbs of a proposal are joined with its `num_nouns` likeliest nouns. Of equal products the
    pair of the likelier noun comes first, then that of the likelier verb; of equal probabilities the class of the lower number.

    Args:
        verb_PK: Probabilities of the verbs of each proposal, shape (P, verbs).
        noun_PK: Probabilities of the nouns, shape (P, nouns).
        num_verbs: Verbs that are joined; all if there are fewer.
        num_nouns: Nouns that are joined; all if there are fewer.
        top: Pairs that are kept; all if there are fewer.

    Returns:
        Verb and noun of each pair, likeliest first, shape (P, top, 2), int64; and the verb's probability, the noun's, and their
        product, shape (P, top, 3), of the probabilities' dtype.

    Raises:
        ValueError: If the two are not of the same proposals, or a count is not positive.

    Differs: the published code takes it for granted that there are at least `num_verbs` verbs, and mistakes pairs where there
        are fewer.
    """
    verbs_PK, nouns_PK = np.asarray(verb_PK), np.asarray(noun_PK)
    if verbs_PK.ndim != 2 or nouns_PK.ndim != 2 or len(verbs_PK) != len(nouns_PK):
        raise ValueError(f"verbs and nouns must be of the same proposals, not of shapes {verbs_PK.shape} and {nouns_PK.shape}")
    if min(num_verbs, num_nouns, top) < 1:
        raise ValueError(f"num_verbs ({num_verbs}), num_nouns ({num_nouns}) and top ({top}) must be positive")
    verb_classes, verb_probs = _likeliest(verbs_PK, num_verbs)
    noun_classes, noun_probs = _likeliest(nouns_PK, num_nouns)
    products = (noun_probs[:, :, None] * verb_probs[:, None, :]).reshape(
        len(verb_probs), noun_probs.shape[1] * verb_probs.shape[1]
    )
    best = np.argsort(-products, axis=1, kind="stable")[:, :top]
    noun_places, verb_places = np.divmod(best, max(verb_probs.shape[1], 1))
    verb_picks, noun_picks = _picked(verb_classes, verb_places), _picked(noun_classes, noun_places)
    scores = (_picked(verb_probs, verb_places), _picked(noun_probs, noun_places), _picked(products, best))
    return np.stack([verb_picks, noun_picks], axis=2), np.stack(scores, axis=2)


def _picked(values_PN: npt.NDArray[Any], places_PQ: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
    return np.take_along_axis(values_PN, places_PQ, axis=1)


def _likeliest(
    probabilities_PK: npt.NDArray[np.floating], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]:
    classes = np.argsort(-probabilities_PK, axis=1, kind="stable")[:, :count]
    return classes, _picked(probabilities_PK, classes)


def _point_weights(durations_P: Tensor, steps_P: Tensor, num_points: int, samples_per_bin: int, num_steps: int) -> Tensor:
    """How much of each step's scores goes into each point, shape (P * num_points, T), float32: linear interpolation.

    Computed in float64, as published.
    """
    num_samples = num_points * samples_per_bin
    gaps = durations_P.double() / max(num_samples - 1, 1)
    samples_PM = steps_P[:, None] + gaps[:, None] * torch.arange(num_samples, device=gaps.device)
    lower = samples_PM.floor()
    part = samples_PM - lower
    points = torch.arange(num_samples, device=gaps.device).div(samples_per_bin, rounding_mode="floor")
    first = (torch.arange(len(steps_P), device=gaps.device)[:, None] * num_points + points) * num_steps
    weights = torch.zeros(len(steps_P) * num_points * num_steps, dtype=torch.float64, device=gaps.device)
    below, above = lower.long().clamp(max=num_steps - 1), (lower.long() + 1).clamp(max=num_steps - 1)
    weights.index_add_(0, (first + below).flatten(), (1 - part).flatten())
    weights.index_add_(0, (first + above).flatten(), part.flatten())
    return (weights / samples_per_bin).float().view(-1, num_steps)
