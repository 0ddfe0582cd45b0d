"""Crops of training: inside the frame, of the sizes and at the places that they should have."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.data.crops import Cropper, MultiScaleCrop, RandomResizedCrop, RandomShortSideCrop
from zoopraxis.data.sampling import clip_generator


@pytest.mark.parametrize(("height", "width"), [(256, 456), (300, 200), (223, 223), (70, 64)])
@pytest.mark.parametrize(
    "crop", [MultiScaleCrop(224), RandomResizedCrop(), RandomResizedCrop(scale=(0.9, 1.0), ratio=(3.0, 4.0))]
)
def test_crops_lie_inside_the_frame(height: int, width: int, crop: Cropper) -> None:
    for epoch in range(50):
        top, left, crop_height, crop_width, resized = crop(height, width, clip_generator(0, epoch, "a"))
        assert resized is None
        assert crop_height > 0
        assert crop_width > 0
        assert 0 <= top <= height - crop_height
        assert 0 <= left <= width - crop_width


def test_multi_scale_crop_snaps_to_the_output_size_and_stays_near_square() -> None:
    crop = MultiScaleCrop(224, (1.0, 0.875, 0.75))
    sides = {crop(257, 340, clip_generator(0, epoch, "a"))[2:4] for epoch in range(300)}
    assert sides == {(257, 257), (257, 224), (224, 257), (224, 224), (224, 192), (192, 224), (192, 192)}


def test_random_resized_crop_keeps_area_and_ratio_in_bounds() -> None:
    crop = RandomResizedCrop(scale=(0.25, 0.5), ratio=(0.8, 1.25))
    crops = [crop(200, 300, clip_generator(0, epoch, "a")) for epoch in range(200)]
    areas = np.array([c.height * c.width / 60000 for c in crops])
    ratios = np.array([c.width / c.height for c in crops])
    assert 0.24 < areas.min() < 0.3 < 0.45 < areas.max() < 0.51
    assert 0.78 < ratios.min() < 0.85 < 1.15 < ratios.max() < 1.28


@pytest.mark.parametrize(("height", "width"), [(256, 456), (456, 256), (100, 100)])
def test_random_short_side_crop_is_a_square_of_the_resized_frame(height: int, width: int) -> None:
    crop = RandomShortSideCrop(224, (224, 340))
    lengths = set()
    for epoch in range(1000):
        top, left, crop_height, crop_width, resized = crop(height, width, clip_generator(0, epoch, "a"))
        assert resized is not None
        assert (crop_height, crop_width) == (224, 224)
        assert 0 <= top <= resized[0] - 224
        assert 0 <= left <= resized[1] - 224
        assert abs(resized[1] / resized[0] - width / height) < 0.01
        lengths.add(min(resized))
    assert (min(lengths), max(lengths)) == (224, 339)


def test_random_short_side_crop_refuses_bounds_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"short_side \(200, 340\) must ascend and begin at size \(224\) or more"):
        RandomShortSideCrop(224, (200, 340))
    with pytest.raises(ValueError, match=r"short_side \(300, 256\) must ascend"):
        RandomShortSideCrop(224, (300, 256))
