"""Pickles and `.pt` archives, read without running anything that they ask for.

A pickle is a program: loading one calls whatever it names. Here it calls nothing. Every call that it asks for is written down,
and only afterwards are the calls of one short table (containers, NumPy arrays, pandas tables, dates, torch tensors) carried out
by this file's own code. A name outside that table is refused when it is met. Tables are taken apart and built anew by pandas'
public constructors, so that pickles of pandas 1.0 to 3 load alike, whichever version is installed. Needs no torch.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from zoopraxis._mapped import MappedUnpickler, map_file
from zoopraxis._pickled import BUILDERS, CONSTANTS, STORAGE_DTYPES, TYPES
from zoopraxis.errors import DataError
from zoopraxis.files import atomic_path

__all__ = ["MappedPickle", "load_pickle", "map_pickle", "save_pickle", "save_torch_archive"]

_BROKEN = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RuntimeError, TypeError, ValueError),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)
"""What reading can raise when a file is truncated, is garbage, or describes something impossible."""

_ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_PLAIN = frozenset({bool, bytearray, bytes, complex, float, int, memoryview, str, type(None)})


def load_pickle(path: str | Path) -> Any:
    """Read a pickle, or a `.pt` archive (told by its first bytes, not by its name).

    Allowed: containers, dates, NumPy arrays and scalars of plain types, pandas DataFrames and Series whose columns hold text,
    numbers, lists, times and time differences, torch tensors (given as NumPy arrays, bfloat16 as float32), and the modules of
    a TorchScript archive (given as tables of their attributes, without their code).

    Raises:
        DataError: If the file cannot be read, is truncated or garbage, or names anything else; nothing that it asks for is run.
    """
    with _reading(path), Path(path).open("rb") as file:
        if file.read(4) == _ZIP_MAGIC:
            return _load_archive(file)
        file.seek(0)
        loaded = _load(_Unpickler(file, encoding="latin1"), None)
        return _load_legacy(path, file) if _is_legacy_torch(loaded) else loaded


class MappedPickle(NamedTuple):
    """What a pickle holds, with its large arrays still in the file.

    Attributes:
        content: As `load_pickle` gives it, but arrays whose bytes lie in the file in one piece of 4096 or more are read-only
            views of it. Such bytes outside arrays are memoryviews.
        file_bytes: The file, shape (size,), uint8; empty if nothing is mapped.
    """

    content: Any
    file_bytes: npt.NDArray[np.uint8]

    def offset_of(self, array: npt.NDArray[Any]) -> int | None:
        """Where in the file an array begins, in bytes; None if it is not there, or not in one piece in C order."""
        offset = array.__array_interface__["data"][0] - self.file_bytes.__array_interface__["data"][0]
        is_there = array.flags.c_contiguous and offset >= 0 and offset + array.nbytes <= self.file_bytes.nbytes
        return int(offset) if is_there else None


def map_pickle(path: str | Path) -> MappedPickle:
    """As `load_pickle`, but large arrays are not read: they are views of the file, which must not change while they are used.

    That needs protocol 3 or newer. Up to protocol 2 the bytes of arrays are written as text, and archives are in parts: these
    are loaded.

    Raises:
        DataError: As `load_pickle`.
    """
    nothing = np.zeros(0, np.uint8)
    with _reading(path):
        mapped = map_file(Path(path))
        if mapped[:4] == _ZIP_MAGIC:
            return MappedPickle(load_pickle(path), nothing)
        content = _load(_MappedUnpickler(memoryview(mapped), encoding="latin1"), None)
        if _is_legacy_torch(content):
            return MappedPickle(load_pickle(path), nothing)
        return MappedPickle(content, np.frombuffer(mapped, np.uint8))


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Turn whatever a broken or forged file can raise into a DataError."""
    try:
        yield
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is not a readable pickle ({reason}); it may be truncated: get or make it again") from error
    except _ForbiddenError as error:
        raise DataError(
            f"{path} is refused: it calls for {error}, which is no data; nothing was run; get the file from a source you trust"
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the path") from error


def _is_legacy_torch(loaded: Any) -> bool:
    return type(loaded) is int and loaded == _LEGACY_TORCH_MAGIC


def _load_legacy(path: str | Path, file: BinaryIO) -> Any:
    """What torch's file format of before 1.6 holds after its first number: a version, the machine's sizes, then the content."""
    for _ in range(2):
        _load(_Unpickler(file, encoding="latin1"), None)
    try:
        return _load(_Unpickler(file, encoding="latin1"), None)
    except _ElsewhereError as error:
        raise DataError(
            f"{path} has tensors in torch's file format of before 1.6; load it with torch and save it again"
        ) from error


def save_pickle(path: str | Path, obj: Any) -> None:
    """Write containers, plain values and NumPy arrays as a pickle that any NumPy version can read.

    Raises:
        TypeError: If `obj` holds anything else.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        _Pickler(file, protocol=2).dump(obj)


def save_torch_archive(path: str | Path, obj: Any) -> None:
    """Write containers, plain values and NumPy arrays as an archive that `torch.load(weights_only=False)` reads.

    Raises:
        TypeError: If `obj` holds anything else.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo("archive/data.pkl"), "w", force_zip64=True) as file:
            _Pickler(file, protocol=2).dump(obj)
        archive.writestr(zipfile.ZipInfo("archive/byteorder"), "little")
        archive.writestr(zipfile.ZipInfo("archive/version"), "3\n")


