"""Making, keeping and finding the packet index of a video file.

An index is made once: by one pass over the packets, or by decoding the file where the packets do not tell its frames. It is
kept in memory, and in a cache folder if one is given, for as long as the file's size and time of change stay the same.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zoopraxis.data.packets import Packet, PacketIndex, StreamInfo, index_from_packets, index_in_order
from zoopraxis.errors import DataError
from zoopraxis.files import write_bytes

__all__ = ["IndexableStream", "index_of"]

_ONE_PACKET_ONE_FRAME = {"h264", "hevc", "av1", "vp9", "mjpeg"}
_SEEKABLE = _ONE_PACKET_ONE_FRAME | {"vp8", "mpeg1video", "mpeg2video"}
_ARRAYS = ("frame_pts", "frame_packet", "packet_pts", "packet_seek", "packet_flags")
_FORMAT = 1
"""Number of the layout on disk; a file of another layout is made anew."""


class IndexableStream(Protocol):
    """What is asked of an open video stream in order to index it."""

    @property
    def codec(self) -> str:
        """FFmpeg's name of the coding."""
        ...

    @property
    def tells_presentation_times(self) -> bool:
        """Whether the container stores them."""
        ...

    def survey(self) -> tuple[list[Packet], Any]:
        """All packets in decoding order, and the first frame that decodes, or None."""
        ...

    def decode_all(self) -> Iterator[Any]:
        """All frames from the start, in the decoder's order."""
        ...

    def describe(self, first: Any, pts: Sequence[int]) -> StreamInfo:
        """What holds for the whole stream, given its first frame and the presentation times that are known."""
        ...


OpenStream = Callable[[Path], AbstractContextManager[IndexableStream]]


def index_of(path: Path, cache: Path | None, open_stream: OpenStream) -> PacketIndex:
    """The packet index of a file: from memory, from the cache folder, or made.

    Raises:
        DataError: If the file is missing, empty, truncated, or not to be read as a video, or the cache cannot be written.
    """
    if not path.is_file():
        raise DataError(f"there is no video file {path}; check data.root and the annotation's source")
    key = FileKey.of(path)
    if key.size == 0:
        raise DataError(f"{path} is empty (0 bytes); copy or download it again, or leave it out")
    index = _memory.get(key)
    if index is None:
        index = load_index(cache, key) if cache is not None else None
        if index is None:
            index = _make_index(path, open_stream)
            if cache is not None:
                save_index(cache, key, index)
        _memory.put(key, index)
    return index


def _make_index(path: Path, open_stream: OpenStream) -> PacketIndex:
    with open_stream(path) as stream:
        packets, first = stream.survey()
        if first is None:
            raise DataError(f"no frame of {path} decodes; copy or download it again, or leave it out")
        codec, has_times = stream.codec, stream.tells_presentation_times
        if has_times and codec in _ONE_PACKET_ONE_FRAME:
            times = [packet.pts for packet in packets if packet.pts is not None and not packet.is_hidden]
            index = index_from_packets(packets, stream.describe(first, times))
            if index is not None and first.pts == index.frame_pts[0]:
                return index
    with open_stream(path) as stream:
        return _make_index_by_decoding(stream, packets, is_seekable=has_times and codec in _SEEKABLE)


def _make_index_by_decoding(stream: IndexableStream, packets: list[Packet], *, is_seekable: bool) -> PacketIndex:
    """Index a file whose packets do not tell its frames, by decoding all of it once."""
    frames = stream.decode_all()
    first = next(frames)
    times = [first.pts, *(frame.pts for frame in frames)]
    known = [pts for pts in times if pts is not None]
    if len(known) < len(times) or any(a >= b for a, b in itertools.pairwise(known)):
        info = stream.describe(first, ())
        tick = Fraction(1 / info.fps).limit_denominator(10**6)
        info = replace(info, tick_numerator=tick.numerator, tick_denominator=tick.denominator)
        return index_in_order(np.arange(len(times)), info)
    info = stream.describe(first, known)
    index = index_from_packets(packets, info, delivered=known) if is_seekable else None
    if index is None or index.num_frames != len(known):
        return index_in_order(np.asarray(known, dtype=np.int64), info)
    return index


@dataclass(frozen=True, slots=True)
class FileKey:
    """One state of one file: an index made for another state is not used."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileKey:
        """The key of a file as it is now."""
        status = path.stat()
        return cls(os.path.abspath(path), status.st_size, status.st_mtime_ns)


class IndexMemory:
    """The indexes that a process keeps; those unused longest give way once they take more than `max_bytes`."""

    def __init__(self, max_bytes: int = 256 * 2**20) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._kept: OrderedDict[FileKey, PacketIndex] = OrderedDict()

    def get(self, key: FileKey) -> PacketIndex | None:
        """The index of a file in this state, if it is kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: FileKey, index: PacketIndex) -> None:
        """Keep an index."""
        self._kept[key] = index
        self._num_bytes += index.num_bytes
        while self._num_bytes > self._max_bytes and len(self._kept) > 1:
            self._num_bytes -= self._kept.popitem(last=False)[1].num_bytes


def save_index(folder: Path, key: FileKey, index: PacketIndex) -> None:
    """Keep an index on disk, in one step.

    Raises:
        DataError: If the folder cannot be written.
    """
    head = {"format": _FORMAT, "key": asdict(key), "info": asdict(index.info)}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        head=np.frombuffer(json.dumps(head).encode(), dtype=np.uint8),
        **{name: getattr(index, name) for name in _ARRAYS},
    )
    try:
        write_bytes(_cache_path(folder, key), buffer.getvalue())
    except OSError as error:
        raise DataError(
            f"cannot keep the packet index of {key.path} in {folder} ({error.strerror}); choose another index_cache folder"
        ) from error


def load_index(folder: Path, key: FileKey) -> PacketIndex | None:
    """The index kept on disk for a file in this state; None if there is none that can be used."""
    path = _cache_path(folder, key)
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            head = json.loads(archive["head"].tobytes())
            arrays = {name: archive[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # what cannot be read is made anew by the caller
    if head["format"] != _FORMAT or head["key"] != asdict(key):
        return None
    return PacketIndex(info=StreamInfo(**{**head["info"], "turn": tuple(head["info"]["turn"])}), **arrays)


def _cache_path(folder: Path, key: FileKey) -> Path:
    return folder / f"{hashlib.sha256(key.path.encode()).hexdigest()[:32]}.npz"


_memory = IndexMemory()
