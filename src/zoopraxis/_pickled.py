"""What the calls of a pickle become: NumPy arrays, torch tensors as NumPy arrays, and pandas tables, made by our own code.

The tables at the end are the whole of what a pickle may name. A builder gets the arguments of a call that the pickle asks for,
and the state that it would set afterwards (None if it sets none); it checks both, since the file may be forged.
Used by `zoopraxis.pickles` alone.
"""

from __future__ import annotations

import datetime
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

__all__ = ["BUILDERS", "CONSTANTS", "STORAGE_DTYPES", "TYPES"]


def _key(kind: Any) -> str:
    """The table name of a class that a pickle passes as an argument."""
    return str(getattr(kind, "key", kind))


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise ValueError(complaint)


# NumPy


def _dtype(args: list[Any], state: Any) -> np.dtype[Any]:
    """Only plain types: a record type could be forged so that its bytes are taken for pointers."""
    spec = args[0]
    _require(
        isinstance(spec, str) and re.fullmatch(r"[biufcSUOmM]\d*", spec) is not None, f"array type {spec!r} is not allowed"
    )
    if spec[0] in "mM" and state is not None and len(state) > 8:
        unit, num = state[8][1][:2]
        unit = unit.decode() if isinstance(unit, bytes) else str(unit)
        spec = f"{spec[0]}8" if unit == "generic" else f"{spec[0]}8[{int(num)}{unit}]"
    order = state[1] if state is not None else "="
    _require(order in ("<", ">", "=", "|"), f"byte order {order!r} is not allowed")
    return np.dtype(f"{order}{spec}")