class _Pickler(pickle._Pickler):
    """Writes NumPy's functions under the names that they had before NumPy 2, which every version knows."""

    write: Callable[[bytes], Any]
    memoize: Callable[[Any], None]

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module, name = str(getattr(obj, "__module__", None)), name or obj.__name__
        if _canonical(module, name) not in BUILDERS and obj is not np.ndarray:
            raise TypeError(f"cannot write {module}.{name} into a pickle; convert it to containers and NumPy arrays")
        if module.startswith("numpy._core."):
            self.write(pickle.GLOBAL + f"{module.replace('numpy._core.', 'numpy.core.')}\n{name}\n".encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)  # type: ignore[misc]


# Writing down what a pickle asks for


class _ForbiddenError(Exception):
    """A pickle names something that is not in the table."""


class _ElsewhereError(ValueError):
    """A pickle refers to numbers that are not in it."""


class _Call:
    """A call that a pickle asks for: written down, not made."""

    __slots__ = ("args", "state")
    args: tuple[Any, ...]
    state: Any
    name = ""
    key = ""

    def __new__(cls, *args: Any) -> _Call:
        self = super().__new__(cls)
        self.args, self.state = args, None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _DictCall(_Call):
    """An ordered dict, which a pickle fills after making it."""

    __slots__ = ("items",)
    items: list[tuple[Any, Any]]

    def __setitem__(self, key: Any, value: Any) -> None:
        if not hasattr(self, "items"):
            self.items = []
        self.items.append((key, value))


class _PartialCall(_Call):
    """`functools.partial`, which pandas 1.3 and 1.4 wrap around the maker of a table's blocks; nothing else may be wrapped."""

    __slots__ = ()

    def __call__(self, *args: Any) -> _Call:
        function = self.args[0]
        if getattr(function, "key", None) != "pandas.new_block":
            raise _ForbiddenError(self.name)
        made: _Call = function(*args)
        return made


class _Storage(NamedTuple):
    """A flat run of a torch archive's numbers: its type's name and its member of the archive."""

    kind: str
    key: str


@cache
def _recorder(name: str, key: str) -> type[_Call]:
    base = {"collections.OrderedDict": _DictCall, "functools.partial": _PartialCall}.get(key, _Call)
    return type("Call", (base,), {"__slots__": (), "name": name, "key": key})


def _canonical(module: str, name: str) -> str:
    """A global's name in the tables: the package's first part and the bare name, since versions move things about inside.

    The modules of a TorchScript archive, whose classes stand in the archive under names of their own, share one entry.
    """
    root = module.partition(".")[0]
    if root == "__torch__":
        return "torch.ScriptModule"
    return f"{'builtins' if root == '__builtin__' else root}.{name}"


