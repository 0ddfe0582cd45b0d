"""What the boundary-matching network is to predict, made from the segments in a window.

B windows, G segments, T steps, D durations. A cell (d, t) of a map is the proposal [t/T, (t+d+1)/T] of the window. Segments are
parts of the window, [0, 1]; windows have unequal numbers of them, so `present_BG` says which are any.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Targets", "boundary_targets", "cell_labels", "shift_targets", "valid_cells"]

_BOUNDARY_STEPS = 3
"""A segment's start (end) is a zone of so many steps about it."""
_CHUNK = {"cpu": 1 << 17}
"""Numbers worked on at once, so that they stay in a CPU's cache; elsewhere `_LARGE_CHUNK`."""
_LARGE_CHUNK = 1 << 25
_SEGMENTS_AT_ONCE = 8
"""Of which so many segments are compared in a chunk, where there are so many."""


class Targets(NamedTuple):
    """What the maps of B windows should be.

    Attributes:
        start_BT: How much of the two steps about each step's beginning is near a segment's start, float32, in [0, 1].
        end_BT: And near a segment's end.
        overlap_BDT: Intersection over union of each cell with the segment that it fits best, float32, also of cells that reach
            past the window.
        segment_BDT: Which segment that is, int64; the first of those that fit equally well, 0 in windows without segments.
        valid_DT: Whether each cell ends inside the window, float32, 0 or 1.
        segments_BG2: The segments, clipped to the window, zeros where none is present, float64.
    """

    start_BT: Tensor  # noqa: N815
    end_BT: Tensor  # noqa: N815
    overlap_BDT: Tensor  # noqa: N815
    segment_BDT: Tensor  # noqa: N815
    valid_DT: Tensor  # noqa: N815
    segments_BG2: Tensor  # noqa: N815


def boundary_targets(
    segments_BG2: Tensor, present_BG: Tensor, *, num_steps: int, max_duration: int, rounded: bool = False
) -> Targets:
    """The targets of B windows, on the device of the segments. Windows without a segment get zeros.

    The overlaps are computed in float64, whatever the segments' precision, and in chunks: beside the results no more than a few
    hundred megabytes are needed (a few on a CPU). The boundaries are computed in the segments' own precision, for a step whose
    target is exactly one half (a segment that starts at the beginning of a step) counts as a boundary or not by rounding.

    Args:
        segments_BG2: Starts and stops as parts of the window, clipped to [0, 1] here. float64 as the published training has it,
            float32 works, too.
        present_BG: Which of them are any, bool; the others' numbers are not looked at.
        num_steps: Steps of a window, T.
        max_duration: Steps of the longest cell, D; may exceed T.
        rounded: See `valid_cells`.

    Raises:
        ValueError: If the shapes do not fit together, T < 2 or D < 1, or a segment that is present stops before it starts
            or is not a number.

    Differs: mmaction2 and the EPIC baseline fail for a window without segments. The EPIC baseline's map is filled wrongly
        unless D = T.

    Source: Lin et al., BMN: Boundary-Matching Network for Temporal Action Proposal Generation, ICCV 2019, section 4.1.
    """
    segments_BG2, present_BG = _checked(segments_BG2, present_BG, num_steps, max_duration)
    zone = _BOUNDARY_STEPS / num_steps
    starts_BT, ends_BT = (_nearness(segments_BG2[..., side], present_BG, zone, num_steps) for side in (0, 1))
    exact_BG2 = segments_BG2.to(_exact_dtype(segments_BG2.device))
    overlap_BDT, segment_BDT = _best_overlaps(exact_BG2, present_BG, num_steps, max_duration)
    valid_DT = valid_cells(num_steps, max_duration, rounded=rounded).to(segments_BG2.device)
    return Targets(starts_BT, ends_BT, overlap_BDT, segment_BDT, valid_DT, exact_BG2)


