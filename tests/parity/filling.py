"""Deterministic weights and inputs of golden cases: a tensor's numbers follow from its name and shape alone."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def fill(key: str, shape: Sequence[int], dtype: str = "float32") -> Tensor:
    """What a golden checkpoint holds under `key`: zeros for counters, else normal numbers scaled by the kind of parameter."""
    if key.endswith("num_batches_tracked") or dtype.startswith("int"):
        return torch.zeros(tuple(shape), dtype=torch.int64)
    normal = _normal(key, shape)
    if key.endswith("running_var"):
        return torch.from_numpy(np.asarray(0.75 + 0.25 * np.tanh(normal), dtype=np.float32))
    if key.endswith("running_mean"):
        return torch.from_numpy(np.asarray(0.1 * normal, dtype=np.float32))
    sizes = list(shape)
    while len(sizes) > 1 and sizes[0] == 1:
        sizes.pop(0)
    if len(sizes) > 1:
        scaled = normal * math.sqrt(1 / max(1, math.prod(sizes[1:])))
    elif key.endswith("weight") or "gamma" in key:
        scaled = 1 + 0.1 * normal
    else:
        scaled = 0.05 * normal
    return torch.from_numpy(np.asarray(scaled, dtype=np.float32))


def tensor(name: str, shape: Sequence[int], scale: float = 1.0) -> Tensor:
    """The golden input called `name`: normal numbers times `scale`."""
    return torch.from_numpy(np.asarray(_normal(f"input:{name}", shape) * scale, dtype=np.float32))


class LegacyGenerator:
    """NumPy's old generator behind the interface that samplers draw from: one `randint` a call."""

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed)

    def integers(self, low: int, high: int, size: int | None = None) -> Any:
        return self._state.randint(low, high, size=size)

    def random(self) -> float:
        return self._state.random_sample()


def _normal(name: str, shape: Sequence[int]) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return np.asarray(generator.standard_normal(tuple(shape))).astype(np.float32)
