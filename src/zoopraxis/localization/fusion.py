"""Maps of a long video from those of its windows: the mean over the windows that a cell lies in.

The steps of a video form a grid, of which each window covers a part: its first steps lie at the grid's steps that it names, one
after another, and what it has beyond them is padding. A cell counts where it is valid in the window, that is where its segment
ends inside.

Maps of classes are large (K x D times those of starts), and of a video only few cells are asked for: `fuse_at_cells` gives the
same means for these cells alone.

W windows, T steps of a window, D durations, G steps of the video's grid, P cells, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["FusedMaps", "fuse_at_cells", "fuse_windows"]

IntArray = npt.NDArray[np.int64]
CellScores = Callable[[IntArray, IntArray], Tensor]
"""Takes durations (P,) and steps (P,) of a window's cells; gives their class scores (P, K)."""


class FusedMaps(NamedTuple):
    """Maps of a whole video.

    Attributes:
        start: Probability of a start at each step of the grid, zero where no window lies, shape (G,).
        end: Probability of an end, shape (G,).
        confidence: Predicted overlap and probability of a great one, zero where a cell is valid in no window, shape (2, D, G).
        shift: Predicted shifts, if the windows have them, shape (2, D, G).
    """

    start: Tensor
    end: Tensor
    confidence: Tensor
    shift: Tensor | None


def fuse_windows(
    start_WT: Tensor,
    end_WT: Tensor,
    confidence_W2DT: Tensor,
    grid_steps: Sequence[npt.NDArray[np.integer]],
    valid_DT: Tensor,
    *,
    num_grid_steps: int,
    shift_W2DT: Tensor | None = None,
) -> FusedMaps:
    """Average the maps of a video's windows on the video's grid.

    Args:
        start_WT: Probability of a start at each step of each window, shape (W, T).
        end_WT: Probability of an end.
        confidence_W2DT: Predicted overlap and probability of a great one, shape (W, 2, D, T).
        grid_steps: Of each window, where its first steps lie on the grid: ascending indices, at most T of them.
        valid_DT: Cells that count, bool or 0 and 1, shape (D, T).
        num_grid_steps: Length of the grid, G.
        shift_W2DT: Predicted shifts, averaged alike.

    Returns:
        The maps of the video, float32, on the device of the windows' maps.

    Raises:
        ValueError: If shapes do not fit together, or a window's steps lie outside the grid.

    Source: Qing et al., A Stronger Baseline for Ego-Centric Action Detection, 2021; its published code.
    """
    num_windows, num_steps = start_WT.shape
    if not len(end_WT) == len(confidence_W2DT) == len(grid_steps) == num_windows:
        counts = f"{num_windows}, {len(end_WT)}, {len(confidence_W2DT)} and {len(grid_steps)}"
        raise ValueError(f"starts, ends, maps and places must be of as many windows, not {counts}")
    if confidence_W2DT.shape[2:] != valid_DT.shape:
        raise ValueError(f"maps of {tuple(confidence_W2DT.shape[2:])} cells do not fit {tuple(valid_DT.shape)} valid ones")
    _check_grid_steps(grid_steps, num_steps, num_grid_steps)
    valid = valid_DT.to(start_WT.device, torch.float32)
    rows_WRT = [start_WT[:, None], end_WT[:, None], torch.ones_like(start_WT)[:, None]]
    cells_WRDT = [confidence_W2DT * valid] if shift_W2DT is None else [confidence_W2DT * valid, shift_W2DT * valid]
    cells_WRDT.append(valid.expand(num_windows, 1, *valid.shape))
    sums_RG = _add(torch.cat(rows_WRT, dim=1).float(), grid_steps, num_grid_steps)
    sums_RDG = _add(torch.cat(cells_WRDT, dim=1).float(), grid_steps, num_grid_steps)
    start, end = sums_RG[:2] / sums_RG[2].clamp(min=1)
    means = sums_RDG[:-1] / sums_RDG[-1].clamp(min=1)
    return FusedMaps(start, end, means[:2], None if shift_W2DT is None else means[2:])