def valid_cells(num_steps: int, max_duration: int, *, rounded: bool = False) -> Tensor:
    """Whether each cell ends inside the window, (D, T), float32, 0 or 1.

    Args:
        num_steps: Steps of a window, T.
        max_duration: Steps of the longest cell, D; may exceed T.
        rounded: As TAdaConv has it: ends are compared as float64 parts of the window, which leaves out some cells that end
            exactly with it (with T = 91, 99 or 210, but not with 100, 200 or 400). Without, the steps are counted.
    """
    steps_T = torch.arange(num_steps, dtype=torch.float64)
    durations_D1 = torch.arange(1, max_duration + 1, dtype=torch.float64)[:, None]
    gap, end = (1.0 / num_steps, 1.0) if rounded else (1.0, float(num_steps))
    return (gap * steps_T + gap * durations_D1 <= end).float()


def cell_labels(targets: Targets, labels_BG: Tensor) -> Tensor:
    """The class of the segment that each cell fits best, (B, D, T), int64.

    Args:
        targets: Of the windows.
        labels_BG: Class of each segment, int64; whatever stands where no segment is present is what windows without any get.
    """
    num_windows, num_segments = labels_BG.shape
    if num_segments == 0:
        return torch.zeros_like(targets.segment_BDT)
    rows_BN = targets.segment_BDT.reshape(num_windows, -1)
    return labels_BG.to(torch.int64).gather(1, rows_BN).reshape(targets.segment_BDT.shape)


def shift_targets(targets: Targets) -> Tensor:
    """By how much each cell misses the segment that it fits best, (B, 2, D, T), float32.

    First the distance from the cell's center to the segment's, in lengths of the cell; then the logarithm of the segment's
    length over the cell's. Zeros where the segment has no length and in windows without segments. What
    `localization.proposals` decodes from it is the segment.

    Differs: TAdaConv predicts such a map, but has neither targets nor a loss for it.
    """
    num_durations, num_steps = targets.valid_DT.shape
    segments_BG2 = targets.segments_BG2
    if segments_BG2.shape[1] == 0:
        return targets.overlap_BDT.new_zeros(len(segments_BG2), 2, num_durations, num_steps)
    centers_BDT, lengths_BDT = (
        values_BG.float().gather(1, targets.segment_BDT.flatten(1)).reshape(targets.segment_BDT.shape)
        for values_BG in (segments_BG2.mean(-1), segments_BG2[..., 1] - segments_BG2[..., 0])
    )
    steps = torch.arange(num_steps, device=segments_BG2.device)
    lengths_D1 = torch.arange(1, num_durations + 1, device=segments_BG2.device)[:, None] / num_steps
    cell_centers_DT = steps / num_steps + lengths_D1 / 2
    shift_B2DT = torch.stack([(centers_BDT - cell_centers_DT) / lengths_D1, (lengths_BDT / lengths_D1).log()], dim=1)
    return shift_B2DT.where((lengths_BDT > 0)[:, None], 0.0)


def _checked(segments_BG2: Tensor, present_BG: Tensor, num_steps: int, max_duration: int) -> tuple[Tensor, Tensor]:
    """Segments clipped to the window, zeros where none is present, floating; and the mask as bool."""
    if segments_BG2.ndim != 3 or segments_BG2.shape[-1] != 2 or present_BG.shape != segments_BG2.shape[:2]:
        raise ValueError(
            f"segments must have shape (windows, segments, 2) and present (windows, segments), "
            f"not {tuple(segments_BG2.shape)} and {tuple(present_BG.shape)}"
        )
    if num_steps < 2 or max_duration < 1:
        raise ValueError(f"a window needs 2 steps or more and durations of 1 or more, not {num_steps} and {max_duration}")
    if not segments_BG2.is_floating_point() or segments_BG2.dtype.itemsize < torch.float32.itemsize:
        segments_BG2 = segments_BG2.float()
    present_BG = present_BG.to(segments_BG2.device, torch.bool)
    is_ordered_BG = segments_BG2[..., 0] <= segments_BG2[..., 1]
    if bool((present_BG & ~is_ordered_BG).any()):
        window, row = (present_BG & ~is_ordered_BG).nonzero()[0].tolist()
        start, stop = segments_BG2[window, row].tolist()
        raise ValueError(f"segment {row} of window {window} is from {start:g} to {stop:g}; it must not stop before it starts")
    return segments_BG2.clamp(0, 1).where(present_BG[..., None], 0), present_BG


