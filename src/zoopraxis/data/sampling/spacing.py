"""Evenly spaced numbers, as the published rules have them to the last bit: a place is cut to a frame, where the bit matters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["even_float32"]


def even_float32(start: float, stop: float, num: int) -> npt.NDArray[np.float32]:
    """`num` numbers from `start` to `stop`, both included, in single precision, rounded as `torch.linspace` rounds them.

    Returns:
        Shape (num,); for one number only `start`.
    """
    first, last = np.float32(start), np.float32(stop)
    if num == 1:
        return np.array([first])
    step = np.float64((last - first) / np.float32(num - 1))
    places = np.arange(num)
    from_start, from_stop = np.float64(first) + step * places, np.float64(last) - step * (num - 1 - places)
    return np.where(places < num // 2, from_start, from_stop).astype(np.float32)
