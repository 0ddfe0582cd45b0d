"""Distances between the features of two domains: maximum mean discrepancy (DAN, JAN) and covariances (CORAL).

All are computed in float32, under autocast too. The kernel is a sum of Gaussians whose bandwidths grow by a factor.

# N rows of both domains, D features; M rows of the source, then M of the target: N = 2 M
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

__all__ = ["coral", "gaussian_kernel", "joint_mmd", "mmd", "mmd_by_chunks", "mmd_linear"]

Estimator = Literal["full", "neighbors"]

_CHUNK = 256
"""Rows of a domain whose kernel is computed at a time."""
_SMALLEST = 1e-12
"""Bandwidth of rows that all coincide."""


def gaussian_kernel(rows_ND: Tensor, *, num_kernels: int = 5, factor: float = 2.0, bandwidth: float | None = None) -> Tensor:
    """How alike rows are: the sum of exp(-d / b) over bandwidths b, where d is the squared distance.

    Args:
        rows_ND: Rows of both domains.
        num_kernels: Bandwidths: bandwidth * factor^(i - num_kernels // 2) for i = 0, 1, ...
        factor: From one bandwidth to the next.
        bandwidth: The middle one; None: the mean squared distance of different rows, without gradient.

    Returns:
        Shape (N, N), float32, values in (0, num_kernels].
    """
    with torch.autocast(rows_ND.device.type, enabled=False):
        distances_NN = _squared_distances(rows_ND.float())
        num_rows = len(rows_ND)
        middle: Tensor | float = bandwidth or (distances_NN.detach().sum() / (num_rows * (num_rows - 1))).clamp_min(_SMALLEST)
        scaled_NN = distances_NN * (factor ** (num_kernels // 2)) / middle
        return torch.stack([torch.exp(-scaled_NN / factor**index) for index in range(num_kernels)]).sum(0)


def mmd(
    source_MD: Tensor,
    target_MD: Tensor,
    *,
    num_kernels: int = 5,
    factor: float = 2.0,
    bandwidth: float | None = None,
    estimator: Estimator = "full",
) -> Tensor:
    """The squared maximum mean discrepancy of two domains, biased.

    Args:
        source_MD: Rows of the source.
        target_MD: As many rows of the target.
        num_kernels: As of `gaussian_kernel`.
        factor: Likewise.
        bandwidth: Likewise.
        estimator: full: over all pairs of rows; neighbors: over pairs of rows next to each other, round, absolute.

    Returns:
        A scalar, at least 0.

    Raises:
        ValueError: If the domains have different numbers of rows.

    Source: Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML 2015, section 3.
    """
    return joint_mmd(
        [source_MD], [target_MD], num_kernels=[num_kernels], factor=factor, bandwidth=bandwidth, estimator=estimator
    )


def joint_mmd(
    sources: Sequence[Tensor],
    targets: Sequence[Tensor],
    *,
    num_kernels: Sequence[int],
    factor: float = 2.0,
    bandwidth: float | None = None,
    estimator: Estimator = "full",
) -> Tensor:
    """The squared maximum mean discrepancy of the joint distribution of several layers, whose kernels are multiplied.

    Args:
        sources: For each layer (M, D) of the source; D may differ.
        targets: For each layer (M, D) of the target.
        num_kernels: For each layer, as of `gaussian_kernel`.
        factor: As of `gaussian_kernel`.
        bandwidth: Likewise.
        estimator: As of `mmd`.

    Returns:
        A scalar, at least 0.

    Raises:
        ValueError: If the domains have different numbers of rows.

    Source: Long et al., Deep Transfer Learning with Joint Adaptation Networks, ICML 2017, section 4.
    """
    num_source, num_target = len(sources[0]), len(targets[0])
    if num_source != num_target:
        raise ValueError(f"the source has {num_source} rows and the target {num_target}; give as many, e.g. the first ones")
    joint_NN: Tensor | None = None
    for source, target, number in zip(sources, targets, num_kernels, strict=True):
        rows_ND = torch.cat([source.float(), target.float()])
        kernel_NN = gaussian_kernel(rows_ND, num_kernels=number, factor=factor, bandwidth=bandwidth)
        joint_NN = kernel_NN if joint_NN is None else joint_NN * kernel_NN
    assert joint_NN is not None
    within = joint_NN[:num_source, :num_source] + joint_NN[num_source:, num_source:]
    across = joint_NN[:num_source, num_source:] + joint_NN[num_source:, :num_source]
    if estimator == "full":
        return (within - across).mean()
    following = torch.arange(num_source, device=joint_NN.device)
    return (within - across)[following, following.roll(-1)].mean().abs()


def mmd_by_chunks(source_MD: Tensor, target_MD: Tensor, *, num_kernels: int = 5, chunk: int = _CHUNK) -> Tensor:
    """The mean of `mmd` over chunks of rows, each weighted by its rows, so that memory grows with `chunk` squared.

    Differs: the published code fails if the number of rows above 256 is no multiple of it; here the last chunk is smaller.
    """
    chunks = zip(torch.split(source_MD, chunk), torch.split(target_MD, chunk), strict=True)
    distances = [mmd(source, target, num_kernels=num_kernels) * len(source) for source, target in chunks]
    return torch.stack(distances).sum() / len(source_MD)


def mmd_linear(source_MD: Tensor, target_MD: Tensor) -> Tensor:
    """The squared maximum mean discrepancy with a linear kernel: the squared distance of the means."""
    return (source_MD.float().mean(0) - target_MD.float().mean(0)).square().sum()


def coral(source_MD: Tensor, target_MD: Tensor) -> Tensor:
    """The squared Frobenius distance of the features' covariances, over 4 D^2; domains may differ in rows.

    Raises:
        ValueError: If a domain has fewer than two rows.

    Source: Sun and Saenko, Deep CORAL: Correlation Alignment for Deep Domain Adaptation, ECCV 2016 workshops, section 3.1.

    Differs: the published code names CORAL, but has no such function.
    """
    fewest = min(len(source_MD), len(target_MD))
    if fewest < 2:
        raise ValueError(f"coral compares covariances, but a domain has {fewest} rows; give batches of 2 clips or more")
    with torch.autocast(source_MD.device.type, enabled=False):
        distance = (_covariance(source_MD.float()) - _covariance(target_MD.float())).square().sum()
        return distance / (4 * source_MD.shape[1] ** 2)


def _squared_distances(rows_ND: Tensor) -> Tensor:
    """Of all pairs of rows, by one product of matrices; around their mean, so that little cancels."""
    centered_ND = rows_ND - rows_ND.detach().mean(0)
    norms_N = centered_ND.square().sum(1)
    return (norms_N[:, None] + norms_N[None] - 2 * centered_ND @ centered_ND.T).clamp_min(0)


def _covariance(rows_MD: Tensor) -> Tensor:
    centered_MD = rows_MD - rows_MD.mean(0)
    return centered_MD.T @ centered_MD / (len(rows_MD) - 1)