def _exact_dtype(device: torch.device) -> torch.dtype:
    """float64 but on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64


def _nearness(boundaries_BG: Tensor, present_BG: Tensor, zone: float, num_steps: int) -> Tensor:
    """The greatest part of [(t - 1/2)/T, (t + 3/2)/T] that a zone about a boundary covers, (B, T), float32."""
    if boundaries_BG.shape[1] == 0:
        return torch.zeros(len(boundaries_BG), num_steps, device=boundaries_BG.device)
    steps_T = torch.arange(num_steps, dtype=_exact_dtype(boundaries_BG.device), device=boundaries_BG.device)
    gap = 1.0 / num_steps
    lows_T, highs_T = gap * (steps_T - 0.5), gap * (steps_T + 1.5)
    from_BG1, to_BG1 = (boundaries_BG - zone / 2)[..., None], (boundaries_BG + zone / 2)[..., None]
    shared_BGT = (torch.minimum(highs_T.to(to_BG1), to_BG1) - torch.maximum(lows_T.to(to_BG1), from_BG1)).clamp(min=0)
    parts_BGT = shared_BGT / (highs_T - lows_T)
    return parts_BGT.where(present_BG[..., None], 0).amax(1).float()


def _best_overlaps(segments_BG2: Tensor, present_BG: Tensor, num_steps: int, max_duration: int) -> tuple[Tensor, Tensor]:
    """Each cell's greatest overlap, (B, D, T), float32, and the first segment that it has it with, int64."""
    gap, (dtype, device) = 1.0 / num_steps, (segments_BG2.dtype, segments_BG2.device)
    starts_T = gap * torch.arange(num_steps, dtype=dtype, device=device)
    stops_DT = starts_T + gap * torch.arange(1, max_duration + 1, dtype=dtype, device=device)[:, None]
    size = (len(segments_BG2), max_duration, num_steps)
    overlap_BDT = torch.zeros(size, device=device)
    segment_BDT = torch.zeros(size, dtype=torch.int64, device=device)
    chunk = _CHUNK.get(device.type, _LARGE_CHUNK)
    num_durations = min(max_duration, max(1, chunk // (_SEGMENTS_AT_ONCE * num_steps)))
    for window, rows_S in enumerate(_rows(present_BG)):
        if len(rows_S):
            segments_S2 = segments_BG2[window, rows_S]
            for first in range(0, max_duration, num_durations):
                block = slice(first, first + num_durations)
                best_DT, place_DT = _best_of(segments_S2, starts_T, stops_DT[block], chunk)
                overlap_BDT[window, block], segment_BDT[window, block] = best_DT, rows_S[place_DT]
    return overlap_BDT, segment_BDT


def _best_of(segments_S2: Tensor, starts_T: Tensor, stops_DT: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """The greatest overlap of some cells with the segments of one window, (D, T), and the row of the first that has it."""
    lengths_DT = stops_DT - starts_T
    best_DT, row_DT = torch.full_like(stops_DT, -1), torch.zeros_like(stops_DT, dtype=torch.int64)
    num_segments = max(1, chunk // stops_DT.numel())
    for first in range(0, len(segments_S2), num_segments):
        begins_P11, ends_P11 = segments_S2[first : first + num_segments].T[..., None, None]
        shared_PDT = torch.minimum(stops_DT, ends_P11).sub_(torch.maximum(starts_T, begins_P11)).clamp_(min=0)
        overlaps_PDT = shared_PDT / (lengths_DT - shared_PDT).add_(ends_P11).sub_(begins_P11)
        found_DT, place_DT = overlaps_PDT.max(0)
        is_better_DT = found_DT > best_DT
        best_DT, row_DT = found_DT.where(is_better_DT, best_DT), (place_DT + first).where(is_better_DT, row_DT)
    return best_DT, row_DT


def _rows(present_BG: Tensor) -> Iterator[Tensor]:
    """The places of each window's segments, on the device of the mask, with one wait for that device."""
    for is_present_G in present_BG.cpu():
        yield is_present_G.nonzero()[:, 0].to(present_BG.device)
