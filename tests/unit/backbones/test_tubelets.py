"""Tubelets, and positions for clips of other sizes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from zoopraxis.backbones.tubelets import (
    TubeletStem,
    resize_frame_positions,
    resize_grid_positions,
    resize_time_positions,
    tubelet_grid,
)


def test_each_token_is_of_one_tubelet() -> None:
    stem = TubeletStem(3, 5, patch_size=4, tubelet_size=2)
    clip = torch.randn(2, 6, 3, 8, 12)
    tokens = stem(clip)
    assert tokens.shape == (2, 3, 2, 3, 5)
    tubelet = clip[1, 2:4, :, 4:8, 8:12].transpose(0, 1).flatten()
    expected = stem.conv1.weight.flatten(1) @ tubelet + stem.conv1.bias
    torch.testing.assert_close(tokens[1, 1, 1, 2], expected)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ((5, 8, 8), r"num_frames \(5\) must be divisible by tubelet_size \(2\); try 4 or 6"),
        ((4, 9, 8), r"the height \(9\) must be divisible by patch_size \(4\); try 8 or 12"),
        ((4, 8, 3), r"the width \(3\) must be divisible by patch_size \(4\); try 4"),
    ],
)
def test_clips_that_cannot_be_cut_are_refused(view: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TubeletStem(3, 5, patch_size=4, tubelet_size=2).check_view(*view)


def test_grid() -> None:
    assert tubelet_grid(32, 224, 2, 16) == (16, 14, 14)
    with pytest.raises(ValueError, match=r"image_size \(225\) must be divisible by patch_size \(16\); try 224 or 240"):
        tubelet_grid(32, 225, 2, 16)


def test_positions_of_frames_are_resized_bilinearly_but_for_the_class_token() -> None:
    positions = torch.randn(1, 1 + 9, 4)
    assert resize_frame_positions(positions, (3, 3)) is positions
    resized = resize_frame_positions(positions, (5, 2))
    assert torch.equal(resized[:, 0], positions[:, 0])
    grid = positions[0, 1:].reshape(3, 3, 4).permute(2, 0, 1)[None]
    expected = functional.interpolate(grid, size=(5, 2), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resized[0, 1:].reshape(5, 2, 4), expected[0].permute(1, 2, 0))


def test_positions_in_time_are_resized_linearly() -> None:
    positions = torch.tensor([9.0, 0.0, 1.0]).reshape(1, 3, 1)
    assert resize_time_positions(positions, 2) is positions
    torch.testing.assert_close(resize_time_positions(positions, 4).flatten(), torch.tensor([9.0, 0.0, 0.25, 0.75, 1.0]))


def test_positions_of_a_clip_are_resized_in_space_and_time() -> None:
    places, times = torch.randn(1, 1 + 4, 3), torch.randn(1, 1 + 2, 3)

    def add(places: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        grid = times[:, 1:, None] + places[:, None, 1:]
        return torch.cat([places[:, :1] + times[:, :1], grid.flatten(1, 2)], dim=1)

    resized = resize_grid_positions(add(places, times), (2, 2, 2), (5, 3, 4))
    expected = add(resize_frame_positions(places, (3, 4)), resize_time_positions(times, 5))
    torch.testing.assert_close(resized, expected)
