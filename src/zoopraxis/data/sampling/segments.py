"""Rules that take one frame from each of T equal parts of a clip.

# n frames a clip, T places, L consecutive frames from each, V views
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.sampling.base import SAMPLERS, Generator, IntArray, Sampler, stack_frames
from zoopraxis.data.sampling.spacing import even_float32

__all__ = [
    "Segments",
    "SegmentsMmaction2",
    "SegmentsSlowfast",
    "SegmentsTadaconv",
    "SegmentsTanet",
]


@SAMPLERS.register("segments")
@dataclass(frozen=True)
class Segments(Sampler):
    """A random place in each of T equal spans in training; in tests each span's center, or V places evenly between each other.

    In training a clip with fewer places than spans, but more frames than spans, gives sorted random places, and a shorter one
    its first frame throughout. In tests view v of V takes each span at the fraction (v + 1/2) / V.

    Differs: in a clip shorter than L the published indices run from below 0 to n, which no store can read. Here they stay in
    range: the first or last frame is repeated.

    Attributes:
        is_clamped: False gives the published indices.

    Source: Wang et al., Temporal Segment Networks, ECCV 2016, section 3.1, as the EPIC-KITCHENS-100 action recognition
    baselines run it (`TsnDataset`): their random rule, and their rule for tests, which they use for validation too.
    """

    is_clamped: bool = True

    def _train_places(self, num_frames: int, generator: Generator, frame_rate: float) -> npt.NDArray[Any]:
        return _random_starts(num_frames, self.num_segments, self.segment_length, generator)

    def _test_places(self, num_frames: int, num_clips: int, frame_rate: float) -> npt.NDArray[Any]:
        return _spread_starts(num_frames - self.segment_length + 1, num_clips, self.num_segments)

    def _stack(self, places: npt.NDArray[Any], num_frames: int) -> IntArray:
        if self.is_clamped:
            return super()._stack(places, num_frames)
        return stack_frames(places, self.segment_length).clip(None, num_frames)


@SAMPLERS.register("segments_mmaction2")
@dataclass(frozen=True)
class SegmentsMmaction2(Sampler):
    """As `segments`, but in training a clip of fewer frames than parts is spread over them.

    The last place of such a spread may round to n, which is looked up from the clip's start: as published.

    A test has one view, of the parts' centers, or two (`twice_sample`): the centers, then the parts' left edges. Where frames
    are stacked (L > 1), all V * T places lie evenly from the clip's beginning to its end instead.

    Source: mmaction2 1.x, `SampleFrames` with `num_clips=T`, `clip_len=L`.
    """

    is_looping = True
    max_clips = 2

    def _train_places(self, num_frames: int, generator: Generator, frame_rate: float) -> npt.NDArray[Any]:
        num_places = num_frames - self.segment_length + 1
        if num_places >= self.num_segments or num_frames > max(self.num_segments, self.segment_length):
            return _random_starts(num_frames, self.num_segments, self.segment_length, generator)
        spread: npt.NDArray[Any] = np.around(np.arange(self.num_segments) * (max(num_places, 0) / self.num_segments))
        return spread

    def _test_places(self, num_frames: int, num_clips: int, frame_rate: float) -> npt.NDArray[Any]:
        if self.segment_length > 1:
            return even_starts(num_frames - self.segment_length, num_clips * self.num_segments)
        span = num_frames / self.num_segments
        edges = np.arange(self.num_segments) * span
        return np.stack([edges + span / 2, edges][:num_clips])


@SAMPLERS.register("segments_tanet")
@dataclass(frozen=True)
class SegmentsTanet(Sampler):
    """As `segments` in training and for one view; V views go from the parts' left edges to their right edges.

    In a clip of fewer frames than parts, the later views begin with its last frame, since places count modulo n: as published.

    Differs: the published validation during training looks at the first frame only where a clip has no more frames than parts.
    Here validation is the test of one view. `has_published_validation` brings the fault back.

    Attributes:
        has_published_validation: Whether one view has that fault.

    Source: Liu et al., TAM: Temporal Adaptive Module, ICCV 2021, the authors' code (`uniform-V`).
    """

    is_looping = True
    has_published_validation: bool = False

    def _train_places(self, num_frames: int, generator: Generator, frame_rate: float) -> npt.NDArray[Any]:
        return _random_starts(num_frames, self.num_segments, self.segment_length, generator)

    def _test_places(self, num_frames: int, num_clips: int, frame_rate: float) -> npt.NDArray[Any]:
        num_places = max(num_frames - self.segment_length + 1, 1)
        if num_clips == 1:
            if self.has_published_validation and num_places <= self.num_segments:
                return np.zeros(self.num_segments)
            return _spread_starts(num_places, 1, self.num_segments)
        span = num_places / self.num_segments
        offsets_V1 = np.floor(np.linspace(0, span - 1, num_clips))[:, None]
        places_VT: npt.NDArray[Any] = np.trunc(offsets_V1 + span * np.arange(self.num_segments)) % num_places
        return places_VT


@SAMPLERS.register("segments_tadaconv")
@dataclass(frozen=True)
class SegmentsTadaconv(Sampler):
    """A point of each part, rounded half to even: a random one in training, the center in a test of one view.

    View v of V looks at the fraction (v + 1) / V of each part, so that two views are the centers and the right edges: as
    published.

    Source: Huang et al., TAda! Temporally-Adaptive Convolutions for Video Understanding, ICLR 2022, the authors' code
    (segment-based sampling).
    """

    def _train_places(self, num_frames: int, generator: Generator, frame_rate: float) -> npt.NDArray[Any]:
        edges = self._edges(num_frames)
        points = [low + (high - low) * generator.random() for low, high in pairwise(edges)]
        return np.round(points)

    def _test_places(self, num_frames: int, num_clips: int, frame_rate: float) -> npt.NDArray[Any]:
        edges = self._edges(num_frames)
        if num_clips == 1:
            return np.round((edges[:-1] + edges[1:]) / 2)[None]
        fractions_V1 = np.arange(1, num_clips + 1, dtype=np.float32)[:, None]
        points_VT: npt.NDArray[Any] = np.round(edges[:-1] + np.diff(edges) * fractions_V1 / np.float32(num_clips))
        return points_VT

    def _edges(self, num_frames: int) -> npt.NDArray[np.float32]:
        """Edges of the parts, shape (T + 1,)."""
        return even_float32(0, max(num_frames - self.segment_length + 1, 1), self.num_segments + 1)


@SAMPLERS.register("segments_slowfast")
@dataclass(frozen=True)
class SegmentsSlowfast(Sampler):
    """A random frame of each part of the first n - 1 frames, edges included; in tests the V inner points of V + 1 equal steps.

    Source: PySlowFast's sampling of Something-Something, which mmaction2 1.x has as `UniformSample`.
    """

    def _train_places(self, num_frames: int, generator: Generator, frame_rate: float) -> npt.NDArray[Any]:
        edges = self._edges(num_frames)
        return np.array([generator.integers(low, high + 1) for low, high in pairwise(edges)])

    def _test_places(self, num_frames: int, num_clips: int, frame_rate: float) -> npt.NDArray[Any]:
        step = max(num_frames - self.segment_length, 0) / self.num_segments / (num_clips + 1)
        inner_V1 = (step * np.arange(1, num_clips + 1)).astype(np.int64)[:, None]
        return self._edges(num_frames)[:-1] + inner_V1

    def _edges(self, num_frames: int) -> IntArray:
        """First frame of each part and of what follows them, shape (T + 1,)."""
        part = max(num_frames - self.segment_length, 0) / self.num_segments
        edges: IntArray = np.round(part * np.arange(self.num_segments + 1)).astype(np.int64)
        return edges


def even_starts(last: int, num: int) -> npt.NDArray[Any]:
    """`num` starts from 0 to `last`, rounded half to even; one alone lies in the middle."""
    last = max(last, 0)
    return np.array([last // 2]) if num == 1 else np.round(last / (num - 1) * np.arange(num))


def _random_starts(num_frames: int, num_segments: int, segment_length: int, generator: Generator) -> npt.NDArray[Any]:
    """First frame of each segment, shape (T,), as `Segments` tells."""
    num_places = num_frames - segment_length + 1
    span = num_places // num_segments
    starts: npt.NDArray[Any] = np.zeros(num_segments, dtype=np.int64)
    if span > 0:
        starts = np.arange(num_segments) * span + generator.integers(0, span, size=num_segments)
    elif num_frames > num_segments and num_places > 0:
        starts = np.sort(generator.integers(0, num_places, size=num_segments))
    return starts


def _spread_starts(num_places: int, num_clips: int, num_segments: int) -> npt.NDArray[Any]:
    """First frame of each segment of each view, shape (V, T), as `Segments` tells."""
    span = num_places / num_segments
    fractions_V1 = (np.arange(num_clips)[:, None] + 0.5) / num_clips
    return np.trunc(span * fractions_V1 + span * np.arange(num_segments))
