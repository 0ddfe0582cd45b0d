"""Boundary matching: features of every proposal of a window, sampled along it and joined by a convolution over the samples.

The published formulation multiplies the features by a dense mask of T * N * D * T numbers and convolves the (C, N, D, T)
samples of each window. Both are linear, and the samples of a cell (d, t) lie at t + c(d, n). So the convolution goes first: the
kernel of each of the N samples maps the features of each of the T steps, and a cell is the weighted sum of those few rows of
that table between which its samples lie. The weights are a sparse matrix; it is kept by its rows, and for the gradient by its
columns.

B windows, C input features, O output features, T steps, D durations, N samples of a proposal, R rows of a table.

Source: Lin et al., BMN: Boundary-Matching Network for Temporal Action Proposal Generation, ICCV 2019, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BoundaryMatching", "Geometry", "dense_column"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_DIGIT = 16
"""Bits that one pass sorts by."""


class BoundaryMatching(nn.Module):
    """Features of all proposals of a window, without a dense mask.

    The samples of cell (d, t) are spread evenly, both ends included, over the span from t to t + d widened on each side by
    `boundary_ratio` times d + 1 steps. There are `num_samples` times `samples_per_bin` of them, linearly interpolated between
    steps; the mean of each `samples_per_bin` is one. Those outside the window are zero, as are all of a cell that ends after
    it. The weights are buffers that no checkpoint keeps.

    Args:
        num_steps: T.
        max_duration: D; more than T is allowed, and leaves cells that are zero.
        num_samples: N.
        samples_per_bin: Finer samples whose mean each is.
        boundary_ratio: Of the proposal's length; 0: only the proposal itself.

    Raises:
        ValueError: If a number is out of range, or there is but one fine sample, which cannot lie at both ends.

    Differs: published masks are dense, built by three nested loops, and stored in every checkpoint. Their values are kept,
        and with them that a sample less than one step before the window counts as if it lay at its first step.
    """

    cell_offsets: Tensor
    cell_columns: Tensor
    cell_weights: Tensor
    step_offsets: Tensor
    step_columns: Tensor
    step_weights: Tensor

    def __init__(
        self, *, num_steps: int, max_duration: int, num_samples: int, samples_per_bin: int, boundary_ratio: float
    ) -> None:
        super().__init__()
        self.geometry = Geometry(num_steps, max_duration, num_samples, samples_per_bin, float(boundary_ratio))
        self.geometry.check()
        device = torch.get_default_device()
        for name, rows in zip(("cell", "step"), _joined(self.geometry), strict=True):
            for part, values in rows._asdict().items():
                self.register_buffer(f"{name}_{part}", torch.from_numpy(values).to(device), persistent=False)

    def forward(self, features_BCT: Tensor, weight_OCN: Tensor, bias_O: Tensor | None = None) -> Tensor:
        """Sample the proposals and convolve their samples.

        Args:
            features_BCT: Shape (B, C, T).
            weight_OCN: Kernel of the convolution over samples, shape (O, C, N) or (O, C, N, 1, 1). One that is contiguous in
                the order (C, N, O) is not copied.
            bias_O: Shape (O,), or none.

        Returns:
            Shape (B, O, D, T), channels last in memory.

        Raises:
            ValueError: If the shapes do not fit.
        """
        weight = weight_OCN.flatten(2)
        num_outputs, num_channels, num_samples = weight.shape
        self._check_features(features_BCT, num_channels)
        if num_samples != self.geometry.num_samples:
            raise ValueError(f"the kernel has {num_samples} samples, a proposal {self.geometry.num_samples}")
        table = features_BCT.transpose(1, 2) @ weight.permute(1, 2, 0).reshape(num_channels, num_samples * num_outputs)
        cells = (self.cell_offsets, self.cell_columns, self.cell_weights)
        steps = (self.step_offsets, self.step_columns, self.step_weights)
        matched: Tensor = _WeightedSums.apply(
            table.view(len(table), self.geometry.num_steps * num_samples, num_outputs), *cells, *steps
        )
        if bias_O is not None:
            matched = matched.add_(bias_O.to(matched.dtype))
        return matched.view(len(table), self.geometry.max_duration, self.geometry.num_steps, num_outputs).permute(0, 3, 1, 2)

    def sample(self, values_BCT: Tensor) -> Tensor:
        """The samples of all proposals themselves, which take N * D numbers for each that goes in.

        Args:
            values_BCT: Shape (B, C, T).

        Returns:
            Shape (B, C, N, D, T).

        Raises:
            ValueError: If the shape does not fit.
        """
        self._check_features(values_BCT, values_BCT.shape[1])
        geometry = self.geometry
        rows = [torch.from_numpy(values).to(values_BCT.device) for part in _sampled(geometry) for values in part]
        sampled: Tensor = _WeightedSums.apply(values_BCT.transpose(1, 2).contiguous(), *rows)
        shape = (geometry.num_samples, geometry.max_duration, geometry.num_steps)
        return sampled.transpose(1, 2).reshape(*values_BCT.shape[:2], *shape)

    @staticmethod
    def dense_mask(
        *, num_steps: int, max_duration: int, num_samples: int, samples_per_bin: int, boundary_ratio: float
    ) -> Tensor:
        """The published mask, to the last bit, shape (T, N * D * T), float32: for tests, and to know it in checkpoints."""
        geometry = Geometry(num_steps, max_duration, num_samples, samples_per_bin, float(boundary_ratio))
        geometry.check()
        mask = np.empty((num_steps, num_samples, max_duration, num_steps), dtype=np.float32)
        for start in range(num_steps):
            mask[..., start] = dense_column(geometry, start)
        return torch.from_numpy(mask.reshape(num_steps, -1))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.geometry._asdict().items())

    def _check_features(self, features_BCT: Tensor, num_channels: int) -> None:
        expected = (num_channels, self.geometry.num_steps)
        if features_BCT.ndim != 3 or tuple(features_BCT.shape[1:]) != expected:
            raise ValueError(f"features must have shape (B, {expected[0]}, {expected[1]}), not {tuple(features_BCT.shape)}")


class Geometry(NamedTuple):
    """Where the samples of proposals lie; see `BoundaryMatching`."""

    num_steps: int
    max_duration: int
    num_samples: int
    samples_per_bin: int
    boundary_ratio: float

    def check(self) -> None:
        """See that all are in range.

        Raises:
            ValueError: If one is not.
        """
        for name in ("num_steps", "max_duration", "num_samples", "samples_per_bin"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.num_samples * self.samples_per_bin < 2:
            raise ValueError("num_samples * samples_per_bin (1) must be at least 2: samples lie at both ends of a proposal")
        if not self.boundary_ratio >= 0:
            raise ValueError(f"boundary_ratio ({self.boundary_ratio}) must not be negative")

    def positions(self, starts: IntArray, durations: IntArray) -> FloatArray:
        """Where fine samples lie, summed in the published order; the last axis of what is given is 1, or theirs."""
        lengths = durations + 1.0
        first = starts - lengths * self.boundary_ratio
        last = starts + durations + lengths * self.boundary_ratio
        num_fine = self.num_samples * self.samples_per_bin
        return np.asarray(first + (last - first) / (num_fine - 1.0) * np.arange(num_fine))


def dense_column(geometry: Geometry, start: int) -> npt.NDArray[np.float32]:
    """The published mask of the proposals that start at one step, shape (T, N, D), float32."""
    num_steps, max_duration, num_samples, per_bin, _ = geometry
    num_durations = min(max_duration, num_steps - start)
    positions = geometry.positions(np.array([[start]]), np.arange(num_durations)[:, None])
    fractions, lower = np.modf(positions)  # toward zero: what lies less than a step before the window is at its first step
    steps = np.stack([lower, np.ceil(positions)], axis=-1).astype(np.int64)
    weights = np.stack([1 - fractions, fractions], axis=-1)
    durations, fine, side = np.nonzero((steps >= 0) & (steps < num_steps))
    column = np.zeros((num_steps, num_samples, max_duration))
    np.add.at(column, (steps[durations, fine, side], fine // per_bin, durations), weights[durations, fine, side])
    return (1.0 / per_bin * column).astype(np.float32)


class _Rows(NamedTuple):
    """A sparse matrix by rows: row i has the entries from `offsets[i]` to `offsets[i + 1]`."""

    offsets: npt.NDArray[np.int32]
    columns: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]


class _Entries(NamedTuple):
    """Weights of step t + shift in sample n of proposals that last d + 1 steps, for `counts` values of t from `first` on."""

    durations: IntArray
    samples: IntArray
    shifts: IntArray
    weights: FloatArray
    first: IntArray
    counts: IntArray


def _joined(geometry: Geometry) -> tuple[_Rows, _Rows]:
    """Cells by rows of the table, of which that of sample n and step p is p * N + n; and rows of the table by cells."""
    num_steps, max_duration, num_samples, _, _ = geometry
    entries = _entries(geometry)
    cells = entries.durations * num_steps
    columns = entries.shifts * num_samples + entries.samples
    sizes = (max_duration * num_steps, num_steps * num_samples)
    return _both(entries, cells, columns, sizes, column_stride=num_samples)


@lru_cache(maxsize=2)
def _sampled(geometry: Geometry) -> tuple[_Rows, _Rows]:
    """Samples of cells by steps, and steps by samples of cells."""
    num_steps, max_duration, num_samples, _, _ = geometry
    entries = _entries(geometry)
    rows = (entries.samples * max_duration + entries.durations) * num_steps
    return _both(entries, rows, entries.shifts, (num_samples * max_duration * num_steps, num_steps), column_stride=1)


def _both(
    entries: _Entries, rows: IntArray, columns: IntArray, sizes: tuple[int, int], *, column_stride: int
) -> tuple[_Rows, _Rows]:
    """A sparse matrix and its transpose by rows; given are each entry's row and column at t = 0, and how the column grows."""
    counts = entries.counts
    ends = np.cumsum(counts)
    starts = np.arange(ends[-1], dtype=np.int32) + np.repeat((entries.first - ends + counts).astype(np.int32), counts)
    all_rows = np.repeat(rows.astype(np.int32), counts) + starts
    all_columns = np.repeat(columns.astype(np.int32), counts) + starts * column_stride
    weights = np.repeat(entries.weights.astype(np.float32), counts)
    return _by(all_rows, all_columns, weights, sizes[0]), _by(all_columns, all_rows, weights, sizes[1])


