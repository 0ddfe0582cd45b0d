"""Distances between domains against their definitions, pair by pair."""

from __future__ import annotations

import math

import pytest
import torch

from zoopraxis.adaptation.discrepancy import coral, gaussian_kernel, joint_mmd, mmd, mmd_by_chunks, mmd_linear


def _rows(count: int, width: int = 6, *, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + shift


def _kernel(rows: list[list[float]], i: int, j: int, num_kernels: int) -> float:
    def distance(a: int, b: int) -> float:
        return math.dist(rows[a], rows[b]) ** 2

    n = len(rows)
    mean = sum(distance(a, b) for a in range(n) for b in range(n)) / (n * n - n)
    return sum(math.exp(-distance(i, j) / (mean / 2 ** (num_kernels // 2) * 2**k)) for k in range(num_kernels))


@pytest.mark.parametrize("num_kernels", [2, 5])
def test_the_kernel_of_each_pair(num_kernels: int) -> None:
    rows = _rows(5)
    found = gaussian_kernel(rows, num_kernels=num_kernels)
    expected = [[_kernel(rows.tolist(), i, j, num_kernels) for j in range(5)] for i in range(5)]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_a_given_bandwidth_is_the_middle_one() -> None:
    rows = torch.tensor([[0.0], [3.0]])
    found = gaussian_kernel(rows, num_kernels=3, bandwidth=9.0)
    assert found[0, 1].item() == pytest.approx(math.exp(-2) + math.exp(-1) + math.exp(-0.5))


def test_the_kernel_is_exact_far_from_the_origin() -> None:
    torch.testing.assert_close(gaussian_kernel(_rows(8) + 300), gaussian_kernel(_rows(8)), rtol=1e-3, atol=1e-4)


def test_rows_that_coincide_have_no_discrepancy_and_a_finite_gradient() -> None:
    rows = torch.ones(4, 3, requires_grad=True)
    distance = mmd(rows, torch.ones(4, 3))
    distance.backward()
    assert distance.item() == 0
    assert rows.grad is not None
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize("estimator", ["full", "neighbors"])
def test_the_discrepancy_grows_with_the_shift_of_a_domain(estimator: str) -> None:
    near, far = (
        mmd(_rows(16), _rows(16, seed=1, shift=shift), estimator=estimator)  # type: ignore[arg-type]
        for shift in (0.0, 2.0)
    )
    assert 0 <= near < far


def test_the_gradient_is_that_of_the_plain_formula() -> None:
    source, target = _rows(6).double().requires_grad_(), _rows(6, seed=1, shift=1).double()
    rows = torch.cat([source, target])
    distances = (rows[:, None] - rows[None]).square().sum(2)
    middle = distances.detach().sum() / (12 * 11)
    kernel = torch.stack([torch.exp(-distances / (middle / 4 * 2**k)) for k in range(5)]).sum(0)
    plain = (kernel[:6, :6] + kernel[6:, 6:] - kernel[:6, 6:] - kernel[6:, :6]).mean()
    (expected,) = torch.autograd.grad(plain, source)
    (found,) = torch.autograd.grad(mmd(source, target), source)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_joint_kernels_are_multiplied() -> None:
    sources, targets = [_rows(4), _rows(4, 3, seed=1)], [_rows(4, seed=2), _rows(4, 3, seed=3)]
    first, second = (gaussian_kernel(torch.cat(pair), num_kernels=n) for *pair, n in zip(sources, targets, (2, 5), strict=True))
    joint = first * second
    expected = joint[:4, :4].mean() + joint[4:, 4:].mean() - 2 * joint[:4, 4:].mean()
    torch.testing.assert_close(joint_mmd(sources, targets, num_kernels=[2, 5]), expected)


def test_domains_of_different_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the source has 3 rows and the target 4; give as many, e\.g\. the first ones"):
        mmd(_rows(3), _rows(4))


def test_the_last_chunk_may_be_smaller() -> None:
    source, target = _rows(10), _rows(10, seed=1, shift=1)
    expected = (4 * mmd(source[:4], target[:4]) + 4 * mmd(source[4:8], target[4:8]) + 2 * mmd(source[8:], target[8:])) / 10
    torch.testing.assert_close(mmd_by_chunks(source, target, chunk=4), expected)
    torch.testing.assert_close(mmd_by_chunks(source, target), mmd(source, target))


def test_the_linear_discrepancy_is_the_distance_of_means() -> None:
    source, target = _rows(5), _rows(5, seed=1)
    delta = source - target
    torch.testing.assert_close(mmd_linear(source, target), (delta @ delta.T).mean())


def test_coral_compares_covariances_and_not_means() -> None:
    source, target = _rows(7), _rows(9, seed=1)
    expected = (torch.cov(source.T) - torch.cov(target.T)).square().sum() / (4 * 6**2)
    torch.testing.assert_close(coral(source, target), expected)
    assert coral(source, source + 5).item() == pytest.approx(0, abs=1e-8)


def test_coral_of_one_clip_is_refused() -> None:
    message = r"coral compares covariances, but a domain has 1 rows; give batches of 2 clips or more"
    with pytest.raises(ValueError, match=message):
        coral(_rows(4), _rows(1))


def test_distances_are_float32_under_autocast() -> None:
    source, target = _rows(8), _rows(8, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.stack([mmd(source.bfloat16(), target.bfloat16()), coral(source.bfloat16(), target.bfloat16())])
    expected = torch.stack([mmd(source, target), coral(source, target)])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.03, atol=1e-3)
