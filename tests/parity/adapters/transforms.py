"""Holds `zoopraxis.data.transforms` to the baselines' transforms, which run on Pillow images.

Array names tell the images and the transform: `rgb_test`, `rgb_test_<width>x<height>`, `rgb_train_seed<n>`, `flow_test`,
`flow_train_flipped`. Arrays hold normalized tensors, every few pixels.
"""

from __future__ import annotations

import ast
import random
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.crops import MultiScaleCrop
from zoopraxis.data.transforms import TestTransform, TrainTransform

MEAN_STD = {"rgb": (np.array([0.485, 0.456, 0.406]),) * 2, "flow": (np.array([0.5]), np.array([0.226]))}
SCALES = {"rgb": (1.0, 0.875, 0.75, 0.66), "flow": (1.0, 0.875, 0.75)}
MAX_LEVELS, MIN_FRACTION = 2.0, 0.999

FloatArray = npt.NDArray[np.floating[Any]]


def matches(case: dict[str, Any]) -> bool:
    return str(case["case"]).startswith("c1_transforms")


class PythonGenerator:
    """Python's `random` behind the interface that transforms draw from: one `choice` an integer."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integers(self, low: int, high: int, size: int | None = None) -> Any:
        assert size is None
        return self._random.choice(range(low, high))

    def random(self) -> float:
        return self._random.random()


def check(case: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], context: Any) -> None:
    extra = case.get("extra") or {}
    for name, samples in extra.get("multi_scale_crop_samples", {}).items():
        _check_crops(name, samples)
    groups = _image_groups(case["config"]["images"])
    for name, expected in arrays.items():
        modality, transform, *variant = name.split("_", 2)
        assert modality in MEAN_STD, f"no rule for the array {name!r}"
        frames = _frames(groups, modality, variant, expected.shape, context)
        got = _transformed(case["config"], modality, transform, variant, expected.shape, frames)
        assert _is_near(got, expected, modality), f"{name}: fewer than {MIN_FRACTION:.1%} are within {MAX_LEVELS} levels"
        for wrong in _wrong_versions(got, modality):
            assert not _is_near(wrong, expected, modality), f"{name}: a wrong flip passes too"
        stats = extra.get("full_tensor_stats", {}).get(name)
        if stats:
            assert list(got.shape) == stats["shape"]
            mean, std = (np.resize(value, got.shape[1])[:, None, None] for value in MEAN_STD[modality])
            np.testing.assert_allclose(((got / 255 - mean) / std).mean(), stats["mean"], atol=2e-3, err_msg=name)


def _check_crops(name: str, samples: list[list[int]]) -> None:
    """`samples` are [width, height, left, top] for seeds 0, 1, ..."""
    match = re.search(r"scales=(\[.*?\]) size=(\(.*?\))", name)
    assert match, f"no rule for the crops {name!r}"
    crop, (width, height) = MultiScaleCrop(224, tuple(ast.literal_eval(match[1]))), ast.literal_eval(match[2])
    for seed, sample in enumerate(samples):
        got = crop(height, width, PythonGenerator(seed))
        assert [got.width, got.height, got.left, got.top] == sample, f"{name}, seed {seed}"


def _image_groups(description: str) -> dict[str, tuple[int, int]]:
    """Name of each group of images to their (width, height); a group without a size has the first's."""
    groups: dict[str, tuple[int, int]] = {}
    for name, width, height in re.findall(r"(\w+?)_\d+(?:\.\.\d+)? \((?:(\d+)x(\d+))?", description):
        groups[name] = (int(width), int(height)) if width else next(iter(groups.values()))
    assert groups, f"no images in {description!r}"
    return groups


def _frames(
    groups: dict[str, tuple[int, int]], modality: str, variant: list[str], shape: tuple[int, ...], context: Any
) -> npt.NDArray[np.uint8]:
    """The images of one array as a store would give them."""
    group = modality
    if variant and (size := re.fullmatch(r"(\d+)x(\d+)", variant[0])):
        group = next(name for name, of_group in groups.items() if of_group == (int(size[1]), int(size[2])))
    width, height = groups[group]
    channels = 3 if modality == "rgb" else 1
    num_images = shape[0] * shape[1] // channels
    images = []
    for number in range(num_images):
        small = np.asarray(context.tensor(f"{group}_{number}", (height // 8, width // 8, channels)))
        image = np.clip(128 + 60 * small, 0, 255).astype(np.uint8)
        images.append(image.repeat(8, axis=0).repeat(8, axis=1))
    stacked = np.stack(images)
    if modality == "rgb":
        return stacked
    return np.ascontiguousarray(stacked[..., 0].reshape(-1, 2, height, width).transpose(0, 2, 3, 1))


def _transformed(
    config: dict[str, Any], modality: str, transform: str, variant: list[str], shape: tuple[int, ...], frames: Any
) -> npt.NDArray[np.uint8]:
    segment_length = len(frames) // shape[0]
    if transform == "test":
        return TestTransform(modality=modality, segment_length=segment_length)(frames).numpy()  # type: ignore[arg-type]
    assert transform == "train", f"no rule for the transform {transform!r}"
    named = re.fullmatch(r"seed(\d+)", variant[0]) if variant else None
    generator = PythonGenerator(int(named[1]) if named else config[f"{modality}_train_seed"])
    crop = MultiScaleCrop(224, SCALES[modality])
    train = TrainTransform(crop=crop, modality=modality, segment_length=segment_length)  # type: ignore[arg-type]
    return train(frames, generator).numpy()


def _wrong_versions(clip: npt.NDArray[np.uint8], modality: str) -> list[npt.NDArray[np.uint8]]:
    """What a transform with a wrong flip would give: mirrored, and for flow with u inverted."""
    mirrored = np.ascontiguousarray(clip[..., ::-1])
    if modality == "rgb":
        return [mirrored]
    inverted = clip.copy()
    inverted[:, 0::2] = 255 - inverted[:, 0::2]
    return [mirrored, inverted]


def _is_near(clip: npt.NDArray[np.uint8], expected: FloatArray, modality: str) -> bool:
    """Whether a clip agrees with the pixels that the case holds of it."""
    stride = clip.shape[-1] // expected.shape[-1]
    mean, std = (np.resize(value, expected.shape[1])[:, None, None] for value in MEAN_STD[modality])
    distance = np.abs(clip[..., ::stride, ::stride] - (expected * std + mean) * 255)
    return bool((distance <= MAX_LEVELS).mean() >= MIN_FRACTION)
