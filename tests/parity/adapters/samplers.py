"""Holds `zoopraxis.data.sampling` to the baselines' frame indices.

Array names are `<kind>_<segments>x<segment length>`; row i belongs to a clip of `lengths[i]` frames.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.sampling import sample_segments

NOT_COMPARED = {"lengths", "unused_val_start"}
"""`lengths` is the input; the published code has a third rule, `unused_val_start`, that nothing calls."""


def matches(case: dict[str, Any]) -> bool:
    return str(case["case"]).startswith("c1_sampler_indices")


class LegacyGenerator:
    """NumPy's old generator behind the interface that samplers draw from: one `randint` a call."""

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed)

    def integers(self, low: int, high: int, size: int | None = None) -> Any:
        return self._state.randint(low, high, size=size)

    def random(self) -> float:
        return self._state.random_sample()


def check(case: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], context: Any) -> None:
    compared = 0
    for name, expected in arrays.items():
        match = re.fullmatch(r"(.+)_(\d+)x(\d+)", name)
        kind = match[1] if match else name
        if kind in NOT_COMPARED:
            continue
        assert match, f"no rule for the array {name!r}"
        num_segments, segment_length = int(match[2]), int(match[3])
        for num_frames, row in zip(arrays["lengths"].tolist(), expected, strict=True):
            published = _sample(kind, num_frames, num_segments, segment_length, clamp=False)
            np.testing.assert_array_equal(published, row, err_msg=f"{name}, {num_frames} frames")
            in_range = _sample(kind, num_frames, num_segments, segment_length, clamp=True)
            np.testing.assert_array_equal(
                in_range, np.clip(row, 0, num_frames - 1), err_msg=f"{name}, {num_frames} frames, mended"
            )
        compared += 1
    assert compared, f"{case['case']} has no array that an adapter knows"


def _sample(kind: str, num_frames: int, num_segments: int, segment_length: int, *, clamp: bool) -> npt.NDArray[np.int64]:
    """Frames, or for the kinds that hold starts only the first frame of each segment."""
    assert kind in {"test_start", "test_frames", "train_start_seed=n"}, f"no rule for arrays of the kind {kind!r}"
    generator = LegacyGenerator(num_frames) if kind.startswith("train") else None
    frames = sample_segments(
        num_frames, num_segments=num_segments, segment_length=segment_length, generator=generator, clamp=clamp
    )
    return frames if kind == "test_frames" else frames[::segment_length]
