"""Pickles and archives are read without running anything; what torch and pandas write loads as it was."""

from __future__ import annotations

import collections
import datetime
import os
import pickle
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from zoopraxis.errors import DataError
from zoopraxis.pickles import load_pickle, map_pickle, save_pickle, save_torch_archive

RESULTS = {
    "verb_output": np.arange(6, dtype=np.float32).reshape(2, 3),
    "narration_id": np.array(["P01_11_0", "P01_11_10"]),
    "ragged": np.array(["a", None, [1, 2]], dtype=object),
    "row": [{"video_id": "P01_11", "score": np.float32(0.5), "rank": 3}],
    "other": {"tuple": (1, 2.5, None), "set": {1, 2}, "frozen": frozenset({"x"}), "bytes": b"ab", "complex": 1j},
}


def dump(path: Path, obj: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(obj, protocol=protocol))
    return path


def assert_same(actual: Any, expected: Any) -> None:
    assert type(actual) is type(expected)
    if isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)
    elif isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key, value in expected.items():
            assert_same(actual[key], value)
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    else:
        assert actual == expected


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_large_arrays_of_a_mapped_pickle_are_views_of_the_file(tmp_path: Path, protocol: int) -> None:
    large = np.arange(6000, dtype=np.float32).reshape(20, 300)
    content = {"large": large, "again": large, "small": np.arange(3), "rest": [b"x" * 300, bytearray(b"y" * 300), "z" * 9000]}
    path = dump(tmp_path / "a.pkl", content, protocol)
    mapped = map_pickle(path)
    assert_same(mapped.content, content)
    found = mapped.content["large"]
    assert mapped.content["again"] is found
    assert not found.flags.writeable
    offset = mapped.offset_of(found)
    assert offset is not None
    assert path.read_bytes()[offset:].startswith(large.tobytes())
    assert mapped.offset_of(found.T) is None
    assert mapped.offset_of(mapped.content["small"]) is None
    assert mapped.content["small"].flags.writeable


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_old_pickles_and_archives_are_loaded_where_they_would_be_mapped(tmp_path: Path, protocol: int) -> None:
    mapped = map_pickle(dump(tmp_path / "a.pkl", RESULTS, protocol))
    assert_same(mapped.content, RESULTS)
    assert mapped.offset_of(mapped.content["verb_output"]) is None
    save_torch_archive(tmp_path / "a.pt", {"a": np.arange(2000.0)})
    archive = map_pickle(tmp_path / "a.pt")
    assert archive.file_bytes.size == 0
    assert archive.content["a"].tolist() == list(range(2000))


class Runs:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_containers_and_arrays_load_as_they_were(tmp_path: Path, protocol: int) -> None:
    assert_same(load_pickle(dump(tmp_path / "a.pkl", RESULTS, protocol)), RESULTS)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "<i8", ">i4", "f2", ">f8", "c8", "S3", "U5", "M8[ms]", "m8[25s]", "O"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_every_plain_array_type_loads(tmp_path: Path, dtype: str, protocol: int) -> None:
    array = (
        np.arange(24).astype("i8" if dtype[0] in "Mm" else "U2" if dtype[0] in "SU" else "i8").astype(dtype).reshape(2, 3, 4)
    )
    loaded = load_pickle(dump(tmp_path / "a.pkl", [array, array.T, array[:, :0], array[0, 0, 0]], protocol))
    assert_same(loaded, [array, array.T, array[:, :0], array[0, 0, 0]])
    loaded[0][0] = loaded[0][1]


def test_shared_and_cyclic_containers_stay_so(tmp_path: Path) -> None:
    shared = [np.arange(2)]
    cyclic: list[Any] = [shared, shared]
    cyclic.append(cyclic)
    loaded = load_pickle(dump(tmp_path / "a.pkl", cyclic))
    assert loaded[0] is loaded[1]
    assert loaded[2] is loaded


def test_dates_and_ordered_dicts_load(tmp_path: Path) -> None:
    content = collections.OrderedDict(
        day=datetime.date(2020, 1, 2),
        time=datetime.time(1, 2, 3),
        moment=datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.UTC),
        span=datetime.timedelta(seconds=5),
    )
    assert_same(load_pickle(dump(tmp_path / "a.pkl", [content])), [content])


