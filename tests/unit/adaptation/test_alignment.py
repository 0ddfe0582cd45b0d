"""Which features a discrepancy compares, and with how many kernels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoopraxis.adaptation.alignment import domain_discrepancy
from zoopraxis.adaptation.discrepancy import coral, joint_mmd, mmd
from zoopraxis.adaptation.network import DomainOutput


def _found(num_clips: int, seed: int, heads: tuple[str, ...] = ("verb", "noun"), rows: int = 1) -> DomainOutput:
    generator = torch.Generator().manual_seed(seed)
    logits = {head: torch.randn(num_clips * rows, 4 + number, generator=generator) for number, head in enumerate(heads)}
    features = {
        "shared_1": torch.randn(num_clips, 3, 8, generator=generator),
        "video": torch.randn(num_clips, 5, generator=generator),
    }
    return DomainOutput(logits, logits, {}, None, features)


def _sides(**arguments: Any) -> tuple[DomainOutput, DomainOutput]:
    return _found(4, 0, **arguments), _found(6, 1, **arguments)


def test_as_many_clips_are_compared_as_both_domains_have() -> None:
    source, target = _sides()
    found = domain_discrepancy(source, target, discrepancy="dan")
    torch.testing.assert_close(found, mmd(source.features["video"], target.features["video"][:4]))
    torch.testing.assert_close(domain_discrepancy(target, source, discrepancy="dan"), found)


def test_frames_are_rows() -> None:
    source, target = _sides()
    found = domain_discrepancy(source, target, discrepancy="dan", places=["shared_1"])
    expected = mmd(source.features["shared_1"].reshape(12, 8), target.features["shared_1"][:4].reshape(12, 8))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("heads", "kernels"), [(("verb", "noun"), {"verb": 5, "noun": 2}), (("label",), {"label": 2})])
def test_kernels_of_logits_are_the_published_ones(heads: tuple[str, ...], kernels: dict[str, int]) -> None:
    source, target = _sides(heads=heads)
    expected = [mmd(source.logits[head], target.logits[head][:4], num_kernels=number) for head, number in kernels.items()]
    torch.testing.assert_close(
        domain_discrepancy(source, target, discrepancy="dan", places=["logits"]), torch.stack(expected).sum()
    )
    for head, alone in zip(kernels, expected, strict=True):
        torch.testing.assert_close(domain_discrepancy(source, target, discrepancy="dan", places=[head]), alone)


def test_a_feature_named_twice_counts_once() -> None:
    source, target = _sides()
    once, twice = (
        domain_discrepancy(source, target, discrepancy="dan", places=places) for places in (["logits"], ["logits", "noun"])
    )
    assert once == twice


def test_the_joint_distribution_is_of_all_heads_and_the_video() -> None:
    source, target = _sides()
    layers = [[*output.logits.values(), output.features["video"]] for output in (source, target)]
    expected = joint_mmd(layers[0], [rows[:4] for rows in layers[1]], num_kernels=[2, 2, 5])
    torch.testing.assert_close(domain_discrepancy(source, target, discrepancy="jan"), expected)


def test_covariances_are_those_of_all_clips() -> None:
    source, target = _sides()
    found = domain_discrepancy(source, target, discrepancy="coral")
    torch.testing.assert_close(found, coral(source.features["video"], target.features["video"]))


def test_a_single_clip_has_no_covariance_to_compare() -> None:
    source, target = _sides()
    assert float(domain_discrepancy(source.rows(1), target, discrepancy="coral")) == 0


def test_an_unknown_feature_is_refused() -> None:
    message = r"discrepancy_at=shared_2: the network has no such feature, only logits, shared_1, video, verb, noun"
    with pytest.raises(ValueError, match=message):
        domain_discrepancy(*_sides(), discrepancy="coral", places=["video", "shared_2"])


def test_the_joint_distribution_of_frames_is_refused() -> None:
    message = r"discrepancy=jan compares videos, but prediction=frames classifies frames; set prediction=video or average"
    with pytest.raises(ValueError, match=message):
        domain_discrepancy(*_sides(rows=3), discrepancy="jan")
