"""Which frames of a clip are looked at.

A clip of n frames is cut into K equal spans (segments); each gives L consecutive frames (L = 1 for RGB, 5 pairs for flow).
NumPy only.

Source: Wang et al., Temporal Segment Networks, ECCV 2016, section 3.1, as the EPIC-KITCHENS-100 baselines run it.
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Generator", "IntArray", "clip_generator", "sample_segments", "sample_views"]

IntArray = npt.NDArray[np.int64]


class Generator(Protocol):
    """What samplers and transforms draw from; `numpy.random.Generator` is one."""

    def integers(self, low: int, high: int, size: int | None = None) -> Any:
        """A number, or `size` numbers, uniform in [low, high)."""
        ...

    def random(self) -> float:
        """A number uniform in [0, 1)."""
        ...


def clip_generator(seed: int, epoch: int, clip_id: str) -> np.random.Generator:
    """The generator of one clip in one epoch.

    It depends on its arguments alone: not on the clip's row, on the worker that reads it, or on what was drawn before. So a run
    resumed in the middle of an epoch, or one on a part of the clips, sees the same augmentation.
    """
    digest = hashlib.blake2b(clip_id.encode(), digest_size=16).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch, *words])))


def sample_segments(
    num_frames: int,
    *,
    num_segments: int,
    segment_length: int = 1,
    generator: Generator | None = None,
    clamp: bool = True,
) -> IntArray:
    """Pick `segment_length` consecutive frames from each of `num_segments` equal spans of a clip.

    With `generator` (training) the start is uniform inside its span; a clip with fewer places than spans, but more frames than
    spans, gives sorted uniform starts, and a shorter one starts at its first frame throughout. Without `generator` (validation
    and test) the start is the span's center.

    Differs: in a clip shorter than a segment the published indices run from below 0 to `num_frames`, which no store can read.
    Here they stay in range: the first or last frame is repeated. `clamp=False` gives the published indices.

    Returns:
        Frame indices, shape (num_segments * segment_length,), int64, segment after segment, each in [0, num_frames).

    Raises:
        ValueError: If a count is not positive.

    Source: EPIC-KITCHENS-100 action recognition baselines, `TsnDataset`: the random rule, and its rule for tests, which the
    baselines use for validation too.
    """
    if generator is None:
        return sample_views(num_frames, num_clips=1, num_segments=num_segments, segment_length=segment_length, clamp=clamp)
    _check_counts(num_frames=num_frames, num_segments=num_segments, segment_length=segment_length)
    num_places = num_frames - segment_length + 1
    span = num_places // num_segments
    if span > 0:
        starts = np.arange(num_segments) * span + generator.integers(0, span, size=num_segments)
    elif num_frames > num_segments and num_places > 0:
        starts = np.sort(generator.integers(0, num_places, size=num_segments))
    else:
        starts = np.zeros(num_segments, dtype=np.int64)
    return _expand(starts, num_frames, segment_length, clamp=clamp)


def sample_views(
    num_frames: int, *, num_clips: int, num_segments: int, segment_length: int = 1, clamp: bool = True
) -> IntArray:
    """Pick the frames of `num_clips` test views that lie evenly between each other.

    View v takes each span at the fraction (v + 1/2) / num_clips; one view alone is the test rule of `sample_segments`.

    Returns:
        Frame indices, shape (num_clips * num_segments * segment_length,), int64, view after view.

    Raises:
        ValueError: If a count is not positive.
    """
    _check_counts(num_frames=num_frames, num_clips=num_clips, num_segments=num_segments, segment_length=segment_length)
    span = (num_frames - segment_length + 1) / num_segments
    fractions_V1 = (np.arange(num_clips)[:, None] + 0.5) / num_clips
    starts_VK = np.trunc(span * fractions_V1 + span * np.arange(num_segments))
    return _expand(starts_VK.reshape(-1), num_frames, segment_length, clamp=clamp)


def _expand(starts: npt.NDArray[Any], num_frames: int, segment_length: int, *, clamp: bool) -> IntArray:
    frames: IntArray = (starts.astype(np.int64)[:, None] + np.arange(segment_length)).reshape(-1)
    return frames.clip(0, num_frames - 1) if clamp else frames.clip(None, num_frames)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} ({count}) must be at least 1")
