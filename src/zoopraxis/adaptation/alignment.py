"""Which features of two domains a discrepancy compares, by name, and with how many kernels.

# M rows of a domain: its clips, or the frames of its clips
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from zoopraxis.adaptation.discrepancy import coral, joint_mmd, mmd_by_chunks
from zoopraxis.adaptation.network import DomainOutput

__all__ = ["Discrepancy", "domain_discrepancy"]

Discrepancy = Literal["dan", "jan", "coral"]

_LOGITS, _VIDEO = "logits", "video"
_FEW_KERNELS, _MANY_KERNELS = 2, 5


def domain_discrepancy(
    source: DomainOutput, target: DomainOutput, *, discrepancy: Discrepancy, places: Sequence[str] = (_VIDEO,)
) -> Tensor:
    """How far apart the features of two domains lie.

    dan and jan compare as many clips of the larger batch as the smaller one has, the first ones.

    Args:
        source: What the network finds in the source.
        target: What it finds in the target.
        discrepancy: dan, coral: the sum over features; jan: the joint distribution of all heads' logits and the video feature.
        places: dan, coral: names of features: "video", "shared_1" (each frame a row), ..., "logits" (of every head), or a head.

    Returns:
        A scalar.

    Raises:
        ValueError: If the network has no such feature, or predicts frames with jan.

    Differs: the published code counts positions in a list: the second is the video's feature with one head, but the verbs'
    logits with two. It fails at features of frames, and at jan with two heads. Kernels are as it has them by position: 2 for
    the last (or only) head's logits and 5 for all else with dan; 2 for logits and 5 for the video with jan.
    """
    if discrepancy == "jan":
        return _joint(source, target)
    names = dict.fromkeys(name for place in places for name in (source.logits if place == _LOGITS else [place]))
    missing = [name for name in names if name not in _named(source)]
    if missing:
        raise ValueError(
            f"discrepancy_at={missing[0]}: the network has no such feature, only {', '.join([_LOGITS, *_named(source)])}"
        )
    *_, last_head = source.logits
    distances = [
        _DISTANCES[discrepancy](
            _named(source)[name], _named(target)[name], _FEW_KERNELS if name == last_head else _MANY_KERNELS
        )
        for name in names
    ]
    return torch.stack(distances).sum()


def _dan(source: Tensor, target: Tensor, num_kernels: int) -> Tensor:
    fewest = min(len(source), len(target))
    return mmd_by_chunks(source[:fewest].flatten(0, -2), target[:fewest].flatten(0, -2), num_kernels=num_kernels)


def _coral(source: Tensor, target: Tensor, num_kernels: int) -> Tensor:
    """Nothing for an epoch's last batch of a single clip, which has no covariance."""
    rows = [features.flatten(0, -2) for features in (source, target)]
    if min(map(len, rows)) < 2:
        return (source.sum() + target.sum()) * 0
    return coral(*rows)


_DISTANCES: Mapping[str, Callable[[Tensor, Tensor, int], Tensor]] = {"dan": _dan, "coral": _coral}


def _joint(source: DomainOutput, target: DomainOutput) -> Tensor:
    fewest = min(len(output.features[_VIDEO]) for output in (source, target))
    rows = [[*output.logits.values(), output.features[_VIDEO]] for output in (source, target)]
    if len(rows[0][0]) != len(rows[0][-1]):
        raise ValueError(
            "discrepancy=jan compares videos, but prediction=frames classifies frames; set prediction=video or average"
        )
    sources, targets = ([row[:fewest] for row in domain] for domain in rows)
    return joint_mmd(sources, targets, num_kernels=[_FEW_KERNELS] * len(source.logits) + [_MANY_KERNELS])


def _named(output: DomainOutput) -> dict[str, Tensor]:
    return {**output.features, **output.logits}
