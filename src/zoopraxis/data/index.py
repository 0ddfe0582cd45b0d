"""The clip index: one row a clip, whatever data set it comes from.

Arrow in memory and Parquet on disk, so that a loader's workers share it instead of copying it. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from zoopraxis.errors import AnnotationError, did_you_mean
from zoopraxis.files import atomic_path

__all__ = ["UNLABELLED", "Clip", "ClipIndex"]

UNLABELLED = -1
"""The label of a clip whose class is not known (a challenge's test split)."""

_COLUMNS: dict[str, pa.DataType] = {
    "clip_id": pa.string(),
    "source": pa.string(),
    "start_seconds": pa.float64(),
    "stop_seconds": pa.float64(),
    "start_frame": pa.int64(),
    "stop_frame": pa.int64(),
    "split": pa.string(),
    "participant_id": pa.string(),
    "domain": pa.string(),
}
_META_KEY = b"zoopraxis"


@dataclass(frozen=True, slots=True)
class Clip:
    """Where one clip lies: a source, and a half-open span of it in seconds, in frames (from 0), in both, or all of it."""

    clip_id: str
    source: str
    start_seconds: float | None = None
    stop_seconds: float | None = None
    start_frame: int | None = None
    stop_frame: int | None = None


class ClipIndex:
    """A table of clips with one integer label column a head.

    Attributes:
        table: The rows: clip_id, source, start_seconds, stop_seconds, start_frame, stop_frame (half-open, frames counted from
            0), split, participant_id, domain, and one int64 column `label:<head>` a head (`UNLABELLED` where not known).
        class_names: For each head the names of its classes, in label order; their number is the head's width.
    """

    def __init__(self, table: pa.Table, class_names: Mapping[str, Sequence[str]]) -> None:
        self.table = table
        self.class_names = {head: tuple(names) for head, names in class_names.items()}

    @classmethod
    def from_columns(
        cls,
        *,
        clip_id: Sequence[str],
        source: Sequence[str],
        labels: Mapping[str, npt.ArrayLike],
        class_names: Mapping[str, Sequence[str]],
        **optional: Any,
    ) -> ClipIndex:
        """Build an index from columns of equal length; `optional` are the other columns (one value for all rows, or one each).

        Raises:
            AnnotationError: If a column is unknown, lengths differ, or a head has labels without class names.
        """
        unknown = set(optional) - set(_COLUMNS)
        if unknown:
            name = min(unknown)
            raise AnnotationError(f"unknown index column {name!r}; {did_you_mean(name, _COLUMNS)}")
        if set(labels) != set(class_names):
            raise AnnotationError(f"labels are given for {sorted(labels)} but class names for {sorted(class_names)}; give both")
        num_rows = len(clip_id)
        given = {"clip_id": clip_id, "source": source, **optional}
        columns = {name: _column(name, given.get(name), kind, num_rows) for name, kind in _COLUMNS.items()}
        for head, values in labels.items():
            columns[f"label:{head}"] = _column(head, np.asarray(values, dtype=np.int64), pa.int64(), num_rows)
        return cls(pa.table(columns), class_names)

    @property
    def heads(self) -> dict[str, int]:
        """Head name to number of classes."""
        return {head: len(names) for head, names in self.class_names.items()}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, row: int) -> Clip:
        fields = ("clip_id", "source", "start_seconds", "stop_seconds", "start_frame", "stop_frame")
        return Clip(*(self.table.column(name)[row].as_py() for name in fields))

    @property
    def clip_ids(self) -> npt.NDArray[np.str_]:
        """Ids of all clips in the index's order, shape (N,)."""
        return self.column("clip_id").astype(np.str_)

    def column(self, name: str) -> npt.NDArray[Any]:
        """One column, shape (N,)."""
        if name not in self.table.column_names:
            raise AnnotationError(f"the index has no column {name!r}; {did_you_mean(name, self.table.column_names)}")
        return np.asarray(self.table.column(name).to_numpy())

    def labels(self) -> dict[str, npt.NDArray[np.int64]]:
        """For each head its labels, shape (N,), int64, `UNLABELLED` where not known."""
        return {head: self.column(f"label:{head}") for head in self.class_names}

    def select(self, rows: npt.NDArray[Any] | Sequence[int]) -> ClipIndex:
        """The index of some rows, given as a boolean mask of shape (N,) or as row numbers."""
        picked = np.asarray(rows)
        numbers = np.flatnonzero(picked) if picked.dtype == np.bool_ else picked.astype(np.int64)
        return ClipIndex(self.table.take(pa.array(numbers)), self.class_names)

    def of_split(self, split: str) -> ClipIndex:
        """The clips of one split.

        Raises:
            AnnotationError: If no clip belongs to it.
        """
        splits = self.column("split")
        mask = splits == split
        if not mask.any():
            known = sorted({str(s) for s in splits if s is not None})
            raise AnnotationError(f"the index has no clips of split {split!r}; {did_you_mean(split, known)}")
        return self.select(mask)

    def without(self, clip_ids: Sequence[str]) -> ClipIndex:
        """The index without the clips named."""
        return self.select(~np.isin(self.clip_ids, np.asarray(list(clip_ids), dtype=np.str_)))

    def with_labels(self, labels: Mapping[str, npt.ArrayLike], class_names: Mapping[str, Sequence[str]]) -> ClipIndex:
        """The same clips with these labels (for each head shape (N,), int64) and class names instead of the index's own.

        Raises:
            AnnotationError: If lengths differ, or a head has labels without class names.
        """
        if set(labels) != set(class_names):
            raise AnnotationError(f"labels are given for {sorted(labels)} but class names for {sorted(class_names)}; give both")
        table = self.table.select(list(_COLUMNS))
        for head, values in labels.items():
            column = _column(head, np.asarray(values, dtype=np.int64), pa.int64(), len(self))
            table = table.append_column(f"label:{head}", column)
        return ClipIndex(table, class_names)

    def with_ids(self, clip_ids: Sequence[str]) -> ClipIndex:
        """The same clips with other ids, N texts."""
        place = self.table.column_names.index("clip_id")
        return ClipIndex(self.table.set_column(place, "clip_id", pa.array(clip_ids, type=pa.string())), self.class_names)

    def with_domain(self, domain: str) -> ClipIndex:
        """The same clips, all of this domain."""
        place = self.table.column_names.index("domain")
        column = pa.array([domain] * len(self), type=pa.string())
        return ClipIndex(self.table.set_column(place, "domain", column), self.class_names)

    @staticmethod
    def concat(indexes: Sequence[ClipIndex]) -> ClipIndex:
        """All rows of several indexes, which must have the same heads."""
        first = indexes[0]
        for other in indexes[1:]:
            if other.class_names != first.class_names:
                raise AnnotationError(f"indexes with different heads cannot be joined: {first.heads} and {other.heads}")
        return ClipIndex(pa.concat_tables([index.table for index in indexes]), first.class_names)

    def save(self, path: str | Path) -> None:
        """Write the index as a Parquet file, in one step."""
        meta = {**(self.table.schema.metadata or {}), _META_KEY: json.dumps({"class_names": self.class_names}).encode()}
        with atomic_path(path) as temporary:
            pq.write_table(self.table.replace_schema_metadata(meta), temporary)

    @classmethod
    def load(cls, path: str | Path) -> ClipIndex:
        """Read an index that `save` wrote.

        Raises:
            AnnotationError: If the file is missing or is no index.
        """
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise AnnotationError(
                f"cannot read the clip index {path}: {error}; make it with: zoopraxis prepare index"
            ) from error
        meta = (table.schema.metadata or {}).get(_META_KEY)
        missing = set(_COLUMNS) - set(table.column_names)
        if meta is None or missing:
            raise AnnotationError(f"{path} is a Parquet file but no clip index; make one with: zoopraxis prepare index")
        return cls(table, json.loads(meta)["class_names"])


def _column(name: str, values: Any, kind: pa.DataType, num_rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(num_rows, kind)
    if isinstance(values, (str, int, float)):
        values = [values] * num_rows
    if len(values) != num_rows:
        raise AnnotationError(f"index column {name!r} has {len(values)} values for {num_rows} clips")
    return pa.array(values, type=kind, from_pandas=True)