def fuse_at_cells(
    durations_P: npt.NDArray[np.integer],
    steps_P: npt.NDArray[np.integer],
    windows: Iterable[tuple[npt.NDArray[np.integer], CellScores]],
    valid_DT: Tensor,
) -> Tensor:
    """Average class scores over the windows of a video, only at some cells of its map.

    The same numbers as averaging whole maps of classes over the windows and looking the cells up.

    Args:
        durations_P: Duration of each cell, d, in [0, D).
        steps_P: Its step on the video's grid.
        windows: Of each window, where its first steps lie on the grid (ascending), and the function that scores cells of the
            window; it is called once, with those of the cells that are valid in it, and not at all if there are none.
        valid_DT: Cells of a window that count, shape (D, T).

    Returns:
        Class scores, shape (P, K), float32, on the device of the windows' scores; zero for cells that are valid in no window.

    Raises:
        ValueError: If no window has any of the cells, so that nothing tells how many classes there are, or if the scores of a
            window have another shape than (cells, K).
    """
    durations, steps = np.asarray(durations_P, dtype=np.int64), np.asarray(steps_P, dtype=np.int64)
    valid = valid_DT.detach().cpu().numpy().astype(np.bool_)
    counts = np.zeros(len(steps), dtype=np.int64)
    total: Tensor | None = None
    for covered, score in windows:
        rows, local = _cells_inside(steps, np.asarray(covered, dtype=np.int64))
        counted = valid[durations[rows], local]
        rows, local = rows[counted], local[counted]
        if not len(rows):
            continue
        scores_PK = score(durations[rows], local).float()
        if total is None:
            total = scores_PK.new_zeros(len(steps), scores_PK.shape[1])
        if scores_PK.shape != (len(rows), total.shape[1]):
            raise ValueError(f"class scores of {len(rows)} cells have shape {tuple(scores_PK.shape)}, not (cells, classes)")
        total.index_add_(0, torch.from_numpy(rows).to(total.device), scores_PK)
        counts[rows] += 1
    if total is None:
        raise ValueError(f"none of the {len(steps)} cells lies in a window; name only cells that have a score")
    return total / torch.from_numpy(counts).to(total.device).clamp(min=1)[:, None]


def _add(values_WRxT: Tensor, grid_steps: Sequence[npt.NDArray[np.integer]], num_grid_steps: int) -> Tensor:
    """Sums of windows on the grid, shape (R, ..., G)."""
    total = values_WRxT.new_zeros(*values_WRxT.shape[1:-1], num_grid_steps)
    for values, covered in zip(values_WRxT, grid_steps, strict=True):
        index = torch.as_tensor(np.asarray(covered, dtype=np.int64)).to(total.device)
        total.index_add_(total.ndim - 1, index, values[..., : len(index)])
    return total


def _cells_inside(steps_P: IntArray, covered: IntArray) -> tuple[IntArray, IntArray]:
    """Rows of the cells whose step a window covers, and their step in the window."""
    places = np.searchsorted(covered, steps_P)
    rows = np.flatnonzero(places < len(covered))
    rows = rows[covered[places[rows]] == steps_P[rows]]
    return rows, places[rows]


def _check_grid_steps(grid_steps: Sequence[npt.NDArray[np.integer]], num_steps: int, num_grid_steps: int) -> None:
    for number, covered in enumerate(grid_steps):
        if len(covered) > num_steps:
            raise ValueError(f"window {number} has {num_steps} steps, but is said to cover {len(covered)} of the video")
        if len(covered) and (covered[0] < 0 or covered[-1] >= num_grid_steps or (np.diff(covered) <= 0).any()):
            span = f"{covered[0]} to {covered[-1]}"
            raise ValueError(f"window {number} lies at steps {span}, which must ascend within the video's {num_grid_steps}")
