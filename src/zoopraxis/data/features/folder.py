"""Our own feature store: what its folder holds, and how it is opened.

    features.json       version, modalities with their widths in order, dtype, and what the features are
    clips.parquet       a row a clip: clip_id, chunk, first_row (in the chunk), num_rows, seconds (of each row, or null)
    chunk_00000.npy     rows of the chunk's clips, all modalities side by side, shape (rows, D)

The table is written anew after each chunk. A chunk that it does not know of is not there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from zoopraxis.data.features.mapped import Buffers, Columns, MappedFeatures, MappedFile
from zoopraxis.errors import DataError

__all__ = [
    "DESCRIPTION",
    "DTYPES",
    "SCHEMA",
    "TABLE",
    "Description",
    "chunk_path",
    "open_folder",
    "read_description",
    "read_table",
]

IntArray = npt.NDArray[np.int64]

DTYPES = ("float32", "float16")
DESCRIPTION = "features.json"
TABLE = "clips.parquet"
SCHEMA = pa.schema(
    [
        ("clip_id", pa.string()),
        ("chunk", pa.int64()),
        ("first_row", pa.int64()),
        ("num_rows", pa.int64()),
        ("seconds", pa.list_(pa.float64())),
    ]
)
_VERSION = 1


@dataclass(frozen=True)
class Description:
    """What a store holds.

    Attributes:
        modalities: Widths by name, in the order of the columns.
        dtype: float32 or float16.
        meta: What the features are: the network, frames or clips, and so on; any JSON values.
    """

    modalities: dict[str, int]
    dtype: str
    meta: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The content of features.json."""
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=1, allow_nan=False) + "\n"


def chunk_path(root: Path, number: int) -> Path:
    """Where a chunk's rows are."""
    return root / f"chunk_{number:05d}.npy"


def read_description(root: Path) -> Description:
    """What a store says of itself.

    Raises:
        DataError: If the folder is no feature store, or one of a later version.
    """
    path = root / DESCRIPTION
    try:
        content = json.loads(path.read_text())
        version = content.pop("version")
        description = Description(**content)
    except FileNotFoundError:
        raise DataError(
            f"{root} is no feature store: it has no {DESCRIPTION}; make one by `zoopraxis prepare features`"
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the permissions") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not what describes a feature store ({error}); make the features again") from error
    if version != _VERSION:
        raise DataError(f"{path} is of version {version}, this program knows {_VERSION}; use the program that made it")
    if not isinstance(description.meta, dict):
        raise DataError(f"{path} has meta {description.meta!r}, not an object of what is known; make the features again")
    is_sound = description.dtype in DTYPES and isinstance(description.modalities, dict) and bool(description.modalities)
    if not is_sound or not all(type(width) is int and width > 0 for width in description.modalities.values()):
        raise DataError(f"{path} tells no widths of modalities or no dtype of {', '.join(DTYPES)}; make the features again")
    return description


def read_table(root: Path) -> pa.Table:
    """The table of the clips that are whole; empty if there is none yet.

    Raises:
        DataError: If it is broken.
    """
    path = root / TABLE
    if not path.exists():
        return SCHEMA.empty_table()
    try:
        return pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is no table of clips ({' '.join(str(error).split())}); make the features again") from error


def open_folder(root: Path) -> MappedFeatures:
    """Open a store; its chunks are looked at, not read.

    Raises:
        DataError: If the folder is no feature store or has no features yet, or one of its files is missing or broken.
    """
    description = read_description(root)
    table = read_table(root)
    if not len(table):
        raise DataError(f"{root} holds no features yet; go on with the command that began it")
    clip_ids = np.asarray(table["clip_id"].to_pylist(), dtype=np.str_)
    chunks, first_rows, num_rows = (table[name].to_numpy().astype(np.int64) for name in ("chunk", "first_row", "num_rows"))
    dtype = np.dtype(description.dtype).newbyteorder("<")
    row_bytes = sum(description.modalities.values()) * dtype.itemsize
    files, offsets = _open_chunks(root, chunks, first_rows + num_rows, dtype, row_bytes // dtype.itemsize)
    starts = offsets[chunks] + first_rows * row_bytes
    columns: dict[str, Columns] = {}
    first_byte = 0
    for name, width in description.modalities.items():
        columns[name] = Columns(chunks, starts, first_byte, row_bytes, width, dtype)
        first_byte += columns[name].num_bytes
    seconds = table["seconds"].combine_chunks()
    return MappedFeatures(root, clip_ids, num_rows, columns, Buffers(files), seconds=seconds, meta=description.meta)


def _open_chunks(
    root: Path, chunks: IntArray, ends: IntArray, dtype: np.dtype[Any], width: int
) -> tuple[list[MappedFile], IntArray]:
    """The chunks' files, and where the rows begin in each, bytes.

    Raises:
        DataError: If one is missing, or is not the rows that the table tells.
    """
    num_rows = np.zeros(int(chunks.max()) + 1, np.int64)
    np.maximum.at(num_rows, chunks, ends)
    files, offsets = [], []
    for number, rows in enumerate(num_rows.tolist()):
        path = chunk_path(root, number)
        shape, found, offset = _read_header(path)
        size = path.stat().st_size
        if shape != (rows, width) or found != dtype or size != offset + rows * width * dtype.itemsize:
            raise DataError(
                f"{path} has {size} bytes of {found} in shape {shape}, not the {rows} rows of {width} {dtype} that {TABLE} "
                "tells; it is truncated or of another store: make the features again"
            )
        files.append(MappedFile(path, size))
        offsets.append(offset)
    return files, np.asarray(offsets, np.int64)


def _read_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and first byte of the numbers of a .npy file."""
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("not version 1.0")
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if is_fortran:
                raise ValueError("columns first")
            return shape, dtype, file.tell()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; make the features again") from error
    except ValueError as error:
        raise DataError(f"{path} is no .npy file of rows ({error}); make the features again") from error
