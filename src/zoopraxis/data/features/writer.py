"""Writing a feature store chunk by chunk, each whole or not at all. The format is told in `folder.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from zoopraxis.data.features.folder import (
    DESCRIPTION,
    DTYPES,
    SCHEMA,
    TABLE,
    Description,
    chunk_path,
    read_description,
    read_table,
)
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.files import atomic_path, write_text

__all__ = ["FeatureWriter"]

_LEFTOVER = re.compile(r"\.(features|clips|chunk_\d+)\.\d+\.tmp\.(json|parquet|npy)|chunk_\d+\.npy")
"""What a killed run may leave that is not in the table."""


class FeatureWriter:
    """Writes a feature store, or goes on with one.

    Clips are kept until they fill a chunk; then its rows are written, and after them the table of clips. A run that is killed
    loses the chunk that it was at, a run that ends by an error nothing.

    Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        out: str | Path,
        modalities: Mapping[str, int],
        *,
        dtype: Literal["float32", "float16"] = "float32",
        meta: Mapping[str, Any] | None = None,
        chunk_bytes: int = 128 << 20,
        chunk_clips: int = 1024,
    ) -> None:
        """Begin a store, or go on with one.

        Args:
            out: The folder; new, empty, or begun with the same modalities, dtype and meta.
            modalities: Widths by name, in order.
            dtype: In which features are stored.
            meta: What the features are, JSON values; what is made in another way must have another meta.
            chunk_bytes: After so much a chunk is full.
            chunk_clips: After so many clips a chunk is full, which bounds what a killed run loses.

        Raises:
            ConfigError: If a width or the dtype is out of range.
            DataError: If the folder is something else, or was begun otherwise.
        """
        if dtype not in DTYPES:
            raise ConfigError(f"features cannot be stored as {dtype!r}; known: {', '.join(DTYPES)}")
        if not modalities or min(modalities.values()) < 1 or len({name.lower() for name in modalities}) < len(modalities):
            raise ConfigError(f"modalities {dict(modalities)} must be different names (in any case) with widths of at least 1")
        self._out = Path(out)
        self._description = Description(dict(modalities), dtype, dict(meta or {}))
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._chunk_bytes, self._chunk_clips = chunk_bytes, chunk_clips
        _claim(self._out, self._description)
        self._table = read_table(self._out)
        self._done = frozenset(self._table["clip_id"].to_pylist())
        self._next_chunk = max(self._table["chunk"].to_pylist(), default=-1) + 1
        self._ids = set(self._done)
        self._rows: list[npt.NDArray[Any]] = []
        self._clips: list[dict[str, Any]] = []

    @property
    def done(self) -> frozenset[str]:
        """Clips in chunks that are whole."""
        return self._done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not isinstance(error, OSError):  # a full disk would fail again
            self.flush()

    def add(
        self,
        clip_id: str,
        features: Mapping[str, npt.NDArray[Any]],
        *,
        seconds: Sequence[float] | npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Add a clip.

        Args:
            clip_id: Unique in the store.
            features: Of each modality, shape (n, W), n the same for all and at least 1.
            seconds: Where in its video each feature lies, shape (n,).

        Raises:
            DataError: If the clip is there already, a modality is missing, unknown or of another shape, or a number is not
                finite in the store's dtype.
        """
        if clip_id in self._ids:
            raise DataError(f"clip {clip_id!r} is in the features {self._out} already; ids must be unique")
        rows = self._joined(clip_id, features)
        if seconds is not None and len(seconds) != len(rows):
            raise DataError(f"clip {clip_id!r} has {len(rows)} features and {len(seconds)} times; give one time a feature")
        first_row = sum(map(len, self._rows))
        self._clips.append(
            {
                "clip_id": clip_id,
                "chunk": self._next_chunk,
                "first_row": first_row,
                "num_rows": len(rows),
                "seconds": None if seconds is None else np.asarray(seconds, np.float64),
            }
        )
        self._ids.add(clip_id)
        self._rows.append(rows)
        if (first_row + len(rows)) * rows.shape[1] * rows.itemsize >= self._chunk_bytes or len(self._rows) >= self._chunk_clips:
            self.flush()

    def flush(self) -> None:
        """Write the clips at hand as a chunk."""
        if not self._rows:
            return
        shape = (sum(map(len, self._rows)), self._rows[0].shape[1])
        with atomic_path(chunk_path(self._out, self._next_chunk)) as temporary, temporary.open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for rows in self._rows:
                file.write(rows.data)
        table = pa.concat_tables([self._table, pa.Table.from_pylist(self._clips, schema=SCHEMA)])
        with atomic_path(self._out / TABLE) as temporary:
            pq.write_table(table, temporary)
        self._table = table
        self._done = frozenset(self._ids)
        self._next_chunk += 1
        self._rows, self._clips = [], []

    def close(self) -> None:
        """Write what is left."""
        self.flush()

    def _joined(self, clip_id: str, features: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """All modalities side by side, shape (n, D), in the store's dtype."""
        widths = self._description.modalities
        if features.keys() != widths.keys():
            raise DataError(
                f"clip {clip_id!r} has features {', '.join(features) or 'of no modality'}, the store {self._out} is of "
                f"{', '.join(widths)}; give each of them"
            )
        arrays = {name: np.asarray(features[name]) for name in widths}
        num_rows = len(next(iter(arrays.values())))
        for name, array in arrays.items():
            if array.shape != (num_rows, widths[name]) or num_rows == 0:
                raise DataError(
                    f"features {name} of clip {clip_id!r} have shape {array.shape}, not ({num_rows or 'n'}, {widths[name]})"
                )
        with np.errstate(over="ignore"):
            rows = np.concatenate(list(arrays.values()), axis=1).astype(self._dtype, order="C")
        if not np.isfinite(rows).all():
            raise DataError(
                f"features of clip {clip_id!r} are not finite in {self._dtype}; look at the clip and the network that made them"
            )
        return rows


def _claim(out: Path, description: Description) -> None:
    """Leave the description in the folder, or see that it is the same."""
    if (out / DESCRIPTION).exists():
        found = read_description(out)
        for name in ("modalities", "dtype"):
            was, wanted = getattr(found, name), getattr(description, name)
            if was != wanted or (name == "modalities" and list(was) != list(wanted)):
                raise DataError(f"{out} was begun with {name} {was}, not {wanted}; give the same or another folder")
        for name in sorted(found.meta.keys() | description.meta.keys()):
            was, wanted = found.meta.get(name), description.meta.get(name)
            if was != wanted:
                raise DataError(f"{out} was begun with {name} {was}, not {wanted}; give the same or another folder")
        return
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; give a folder")
    if out.is_dir() and any(not _LEFTOVER.fullmatch(entry.name) for entry in out.iterdir()):
        raise DataError(f"{out} is not empty and holds no features; choose a new or an empty folder")
    write_text(out / DESCRIPTION, description.to_json())
