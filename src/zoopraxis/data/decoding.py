"""Reading video files: exactly the frames asked for, by number or by time.

Frames are numbered from 0 in presentation order. To get some of them a reader jumps to the keyframe before each, sends the
decoder the packets that these frames need, and knows each frame by its presentation time. Where a jump does not deliver
(gradual refresh, damage) it decodes from the start. Files whose packets do not tell their frames (MPEG-4 ASP in AVI, raw
streams, cuts that begin in the middle of a group) are indexed by decoding them once.

T frames read, N frames in the file, H and W their height and width upright.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from zoopraxis.data.indexing import index_of
from zoopraxis.data.packets import (
    UPRIGHT,
    Int64Array,
    Packet,
    Run,
    StreamInfo,
    frame_rate,
    is_reference_free,
    plan_runs,
    turn_of,
    unit_length_size,
)
from zoopraxis.errors import DataError

__all__ = ["VideoReader"]

IntArray = npt.NDArray[np.integer[Any]]
UInt8Array = npt.NDArray[np.uint8]

_SEEKS_BY_PRESENTATION = {"mov", "matroska"}
"""Containers in which FFmpeg seeks by presentation time; in others it goes by decoding time."""
_TIME_TOLERANCE_SECONDS = 5e-4
"""Annotations are written to the millisecond: a frame at 0.06667 s is meant by 0.067."""

_inherited: list[Any] = []
"""Decoders opened before a fork: closing them in the child would wait for threads that exist only in the parent."""


class VideoReader:
    """Random access to the frames of a video file, RGB and upright.

    Opens the file at the first read, and anew in each process, so that it may be pickled and may cross a fork. Not for use by
    several threads at once.

    Args:
        path: The file.
        index_cache: A folder where packet indexes are kept, by path, size and time of change; None keeps them in memory only.
        resize: Shorter side of the frames returned, px; None returns them as stored.
        num_threads: Threads of the decoder; 1 suits loader workers.

    Raises:
        DataError: If the file is missing, empty, truncated, without video, or not to be read as a video.
    """

    def __init__(
        self, path: str | Path, *, index_cache: str | Path | None = None, resize: int | None = None, num_threads: int = 1
    ) -> None:
        if resize is not None and resize < 1:
            raise ValueError(f"resize ({resize}) must be positive, or None for the stored size")
        if num_threads < 1:
            raise ValueError(f"num_threads ({num_threads}) must be positive; 1 suits loader workers")
        self.path = Path(path)
        self._index_cache = None if index_cache is None else Path(index_cache)
        self._resize = resize
        self._num_threads = num_threads
        self._index = index_of(self.path, self._index_cache, _Stream)
        self._stream: _Stream | None = None
        self._owner = 0
        self._reformatter = VideoReformatter()

    def __reduce__(self) -> tuple[Callable[[], VideoReader], tuple[()]]:
        options: Any = {"index_cache": self._index_cache, "resize": self._resize, "num_threads": self._num_threads}
        return partial(VideoReader, self.path, **options), ()

    @property
    def num_frames(self) -> int:
        """N."""
        return self._index.num_frames

    @property
    def fps(self) -> float:
        """Frames per second, the mean where the rate varies."""
        return self._index.info.fps

    @property
    def duration_seconds(self) -> float:
        """From the first frame's beginning to the last one's end."""
        return float(self.frame_times[-1]) + 1 / self.fps

    @cached_property
    def frame_times(self) -> npt.NDArray[np.float64]:
        """When each frame is shown, seconds after the first one, shape (N,), ascending."""
        times: npt.NDArray[np.float64] = (self._index.frame_pts - self._index.frame_pts[0]) * self._index.info.tick_seconds
        return times

    @property
    def height(self) -> int:
        """Height of the frames returned, px."""
        return self._shown_size[0]

    @property
    def width(self) -> int:
        """Width of the frames returned, px."""
        return self._shown_size[1]

    def read(self, frames: IntArray | Sequence[int]) -> UInt8Array:
        """Read some frames.

        Args:
            frames: Their numbers, shape (T,), in any order, repeats allowed.

        Returns:
            Shape (T, H, W, 3), RGB, in the order asked for.

        Raises:
            DataError: If a number is out of range, or a frame does not decode.
        """
        numbers = np.asarray(frames)
        if numbers.ndim != 1 or (numbers.size and not np.issubdtype(numbers.dtype, np.integer)):
            raise ValueError(f"frames must be integers of shape (T,), not {numbers.dtype} of shape {numbers.shape}")
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.num_frames):
            wrong = int(numbers.min() if numbers.min() < 0 else numbers.max())
            raise DataError(
                f"{self.path} has frames 0 to {self.num_frames - 1}, not {wrong}; check the annotation and its rate"
            )
        unique, places = np.unique(numbers.astype(np.int64), return_inverse=True)
        clip = np.empty((len(unique), self.height, self.width, 3), dtype=np.uint8)
        self._fill(clip, unique)
        return clip if np.array_equal(places, np.arange(len(unique))) else clip[places]

    def iter_frames(self, frames: IntArray | Sequence[int] | None = None) -> Iterator[UInt8Array]:
        """Frames one by one, each of shape (H, W, 3): all, or some (at least one, ascending, no repeats); each decoded once.

        Raises:
            DataError: If a frame does not decode.
        """
        pending = deque(range(self.num_frames) if frames is None else np.asarray(frames).tolist())
        for is_planned in (True, False) if frames is not None and self._index.is_seekable else (False,):
            runs = plan_runs(self._index, np.asarray(pending)) if is_planned else []
            with _Stream(self.path, self._num_threads) as stream:
                planned = chain.from_iterable(map(stream.decode_run, runs))
                for number, frame in planned if is_planned else self._numbered(stream.decode_all()):
                    if number > pending[0]:
                        break
                    if number == pending[0]:
                        yield np.ascontiguousarray(self._upright(frame))
                        pending.popleft()
                    if not pending:
                        return
        raise self._lost(pending[0])

    def frames_at(self, seconds: npt.ArrayLike) -> Int64Array:
        """The frames on display at some times.

        Args:
            seconds: Times after the first frame, any shape.

        Returns:
            Frame numbers, same shape, int64.

        Raises:
            DataError: If a time is before the first frame or after the end.
        """
        times = np.asarray(seconds, dtype=np.float64)
        if not np.all((times >= 0) & (times <= self.duration_seconds + _TIME_TOLERANCE_SECONDS)):
            raise DataError(f"{self.path} lasts {self.duration_seconds:.3f} s; a time outside of it was asked for")
        return np.searchsorted(self.frame_times, times + _TIME_TOLERANCE_SECONDS, side="right").astype(np.int64) - 1

    def frames_between(self, start_seconds: float, stop_seconds: float) -> range:
        """The frames whose display begins in a half-open span, to the millisecond; at least the one on display at its start.

        Spans that meet share no frame and leave none out. A stop beyond the end is taken as the end.

        Raises:
            ValueError: If the span is empty or reversed.
            DataError: If it starts outside of the video.
        """
        if not start_seconds < stop_seconds:
            raise ValueError(f"stop_seconds ({stop_seconds}) must be after start_seconds ({start_seconds})")
        first_shown = int(self.frames_at(start_seconds))
        bounds = np.asarray([start_seconds, stop_seconds]) - _TIME_TOLERANCE_SECONDS
        start, stop = np.searchsorted(self.frame_times, bounds).tolist()
        return range(start, stop) if start < stop else range(first_shown, first_shown + 1)

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        self._abandon_inherited()
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _stored_size(self) -> tuple[int, int]:
        """Height and width after `resize`, before rotation."""
        height, width = self._index.info.height, self._index.info.width
        if self._resize is None:
            return height, width
        short = min(height, width)
        return height * self._resize // short, width * self._resize // short

    @property
    def _shown_size(self) -> tuple[int, int]:
        height, width = self._stored_size
        return (height, width) if self._index.info.turn[0] else (width, height)

    def _fill(self, clip: UInt8Array, frames: Int64Array) -> None:
        """Decode `frames`, shape (T,), ascending and unique, into `clip`, shape (T, H, W, 3)."""
        places = {frame: place for place, frame in enumerate(frames.tolist())}
        if self._index.is_seekable:
            stream = self._opened()
            for run in plan_runs(self._index, frames):
                for number, frame in stream.decode_run(run):
                    if number in places:
                        clip[places.pop(number)] = self._upright(frame)
        if not places:
            return
        with _Stream(self.path, self._num_threads) as stream:
            for number, frame in self._numbered(stream.decode_all()):
                if number in places:
                    clip[places.pop(number)] = self._upright(frame)
                if not places:
                    return
        raise self._lost(min(places))

    def _numbered(self, frames: Iterator[Any]) -> Iterator[tuple[int, Any]]:
        """Decoded frames with their numbers: told by presentation time, or counted where times do not tell."""
        if not self._index.is_seekable:
            yield from enumerate(frames)
            return
        times = self._index.frame_pts
        for frame in frames:
            number = int(np.searchsorted(times, frame.pts)) if frame.pts is not None else len(times)
            if number < len(times) and times[number] == frame.pts:
                yield number, frame

    def _upright(self, frame: Any) -> UInt8Array:
        """A decoded frame as RGB, turned as the display matrix says, shape (H, W, 3)."""
        height, width = self._stored_size
        with _readable(self.path):
            rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
        stored: UInt8Array = np.asarray(rgb.to_ndarray(), dtype=np.uint8)
        a, b, c, d = self._index.info.turn
        image = stored if a else stored.transpose(1, 0, 2)
        return image[:: -1 if b + d < 0 else 1, :: -1 if a + c < 0 else 1]

    def _lost(self, number: int) -> DataError:
        seconds = self.frame_times[min(number, self.num_frames - 1)]
        return DataError(
            f"frame {number} (at {seconds:.3f} s) of {self.path} does not decode: the file is damaged there; "
            "copy or download it again, or leave it out"
        )

    def _abandon_inherited(self) -> None:
        if self._stream is not None and self._owner != os.getpid():
            _inherited.append(self._stream)
            self._stream = None

    def _opened(self) -> _Stream:
        self._abandon_inherited()
        if self._stream is None:
            self._stream = _Stream(self.path, self._num_threads)
            self._owner = os.getpid()
        return self._stream


class _Stream:
    """One open file: its best video stream and the decoder of it."""

    def __init__(self, path: Path, num_threads: int = 1) -> None:
        self._path = path
        with _readable(path):
            self._container = av.open(f"file:{os.path.abspath(path)}", metadata_errors="ignore")
        self._stream = self._container.streams.best("video")
        if self._stream is None or self._stream.disposition & av.stream.Disposition.attached_pic:
            kinds = ", ".join(sorted({stream.type for stream in self._container.streams})) or "nothing"
            self.close()
            raise DataError(f"{path} has no video stream, only {kinds}; copy or download it again, or leave it out")
        self._decoder = self._stream.codec_context
        if self._decoder is None:
            self.close()
            raise DataError(f"{path} is coded in a way that PyAV cannot decode; re-encode it: ffmpeg -i {path} OUT.mp4")
        self._formats = set(self._container.format.name.split(","))
        self._seeks_by_presentation = bool(_SEEKS_BY_PRESENTATION & self._formats)
        self._decoder.thread_count = num_threads
        self._decoder.thread_type = "AUTO" if num_threads > 1 else "NONE"

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the coding."""
        return str(self._decoder.codec.canonical_name)

    @property
    def tells_presentation_times(self) -> bool:
        """Whether the container stores them; AVI does not, and FFmpeg guesses."""
        return "avi" not in self._formats

    def survey(self) -> tuple[list[Packet], Any]:
        """All packets of the video stream that hold something, in decoding order, and the first frame, or None if none decodes.

        Raises:
            DataError: If the file ends before its header says it does.
        """
        length_size = unit_length_size(self._decoder.extradata) if self.codec == "h264" else None
        packets: list[Packet] = []
        frames: list[Any] = []
        end_seconds, ends_whole = -math.inf, True
        with _readable(self._path):
            for packet in self._container.demux():
                if not packet.size:
                    continue
                ends_whole = not packet.is_corrupt
                if packet.pts is not None:
                    end_seconds = max(end_seconds, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index == self._stream.index:
                    packets.append(self._describe(packet, length_size))
                    frames = frames or self._decode(packet)
            frames = frames or self._decode(None)
        self._check_is_whole(ends_whole, end_seconds)
        return packets, frames[0] if frames else None

    def _describe(self, packet: Any, length_size: int | None) -> Packet:
        times = (packet.pts, packet.dts) if self._seeks_by_presentation else (packet.dts, packet.pts)
        return Packet(
            pts=packet.pts,
            seek=next((time for time in times if time is not None), 0),
            is_keyframe=packet.is_keyframe,
            is_skippable=packet.is_disposable if length_size is None else is_reference_free(memoryview(packet), length_size),
            is_hidden=packet.is_discard,
            is_corrupt=packet.is_corrupt,
        )

    def _check_is_whole(self, ends_whole: bool, end_seconds: float) -> None:
        """Refuse a file that ends early.

        Recordings of broadcasts (MPEG-TS, MPEG-PS) have no header to tell their length, and may end anywhere. Other headers may
        tell somewhat more than there is.
        """
        if self._formats & {"mpegts", "mpeg"}:
            return
        promised = (self._container.duration or 0) / av.time_base
        held = max(end_seconds - min(self._container.start_time or 0, 0) / av.time_base, 0.0)
        if not ends_whole or held < 0.98 * promised - 0.5:
            raise DataError(f"{self._path} is truncated after {held:.2f} s; copy or download it again, or leave it out")

    def describe(self, first: Any, pts: Sequence[int]) -> StreamInfo:
        """What holds for the whole stream, given its `first` frame and the presentation times that are known."""
        tick, matrix = self._stream.time_base, first.side_data.get("DISPLAYMATRIX")
        return StreamInfo(
            stream=self._stream.index,
            width=first.width,
            height=first.height,
            turn=UPRIGHT if matrix is None else turn_of(np.frombuffer(matrix, dtype=np.int32)),
            fps=frame_rate(pts, float(tick), self._stream.average_rate),
            tick_numerator=tick.numerator,
            tick_denominator=tick.denominator,
        )

    def decode_all(self) -> Iterator[Any]:
        """All frames from the start, in the decoder's order; a packet that does not decode gives none."""
        with _readable(self._path):
            for packet in self._container.demux(self._stream):
                # An empty packet (a frame dropped in AVI) would tell the decoder that the stream is over.
                if packet.size:
                    yield from self._decode(packet)
            yield from self._decode(None)

    def _decode(self, packet: Any) -> list[Any]:
        try:
            return list(self._decoder.decode(packet))
        except av.error.InvalidDataError:
            return []  # the caller misses the frame by its time, and says so if it is one that was asked for

    def decode_run(self, run: Run) -> Iterator[tuple[int, Any]]:
        """The wanted frames of a stretch, with their numbers; ends early where the file does not deliver as planned."""
        try:
            for packet in self._packets_of(run):
                for frame in self._decoder.decode(packet):
                    if frame.is_corrupt:
                        return
                    if frame.pts in run.frames:
                        yield run.frames[frame.pts], frame
        except av.error.FFmpegError:
            return  # the caller decodes from the start what it has not got

    def _packets_of(self, run: Run) -> Iterator[Any]:
        """The packets of a stretch that the decoder needs, then None, which makes it hand out all frames that it holds."""
        source = self._land(run)
        for pts, is_sent, packet in zip(run.pts, run.is_sent, source, strict=False):
            if packet.pts != pts:
                return
            if is_sent:
                yield packet
        yield None

    def _land(self, run: Run) -> Iterator[Any]:
        """Packets from the first one of a stretch on; none if no jump reaches it."""
        second = round(1 / self._stream.time_base)
        for seek in (run.seek, run.seek - second, run.seek - 10 * second):
            self._container.seek(seek, stream=self._stream)
            packets = (packet for packet in self._container.demux(self._stream) if packet.size)
            for packet in packets:
                if packet.pts == run.pts[0]:
                    yield packet
                    yield from packets
                    return
                if packet.is_keyframe and packet.pts is not None and packet.pts > run.pts[0]:
                    break


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors into ours."""
    try:
        yield
    except av.error.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"{path} cannot be read as a video ({reason}); copy or download it again, or leave it out") from error
