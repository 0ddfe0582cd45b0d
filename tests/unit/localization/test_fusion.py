"""Maps of a video from those of its windows, against sums cell by cell."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from zoopraxis.localization.fusion import fuse_at_cells, fuse_windows
from zoopraxis.localization.naming import class_probabilities

T, D, G = 8, 5, 19
PLACES = [np.arange(0, 8), np.arange(5, 13), np.arange(10, 18), np.array([16, 17, 18])]
VALID = torch.tensor([[step + duration + 1 <= T for step in range(T)] for duration in range(D)])


def looped(maps_WRDT: Tensor) -> Tensor:
    """Mean of the valid cells over the windows that they lie in."""
    total, counts = torch.zeros(maps_WRDT.shape[1], maps_WRDT.shape[2], G), torch.zeros(maps_WRDT.shape[2], G)
    for maps, covered in zip(maps_WRDT, PLACES, strict=True):
        for local, place in enumerate(covered.tolist()):
            for duration in range(maps.shape[1]):
                if VALID[duration, local] or maps.shape[1] == 1:
                    total[:, duration, place] += maps[:, duration, local]
                    counts[duration, place] += 1
    return total / counts.clamp(min=1)


def windows(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((4, T), (4, T), (4, 2, D, T), (4, 2, D, T))
    start, end, confidence, shift = (torch.rand(shape, generator=generator) for shape in shapes)
    return start, end, confidence, shift


def test_fused_maps_are_means_over_valid_cells() -> None:
    start, end, confidence, shift = windows()
    fused = fuse_windows(start, end, confidence, PLACES, VALID, num_grid_steps=G, shift_W2DT=shift)
    torch.testing.assert_close(fused.start, looped(start[:, None, None])[0, 0])
    torch.testing.assert_close(fused.end, looped(end[:, None, None])[0, 0])
    torch.testing.assert_close(fused.confidence, looped(confidence))
    torch.testing.assert_close(fused.shift, looped(shift))
    assert fused.confidence[:, 4, 18].tolist() == [looped(confidence)[0, 4, 18].item(), looped(confidence)[1, 4, 18].item()]


def test_steps_without_a_window_are_zero() -> None:
    start, end, confidence, _ = windows()
    fused = fuse_windows(start, end, confidence, PLACES, VALID.float(), num_grid_steps=G + 3)
    assert not fused.start[G:].any()
    assert not fused.confidence[:, :, G:].any()
    assert fused.shift is None


def test_one_whole_window_stays_as_it_is() -> None:
    start, end, confidence, _ = windows()
    fused = fuse_windows(start[:1], end[:1], confidence[:1], [np.arange(T)], VALID, num_grid_steps=T)
    torch.testing.assert_close(fused.start, start[0])
    torch.testing.assert_close(fused.confidence, confidence[0] * VALID)


def test_scores_at_cells_are_those_of_the_fused_maps() -> None:
    logits = torch.randn(4, 3, D, T, generator=torch.Generator().manual_seed(1))
    dense = looped(logits.softmax(dim=1))
    durations, steps = np.array([0, 4, 2, 1, 0, 3]), np.array([6, 3, 11, 17, 18, 0])
    scored = [(covered, partial(class_probabilities, window)) for covered, window in zip(PLACES, logits, strict=True)]
    fused = fuse_at_cells(durations, steps, scored, VALID)
    torch.testing.assert_close(fused, dense[:, durations, steps].T)
    np.testing.assert_allclose(fused.sum(dim=1), np.ones(6), rtol=1e-5)


def test_a_cell_that_is_valid_in_no_window_scores_zero() -> None:
    logits = torch.randn(4, 3, D, T, generator=torch.Generator().manual_seed(1))
    scored = [(covered, partial(class_probabilities, window)) for covered, window in zip(PLACES, logits, strict=True)]
    fused = fuse_at_cells(np.array([4, 0]), np.array([15, 15]), scored, VALID)
    assert not fused[0].any()
    assert fused[1].sum().item() == pytest.approx(1)


def test_windows_without_any_of_the_cells_are_not_asked() -> None:
    def never(durations: np.ndarray, steps: np.ndarray) -> Tensor:
        raise AssertionError("asked")

    def ones(durations: np.ndarray, steps: np.ndarray) -> Tensor:
        return torch.ones(len(steps), 2)

    fused = fuse_at_cells(np.array([0]), np.array([1]), [(PLACES[0], ones), (PLACES[2], never)], VALID)
    assert fused.tolist() == [[1.0, 1.0]]
    with pytest.raises(ValueError, match="none of the 1 cells lies in a window"):
        fuse_at_cells(np.array([0]), np.array([1]), [(PLACES[2], never)], VALID)


def test_refuses_scores_of_another_shape() -> None:
    def wrong(durations: np.ndarray, steps: np.ndarray) -> Tensor:
        return torch.ones(len(steps) + 1, 2)

    with pytest.raises(ValueError, match=r"class scores of 1 cells have shape \(2, 2\)"):
        fuse_at_cells(np.array([0]), np.array([1]), [(PLACES[0], wrong)], VALID)


@pytest.mark.parametrize(
    ("places", "grid", "message"),
    [
        (PLACES[:3], G, r"of as many windows, not 4, 4, 4 and 3"),
        ([*PLACES[:3], np.arange(9)], G, r"window 3 has 8 steps, but is said to cover 9 of the video"),
        (PLACES, G - 1, r"window 3 lies at steps 16 to 18, which must ascend within the video's 18"),
        ([*PLACES[:3], np.array([3, 2])], G, r"window 3 lies at steps 3 to 2, which must ascend"),
    ],
)
def test_refuses_places_that_do_not_fit(places: list[np.ndarray], grid: int, message: str) -> None:
    start, end, confidence, _ = windows()
    with pytest.raises(ValueError, match=message):
        fuse_windows(start, end, confidence, places, VALID, num_grid_steps=grid)


def test_refuses_maps_of_other_durations() -> None:
    start, end, confidence, _ = windows()
    with pytest.raises(ValueError, match=r"maps of \(4, 8\) cells do not fit \(5, 8\) valid ones"):
        fuse_windows(start, end, confidence[:, :, :4], PLACES, VALID, num_grid_steps=G)
