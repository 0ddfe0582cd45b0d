"""Rows of features read in place, from mapped files or from memory: only those that are asked for, many at once.

# B clips, S rows of each, D numbers of a row
"""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopraxis.data.features.named import NamedClips
from zoopraxis.data.features.recycling import Recycler
from zoopraxis.errors import DataError

__all__ = ["Buffers", "Columns", "MappedFeatures", "MappedFile"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]

_BLOCK_BYTES, _BLOCK_ROWS = 1 << 19, 128
"""Rows copied at once, at most: what is gathered is still in the processor's cache when it is put in its place."""

_REGION_BITS = 21
"""The system may map so large a part of a file (2 MiB) around each place that is looked at."""

_RESIDENT_REGIONS = 16
"""After so many of them were looked at, files' pages are given back to the system, while that costs nothing."""

_MAX_MAPS = 512
"""Files mapped at a time; each holds a file descriptor."""


@dataclass(frozen=True)
class MappedFile:
    """A file that rows lie in, and its size when it was opened."""

    path: Path
    num_bytes: int


class Buffers:
    """Where rows lie: files, each mapped at its first use in each process, and arrays in memory.

    Pages of files that were looked at are given back from time to time, so that reading through a file takes little memory.
    Once the same places are looked at again and again, as in training, they are left to the system, which takes them back when
    it needs memory. Several threads may read at once.
    """

    def __init__(self, parts: Sequence[MappedFile | UInt8Array]) -> None:
        self._parts = tuple(parts)
        self._maps: OrderedDict[int, mmap.mmap] = OrderedDict()
        self._is_read_again = False
        self._regions: set[tuple[int, int]] = set()  # looked at since pages were given back
        self._past_regions: set[tuple[int, int]] = set()

    def __reduce__(self) -> tuple[type[Buffers], tuple[Any]]:
        return Buffers, (self._parts,)

    def bytes_of(self, number: int) -> UInt8Array:
        """A part's bytes, shape (size,).

        Raises:
            DataError: If its file cannot be opened or has changed.
        """
        part = self._parts[number]
        if not isinstance(part, MappedFile):
            return part
        mapped = self._maps.get(number)
        if mapped is None:
            mapped = self._maps[number] = _map(part)
            if len(self._maps) > _MAX_MAPS:
                self._maps.popitem(last=False)
        return np.frombuffer(mapped, np.uint8)

    def looked_at(self, number: int, addresses: IntArray) -> None:
        """Count what was looked at in a part; when it is much, give the pages of all files back."""
        if self._is_read_again:
            return
        self._regions.update((number, region) for region in set((addresses >> _REGION_BITS).tolist()))
        if len(self._regions) <= _RESIDENT_REGIONS:
            return
        self._is_read_again = 2 * len(self._regions & self._past_regions) > len(self._regions)
        self._past_regions |= self._regions
        self._regions = set()
        for mapped in tuple(self._maps.values()):
            mapped.madvise(mmap.MADV_DONTNEED)


def _map(part: MappedFile) -> mmap.mmap:
    try:
        with part.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the features {part.path}: {error}; check the path") from error
    if len(mapped) != part.num_bytes:
        raise DataError(
            f"the features {part.path} have changed while in use: {len(mapped)} bytes, were {part.num_bytes}; begin anew"
        )
    return mapped


@dataclass(frozen=True, eq=False)
class Columns:
    """Where one modality lies, or several side by side.

    Attributes:
        buffers: Number of the buffer that holds a clip, shape (N,).
        starts: Byte of the buffer at which a clip's first row begins, shape (N,); shared by what lies side by side.
        first_byte: Byte of the row at which these columns begin.
        row_bytes: From row to row.
        width: Numbers in a row.
        dtype: Of the numbers.
    """

    buffers: IntArray
    starts: IntArray
    first_byte: int
    row_bytes: int
    width: int
    dtype: np.dtype[Any]

    @property
    def num_bytes(self) -> int:
        """Of these columns in a row."""
        return self.width * self.dtype.itemsize

    def is_before(self, other: Columns) -> bool:
        """Whether the other columns lie right behind these in the same rows."""
        return self.starts is other.starts and self.first_byte + self.num_bytes == other.first_byte


