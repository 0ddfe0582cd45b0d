"""Memory for large arrays that come and go at the same few sizes."""

from __future__ import annotations

import ctypes
import math
import weakref
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Recycler"]

_MIN_BYTES, _MAX_BYTES = 1 << 20, 1 << 26
"""Smaller arrays the allocator keeps by itself, larger ones are not worth keeping."""

_MAX_SPARE = 4


class Recycler:
    """Makes arrays out of the memory of earlier ones, once nothing refers to these or to a part of them any more.

    The system gives fresh memory in pages that it first fills with zeros, which takes about as long as copying a batch into it.
    Up to four pieces of memory are kept. Threads may share a recycler.
    """

    def __init__(self) -> None:
        self._spare: deque[Any] = deque(maxlen=_MAX_SPARE)

    def __reduce__(self) -> tuple[type[Recycler], tuple[()]]:
        return Recycler, ()

    def empty(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """An array of float32 with any content."""
        num_bytes = 4 * math.prod(shape)
        if not _MIN_BYTES <= num_bytes <= _MAX_BYTES:
            return np.empty(shape, np.float32)
        memory = self._take(num_bytes)
        # Since that is no array, whatever NumPy makes of this array refers to it, not to the memory.
        array: npt.NDArray[np.float32] = np.ndarray(shape, np.float32, memory)
        weakref.finalize(array, self._spare.append, memory).atexit = False
        return array

    def _take(self, num_bytes: int) -> Any:
        try:
            memory = self._spare.popleft()
        except IndexError:
            return _fresh(num_bytes)
        return memory if num_bytes <= len(memory) <= 2 * num_bytes else _fresh(num_bytes)


def _fresh(num_bytes: int) -> Any:
    """Memory of NumPy, which asks the system for large pages, as an object that is no array."""
    memory: Any = np.empty(num_bytes, np.uint8)
    return (ctypes.c_char * num_bytes).from_buffer(memory)
