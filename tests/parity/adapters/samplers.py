"""Holds `zoopraxis.data.sampling` to the baselines' frame indices.

Array names are `<kind>_<segments>x<segment length>`; row i belongs to a clip of `lengths[i]` frames.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.sampling import Segments

NOT_COMPARED = {"lengths", "unused_val_start"}
"""`lengths` is the input; the published code has a third rule, `unused_val_start`, that nothing calls."""


def matches(case: dict[str, Any]) -> bool:
    return str(case["case"]).startswith("c1_sampler_indices")


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
            published = _sample(kind, num_frames, Segments(num_segments, segment_length, is_clamped=False), context)
            np.testing.assert_array_equal(published, row, err_msg=f"{name}, {num_frames} frames")
            in_range = _sample(kind, num_frames, Segments(num_segments, segment_length), context)
            np.testing.assert_array_equal(
                in_range, np.clip(row, 0, num_frames - 1), err_msg=f"{name}, {num_frames} frames, mended"
            )
        compared += 1
    assert compared, f"{case['case']} has no array that an adapter knows"


def _sample(kind: str, num_frames: int, sampler: Segments, context: Any) -> npt.NDArray[np.int64]:
    """Frames, or for the kinds that hold starts only the first frame of each segment."""
    assert kind in {"test_start", "test_frames", "train_start_seed=n"}, f"no rule for arrays of the kind {kind!r}"
    is_drawn = kind.startswith("train")
    frames = sampler.train(num_frames, context.legacy_generator(num_frames)) if is_drawn else sampler.test(num_frames)
    return frames if kind == "test_frames" else frames[:: sampler.segment_length]