class _Recording:
    """What makes an unpickler run the pickle's program with every call replaced by a note of it."""

    def find_class(self, module: str, name: str) -> type[_Call]:
        key = _canonical(module, name)
        if key not in BUILDERS and key not in TYPES and key not in CONSTANTS:
            raise _ForbiddenError(f"{module}.{name}".encode("unicode_escape").decode())
        return _recorder(f"{module}.{name}", key)

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key = pid[0], pid[1], pid[2]
        if kind != "storage" or not isinstance(storage_type, type) or not issubclass(storage_type, _Call):
            raise pickle.UnpicklingError(f"unknown persistent id {kind!r}")
        return _Storage(storage_type.key, str(key))


class _Unpickler(_Recording, pickle.Unpickler):
    """Reads a file."""


class _MappedUnpickler(_Recording, MappedUnpickler):
    """Looks at a mapped file."""


def _load(unpickler: _Unpickler | _MappedUnpickler, archive: _Archive | None) -> Any:
    return _Resolver(archive).resolve(unpickler.load())


class _Archive(NamedTuple):
    """An open `.pt` archive."""

    file: zipfile.ZipFile
    prefix: str
    byteorder: str

    def read(self, storage: _Storage) -> npt.NDArray[Any]:
        """All numbers of a storage, shape (n,)."""
        dtype = np.dtype(self.byteorder + STORAGE_DTYPES[storage.kind])
        flat = np.frombuffer(self.file.read(f"{self.prefix}data/{storage.key}"), dtype)
        if storage.kind == "torch.BFloat16Storage":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.astype(flat.dtype.newbyteorder("="), copy=False)


def _load_archive(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        member = next((n for n in archive.namelist() if n == "data.pkl" or n.endswith("/data.pkl")), None)
        if member is None:
            raise ValueError("the archive has no data.pkl")
        prefix = member.removesuffix("data.pkl")
        order = prefix + "byteorder"
        byteorder = archive.read(order).decode() if order in archive.namelist() else "little"
        with archive.open(member) as data:
            numbers = _Archive(archive, prefix, "<" if byteorder == "little" else ">")
            return _load(_Unpickler(data, encoding="latin1"), numbers)


# Carrying out what was written down


def _is_type(obj: Any) -> bool:
    """Whether a pickle's call names `obj` as a class, not as a value."""
    return isinstance(obj, type) and getattr(obj, "key", "") not in CONSTANTS


class _Resolver:
    """Replaces each note by what the tables make of it, in containers of any depth."""

    def __init__(self, archive: _Archive | None) -> None:
        self.archive = archive
        self._done: dict[int, tuple[Any, Any]] = {}  # the original is kept beside its result, so that its id stays its own

    def resolve(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in _PLAIN:
            return obj
        if isinstance(obj, type):
            return self._constant(obj)
        if id(obj) in self._done:
            return self._done[id(obj)][1]
        if kind is list:
            self._done[id(obj)] = (obj, obj)
            if not set(map(type, obj)) <= _PLAIN:
                obj[:] = [self.resolve(item) for item in obj]
            return obj
        if kind is dict:
            self._done[id(obj)] = (obj, obj)
            items = [(self.resolve(key), self.resolve(value)) for key, value in obj.items()]
            obj.clear()
            obj.update(items)
            return obj
        if kind is _Storage:
            result = self._storage(obj)
        elif isinstance(obj, _Call):
            result = self._call(obj)
        else:  # tuple, set, frozenset
            result = kind(self.resolve(item) for item in obj)
        self._done[id(obj)] = (obj, result)
        return result

    def _call(self, call: _Call) -> Any:
        if call.key not in BUILDERS:
            raise _ForbiddenError(call.name)
        self._done[id(call)] = (call, None)
        args = [arg if _is_type(arg) else self.resolve(arg) for arg in call.args]
        built = BUILDERS[call.key](args, self.resolve(call.state))
        if isinstance(built, type):
            raise _ForbiddenError(call.name)
        if isinstance(call, _DictCall):
            built.update((self.resolve(key), self.resolve(value)) for key, value in getattr(call, "items", ()))
        return built

    def _constant(self, kind: type) -> Any:
        key = getattr(kind, "key", "")
        if key not in CONSTANTS:
            raise _ForbiddenError(getattr(kind, "name", kind.__name__))
        return CONSTANTS[key]

    def _storage(self, storage: _Storage) -> npt.NDArray[Any]:
        if self.archive is None:
            raise _ElsewhereError("it refers to tensors that are not in it")
        return self.archive.read(storage)
