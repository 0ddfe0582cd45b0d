"""The targets of windows against their definitions, cell by cell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zoopraxis.localization import targets as targets_module
from zoopraxis.localization.targets import Targets, boundary_targets, cell_labels, shift_targets, valid_cells

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def _windows(*windows: list[tuple[float, float]], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Segments and their mask; what is not present is not a number."""
    most = max(len(segments) for segments in windows)
    segments_BG2 = torch.full((len(windows), most, 2), torch.nan, dtype=dtype)
    for row, segments in enumerate(windows):
        segments_BG2[row, : len(segments)] = torch.tensor(segments, dtype=dtype).reshape(-1, 2)
    return segments_BG2, ~segments_BG2[..., 0].isnan()


def _random(num_windows: int, num_segments: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    segments_BG2 = torch.rand(num_windows, num_segments, 2, generator=generator, dtype=torch.float64).sort(-1).values
    return segments_BG2, torch.rand(num_windows, num_segments, generator=generator) < 0.7


def _overlap(start: float, stop: float, first: float, last: float) -> float:
    shared = max(0.0, min(stop, last) - max(start, first))
    return shared / ((stop - start) + (last - first) - shared)


def _covered(low: float, high: float, boundary: float, num_steps: int) -> float:
    shared = min(high, boundary + 1.5 / num_steps) - max(low, boundary - 1.5 / num_steps)
    return max(0.0, shared) / (high - low)


@pytest.mark.parametrize(("num_steps", "max_duration"), [(7, 7), (12, 5), (6, 9), (2, 1)])
def test_overlap_is_that_with_the_best_segment(num_steps: int, max_duration: int) -> None:
    segments_BG2, present_BG = _random(2, 4)
    found = boundary_targets(segments_BG2, present_BG, num_steps=num_steps, max_duration=max_duration)
    for window in range(2):
        rows = present_BG[window].nonzero()[:, 0].tolist()
        for d in range(max_duration):
            for t in range(num_steps):
                cell = t / num_steps, (t + d + 1) / num_steps
                overlaps = [_overlap(*cell, *segments_BG2[window, row].tolist()) for row in rows]
                assert found.overlap_BDT[window, d, t].item() == pytest.approx(max(overlaps), rel=1e-6)
                assert found.segment_BDT[window, d, t].item() == rows[overlaps.index(max(overlaps))]


@pytest.mark.parametrize("num_steps", [2, 9, 16])
def test_boundaries_are_the_part_of_two_steps_near_one(num_steps: int) -> None:
    segments_BG2, present_BG = _random(3, 5, seed=1)
    found = boundary_targets(segments_BG2, present_BG, num_steps=num_steps, max_duration=2)
    for side, values_BT in enumerate((found.start_BT, found.end_BT)):
        for window in range(3):
            boundaries = segments_BG2[window, present_BG[window], side].tolist()
            for t in range(num_steps):
                low, high = (t - 0.5) / num_steps, (t + 1.5) / num_steps
                expected = max(_covered(low, high, boundary, num_steps) for boundary in boundaries)
                assert values_BT[window, t].item() == pytest.approx(expected, abs=1e-6)


def test_a_segment_between_steps_is_where_one_sees_it() -> None:
    found = boundary_targets(*_windows([(0.25, 0.75)]), num_steps=8, max_duration=8)
    assert found.overlap_BDT[0].argmax().item() == 3 * 8 + 2
    assert found.overlap_BDT[0, 3, 2].item() == 1
    assert found.start_BT[0].tolist() == [0.5, 1, 1, 0.5, 0, 0, 0, 0]
    assert found.end_BT[0].tolist() == [0, 0, 0, 0, 0.5, 1, 1, 0.5]


def test_windows_without_segments_are_zero_beside_others_and_alone() -> None:
    found = boundary_targets(*_windows([(0.1, 0.6)], [], [(0.0, 1.0), (0.2, 0.4)]), num_steps=10, max_duration=4)
    none = boundary_targets(torch.zeros(1, 0, 2), torch.zeros(1, 0, dtype=torch.bool), num_steps=10, max_duration=4)
    for name in ("start_BT", "end_BT", "overlap_BDT", "segment_BDT"):
        assert not getattr(found, name)[1].any()
        assert not getattr(none, name)[0].any()
        assert getattr(found, name)[0].isfinite().all()
    assert found.segments_BG2[1].eq(0).all()
    assert not cell_labels(none, torch.zeros(1, 0, dtype=torch.int64)).any()
    assert not shift_targets(none).any()


def test_absent_segments_anywhere_change_nothing_but_their_rows() -> None:
    segments_BG2, present_BG = _windows([(0.1, 0.3), (0.5, 0.9)])
    apart_BG2 = torch.tensor([[[torch.nan, 0], [0.1, 0.3], [2, -3], [0.5, 0.9]]], dtype=torch.float64)
    one = boundary_targets(segments_BG2, present_BG, num_steps=9, max_duration=9)
    other = boundary_targets(apart_BG2, torch.tensor([[0, 1, 0, 1]]), num_steps=9, max_duration=9)
    torch.testing.assert_close(other[:3], one[:3], rtol=0, atol=0)
    assert torch.equal(other.segment_BDT, 2 * one.segment_BDT + 1)


def test_the_first_of_equal_segments_is_taken_also_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = _windows([(0.3, 0.4), (0.1, 0.6), (0.1, 0.6), (0.0, 0.0)])
    whole = boundary_targets(*windows, num_steps=11, max_duration=11)
    assert set(whole.segment_BDT.unique().tolist()) == {0, 1}
    monkeypatch.setattr(targets_module, "_CHUNK", {"cpu": 1})
    torch.testing.assert_close(boundary_targets(*windows, num_steps=11, max_duration=11), whole, rtol=0, atol=0)


def test_segments_are_clipped_to_the_window() -> None:
    out = boundary_targets(*_windows([(-0.2, 0.5), (0.7, 1.1)]), num_steps=10, max_duration=10)
    inside = boundary_targets(*_windows([(0.0, 0.5), (0.7, 1.0)]), num_steps=10, max_duration=10)
    torch.testing.assert_close(out, inside, rtol=0, atol=0)
    assert inside.segments_BG2.tolist() == [[[0.0, 0.5], [0.7, 1.0]]]


@pytest.mark.parametrize("num_steps", [8, 91, 210])
def test_cells_are_valid_that_end_with_the_window_however_it_divides(num_steps: int) -> None:
    found = boundary_targets(*_windows([(0.0, 1.0)]), num_steps=num_steps, max_duration=num_steps + 1)
    assert found.valid_DT.sum(1).tolist() == [*range(num_steps, 0, -1), 0]


@pytest.mark.parametrize("num_steps", [8, 91, 99, 100, 200, 210, 400])
def test_rounded_cells_are_those_of_python_floats(num_steps: int) -> None:
    gap = 1.0 / num_steps
    expected = [[gap * t + gap * (d + 1) <= 1.0 for t in range(num_steps)] for d in range(num_steps + 1)]
    found = boundary_targets(*_windows([(0.0, 1.0)]), num_steps=num_steps, max_duration=num_steps + 1, rounded=True)
    assert found.valid_DT.bool().tolist() == expected
    missing = valid_cells(num_steps, num_steps + 1) - found.valid_DT
    assert bool(missing.any()) == (num_steps in (91, 99, 210))
    durations, steps = missing.nonzero().T
    assert (durations + 1 + steps == num_steps).all()


def test_labels_are_those_of_the_best_segments() -> None:
    found = boundary_targets(*_windows([(0.0, 0.25), (0.5, 1.0)], []), num_steps=4, max_duration=2)
    labels_BDT = cell_labels(found, torch.tensor([[7, 3], [9, 9]]))
    assert labels_BDT.dtype == torch.int64
    assert labels_BDT[0].tolist() == [[7, 7, 3, 3], [7, 3, 3, 3]]


def test_shifts_lead_from_the_cells_to_their_segments() -> None:
    segments_BG2, present_BG = _random(2, 3, seed=3)
    found = boundary_targets(segments_BG2, present_BG, num_steps=9, max_duration=6)
    shift_B2DT = shift_targets(found)
    lengths_D1 = torch.arange(1, 7)[:, None] / 9
    centers_BDT = torch.arange(9) / 9 + lengths_D1 / 2 + shift_B2DT[:, 0] * lengths_D1
    halves_BDT = lengths_D1 * shift_B2DT[:, 1].exp() / 2
    expected_BDT2 = torch.stack([segments_BG2[window, found.segment_BDT[window]] for window in range(2)]).float()
    torch.testing.assert_close(torch.stack([centers_BDT - halves_BDT, centers_BDT + halves_BDT], -1), expected_BDT2)


def test_shifts_are_finite_for_segments_without_length() -> None:
    assert not shift_targets(boundary_targets(*_windows([(0.5, 0.5)], []), num_steps=4, max_duration=4)).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int64])
