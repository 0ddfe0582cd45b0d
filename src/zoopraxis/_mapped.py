"""Unpickling from a mapped file: long runs of bytes are views of the file, so that arrays in it are never read as a whole.

Used by `zoopraxis.pickles` alone, which adds what may be named.
"""

from __future__ import annotations

import mmap
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["MappedUnpickler", "map_file"]

_MIN_VIEW_BYTES = 4096
"""Shorter runs are copied, as unpickling does."""


def map_file(path: Path) -> mmap.mmap:
    """The bytes of a file, read-only, in memory where they are looked at.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is empty.
    """
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class MappedUnpickler(pickle._Unpickler):
    """Python's own unpickler over a buffer, in which runs of 4096 bytes and more become read-only memoryviews of the buffer.

    Frames, which only tell how far to read ahead, are passed over. Nothing longer than the buffer is ever allocated, whatever
    length the pickle gives.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(self, buffer: memoryview, *, encoding: str) -> None:
        self._cursor = _Cursor(buffer)
        super().__init__(self._cursor, encoding=encoding)

    def _load_frame(self) -> None:
        self._cursor.read(8)

    def _load_run(self, num_length_bytes: int) -> None:
        length = int.from_bytes(self._cursor.read(num_length_bytes), "little")
        self.stack.append(self._cursor.view(length) if length >= _MIN_VIEW_BYTES else self._cursor.read(length))

    def _load_writable_run(self) -> None:
        self._load_run(8)
        if isinstance(self.stack[-1], bytes):
            self.stack[-1] = bytearray(self.stack[-1])

    dispatch[pickle.FRAME[0]] = _load_frame
    dispatch[pickle.BINBYTES[0]] = lambda self: self._load_run(4)
    dispatch[pickle.BINBYTES8[0]] = lambda self: self._load_run(8)
    dispatch[pickle.BYTEARRAY8[0]] = _load_writable_run


class _Cursor:
    """A buffer as the file that an unpickler reads; what is cut off is an error at once."""

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self._place = 0

    def view(self, num_bytes: int) -> memoryview:
        stop = self._place + num_bytes
        if stop > len(self._buffer):
            raise EOFError("it ends before what it announces")
        found = self._buffer[self._place : stop]
        self._place = stop
        return found

    def read(self, num_bytes: int) -> bytes:
        return self.view(num_bytes).tobytes()

    def readline(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            line += self.read(1)
        return bytes(line)