@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (os.system, ("echo",), "posix.system"),
        (eval, ("1",), "builtins.eval"),
        (exec, ("1",), "builtins.exec"),
        (getattr, ("a", "upper"), "builtins.getattr"),
        (__import__, ("os",), "builtins.__import__"),
        (open, ("x", "w"), "open"),
        (subprocess.Popen, (["true"],), "subprocess.Popen"),
        (pickle.loads, (b"",), "_pickle.loads"),
        (np.load, ("x",), "numpy.load"),
        (pd.read_pickle, ("x",), "pandas.read_pickle"),
    ],
)
def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path: Path, function: Any, args: Any, name: str) -> None:
    path = dump(tmp_path / "bad.pkl", {"fine": 1, "bad": Runs(function, *args)})
    with pytest.raises(
        DataError, match=f"bad.pkl is refused: it calls for .*{name}.* nothing was run; get the file from"
    ) as info:
        load_pickle(path)
    assert "\n" not in str(info.value)


@pytest.mark.skipif(os.name != "posix", reason="the shell's touch is posix")
@pytest.mark.parametrize("is_archive", [False, True])
def test_nothing_that_a_refused_pickle_asks_for_is_run(tmp_path: Path, is_archive: bool) -> None:
    program = pickle.dumps([Runs(os.system, f"touch {tmp_path / 'touched'}"), RESULTS], protocol=2)
    path = tmp_path / "bad.pt"
    if is_archive:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("bad/data.pkl", program)
    else:
        path.write_bytes(program)
    with pytest.raises(DataError, match=r"posix\.system"):
        load_pickle(path)
    assert not (tmp_path / "touched").exists()
    assert b"posix\nsystem" in program


def test_a_nested_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x13ndarray.__reduce_ex\x93.")
    with pytest.raises(DataError, match=r"numpy\.ndarray\.__reduce_ex"):
        load_pickle(path)


def test_allowed_names_are_no_way_around(tmp_path: Path) -> None:
    """A class of the table as a value, a partial of anything but pandas' block maker, and codecs beyond latin1 are refused."""
    for number, program in enumerate(
        (
            b"cnumpy\nndarray\n.",
            b"]cnumpy\nndarray\na.",
            b"cfunctools\npartial\n(cbuiltins\nset\ntR(tR.",
            b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.",
        )
    ):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(b"\x80\x02" + program)
        with pytest.raises(DataError, match=r"numpy\.ndarray|functools\.partial|encoded as 'rot13'"):
            load_pickle(path)