def test_results_are_float32_on_the_segments_device(device: str, dtype: torch.dtype) -> None:
    segments_BG2 = torch.tensor([[[0, 1], [0.5, 0.75]]], dtype=torch.float64).to(device, dtype)
    found = boundary_targets(segments_BG2, torch.tensor([[True, dtype.is_floating_point]]), num_steps=8, max_duration=8)
    kinds = [torch.float32] * 3 + [torch.int64, torch.float32, torch.float64]
    assert [(values.dtype, values.device.type) for values in found] == [(kind, device) for kind in kinds]
    assert found.overlap_BDT[0, 7, 0].item() == 1
    on_cpu = boundary_targets(segments_BG2.cpu(), torch.tensor([[True, dtype.is_floating_point]]), num_steps=8, max_duration=8)
    torch.testing.assert_close(Targets(*(values.cpu() for values in found)), on_cpu)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ((torch.zeros(2, 3), torch.ones(2, 3)), 4, 4),
            r"must have shape \(windows, segments, 2\) .* not \(2, 3\) and",
        ),
        (lambda: ((torch.zeros(2, 3, 2), torch.ones(2, 2)), 4, 4), r"not \(2, 3, 2\) and \(2, 2\)"),
        (lambda: (_windows([(0, 1)]), 1, 4), r"a window needs 2 steps or more and durations of 1 or more, not 1 and 4"),
        (lambda: (_windows([(0, 1)]), 4, 0), r"not 4 and 0"),
        (
            lambda: (_windows([(0, 1)], [(0, 1), (0.5, 0.25)]), 4, 4),
            r"segment 1 of window 1 is from 0\.5 to 0\.25; it must not",
        ),
        (lambda: ((torch.full((1, 1, 2), torch.nan), torch.ones(1, 1)), 4, 4), r"segment 0 of window 0 is from nan to nan"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], tuple[tuple[Tensor, Tensor], int, int]], message: str) -> None:
    segments, num_steps, max_duration = make()
    with pytest.raises(ValueError, match=message):
        boundary_targets(*segments, num_steps=num_steps, max_duration=max_duration)
