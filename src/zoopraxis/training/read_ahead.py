"""Reading ahead by one thread, which no iteration leaves behind."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

__all__ = ["ReadAhead"]

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class _End:
    """The last that the thread sends: nothing more, or what went wrong."""

    error: BaseException | None = None


class ReadAhead(Generic[K, V]):
    """Calls a function for one key after another, in a thread that is a few results ahead of the caller.

    The thread ends with the iteration: at its end, at an error, when the iterator is closed or forgotten, at `close`, and when
    the next iteration begins.

    Args:
        read: What is called.
        depth: Results that may wait; 0 calls in the caller's thread.

    Raises:
        ValueError: If `depth` is negative.
    """

    def __init__(self, read: Callable[[K], V], depth: int) -> None:
        if depth < 0:
            raise ValueError(f"depth ({depth}) must not be negative")
        self._read = read
        self._depth = depth
        self._running: weakref.ref[Generator[V, None, None]] | None = None

    def over(self, keys: Iterable[K]) -> Generator[V, None, None]:
        """The function's results for these keys, in order; what it raises comes out where its result would have."""
        self.close()
        running = self._threaded(keys) if self._depth else (self._read(key) for key in keys)
        self._running = weakref.ref(running)
        return running

    def close(self) -> None:
        """End the iteration that is under way, and its thread."""
        running = None if self._running is None else self._running()
        if running is not None:
            running.close()

    def _threaded(self, keys: Iterable[K]) -> Generator[V, None, None]:
        queue: Queue[V | _End] = Queue(self._depth)
        is_ended = Event()
        thread = Thread(target=_work, args=(self._read, keys, queue, is_ended), name="read-ahead", daemon=True)
        thread.start()
        try:
            while not isinstance(result := queue.get(), _End):
                yield result
            if result.error is not None:
                raise result.error
        finally:
            is_ended.set()
            _empty(queue)
            thread.join()


def _work(read: Callable[[K], V], keys: Iterable[K], queue: Queue[V | _End], is_ended: Event) -> None:
    """What the thread does. Where the caller ends first, it makes room in the queue, so that no `put` waits for ever."""
    try:
        for key in keys:
            queue.put(read(key))
            if is_ended.is_set():
                return
        end = _End()
    except BaseException as error:  # the caller raises it
        end = _End(error)
    if not is_ended.is_set():
        queue.put(end)


def _empty(queue: Queue[V | _End]) -> None:
    try:
        while True:
            queue.get_nowait()
    except Empty:
        return
