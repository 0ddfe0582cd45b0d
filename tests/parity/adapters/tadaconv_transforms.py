"""Holds the crops of training and test, which TAdaConv resizes without a low pass, and the operations on color to TAdaConv's.

Array names: `clip_<shape>` is a clip (C, T, H, W) in [0, 1], or the other shape's with its sides exchanged; `<shape>_crop<k>`
the kth of several test crops, `<shape>_center` the only one, `<shape>_random_seed<n>` one of training, drawn by `random`.
The published code works on floats and ours on bytes, so that numbers agree to about one level. `jit_<operation>` and `gray` are
operations on color, which are the same on floats; each must miss the numbers of the clip that it was not applied to.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from zoopraxis.data.colors import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation, to_gray
from zoopraxis.data.crops import RandomShortSideCrop
from zoopraxis.data.transforms import NumCrops, TestTransform, TrainTransform

_COLORS = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}
MAX_LEVELS = 2.0

FloatArray = npt.NDArray[np.floating[Any]]


def matches(case: Mapping[str, Any]) -> bool:
    return "KineticsResizedCrop" in str(case.get("how"))


class PythonGenerator:
    """Python's `random` behind the interface that transforms draw from."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integers(self, low: int, high: int, size: int | None = None) -> Any:
        raise AssertionError("the published crop draws no whole numbers")

    def random(self) -> float:
        return self._random.random()


def check(case: Mapping[str, Any], arrays: Mapping[str, FloatArray], context: Any) -> None:
    short, size, num_crops = _numbers(case["how"], r"short side (\d+), crop (\d+), (\d+) spatial crops")
    checked = 0
    for name, expected in arrays.items():
        if name.startswith("clip_"):
            continue
        if name == "gray" or name.startswith("jit_"):
            _check_color(name, expected, case["how"], arrays, context)
            checked += 1
            continue
        match = re.fullmatch(r"(\w+?)_(?:(center)|crop(\d)|random_seed(\d+))", name)
        assert match, f"no rule for the array {name!r}"
        frames = _frames(arrays, match[1])
        got = {
            antialias: _random_crop(frames, case["how"], size, int(match[4]), antialias)
            if match[4]
            else _test_crop(frames, short, size, num_crops, match[3], antialias)
            for antialias in (False, True)
        }
        levels = (255 * expected).transpose(1, 0, 2, 3)
        worst = np.abs(got[False] - levels).max()
        assert worst <= MAX_LEVELS, f"{name} is off by {worst:.1f} levels"
        assert np.abs(got[True] - levels).max() > MAX_LEVELS, f"{name}: a low pass passes too"
        checked += 1
    assert checked


def _check_color(name: str, expected: FloatArray, how: str, arrays: Mapping[str, FloatArray], context: Any) -> None:
    before = arrays["clip_" + re.findall(r"\bclip_(\w+)", how)[-1]]
    frames = torch.from_numpy(before).movedim(1, 0)
    if name == "gray":
        got = to_gray(frames)
    else:
        operation = name.removeprefix("jit_")
        match = re.search(rf"\b{operation} (-?[\d.]+)", how)
        assert match, f"{how!r} does not tell how much {operation}"
        got = _COLORS[operation](frames, float(match[1]))
    context.assert_close(got.movedim(0, 1), expected, name)
    assert not context.is_close(before, expected), f"{name}: the clip itself passes too"


def _numbers(text: str, pattern: str) -> list[int]:
    match = re.search(pattern, text)
    assert match, f"{pattern!r} is not in {text!r}"
    return [int(number) for number in match.groups()]


def _frames(arrays: Mapping[str, FloatArray], shape: str) -> npt.NDArray[np.uint8]:
    """A clip as a store would give it."""
    clip = arrays.get(f"clip_{shape}")
    if clip is None:
        clip = arrays["clip_tall" if shape == "wide" else "clip_wide"].swapaxes(-1, -2)
    return np.ascontiguousarray(np.round(255 * clip).astype(np.uint8).transpose(1, 2, 3, 0))


def _test_crop(
    frames: npt.NDArray[np.uint8], short: int, size: int, num_crops: int, crop: str | None, antialias: bool
) -> FloatArray:
    """One of several crops, or the only one, which is the middle one of three."""
    number: Any = num_crops if crop else 3
    several: NumCrops = number
    clips = TestTransform(size=size, resize=short, num_crops=several, antialias=antialias)(frames)
    return clips[int(crop or 1)].numpy().astype(np.float64)


def _random_crop(frames: npt.NDArray[np.uint8], how: str, size: int, seed: int, antialias: bool) -> FloatArray:
    low, high = _numbers(how, r"short side U\[(\d+), ?(\d+)\]")
    crop = RandomShortSideCrop(size, (low, high))
    transform = TrainTransform(size=size, crop=crop, flip=0, antialias=antialias)
    return transform(frames, PythonGenerator(seed)).numpy().astype(np.float64)