def test_an_array_type_with_forged_fields_is_refused(tmp_path: Path) -> None:
    record = np.zeros(2, dtype=[("a", "i4"), ("b", "f8")])
    with pytest.raises(DataError, match="array type 'V12' is not allowed"):
        load_pickle(dump(tmp_path / "a.pkl", record))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Ran out of input"),
        (b"no pickle at all\n", "is not a readable pickle"),
        (pickle.dumps(RESULTS)[:-40], "it may be truncated: get or make it again"),
        (b"PK\x03\x04 no archive", "is not a readable pickle"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "broken.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as info:
        load_pickle(path)
    assert str(path) in str(info.value)
    assert "\n" not in str(info.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none\.pkl: No such file or directory; check the path"):
        load_pickle(tmp_path / "none.pkl")


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_give_data_errors_and_nothing_else(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = pickle.dumps([frame(), RESULTS], protocol=4 + seed % 2)
    outcomes = set()
    for _ in range(100):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "a.pkl").write_bytes(damaged)
        try:
            load_pickle(tmp_path / "a.pkl")
            outcomes.add("loaded")
        except DataError:
            outcomes.add("refused")
    assert "refused" in outcomes


def frame() -> pd.DataFrame:
    index = pd.Index(["P01_11_0", "P01_11_1", "P01_11_2"], name="narration_id")
    table = pd.DataFrame(
        {
            "video_id": ["P01_11", "P01_11", None],
            "start_frame": [1, 93, 200],
            "score": [0.5, np.nan, 1.0],
            "stop_frame": [113, 147, 300],
            "is_seen": [True, False, True],
            "all_nouns": [["plate"], ["plate", "tap"], []],
            "pairs": [[1, 2], [3, 4], [5, 6]],
            "filmed": pd.to_datetime(["2018-01-02", "2020-03-04", None]),
            "span": pd.to_timedelta(["1s", "2.5s", None]),
        },
        index=index,
    )
    table["moments"] = pd.Series([pd.Timestamp("2020-01-02 03:04:05.6"), pd.NaT, pd.Timedelta("3s")], dtype=object, index=index)
    table["text"] = pd.Series(["a", None, "b"], dtype=pd.StringDtype("python"), index=index)
    table["untyped"] = pd.Series(["a", None, "b"], dtype=object, index=index)
    return table


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tables_load_as_they_were(tmp_path: Path, protocol: int) -> None:
    table = frame()
    for name, content in {
        "as_is": table,
        "counted": table.reset_index(),
        "by_frame": table.set_index("start_frame"),
        "by_score": table.set_index("score"),
        "by_time": table.set_index("filmed"),
        "by_span": table.set_index("span"),
        "empty": table.iloc[:0],
        "no_columns": table[[]],
        "repeated": pd.concat([table, table], axis=1),
    }.items():
        content.to_pickle(tmp_path / f"{name}.pkl", protocol=protocol)
        pd.testing.assert_frame_equal(load_pickle(tmp_path / f"{name}.pkl"), content)
    for name in ("video_id", "start_frame", "span"):
        table[name].to_pickle(tmp_path / "column.pkl", protocol=protocol)
        pd.testing.assert_series_equal(load_pickle(tmp_path / "column.pkl"), table[name])


class Stored:
    """An object that pickles as `module.name(*args)` with a state, as some pandas version wrote it."""

    def __init__(self, name: str, args: tuple[Any, ...] = (), state: Any = None) -> None:
        self.name, self.args, self.state = name, args, state


def write_program(obj: Any) -> bytes:
    """A protocol 2 pickle of `obj`, `Stored` objects as calls of names that need not exist."""
    if isinstance(obj, Stored):
        module, _, name = obj.name.rpartition(".")
        called = f"c{module}\n{name}\n".encode() + write_program(obj.args) + b"R" if obj.args is not None else b""
        return called + (write_program(obj.state) + b"b" if obj.state is not None else b"")
    if isinstance(obj, tuple):
        return b"(" + b"".join(map(write_program, obj)) + b"t"
    if isinstance(obj, list):
        return b"](" + b"".join(map(write_program, obj)) + b"e"
    if isinstance(obj, dict):
        return b"}(" + b"".join(write_program(part) for item in obj.items() for part in item) + b"u"
    if isinstance(obj, type):
        return f"c{obj.__module__}\n{obj.__name__}\n".encode()
    if isinstance(obj, bytes):
        return write_program(Stored("_codecs.encode", (obj.decode("latin1"), "latin1")))
    if isinstance(obj, str):
        return b"X" + struct.pack("<I", len(obj.encode())) + obj.encode()
    return pickle.dumps(obj, protocol=2)[2:-1]


def old_array(dtype: str, shape: tuple[int, ...], content: Any) -> Stored:
    kind = Stored("numpy.dtype", (dtype, False, True), (3, "|" if dtype[0] == "O" else "<", None, None, None, -1, -1, 0))
    empty = Stored("numpy.core.multiarray._reconstruct", (np.ndarray, (0,), b"b"))
    empty.state = (1, shape, kind, False, content)
    return empty


def old_index(labels: list[str], name: str | None = None) -> Stored:
    class_of_old = type("Index", (), {"__module__": "pandas.core.indexes.base"})
    values = old_array("O8", (len(labels),), labels)
    return Stored("pandas.core.indexes.base._new_Index", (class_of_old, {"data": values, "name": name}))


def test_a_table_of_pandas_1_0_loads(tmp_path: Path) -> None:
    axes = [old_index(["video_id", "start_frame"]), old_index(["P01_0", "P01_1"], "narration_id")]
    blocks = [
        {"values": old_array("i8", (1, 2), np.array([1, 93]).tobytes()), "mgr_locs": slice(1, 2, 1)},
        {"values": old_array("O8", (1, 2), ["P01_11", "P01_12"]), "mgr_locs": slice(0, 1, 1)},
    ]
    manager = Stored(
        "pandas.core.internals.managers.BlockManager", (), (axes, [], [], {"0.14.1": {"axes": axes, "blocks": blocks}})
    )
    table = Stored("pandas.core.frame.DataFrame", (), {"_data": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}})
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02" + write_program(table) + b".")
    loaded = load_pickle(tmp_path / "old.pkl")
    expected = pd.DataFrame({"video_id": ["P01_11", "P01_12"], "start_frame": [1, 93]}, index=["P01_0", "P01_1"])
    pd.testing.assert_frame_equal(
        loaded, expected.rename_axis("narration_id"), check_dtype=False, check_index_type=False, check_column_type=False
    )
    assert loaded["start_frame"].dtype == np.int64


def test_a_table_of_pandas_1_3_loads(tmp_path: Path) -> None:
    """Its blocks are made by a `functools.partial`."""
    maker = type("new_block", (), {"__module__": "pandas.core.internals.blocks"})
    partial = b"cfunctools\npartial\n" + write_program((maker,)) + b"R" + write_program((maker, (), {"ndim": 2}, None)) + b"b"
    block = partial + write_program((old_array("i8", (1, 2), np.array([1, 93]).tobytes()), slice(0, 1, 1))) + b"R"
    axes = write_program([old_index(["start_frame"]), old_index(["P01_0", "P01_1"])])
    manager = b"cpandas.core.internals.managers\nBlockManager\n((" + block + b"t" + axes + b"tR"
    table = b"cpandas.core.frame\nDataFrame\n)R}" + write_program("_mgr") + manager + b"sb"
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02" + table + b".")
    assert load_pickle(tmp_path / "old.pkl")["start_frame"].to_dict() == {"P01_0": 1, "P01_1": 93}


def test_what_torch_saves_loads(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    content = {
        **RESULTS,
        "tensor": base,
        "view": base[:, 1:, ::2].transpose(0, 2),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "half": torch.tensor([0.5, 2.0]).half(),
        "bfloat16": torch.tensor([0.5, -3.0]).bfloat16(),
        "long": torch.tensor([1, 2]),
        "bool": torch.tensor([True, False]),
        "unsigned": torch.tensor([7], dtype=torch.uint16),
        "complex": torch.tensor([1 + 2j]),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.0),
        "shape": torch.Size([1, 2]),
        "state_dict": torch.nn.Linear(3, 2).state_dict(),
    }
    torch.save(content, tmp_path / "a.pt")
    loaded = load_pickle(tmp_path / "a.pt")
    assert list(loaded) == list(content)
    assert_same({key: loaded[key] for key in RESULTS}, RESULTS)
    for key, value in {**content, **content.pop("state_dict")}.items():
        if isinstance(value, torch.Tensor):
            actual = loaded[key] if key in loaded else loaded["state_dict"][key]
            np.testing.assert_array_equal(
                actual, value.detach().float().numpy() if key == "bfloat16" else value.detach().numpy()
            )
    assert loaded["shape"] == (1, 2)
    assert loaded["bfloat16"].dtype == np.float32


def test_a_list_of_rows_saved_by_torch_loads(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    rows = [{"narration_id": f"P01_{i}", "verb_output": np.full(3, i, dtype=np.float32), "rank": np.int64(i)} for i in range(5)]
    torch.save(rows, tmp_path / "fused.pt")
    assert_same(load_pickle(tmp_path / "fused.pt"), rows)


def test_a_plain_pickle_named_pt_loads(tmp_path: Path) -> None:
    assert_same(load_pickle(dump(tmp_path / "results.pt", RESULTS)), RESULTS)


def test_tensors_in_the_old_format_of_torch_are_named(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.ones(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match=r"torch's file format of before 1\.6; load it with torch and save it again"):
        load_pickle(tmp_path / "old.pt")


def test_arrays_in_the_old_format_of_torch_load(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    content = {"verb_class": np.arange(6000.0, dtype=np.float32).reshape(1000, 6), "n": 3}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    for found in (load_pickle(tmp_path / "a.pt"), map_pickle(tmp_path / "a.pt").content):
        np.testing.assert_array_equal(found["verb_class"], content["verb_class"])
        assert found["n"] == 3


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.arange(6.0), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        program = archive.read("a/data.pkl").replace(b"K\x06\x85", b"K\x60\x85")
        with zipfile.ZipFile(tmp_path / "b.pt", "w") as forged:
            forged.writestr("a/data.pkl", program)
            forged.writestr("a/data/0", archive.read("a/data/0"))
    with pytest.raises(DataError, match="a tensor that ends at 95 in a storage of 6"):
        load_pickle(tmp_path / "b.pt")


def test_torch_reads_what_is_saved_without_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    save_torch_archive(tmp_path / "a.pt", RESULTS)
    assert_same(torch.load(tmp_path / "a.pt", weights_only=False), RESULTS)
    assert_same(load_pickle(tmp_path / "a.pt"), RESULTS)


def test_what_is_saved_names_no_function_of_numpy_2(tmp_path: Path) -> None:
    save_pickle(tmp_path / "a.pkl", RESULTS)
    save_torch_archive(tmp_path / "a.pt", RESULTS)
    content = (tmp_path / "a.pkl").read_bytes()
    assert content in (tmp_path / "a.pt").read_bytes()
    assert b"numpy.core.multiarray" in content
    assert b"numpy._core" not in content
    assert_same(load_pickle(tmp_path / "a.pkl"), RESULTS)


def test_saving_anything_but_data_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot write .*Runs into a pickle"):
        save_pickle(tmp_path / "a.pkl", {"a": Runs})
    assert list(tmp_path.iterdir()) == []


def test_nesting_beyond_the_stack_is_refused(tmp_path: Path) -> None:
    depth = 100_000
    (tmp_path / "deep.pkl").write_bytes(b"\x80\x04" + b"]" * depth + b"a" * (depth - 1) + b".")
    with pytest.raises(DataError, match="is not a readable pickle"):
        load_pickle(tmp_path / "deep.pkl")
