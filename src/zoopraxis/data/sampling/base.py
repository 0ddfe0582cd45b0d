"""What all sampling rules share: where they draw from, what they are given, and frames that exist."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import ConfigError
from zoopraxis.registry import Registry

__all__ = ["SAMPLERS", "Generator", "IntArray", "Sampler", "check_counts", "clip_generator", "stack_frames"]

IntArray = npt.NDArray[np.int64]


class Generator(Protocol):
    """What samplers and transforms draw from; `numpy.random.Generator` is one."""

    def integers(self, low: int, high: int, size: int | None = None) -> Any:
        """A number, or `size` numbers, uniform in [low, high)."""
        ...

    def random(self) -> float:
        """A number uniform in [0, 1)."""
        ...

    def normal(self) -> float:
        """A number of mean 0 and standard deviation 1."""
        ...


def clip_generator(seed: int, epoch: int, clip_id: str) -> np.random.Generator:
    """The generator of one clip in one epoch.

    It depends on its arguments alone: not on the clip's row, on the worker that reads it, or on what was drawn before. So a run
    resumed in the middle of an epoch, or one on a part of the clips, sees the same augmentation.
    """
    digest = hashlib.blake2b(clip_id.encode(), digest_size=16).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch, *words])))


@dataclass(frozen=True)
class Sampler(ABC):
    """A rule that picks T places in a clip of n frames, and L consecutive frames from each.

    Attributes:
        num_segments: Places, T.
        segment_length: Consecutive frames from each place, L; more than 1 is for frames that are stacked, as of flow.
        interval: Frames from one place to the next, at `target_fps`; only for rules that have it (`has_interval`), else 1.
        target_fps: Frame rate in which the interval counts; only for rules that look at time (`uses_frame_rate`).

    Raises:
        ValueError: If a number is not positive.
        ConfigError: If an interval is given to a rule that has none.
    """

    num_segments: int
    segment_length: int = 1
    interval: int = 1
    target_fps: float = 30.0

    has_interval: ClassVar[bool] = False
    uses_frame_rate: ClassVar[bool] = False
    max_clips: ClassVar[int | None] = None
    """Views that a test may have; none: any number."""
    is_looping: ClassVar[bool] = False
    """Whether a place beyond the clip's end is looked up from its start again; else it is the last frame."""

    def __post_init__(self) -> None:
        check_counts(num_segments=self.num_segments, segment_length=self.segment_length, interval=self.interval)
        if not self.target_fps > 0:
            raise ValueError(f"target_fps ({self.target_fps}) must be positive")
        if self.interval != 1 and not self.has_interval:
            raise ConfigError(
                f"interval is {self.interval}, but {type(self).__name__} sampling has none; set data.interval=1, "
                "or a data.sampling with an interval"
            )

    def train(self, num_frames: int, generator: Generator, *, frame_rate: float | None = None) -> IntArray:
        """Frames for training, drawn at random.

        Args:
            num_frames: Frames of the clip, n.
            generator: What is drawn from.
            frame_rate: Frames a second of the clip; none: `target_fps`.

        Returns:
            Shape (T * L,), int64, place after place, each in [0, n).

        Raises:
            ValueError: If the clip has no frames.
        """
        check_counts(num_frames=num_frames)
        return self._stack(self._train_places(num_frames, generator, frame_rate or self.target_fps), num_frames)

    def test(self, num_frames: int, *, num_clips: int = 1, frame_rate: float | None = None) -> IntArray:
        """Frames of `num_clips` views for validation and test, always the same.

        Args:
            num_frames: Frames of the clip, n.
            num_clips: Views along time, V.
            frame_rate: Frames a second of the clip; none: `target_fps`.

        Returns:
            Shape (V * T * L,), int64, view after view, each in [0, n).

        Raises:
            ValueError: If the clip has no frames, or there are no views.
            ConfigError: If there are more views than the rule has.
        """
        check_counts(num_frames=num_frames)
        self.check_views(num_clips)
        places_VT = self._test_places(num_frames, num_clips, frame_rate or self.target_fps)
        return self._stack(places_VT.reshape(-1), num_frames)

    def check_views(self, num_clips: int) -> None:
        """See that the rule has so many views.

        Raises:
            ValueError: If there are none.
            ConfigError: If there are too many.
        """
        check_counts(num_clips=num_clips)
        if self.max_clips is not None and num_clips > self.max_clips:
            raise ConfigError(
                f"num_clips is {num_clips}, but {type(self).__name__} sampling has at most {self.max_clips} views along time; "
                f"try {self.max_clips}, or another data.sampling"
            )

    def span(self, frame_rate: float) -> float | None:
        """Frames of a clip of that rate that a view covers; none: all of the clip, however long it is."""
        return None

    def spanning(self, num_frames: int, frame_rate: float) -> Sampler:
        """The same rule with views that cover `num_frames` of a clip of that rate; itself where they cover all of the clip."""
        return self

    @abstractmethod
    def _train_places(self, num_frames: int, generator: Generator, frame_rate: float) -> npt.NDArray[Any]:
        """First frame of each place, shape (T,); fractions are cut off."""

    @abstractmethod
    def _test_places(self, num_frames: int, num_clips: int, frame_rate: float) -> npt.NDArray[Any]:
        """First frame of each place of each view, shape (V, T); fractions are cut off."""

    def _stack(self, places: npt.NDArray[Any], num_frames: int) -> IntArray:
        frames = stack_frames(places, self.segment_length)
        return frames % num_frames if self.is_looping else frames.clip(0, num_frames - 1)


SAMPLERS: Registry[type[Sampler]] = Registry("sampling")
"""Rules by name, as `data.sampling` chooses them; a package of a user's own adds to them in the group `zoopraxis.sampling`."""


def stack_frames(places: npt.NDArray[Any], segment_length: int) -> IntArray:
    """`segment_length` consecutive frames from each place, shape (N * segment_length,); fractions of places are cut off."""
    frames: IntArray = (places.astype(np.int64)[:, None] + np.arange(segment_length)).reshape(-1)
    return frames


def check_counts(**counts: int) -> None:
    """See that counts are positive.

    Raises:
        ValueError: With the name of the first that is not.
    """
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} ({count}) must be at least 1")
