"""Each domain is normalized by its own statistics, or by what the mixing says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.adaptation.norms import DomainNorms

DIM = 3


def _frames(num_source: int = 4, num_target: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(num_source, 2, DIM, generator=generator)
    return torch.cat([source, 3 + 2 * torch.randn(num_target, 2, DIM, generator=generator)])


def _by_hand(values: Tensor) -> Tensor:
    mean, variance = values.mean(dim=(0, 1)), values.var(dim=(0, 1), correction=0)
    return (values - mean) / (variance + 1e-5).sqrt()


def test_each_domain_has_its_own_statistics() -> None:
    norms, frames = DomainNorms(DIM), _frames()
    found = norms(frames, 4)
    torch.testing.assert_close(found, torch.cat([_by_hand(frames[:4]), _by_hand(frames[4:])]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norms.source.running_mean, 0.1 * frames[:4].mean(dim=(0, 1)))
    torch.testing.assert_close(norms.target.running_mean, 0.1 * frames[4:].mean(dim=(0, 1)))


@pytest.mark.parametrize(("num_source", "used"), [(0, "target"), (10, "source")])
def test_a_batch_of_one_domain_leaves_the_other_norm_alone(num_source: int, used: str) -> None:
    norms = DomainNorms(DIM, mixing="learned")
    norms(_frames(), num_source, torch.ones(1))
    assert {name: int(norm.num_batches_tracked) for name, norm in norms.named_children()} == {
        "source": int(used == "source"),
        "target": int(used == "target"),
    }


def test_learned_mixing_averages_the_statistics_of_both_domains() -> None:
    norms, frames = DomainNorms(DIM, mixing="learned"), _frames()
    alpha = nn.Parameter(torch.tensor([0.7]))
    found = norms(frames, 4, alpha)
    source, target = frames[:4].flatten(0, 1), frames[4:].flatten(0, 1)
    mean = 0.7 * source.mean(0) + 0.3 * target.mean(0)
    variance = 0.7 * source.square().mean(0) + 0.3 * target.square().mean(0) - mean.square()
    torch.testing.assert_close(found[:4], (frames[:4] - mean) / (variance + 1e-5).sqrt(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norms.source.running_mean, 0.1 * mean)
    unbiased = variance * len(source) / (len(source) - 1)
    torch.testing.assert_close(norms.source.running_var, 0.9 * torch.ones(DIM) + 0.1 * unbiased)


@pytest.mark.parametrize("value", [0.2, 0.5, 0.7, 1.0, 1.3])
def test_learned_alpha_always_has_a_gradient(value: float) -> None:
    norms, alpha = DomainNorms(DIM, mixing="learned"), nn.Parameter(torch.tensor([value]))
    (norms(_frames(), 4, alpha)[:4] * torch.arange(24.0).view(4, 2, 3)).sum().backward()
    assert alpha.grad is not None
    assert abs(alpha.grad.item()) > 1e-3


def test_learned_mixing_of_whole_parts_is_that_of_own_norms() -> None:
    frames = _frames()
    torch.testing.assert_close(
        DomainNorms(DIM, mixing="learned")(frames, 4, torch.ones(1)), DomainNorms(DIM)(frames, 4), rtol=1e-4, atol=1e-5
    )


def test_the_published_exchange_sends_the_last_clips_through_the_other_norm() -> None:
    norms, frames = DomainNorms(DIM, mixing="published"), _frames()
    found = norms(frames, 4, torch.tensor([0.5]))
    by_source = _by_hand(torch.cat([frames[:2], frames[7:]]))
    by_target = _by_hand(torch.cat([frames[4:7], frames[2:4]]))
    torch.testing.assert_close(found[:2], by_source[:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[2:4], by_target[3:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[4:7], by_target[:3], rtol=1e-4, atol=1e-5)
    # What the published code takes for the target's last clips.
    torch.testing.assert_close(found[7:], found[1:4], rtol=0, atol=0)


def test_the_published_exchange_gives_a_smaller_target_more_clips_than_it_has() -> None:
    norms, frames = DomainNorms(DIM, mixing="published"), _frames(8, 2)
    found = norms(frames, 8, torch.tensor([0.5]))
    by_source = _by_hand(torch.cat([frames[:4], frames[9:]]))
    by_target = _by_hand(torch.cat([frames[8:9], frames[4:8]]))
    torch.testing.assert_close(found[:8], torch.cat([by_source[:4], by_target[1:]]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[8], by_target[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[9], found[7], rtol=0, atol=0)


def test_the_published_exchange_needs_domains_of_like_size() -> None:
    norms = DomainNorms(DIM, mixing="published")
    message = r"^the published AutoDIAL at alpha 0\.50 cannot exchange between 2 clips of the source and 9 of the target; "
    with pytest.raises(ValueError, match=message):
        norms(_frames(2, 9), 2, torch.tensor([0.5]))


@pytest.mark.parametrize("mixing", ["learned", "published"])
def test_nothing_is_mixed_in_evaluation(mixing: str) -> None:
    norms, frames = DomainNorms(DIM, mixing=mixing).eval(), _frames()
    together = norms(frames, 4, torch.tensor([0.5]))
    torch.testing.assert_close(together, torch.cat([norms(frames[:4], 4), norms(frames[4:], 0)]), rtol=0, atol=0)