def _by(rows: npt.NDArray[np.int32], columns: npt.NDArray[np.int32], weights: npt.NDArray[np.float32], num_rows: int) -> _Rows:
    order = _stable_order(rows, num_rows)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=num_rows))])
    return _Rows(offsets.astype(np.int32), columns[order], weights[order])


def _stable_order(keys: npt.NDArray[np.int32], bound: int) -> IntArray:
    """As `argsort(kind="stable")` of keys below `bound`, by passes of 16 bits, which NumPy sorts in linear time."""
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    for shift in range(_DIGIT, (bound - 1).bit_length(), _DIGIT):
        order = order[np.argsort((keys[order] >> shift).astype(np.uint16), kind="stable")]
    return order


def _entries(geometry: Geometry) -> _Entries:
    """Every weight that is not zero, where both the proposal and the step lie in the window."""
    lower, fractions = _offsets(geometry)
    parts = [*_stencils(geometry, lower, fractions), *_edges(geometry, lower, fractions)]
    return _Entries(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _offsets(geometry: Geometry) -> tuple[IntArray, FloatArray]:
    """The whole steps and the parts of a step from a proposal's start to its fine samples, (durations, fine samples)."""
    durations = np.arange(min(geometry.max_duration, geometry.num_steps))[:, None]
    positions = geometry.positions(np.zeros_like(durations), durations)
    lower = np.floor(positions)
    return lower.astype(np.int64), positions - lower


def _stencils(geometry: Geometry, lower: IntArray, fractions: FloatArray) -> Iterator[_Entries]:
    """For each duration the weights of linear interpolation."""
    fine_samples = np.arange(lower.shape[1]) // geometry.samples_per_bin
    for duration, (low, fraction) in enumerate(zip(lower, fractions, strict=True)):
        least, width = low.min(), int(np.ptp(low)) + 2
        places = np.concatenate([low, low + 1]) - least + width * np.tile(fine_samples, 2)
        weights = np.bincount(places, np.concatenate([1 - fraction, fraction])) / geometry.samples_per_bin
        used = np.flatnonzero(weights)
        samples, shifts = used // width, used % width + least
        first = np.maximum(0, -shifts)
        counts = np.maximum(0, geometry.num_steps - np.maximum(duration, shifts) - first)
        yield _Entries(np.full_like(samples, duration), samples, shifts, weights[used], first, counts)


def _edges(geometry: Geometry, lower: IntArray, fractions: FloatArray) -> Iterator[_Entries]:
    """What the first step has beside linear interpolation, of samples that lie less than one step before it."""
    durations = np.arange(len(lower))[:, None]
    for step, interpolated in ((-2, np.zeros_like(fractions)), (-1, fractions), (0, 1 - fractions)):
        starts = step - lower  # where the sample's lower step is this one, or by rounding its neighbor
        positions = geometry.positions(starts, durations)
        is_valid = (starts >= 0) & (starts + durations < geometry.num_steps)
        rows, fine = np.nonzero(is_valid & (positions > -1) & (positions < 0) & (interpolated < 1))
        weights = (1 - interpolated[rows, fine]) / geometry.samples_per_bin
        first = starts[rows, fine]
        yield _Entries(rows, fine // geometry.samples_per_bin, -first, weights, first, np.ones_like(first))


class _WeightedSums(torch.autograd.Function):
    """Rows of a table, weighted and summed; the gradient is the same by the transposed matrix, and so differentiable again."""

    @staticmethod
    def forward(ctx: Any, tables_BRC: Tensor, *matrices: Tensor) -> Tensor:
        """Multiply each table by a sparse matrix.

        Args:
            ctx: Keeps the matrices.
            tables_BRC: Shape (B, R, C).
            matrices: Offsets, columns and weights of the matrix, then of its transpose; see `_Rows`.

        Returns:
            Shape (B, rows of the matrix, C).
        """
        ctx.save_for_backward(*matrices)
        offsets, columns, weights = matrices[:3]
        tables = tables_BRC.detach().contiguous()
        weights = weights.to(tables.dtype)
        sums = tables.new_empty((len(tables), len(offsets) - 1, tables.shape[2]))
        for number, table in enumerate(tables):
            sums[number] = functional.embedding_bag(
                columns, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
            )
        return sums

    @staticmethod
    def backward(ctx: Any, *arriving: Tensor) -> tuple[Tensor | None, ...]:
        matrices = ctx.saved_tensors
        return (_WeightedSums.apply(arriving[0], *matrices[3:], *matrices[:3]), *(None for _ in matrices))