class MappedFeatures(NamedClips):
    """Features of clips in mapped files or memory; see `FeatureStore`, which it is."""

    def __init__(
        self,
        path: Path,
        clip_ids: npt.NDArray[np.str_],
        num_features: IntArray,
        columns: Mapping[str, Columns],
        buffers: Buffers,
        *,
        seconds: pa.ListArray | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(path, clip_ids, num_features, {name: part.width for name, part in columns.items()}, meta)
        self._columns = dict(columns)
        self._buffers = buffers
        self._memory = Recycler()
        self._seconds = seconds

    def read(self, rows: IntArray, positions: IntArray, modalities: Sequence[str] = ()) -> FloatArray:
        """See `FeatureStore.read`."""
        rows_B, positions_BS = np.asarray(rows, dtype=np.int64), np.asarray(positions, dtype=np.int64)
        self.check(rows_B, positions_BS)
        runs = _joined([self._columns[name] for name in self.widths(modalities)])
        features_BSD = self._memory.empty((*positions_BS.shape, sum(run.width for run in runs)))
        if features_BSD.size == 0:
            return features_BSD
        out_ND = features_BSD.reshape(-1, features_BSD.shape[-1])
        addresses = [(run.starts[rows_B][:, None] + run.first_byte + positions_BS * run.row_bytes).ravel() for run in runs]
        buffers = [run.buffers[rows_B].repeat(positions_BS.shape[1]) for run in runs]
        if len({(run.width, run.dtype) for run in runs}) == 1:  # all at once, so that each row is written in one go
            out = out_ND.reshape(-1, runs[0].width)
            self._gather(runs[0].dtype, np.stack(buffers, 1).ravel(), np.stack(addresses, 1).ravel(), out)
            return features_BSD
        parts = np.split(out_ND, np.cumsum([run.width for run in runs])[:-1], axis=1)
        for run, own_buffers, own_addresses, part in zip(runs, buffers, addresses, parts, strict=True):
            self._gather(run.dtype, own_buffers, own_addresses, part)
        return features_BSD

    def seconds(self, row: int) -> npt.NDArray[np.float64] | None:
        """See `FeatureStore.seconds`."""
        times = None if self._seconds is None else self._seconds[row].values
        return None if times is None else np.asarray(times, np.float64)

    def _gather(self, dtype: np.dtype[Any], buffers_N: IntArray, addresses_N: IntArray, out_ND: FloatArray) -> None:
        """Fill rows with what lies at these addresses of these buffers."""
        if (buffers_N == buffers_N[0]).all():
            self._copy(int(buffers_N[0]), dtype, addresses_N, out_ND, None)
            return
        order_N = np.argsort(buffers_N, kind="stable")
        edges = np.flatnonzero(np.diff(buffers_N[order_N])) + 1
        for places in np.split(order_N, edges):
            self._copy(int(buffers_N[places[0]]), dtype, addresses_N[places], out_ND, places)

    def _copy(
        self, buffer: int, dtype: np.dtype[Any], addresses: IntArray, out_ND: FloatArray, places: IntArray | None
    ) -> None:
        """From addresses of one buffer to some rows of `out_ND`, or to all in turn."""
        size = out_ND.shape[1] * dtype.itemsize
        held = self._buffers.bytes_of(buffer)
        rows: Any = np.ndarray((len(held) - size + 1,), f"V{size}", held, strides=(1,))  # one that begins at each byte
        step = min(max(1, _BLOCK_BYTES // size), _BLOCK_ROWS)
        for start in range(0, len(addresses), step):
            block = slice(start, start + step)
            found = rows[addresses[block]].view(dtype).reshape(-1, out_ND.shape[1])
            out_ND[block if places is None else places[block]] = found
            self._buffers.looked_at(buffer, addresses[block])


def _joined(parts: Sequence[Columns]) -> list[Columns]:
    """The same columns, those that lie side by side as one."""
    joined: list[Columns] = []
    for part in parts:
        if joined and joined[-1].is_before(part):
            joined[-1] = replace(joined[-1], width=joined[-1].width + part.width)
        else:
            joined.append(part)
    return joined
