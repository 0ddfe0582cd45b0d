"""RandAugment: what timm does to a frame, done to a clip."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from torch import Tensor

from zoopraxis.data.rand_augment import OPERATIONS, RandAugment
from zoopraxis.data.sampling import clip_generator

GEOMETRIC = {"Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"}
LEVELS = (0.0, 0.34, 0.9, 0.99)
Frame = npt.NDArray[np.uint8]


def smooth_clip(num_frames: int = 2, height: int = 40, width: int = 56) -> Tensor:
    """uint8 frames of soft blobs, channels-last."""
    seeds = torch.randn(num_frames, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    blobs = torch.nn.functional.interpolate(seeds, (height, width), mode="bicubic")
    return (110 + 50 * blobs).clamp(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def by_timm(frame: Frame, name: str, strength: float, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Frame:
    """One frame by timm, on mid gray."""
    arguments = [] if auto_augment.LEVEL_TO_ARG[name] is None else [strength]
    operation = auto_augment.NAME_TO_OP[name]
    return np.asarray(operation(Image.fromarray(frame), *arguments, resample=resample, fillcolor=(128, 128, 128)))


def strengths_of(name: str) -> list[float]:
    signs = (1, -1) if OPERATIONS[name].is_signed else (1,)
    return [OPERATIONS[name].strength(level * sign) for level in LEVELS for sign in signs]


def test_the_operations_are_timms() -> None:
    assert list(OPERATIONS) == auto_augment._RAND_INCREASING_TRANSFORMS


@pytest.mark.parametrize("name", OPERATIONS)
def test_magnitudes_are_timms(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    to_arguments = auto_augment.LEVEL_TO_ARG[name]
    if to_arguments is None:
        assert OPERATIONS[name].strength(0.9) == 0
        return
    for level in (0.0, 0.13, 0.5, 0.87, 0.99):
        for sign in (1, -1) if OPERATIONS[name].is_signed else (1,):
            monkeypatch.setattr(auto_augment.random, "random", lambda sign=sign: 0.75 if sign < 0 else 0.25)
            (expected,) = to_arguments(10 * level, {})
            assert OPERATIONS[name].strength(sign * level) == pytest.approx(expected)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in GEOMETRIC])
def test_values_are_timms_to_one_level(name: str) -> None:
    clip = smooth_clip()
    before = clip.clone()
    for strength in strengths_of(name):
        got = RandAugment.apply(clip, [(name, strength)])
        assert got.dtype == torch.uint8
        for ours, frame in zip(got.permute(0, 2, 3, 1).numpy(), clip.permute(0, 2, 3, 1).numpy(), strict=True):
            assert np.abs(ours.astype(int) - by_timm(frame, name, strength)).max() <= 1, strength
    assert torch.equal(clip, before)


@pytest.mark.parametrize("name", sorted(GEOMETRIC))
def test_pixels_move_as_timms(name: str) -> None:
    """Where nothing from outside the frame comes in; ramps stay so by any cubic kernel, and that of Rotate is another."""
    y, x = np.mgrid[:40, :56]
    ramps = np.stack([4 * x, 6 * y, 2 * x + 3 * y], axis=-1).astype(np.uint8)
    frame = ramps if name == "Rotate" else smooth_clip(1)[0].permute(1, 2, 0).numpy()
    inner = np.zeros_like(frame)
    inner[3:-3, 3:-3] = 255
    clip = torch.from_numpy(np.stack([frame, frame[::-1].copy()])).permute(0, 3, 1, 2)
    before = clip.clone()
    for strength in strengths_of(name):
        ours = RandAugment.apply(clip, [(name, strength)])[0].permute(1, 2, 0).numpy().astype(int)
        is_inner = by_timm(inner, name, strength, Image.Resampling.BILINEAR).min(-1) == 255
        assert is_inner.sum() > 300
        assert np.abs(ours - by_timm(frame, name, strength))[is_inner].max() <= 1, strength
        assert strength == 0 or np.abs(ours - frame)[is_inner].max() > 10, strength
    assert torch.equal(clip, before)


def test_what_comes_from_outside_is_gray() -> None:
    clip = torch.full((1, 3, 20, 20), 250, dtype=torch.uint8)
    moved = RandAugment.apply(clip, [("TranslateXRel", 0.5)])
    assert (moved[..., 12:] == 128).all()
    assert (moved[..., :8] == 250).all()


def test_the_strongest_posterizing_leaves_one_bit() -> None:
    posterize = OPERATIONS["PosterizeIncreasing"]
    assert posterize.apply(smooth_clip(), posterize.strength(1.0)).unique().tolist() == [0, 128]


def test_a_flat_frame_has_no_contrast_to_stretch() -> None:
    clip = torch.full((1, 3, 4, 4), 70, dtype=torch.uint8)
    assert torch.equal(RandAugment.apply(clip, [("AutoContrast", 0.0)]), clip)


def test_all_frames_are_treated_alike() -> None:
    augment = RandAugment(num_ops=4)
    frame = smooth_clip(1)
    for epoch in range(8):
        clip = augment(frame.repeat(3, 1, 1, 1), clip_generator(0, epoch, "a"))
        assert torch.equal(clip, clip[:1].expand_as(clip))
        assert torch.equal(clip, augment(frame.repeat(3, 1, 1, 1), clip_generator(0, epoch, "a")))


def test_what_is_drawn() -> None:
    augment = RandAugment(num_ops=4, magnitude=9, magnitude_std=0.5, probability=0.5)
    draws = [augment.draw(clip_generator(0, epoch, "a")) for epoch in range(2000)]
    drawn = [entry for draw in draws for entry in draw]
    assert len(drawn) == pytest.approx(2000 * 4 * 0.5, rel=0.05)
    counts = Counter(name for name, _ in drawn)
    assert set(counts) == set(OPERATIONS)
    assert max(counts.values()) < 1.5 * min(counts.values())
    degrees = np.array([strength for name, strength in drawn if name == "Rotate"])
    assert 0.35 < (degrees > 0).mean() < 0.65
    assert np.abs(degrees).max() <= 30
    assert np.abs(degrees).mean() == pytest.approx(27, abs=0.5)
    assert np.abs(degrees).std() == pytest.approx(1.5, abs=0.3)


def test_nothing_is_done_without_operations_or_probability() -> None:
    clip = smooth_clip()
    for augment in (RandAugment(num_ops=0), RandAugment(num_ops=4, probability=0)):
        assert augment(clip, clip_generator(0, 0, "a")) is clip
