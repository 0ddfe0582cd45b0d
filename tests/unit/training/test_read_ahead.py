"""A thread reads ahead in order, passes errors on, and is not left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from zoopraxis.errors import DataError
from zoopraxis.training.read_ahead import ReadAhead


def reading_threads() -> int:
    return sum(thread.name == "read-ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_results_come_in_order(depth: int) -> None:
    assert list(ReadAhead(lambda key: key * key, depth).over(range(9))) == [key * key for key in range(9)]
    assert reading_threads() == 0


@pytest.mark.parametrize("depth", [0, 2])
def test_an_error_comes_where_its_result_would_have(depth: int) -> None:
    def read(key: int) -> int:
        if key == 3:
            raise DataError("clip 3 is broken")
        return key

    results = ReadAhead(read, depth).over(range(9))
    assert list(islice(results, 3)) == [0, 1, 2]
    with pytest.raises(DataError, match=r"^clip 3 is broken$"):
        next(results)
    assert reading_threads() == 0


def test_no_more_is_read_than_may_wait() -> None:
    read: list[int] = []
    reader = ReadAhead(read.append, 2)
    results = reader.over(range(100))
    next(results)
    next(results)
    reader.close()
    assert len(read) <= 2 + 2 + 2  # given out, waiting, in the thread's hands and let in by the end
    assert reading_threads() == 0


def test_the_thread_ends_with_the_iteration_however_it_ends() -> None:
    reader = ReadAhead(abs, 1)
    results = reader.over(range(100))
    next(results)
    assert reading_threads() == 1
    results.close()
    assert reading_threads() == 0

    again = reader.over(range(100))
    next(again)
    newer = reader.over(range(100))
    assert next(newer) == 0
    assert reading_threads() == 1
    assert list(again) == []
    del newer
    assert reading_threads() == 0

    def forgotten() -> Iterator[int]:
        yield from reader.over(range(100))

    assert list(islice(forgotten(), 2)) == [0, 1]
    assert reading_threads() == 0


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(ValueError, match=r"depth \(-1\) must not be negative"):
        ReadAhead(abs, -1)
