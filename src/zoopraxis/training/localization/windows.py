"""What a network of localization sees of long videos: windows of the features in a store, and the segments in them.

# V videos, W windows, N features of a video, C numbers of a feature (of all modalities side by side), T steps, G segments
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from zoopraxis.config.localization import LocalizationDataConfig
from zoopraxis.data.features import FeatureStore, rows_by_name
from zoopraxis.data.segments import VideoSegments
from zoopraxis.data.windows import centers, grid_steps, inside, resample, rows_in_window, sliding_windows, window_features
from zoopraxis.errors import ConfigError, DataError

__all__ = ["LongFeatures", "WindowTable", "cut_windows", "describe_windows", "parts_of", "seconds_per_feature", "with_features"]

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_MISFIT_PART, _MISFIT_SECONDS = 0.1, 5.0
"""Features may reach so much less or more far than their video, by its length, and so much in any case."""
_SAME_SPACING = 0.01
"""By how much of it the distance of features may differ from what a recipe says."""


@dataclass(frozen=True, eq=False)
class WindowTable:
    """Windows of videos, video by video.

    Attributes:
        video: Number of each window's video, shape (W,), int64, ascending.
        bounds: Start and stop of each in seconds, shape (W, 2), float64; the last ones of a video may reach past its end.
    """

    video: IntArray
    bounds: FloatArray

    def __len__(self) -> int:
        return len(self.video)

    def of_video(self, number: int) -> IntArray:
        """Rows of a video's windows."""
        first, end = np.searchsorted(self.video, [number, number + 1])
        return np.arange(first, end)

    def take(self, rows: npt.NDArray[np.bool_] | IntArray) -> WindowTable:
        """Some of the windows, in the order given."""
        return WindowTable(self.video[rows], self.bounds[rows])


def cut_windows(data: LocalizationDataConfig, videos: VideoSegments, feature_seconds: float) -> WindowTable:
    """The windows of all videos.

    Args:
        data: The recipe's data section.
        videos: The videos.
        feature_seconds: Seconds from one feature to the next; not used where a window is a whole video.
    """
    if data.window == "video":
        bounds_V2 = np.stack([np.zeros(len(videos)), videos.covered], axis=1)
        return WindowTable(np.arange(len(videos), dtype=np.int64), bounds_V2)
    step_seconds = data.features_per_step * feature_seconds
    stride = data.stride or data.max_duration
    cut = [
        sliding_windows(duration, num_steps=data.num_steps, step_seconds=step_seconds, stride=stride)
        for duration in videos.durations.tolist()
    ]
    video_W = np.repeat(np.arange(len(cut)), [len(found) for found in cut])
    return WindowTable(video_W.astype(np.int64), np.concatenate(cut))


