"""Clips read straight from video files."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.decoding import VideoReader
from zoopraxis.data.index import Clip
from zoopraxis.data.stores import IntArray, UInt8Array
from zoopraxis.errors import ConfigError, DataError

__all__ = ["VideoStore"]

_SUFFIXES = (".mp4", ".MP4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".ts", ".flv", ".wmv")


class VideoStore:
    """Video files under a folder.

    A clip's source is a path with suffix, a path without (the suffix is found), or EPIC's `<participant>/<video_id>`, whose
    file is `<participant>/videos/<video_id>.MP4`. The clip is told by its seconds if it has any, else by its frames, else it
    is the whole video.

    Args:
        root: The folder.
        modality: rgb; flow is not stored as video.
        index_cache: A folder where packet indexes are kept from run to run; None keeps them for this process only.
        resize: Shorter side of the frames, px; None leaves them as stored.
        max_open: Files that a process holds open.

    Raises:
        ConfigError: If the modality is not rgb.
    """

    def __init__(
        self,
        root: str | Path,
        modality: str = "rgb",
        *,
        index_cache: str | Path | None = None,
        resize: int | None = None,
        max_open: int = 8,
    ) -> None:
        if modality != "rgb":
            raise ConfigError(f"video files hold rgb, not {modality}; make flow with: zoopraxis prepare flow")
        self.root = Path(root)
        self._index_cache = index_cache
        self._resize = resize
        self._max_open = max_open
        self._readers: OrderedDict[str, VideoReader] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": OrderedDict()}

    def num_frames(self, clip: Clip) -> int:
        """Frames of the clip.

        Raises:
            DataError: If the file is missing or broken, or the clip lies outside of it.
        """
        return len(self._span(clip, self._reader(clip)))

    def frame_rate(self, clip: Clip) -> float:
        """Frames a second of the clip's file, the mean where the rate varies; see `ClipStore.frame_rate`."""
        return self._reader(clip).fps

    def check(self, clip: Clip) -> None:
        """See that the clip's file is there; whether it can be decoded only reading tells (`zoopraxis prepare check`).

        Raises:
            DataError: If it is not.
        """
        self.path(clip)

    def read(self, clip: Clip, frames: IntArray) -> UInt8Array:
        """Some frames of a clip; see `ClipStore.read`."""
        reader = self._reader(clip)
        span = self._span(clip, reader)
        if len(frames) and (frames.min() < 0 or frames.max() >= len(span)):
            raise DataError(f"clip {clip.clip_id} has frames 0 to {len(span) - 1}; {frames.tolist()} were asked for")
        try:
            return reader.read(frames + span.start)
        except DataError as error:
            raise DataError(f"clip {clip.clip_id}: {error}") from error

    def frame_times(self, clip: Clip) -> npt.NDArray[np.float64]:
        """When each frame of a clip is shown, seconds after its first one, shape (num_frames,), ascending.

        Raises:
            DataError: As `num_frames`.
        """
        reader = self._reader(clip)
        span = self._span(clip, reader)
        times: npt.NDArray[np.float64] = reader.frame_times[span.start : span.stop] - reader.frame_times[span.start]
        return times

    def iter_frames(self, clip: Clip, frames: IntArray) -> Iterator[UInt8Array]:
        """Some frames of a clip one by one, each of shape (H, W, 3), decoded once however long the clip is.

        Args:
            clip: The clip.
            frames: Numbers from the clip's start, shape (T,), ascending, without repeats.

        Raises:
            DataError: As `read`.
        """
        reader = self._reader(clip)
        try:
            yield from reader.iter_frames(frames + self._span(clip, reader).start)
        except DataError as error:
            raise DataError(f"clip {clip.clip_id}: {error}") from error

    def path(self, clip: Clip) -> Path:
        """The file of a clip.

        Raises:
            DataError: If there is none.
        """
        named = self.root / clip.source
        if named.is_file():
            return named
        places = [named.parent / "videos" / named.name, named]
        for place in places:
            for suffix in _SUFFIXES:
                found = place.with_name(place.name + suffix)
                if found.is_file():
                    return found
        raise DataError(
            f"clip {clip.clip_id}: there is no video {named}, nor with one of the suffixes {' '.join(_SUFFIXES)}; "
            "check data.root and the annotation's source"
        )

    def _reader(self, clip: Clip) -> VideoReader:
        if clip.source in self._readers:
            self._readers.move_to_end(clip.source)
            return self._readers[clip.source]
        try:
            reader = VideoReader(self.path(clip), index_cache=self._index_cache, resize=self._resize)
        except DataError as error:
            raise DataError(f"clip {clip.clip_id}: {error}") from error
        self._readers[clip.source] = reader
        if len(self._readers) > self._max_open:
            self._readers.popitem(last=False)[1].close()
        return reader

    @staticmethod
    def _span(clip: Clip, reader: VideoReader) -> range:
        """The clip's frames in its file. Annotations may overshoot the end by up to a second: what is there is taken."""
        if clip.start_seconds is not None and clip.stop_seconds is not None:
            start, stop, end, unit = clip.start_seconds, clip.stop_seconds, reader.duration_seconds, "s"
        elif clip.start_frame is not None and clip.stop_frame is not None:
            start, stop, end, unit = clip.start_frame, clip.stop_frame, reader.num_frames, "frames"
        else:
            return range(reader.num_frames)
        grace = 1.0 if unit == "s" else math.ceil(reader.fps)
        if not (0 <= start < stop and start < end and stop <= end + grace):
            raise DataError(
                f"clip {clip.clip_id} spans {start:g} to {stop:g} {unit}, but {reader.path} has {end:g} {unit}; "
                "correct the annotation, or leave the clip out"
            )
        return reader.frames_between(start, stop) if unit == "s" else range(int(start), min(int(stop), reader.num_frames))