def _from_bytes(data: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
    _require(isinstance(dtype, np.dtype) and not dtype.hasobject, "an array of objects cannot be made of bytes")
    raw = data.encode("latin1") if isinstance(data, str) else data
    size = math.prod(shape) * dtype.itemsize
    _require(len(raw) == size, f"an array of {size} bytes, of which {len(raw)} are there")
    if size == 0:
        return np.zeros(shape, dtype)
    own = raw if isinstance(raw, memoryview) else bytearray(raw)  # a view stays one: of a mapped file
    return np.frombuffer(own, dtype).reshape(shape, order="F" if order == "F" else "C")


def _from_list(items: list[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.fromiter(items, dtype=object, count=len(items)).reshape(shape)


def _array(args: list[Any], state: Any) -> npt.NDArray[Any]:
    _require(_key(args[0]) == "numpy.ndarray" and state is not None, "an array without numbers, or of an unknown class")
    _, shape, dtype, is_fortran, data = state
    if isinstance(data, list):
        _require(dtype.hasobject, f"a list where the bytes of an array of {dtype} belong")
        return _from_list(data, shape)
    return _from_bytes(data, dtype, shape, "F" if is_fortran else "C")


def _scalar(args: list[Any], state: Any) -> Any:
    return _from_bytes(args[1], args[0], (1,), "C")[0]


# torch

STORAGE_DTYPES = {
    f"torch.{name}Storage": dtype
    for name, dtype in (
        *(
            ("Float", "f4"),
            ("Double", "f8"),
            ("Half", "f2"),
            ("BFloat16", "u2"),
            ("ComplexFloat", "c8"),
            ("ComplexDouble", "c16"),
        ),
        *(("Long", "i8"), ("Int", "i4"), ("Short", "i2"), ("Char", "i1"), ("Byte", "u1"), ("Bool", "?"), ("Untyped", "u1")),
    )
}
"""NumPy type of the numbers in each of torch's storages; bfloat16 as its bits."""


def _tensor(args: list[Any], state: Any) -> npt.NDArray[Any]:
    """`_rebuild_tensor_v2(storage, offset, size, stride, ...)`, offsets and strides in elements."""
    flat, offset, size, stride = args[:4]
    _require(isinstance(flat, np.ndarray) and flat.ndim == 1 and len(size) == len(stride), "a tensor without a storage")
    _require(min((offset, *size, *stride)) >= 0, "a tensor with a negative size or stride")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    _require(0 in size or last < len(flat), f"a tensor that ends at {last} in a storage of {len(flat)}")
    if 0 in size:
        return np.zeros(size, flat.dtype)
    steps = [step * flat.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(flat[offset:], size, steps, writeable=False).copy()


def _typed_tensor(args: list[Any], state: Any) -> npt.NDArray[Any]:
    """`_rebuild_tensor_v3`: the storage is bytes, the type stands after the hooks."""
    dtype = np.dtype({"torch.uint16": "u2", "torch.uint32": "u4", "torch.uint64": "u8"}[_key(args[6])])
    return _tensor([args[0].view(dtype), *args[1:4]], state)


def _list(args: list[Any], state: Any) -> list[Any]:
    """A list of one type in a TorchScript archive."""
    return list(args[0])


def _module(args: list[Any], state: Any) -> dict[str, Any]:
    """A module of a TorchScript archive: its attributes by name. What it computes stands elsewhere in the archive, unread."""
    _require(not args and isinstance(state, dict), "a module with other contents than a table of attributes")
    return dict(state)


# pandas


class _Block(NamedTuple):
    """Some columns of a table: values (columns, rows) or, for extension arrays, (rows,), and which columns they are."""

    values: Any
    columns: Any


class _Manager(NamedTuple):
    """A table's labels and blocks."""

    axes: list[pd.Index[Any]]
    blocks: list[_Block]


def _index(args: list[Any], state: Any) -> pd.Index[Any]:
    given = args[1]
    if _key(args[0]) == "pandas.RangeIndex":
        span = range(int(given["start"]), int(given["stop"]), int(given["step"]))
        return pd.RangeIndex(span, name=given.get("name"))
    data = given["data"]
    labels: pd.Index[Any] = pd.Index(data, dtype=data.dtype, name=given.get("name"))
    return labels


def _backed_array(args: list[Any], state: Any) -> Any:
    """Arrays of times, time differences or text that hold a NumPy array: `state` is a mapping, or (dtype, array, ...)."""
    if isinstance(state, Mapping):
        found = [state[name] for name in ("_ndarray", "_data", "_pa_array") if name in state]
        dtype = state.get("_dtype")
    else:
        found = [part for part in state if isinstance(part, np.ndarray)]
        dtype = next((part for part in state if isinstance(part, pd.StringDtype)), None)
    _require(bool(found), "a column without values")
    values = found[0].to_numpy(zero_copy_only=False) if isinstance(found[0], pa.Array) else found[0]
    return pd.array(values, dtype=dtype) if isinstance(dtype, pd.StringDtype) else values


def _block(args: list[Any], state: Any) -> _Block:
    return _Block(args[0], args[1])


def _manager(args: list[Any], state: Any) -> _Manager:
    if state is not None:  # pandas before 1.3, and a Series until 2
        given = state[3]["0.14.1"]
        return _Manager(given["axes"], [_Block(block["values"], block["mgr_locs"]) for block in given["blocks"]])
    blocks, axes = args
    if isinstance(blocks, _Block):
        return _Manager([axes], [blocks])
    return _Manager(list(axes), list(blocks))


def _frame(args: list[Any], state: Any) -> pd.DataFrame:
    (columns, rows), blocks = state["_mgr"] if "_mgr" in state else state["_data"]
    found: dict[int, Any] = {}
    for block in blocks:
        numbers = np.arange(len(columns))[block.columns]
        parts = list(block.values) if block.values.ndim == 2 else [block.values]
        found.update(zip(numbers.tolist(), parts, strict=True))
    series = {i: pd.Series(found[i], index=rows, dtype=found[i].dtype) for i in range(len(columns))}
    table = pd.DataFrame(series, index=rows)
    table.columns = columns
    return table


def _series(args: list[Any], state: Any) -> pd.Series[Any]:
    (rows,), (block,) = state["_mgr"] if "_mgr" in state else state["_data"]
    name = state.get("_name", state.get("name"))
    values: pd.Series[Any] = pd.Series(block.values, index=rows, dtype=block.values.dtype, name=name)
    return values


def _timestamp(args: list[Any], state: Any) -> pd.Timestamp:
    """`(value, freq, tz[, resolution])`, value in ns or in the resolution's unit."""
    _require(args[2] is None, "a time with a time zone is not allowed")
    moment: Any = np.array(args[0], f"M8[{_UNITS[args[3] if len(args) > 3 else 10]}]")[()]
    return pd.Timestamp(moment)


def _timedelta(args: list[Any], state: Any) -> pd.Timedelta:
    span: Any = np.array(args[0], f"m8[{_UNITS[args[1] if len(args) > 1 else 10]}]")[()]
    return pd.Timedelta(span)


_UNITS = {7: "s", 8: "ms", 9: "us", 10: "ns"}
"""pandas' numbers of its resolutions."""


def _arrow_text(args: list[Any], state: Any) -> pa.Array:
    """Text from Arrow's buffers, checked in full: lengths and offsets come from the file."""
    kind, length, _, offset, buffers = args[0][:5]
    _require(kind in (pa.string(), pa.large_string()), "an Arrow array of anything but text is not allowed")
    array = pa.Array.from_buffers(kind, length, buffers, offset=offset)
    array.validate(full=True)
    return array


# Tables


def _encode(args: list[Any], state: Any) -> bytes:
    _require(args[1] in ("latin1", "latin-1"), f"text encoded as {args[1]!r} is not allowed")
    return str(args[0]).encode("latin1")


def _calling(function: Callable[..., Any]) -> Callable[[list[Any], Any], Any]:
    """A builder for a harmless function that takes plain arguments."""
    return lambda args, state: function(*args)


BUILDERS: dict[str, Callable[[list[Any], Any], Any]] = {
    **{f"builtins.{kind.__name__}": _calling(kind) for kind in (bytearray, bytes, complex, frozenset, set, slice)},
    **{f"datetime.{kind.__name__}": _calling(kind) for kind in (datetime.date, datetime.datetime, datetime.time)},
    **{f"datetime.{kind.__name__}": _calling(kind) for kind in (datetime.timedelta, datetime.timezone)},
    "_codecs.encode": _encode,
    "collections.OrderedDict": _calling(OrderedDict),
    "numpy._reconstruct": _array,
    "numpy._frombuffer": lambda args, state: _from_bytes(args[0], args[1], args[2], args[3]),
    "numpy.dtype": _dtype,
    "numpy.scalar": _scalar,
    "pandas.BlockManager": _manager,
    "pandas.BlockPlacement": lambda args, state: args[0],
    "pandas.DataFrame": _frame,
    "pandas.Series": _series,
    "pandas.SingleBlockManager": _manager,
    "pandas.StringDtype": lambda args, state: pd.StringDtype(*args),
    "pandas.Timedelta": _timedelta,
    "pandas.Timestamp": _timestamp,
    "pandas.new_block": _block,
    "pandas._timedelta_unpickle": _timedelta,
    "pandas._unpickle_block": _block,
    "pandas._unpickle_timestamp": _timestamp,
    **dict.fromkeys(("pandas._nat_unpickle", "pandas.__nat_unpickle"), lambda args, state: pd.NaT),
    **dict.fromkeys(("pandas._new_Index", "pandas._new_DatetimeIndex", "pandas._new_TimedeltaIndex"), _index),
    **dict.fromkeys(("pandas.DatetimeArray", "pandas.TimedeltaArray", "pandas.StringArray"), _backed_array),
    **dict.fromkeys(("pandas.ArrowStringArray", "pandas.ArrowStringArrayNumpySemantics"), _backed_array),
    "pandas.__pyx_unpickle_NDArrayBacked": _backed_array,
    "pyarrow._restore_array": _arrow_text,
    "pyarrow.chunked_array": lambda args, state: pa.chunked_array(args[0], args[1]).combine_chunks(),
    "pyarrow.py_buffer": lambda args, state: pa.py_buffer(args[0]),
    "pyarrow.type_for_alias": lambda args, state: {"string": pa.string(), "large_string": pa.large_string()}[args[0]],
    "torch.ScriptModule": _module,
    "torch.Size": lambda args, state: tuple(*args),
    "torch._rebuild_parameter": lambda args, state: args[0],
    "torch._rebuild_tensor_v2": _tensor,
    "torch._rebuild_tensor_v3": _typed_tensor,
    **dict.fromkeys((f"torch.build_{kind}list" for kind in ("bool", "double", "int", "tensor")), _list),
    "torch.restore_type_tag": lambda args, state: args[0],
}
"""What may be called, by its package and bare name, and what is done instead: (arguments, state) to the object."""

TYPES = frozenset(
    {"functools.partial", "numpy.ndarray", "torch.uint16", "torch.uint32", "torch.uint64", *STORAGE_DTYPES}
    | {f"pandas.{name}" for name in ("Index", "RangeIndex", "DatetimeIndex", "TimedeltaIndex", "NumericIndex")}
    | {f"pandas.{name}" for name in ("Int64Index", "UInt64Index", "Float64Index")}
)
"""What may be named as an argument of a call, and nowhere else."""

CONSTANTS: dict[str, Any] = {"pandas.NA": pd.NA, "pandas.NaT": pd.NaT}
