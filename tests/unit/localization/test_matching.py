"""Boundary matching without a dense mask: the same numbers as with one, and exact gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from zoopraxis.localization.matching import BoundaryMatching

GEOMETRIES = [
    (12, 7, 4, 3, 0.5),
    (7, 11, 3, 2, 0.25),  # proposals longer than the window
    (9, 9, 2, 1, 0.0),  # samples on steps only, none outside
    (10, 4, 1, 3, 1.0),
    (21, 21, 5, 4, 0.3),
    (1, 1, 2, 1, 0.5),
]
"""Steps, durations, samples, finer samples of each, widening."""


def _geometry(sizes: tuple[int, int, int, int, float]) -> dict[str, Any]:
    names = ("num_steps", "max_duration", "num_samples", "samples_per_bin", "boundary_ratio")
    return dict(zip(names, sizes, strict=True))


def _sampled(features_BCT: Tensor, geometry: dict[str, Any]) -> Tensor:
    """The published formulation, (B, C, N, D, T)."""
    mask = BoundaryMatching.dense_mask(**geometry).to(features_BCT.dtype)
    sizes = geometry["num_samples"], geometry["max_duration"], geometry["num_steps"]
    return (features_BCT @ mask).unflatten(2, sizes)


@pytest.mark.parametrize("sizes", GEOMETRIES)
def test_matching_is_the_convolved_product_with_the_mask(sizes: tuple[int, int, int, int, float]) -> None:
    torch.manual_seed(0)
    geometry = _geometry(sizes)
    matching = BoundaryMatching(**geometry)
    operands = [torch.randn(2, 6, sizes[0]), torch.randn(5, 6, sizes[2]), torch.randn(5)]
    arriving = torch.randn(2, 5, sizes[1], sizes[0])
    found, expected = [[operand.clone().requires_grad_() for operand in operands] for _ in range(2)]
    matched = matching(*found)
    dense = torch.nn.functional.conv3d(_sampled(expected[0], geometry), expected[1][..., None, None], expected[2]).squeeze(2)
    torch.testing.assert_close(matched, dense, rtol=1e-5, atol=1e-5)
    matched.backward(arriving)
    dense.backward(arriving)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", GEOMETRIES)
def test_samples_are_the_product_with_the_mask(sizes: tuple[int, int, int, int, float]) -> None:
    features_BCT = torch.randn(2, 3, sizes[0], generator=torch.Generator().manual_seed(0))
    geometry = _geometry(sizes)
    torch.testing.assert_close(BoundaryMatching(**geometry).sample(features_BCT), _sampled(features_BCT, geometry))


def test_a_proposal_is_sampled_evenly_between_its_widened_ends() -> None:
    matching = BoundaryMatching(num_steps=20, max_duration=8, num_samples=5, samples_per_bin=1, boundary_ratio=0.5)
    ramp_BCT = torch.arange(20.0)[None, None]
    # Step 6 to step 9, 4 steps long: from 6 - 2 to 9 + 2.
    assert matching.sample(ramp_BCT)[0, 0, :, 3, 6].tolist() == pytest.approx([4, 5.75, 7.5, 9.25, 11])


def test_proposals_that_end_after_the_window_are_zero() -> None:
    matching = BoundaryMatching(num_steps=6, max_duration=8, num_samples=4, samples_per_bin=3, boundary_ratio=0.5)
    is_inside = torch.arange(8)[:, None] + torch.arange(6) < 6
    is_sampled = (matching.sample(torch.ones(1, 1, 6)) != 0).any(dim=2)[0, 0]
    assert torch.equal(is_sampled, is_inside)
    kernel, bias = torch.randn(2, 3, 4), torch.tensor([1.0, -2.0])
    matched = matching(torch.randn(1, 3, 6), kernel, bias)
    assert torch.equal(matched[0, :, ~is_inside], bias[:, None].expand(2, int((~is_inside).sum())))


def test_a_sample_just_before_the_window_counts_as_its_first_step() -> None:
    matching = BoundaryMatching(num_steps=5, max_duration=1, num_samples=2, samples_per_bin=1, boundary_ratio=0.25)
    # One step from step 0, widened by a quarter: samples at -0.25 and 0.25.
    assert matching.sample(torch.tensor([[[8.0, 4, 0, 0, 0]]]))[0, 0, :, 0, 0].tolist() == [8, 7]


def test_gradients_are_exact_to_the_second_order() -> None:
    torch.manual_seed(0)
    matching = BoundaryMatching(num_steps=6, max_duration=4, num_samples=3, samples_per_bin=2, boundary_ratio=0.5).double()
    operands = [torch.randn(*size, dtype=torch.float64, requires_grad=True) for size in ((2, 2, 6), (3, 2, 3), (3,))]
    assert torch.autograd.gradcheck(matching, operands)
    assert torch.autograd.gradgradcheck(matching, operands)
    assert torch.autograd.gradcheck(matching.sample, operands[:1])


def test_neither_the_state_nor_memory_holds_a_mask() -> None:
    matching = BoundaryMatching(num_steps=40, max_duration=40, num_samples=32, samples_per_bin=3, boundary_ratio=0.5)
    assert matching.state_dict() == {}
    mask_size = 40 * 32 * 40 * 40
    assert sum(buffer.numel() for buffer in matching.buffers()) < mask_size / 4


def test_the_output_is_channels_last() -> None:
    matching = BoundaryMatching(num_steps=6, max_duration=4, num_samples=3, samples_per_bin=2, boundary_ratio=0.5)
    matched = matching(torch.randn(2, 3, 6), torch.randn(8, 3, 3))
    assert matched.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_works_in_low_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    matching = BoundaryMatching(num_steps=12, max_duration=6, num_samples=4, samples_per_bin=3, boundary_ratio=0.5)
    operands = [torch.randn(2, 8, 12), (torch.randn(16, 8, 4) / 6).requires_grad_(), torch.randn(16)]
    with torch.autocast("cpu", dtype=dtype):
        matched = matching(*operands)
    assert matched.dtype == dtype
    torch.testing.assert_close(matched.float(), matching(*operands), rtol=0.05, atol=0.05)
    matched.sum().backward()
    assert operands[1].grad is not None
    assert operands[1].grad.dtype == torch.float32


def test_the_kernel_of_a_convolution_does() -> None:
    torch.manual_seed(0)
    matching = BoundaryMatching(num_steps=6, max_duration=4, num_samples=3, samples_per_bin=2, boundary_ratio=0.5)
    features_BCT, kernel = torch.randn(1, 2, 6), torch.randn(4, 2, 3)
    assert torch.equal(matching(features_BCT, kernel[..., None, None]), matching(features_BCT, kernel))


def test_a_copy_has_buffers_of_its_own() -> None:
    matching = BoundaryMatching(num_steps=6, max_duration=4, num_samples=3, samples_per_bin=2, boundary_ratio=0.5)
    copied = copy.deepcopy(matching)
    copied.cell_weights.zero_()
    assert matching(torch.ones(1, 2, 6), torch.ones(4, 2, 3)).abs().max() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, r"num_steps \(0\) must be at least 1"),
        ({"max_duration": 0}, r"max_duration \(0\) must be at least 1"),
        ({"num_samples": 1, "samples_per_bin": 1}, r"num_samples \* samples_per_bin \(1\) must be at least 2"),
        ({"boundary_ratio": -0.5}, r"boundary_ratio \(-0\.5\) must not be negative"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoundaryMatching(**{**_geometry(GEOMETRIES[0]), **changes})


def test_other_shapes_are_refused() -> None:
    matching = BoundaryMatching(**_geometry(GEOMETRIES[0]))
    with pytest.raises(ValueError, match=r"features must have shape \(B, 6, 12\), not \(2, 6, 11\)"):
        matching(torch.zeros(2, 6, 11), torch.zeros(5, 6, 4))
    with pytest.raises(ValueError, match="the kernel has 3 samples, a proposal 4"):
        matching(torch.zeros(2, 6, 12), torch.zeros(5, 6, 3))
    with pytest.raises(ValueError, match=r"features must have shape \(B, 6, 12\), not \(2, 6, 11\)"):
        matching.sample(torch.zeros(2, 6, 11))
