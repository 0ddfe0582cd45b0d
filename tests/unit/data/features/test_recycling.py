"""Memory is used again, and never while anything refers to it."""

from __future__ import annotations

import pickle

import numpy as np

from zoopraxis.data.features.recycling import Recycler

SHAPE = (300, 1000)


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_used_again_when_the_last_part_of_it_is_gone() -> None:
    recycler = Recycler()
    array = recycler.empty(SHAPE)
    array[:] = 7
    place, part = address(array), array.reshape(-1)[5:].T
    view = memoryview(part)
    del array, part
    other = recycler.empty(SHAPE)
    other[:] = 8
    assert address(other) != place
    assert set(view.tolist()) == {7.0}
    del view
    again = recycler.empty((299, 1000))
    assert address(again) == place
    assert (again.shape, again.dtype) == ((299, 1000), np.float32)
    assert (other == 8).all()


def test_arrays_of_quite_another_size_get_memory_of_their_own() -> None:
    recycler = Recycler()
    recycler.empty(SHAPE)
    assert recycler.empty((SHAPE[0] * 3, SHAPE[1])).size == 900_000
    assert recycler.empty((2, 0)).shape == (2, 0)
    assert recycler.empty((2, 3)).base is None


def test_arrays_outlive_their_recycler() -> None:
    recycler = pickle.loads(pickle.dumps(Recycler()))
    array = recycler.empty(SHAPE)
    array[:] = 3
    del recycler
    assert (array == 3).all()
