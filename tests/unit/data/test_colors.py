"""Color adjustments: the numbers of torchvision, the range and memory of what came in, one draw for all frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from zoopraxis.data.colors import (
    ColorJitter,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    to_gray,
)
from zoopraxis.data.sampling import clip_generator

ADJUSTMENTS = [
    (adjust_brightness, vision.adjust_brightness, 1.3),
    (adjust_brightness, vision.adjust_brightness, 0.4),
    (adjust_contrast, vision.adjust_contrast, 0.6),
    (adjust_contrast, vision.adjust_contrast, 1.7),
    (adjust_saturation, vision.adjust_saturation, 1.4),
    (adjust_saturation, vision.adjust_saturation, 0.0),
    (adjust_hue, vision.adjust_hue, 0.2),
    (adjust_hue, vision.adjust_hue, -0.5),
]
Adjust = Callable[[Tensor, float], Tensor]


def noise(num_frames: int = 3, height: int = 18, width: int = 22) -> Tensor:
    """uint8 frames, channels-last, with gray, black and white among their pixels."""
    frames = np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
    frames[0, 0, :3] = [[0, 0, 0], [255, 255, 255], [90, 90, 90]]
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("ours", "theirs", "amount"), ADJUSTMENTS)
def test_bytes_are_torchvisions_to_one_level(ours: Adjust, theirs: Adjust, amount: float) -> None:
    frames = noise()
    before = frames.clone()
    got = ours(frames, amount)
    assert got.dtype == torch.uint8
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert (got.int() - theirs(frames, amount).int()).abs().max() <= 1
    assert (got.int() - frames.int()).abs().max() > 20
    assert torch.equal(frames, before)


@pytest.mark.parametrize(("ours", "theirs", "amount"), ADJUSTMENTS)
def test_floats_are_torchvisions_but_for_its_rounder_weight_of_red(ours: Adjust, theirs: Adjust, amount: float) -> None:
    frames = noise().double() / 255
    torch.testing.assert_close(ours(frames, amount), theirs(frames, amount), rtol=0, atol=1.1e-4)


def test_one_frame_may_stand_alone() -> None:
    frames = noise()
    for adjust in (adjust_hue, adjust_contrast):
        assert torch.equal(adjust(frames[1], 0.3), adjust(frames, 0.3)[1])


def test_gray_is_the_same_in_all_channels_and_weighs_them() -> None:
    frames = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8).T.reshape(1, 3, 1, 3)
    assert to_gray(frames)[0, :, 0].tolist() == [[76, 150, 29]] * 3
    values = to_gray(frames.float() / 255)[0, 0, 0]
    torch.testing.assert_close(values, torch.tensor([0.299, 0.587, 0.114]))


def test_a_shift_of_the_hue_is_bounded() -> None:
    with pytest.raises(ValueError, match=r"the shift of the hue \(0\.6\) must be from -0\.5 to 0\.5 of a turn"):
        adjust_hue(noise(), 0.6)


def test_a_clip_is_jittered_as_one() -> None:
    jitter = ColorJitter(probability=1, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25)
    frame = noise(1)
    clip = frame.repeat(4, 1, 1, 1)
    jittered = [jitter(clip, clip_generator(0, epoch, "a")) for epoch in range(4)]
    for one in jittered:
        assert one.dtype == torch.uint8
        assert torch.equal(one, one[:1].expand_as(one))
    assert not torch.equal(jittered[0], jittered[1])
    assert torch.equal(jittered[0], jitter(clip, clip_generator(0, 0, "a")))


def test_probabilities_are_kept() -> None:
    clip = noise(1)
    for jitter, least, most in (
        (ColorJitter(probability=0.3, brightness=0.9), 15, 45),
        (ColorJitter(grayscale=0.3), 15, 45),
        (ColorJitter(probability=0, brightness=0.9, grayscale=0), 0, 0),
        (ColorJitter(probability=1), 0, 0),
    ):
        changed = sum(not torch.equal(jitter(clip, clip_generator(0, epoch, "a")), clip) for epoch in range(100))
        assert least <= changed <= most


def test_factors_are_drawn_around_1_and_never_below_0() -> None:
    jitter = ColorJitter(probability=1, brightness=1.5)
    gray = torch.full((1, 3, 1, 1), 0.1, dtype=torch.float64)
    factors = np.array([jitter(gray, clip_generator(0, epoch, "a"))[0, 0, 0, 0].item() / 0.1 for epoch in range(200)])
    assert factors.min() >= 0
    assert factors.max() <= 2.5
    assert factors.max() - factors.min() > 2.3


def test_the_order_of_the_adjustments_is_random() -> None:
    jitter = ColorJitter(probability=1, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25)
    orders = {tuple(adjust.__name__ for adjust, _ in jitter._draw(clip_generator(0, epoch, "a"))) for epoch in range(200)}
    assert len(orders) == 24


def test_gray_comes_before_the_jitter() -> None:
    jitter = ColorJitter(probability=1, saturation=1.0, hue=0.5, grayscale=1)
    clip = noise(2)
    torch.testing.assert_close(jitter(clip, clip_generator(0, 0, "a")), to_gray(clip), rtol=0, atol=1)