def parts_of(
    data: LocalizationDataConfig, segments_G2: FloatArray, bounds: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """The segments that are learned from a window, as parts of it, shape (g, 2), and which of a video's they are, (G,)."""
    is_learned = segments_G2[:, 1] - segments_G2[:, 0] >= data.min_seconds
    if data.window == "sliding":
        is_learned &= inside(segments_G2, bounds, data.min_part_inside)
    start, stop = bounds
    return (segments_G2[is_learned] - start) / (stop - start), is_learned


def seconds_per_feature(data: LocalizationDataConfig, store: FeatureStore) -> float:
    """Seconds from one feature to the next, as the store tells, or else `data.feature_seconds`.

    Raises:
        ConfigError: If neither tells, or they contradict each other.
    """
    stored, given = _stored_spacing(store), data.feature_seconds
    if stored is None and given is None:
        raise ConfigError(
            f"the features {store.path} do not tell how far apart they are; give data.feature_seconds, or set data.window=video"
        )
    if stored is not None and given is not None and abs(stored - given) > _SAME_SPACING * stored:
        raise ConfigError(
            f"data.feature_seconds={given:g}, but the features {store.path} are {stored:g} s apart; set "
            "data.feature_seconds=null"
        )
    spacing = stored if given is None else given
    assert spacing is not None
    return spacing


def _stored_spacing(store: FeatureStore) -> float | None:
    for row in np.flatnonzero(store.num_features > 1)[:1].tolist():
        moments = store.seconds(row)
        if moments is not None:
            return float(np.median(np.diff(moments)))
    return None


class LongFeatures:
    """The features of some videos, read in place.

    Args:
        store: Where they are.
        videos: The videos, V.
        data: The recipe's data section: the windows, and how many features become a step.
        modalities: Which features stand side by side.
        feature_seconds: Seconds from one feature to the next; none: windows are whole videos.

    Attributes:
        widths: Names and widths of the modalities, in order.

    Raises:
        ConfigError: If a modality is unknown.
        DataError: If videos have no features, or features reach further or less far than their video.
    """

    def __init__(
        self,
        store: FeatureStore,
        videos: VideoSegments,
        data: LocalizationDataConfig,
        *,
        modalities: Sequence[str],
        feature_seconds: float | None,
    ) -> None:
        self.store = store
        self.data = data
        self.feature_seconds = feature_seconds
        self.widths = store.widths(tuple(modalities))
        self.rows = rows_by_name(store, videos.video_ids)
        if feature_seconds is not None:
            self._check_lengths(videos, feature_seconds)

    @cached_property
    def num_channels(self) -> int:
        """Numbers of a feature, C."""
        return sum(self.widths.values())

    def seconds(self, video: int) -> FloatArray:
        """The moments of a video's features, shape (N,)."""
        assert self.feature_seconds is not None
        row = int(self.rows[video])
        moments = self.store.seconds(row)
        return centers(int(self.store.num_features[row]), self.feature_seconds) if moments is None else moments

    def read(self, video: int, bounds: FloatArray) -> Float32Array:
        """What the network sees of a window, shape (C, T), float32."""
        if self.feature_seconds is None:
            return resample(self._rows_of(video, 0, None), self.data.num_steps)
        seconds_N = self.seconds(video)
        found = rows_in_window(seconds_N, bounds)
        features_RC = self._rows_of(video, found.start, found.stop)
        num_rows = round((bounds[1] - bounds[0]) / self.feature_seconds)
        return window_features(features_RC, seconds_N[found], bounds, num_rows=num_rows, num_steps=self.data.num_steps)

    def grid(self, video: int, bounds_W2: FloatArray) -> tuple[list[IntArray], int]:
        """Of each of a video's windows, where its first steps lie on the video's grid; and the grid's number of steps."""
        if self.feature_seconds is None:
            return [np.arange(self.data.num_steps)] * len(bounds_W2), self.data.num_steps
        seconds_N, per_step = self.seconds(video), self.data.features_per_step
        steps = [
            grid_steps(seconds_N, bounds, features_per_step=per_step, num_steps=self.data.num_steps) for bounds in bounds_W2
        ]
        return steps, -(-len(seconds_N) // per_step)

    def _rows_of(self, video: int, start: int, stop: int | None) -> Float32Array:
        row = int(self.rows[video])
        positions_N = np.arange(start, int(self.store.num_features[row]) if stop is None else stop)
        features_1NC = self.store.read(np.array([row]), positions_N[None], tuple(self.widths))
        return np.asarray(features_1NC[0])

    def _check_lengths(self, videos: VideoSegments, spacing: float) -> None:
        reach_V = np.array([self.seconds(number)[-1] + spacing / 2 for number in range(len(videos))])
        slack_V = np.maximum(_MISFIT_SECONDS, _MISFIT_PART * videos.durations)
        is_wrong = np.abs(reach_V - videos.durations) > slack_V
        if is_wrong.any():
            first = int(is_wrong.argmax())
            raise DataError(
                f"the features of {int(is_wrong.sum())} of {len(videos)} videos do not fit their lengths (first: "
                f"{videos.video_ids[first]}, whose {int(self.store.num_features[self.rows[first]])} features in "
                f"{self.store.path} reach to {reach_V[first]:.1f} s, while the video lasts {videos.durations[first]:.1f} s); "
                "make them again from the whole video, or mend data.feature_seconds or the lengths"
            )


def with_features(videos: VideoSegments, store: FeatureStore, data: LocalizationDataConfig) -> VideoSegments:
    """The videos, without those that have no features where the recipe says so; a note tells how many these are.

    Raises:
        DataError: If some have none and the recipe does not say so, or all: how many, the first, and the cure.
    """
    is_there = rows_by_name(store, videos.video_ids, allow_missing=True) >= 0
    if is_there.all():
        return videos
    missing = videos.video_ids[~is_there]
    told = f"{len(missing)} of {len(videos)} videos have no features in {store.path} (first: {missing[0]})"
    if data.missing_features == "refuse" or not is_there.any():
        raise DataError(
            f"{told}; make them by `zoopraxis prepare features`, or leave these videos out: data.missing_features=drop"
        )
    return replace(videos.select(is_there), notes=(*videos.notes, f"{told} and are left out"))


def describe_windows(videos: VideoSegments, table: WindowTable, rows: Sequence[int]) -> str:
    """Windows in words, for messages: `P01_01 from 26.7 s`."""
    return ", ".join(f"{videos.video_ids[table.video[row]]} from {table.bounds[row, 0]:.1f} s" for row in rows)
