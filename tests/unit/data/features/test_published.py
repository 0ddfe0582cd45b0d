"""Published feature pickles are read in place, whatever their protocol and layout, and refused where they do not fit."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.data.features import open_features
from zoopraxis.errors import DataError
from zoopraxis.pickles import save_torch_archive

WIDTHS = {"RGB": 64, "Flow": 48, "Audio": 16}
CLIP_IDS = [f"P01_{number}" for number in range(12)]
ROWS = np.array([3, 11, 3, 0])
POSITIONS = np.array([[2, 7, 12, 17, 22], [24, 0, 0, 1, 2], [2, 7, 12, 17, 22], [0, 1, 2, 3, 4]])


def dump(path: Path, features: Any, clip_ids: Any = CLIP_IDS, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps({"features": features, "narration_ids": clip_ids}, protocol=protocol))
    return path


def expected(features: dict[str, Any]) -> Any:
    return np.concatenate([values[ROWS[:, None], POSITIONS] for values in features.values()], axis=-1)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "array": lambda values: values,
    "list": list,
    "objects": lambda values: np.array([*values, None], dtype=object)[:-1],
    "columns first": np.asfortranarray,
    "float64": lambda values: values.astype(np.float64),
    "big-endian": lambda values: values.astype(">f4"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("protocol", [0, 2, 3, 5])
def test_features_of_every_layout_and_protocol_are_read(
    tmp_path: Path, features: dict[str, Any], layout: str, protocol: int
) -> None:
    path = dump(tmp_path / "a.pkl", {name: LAYOUTS[layout](values) for name, values in features.items()}, protocol=protocol)
    store = open_features(path)
    assert store.modalities == WIDTHS
    assert store.clip_ids.tolist() == CLIP_IDS
    assert store.num_features.tolist() == [25] * 12
    found = store.read(ROWS, POSITIONS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected(features))
    copied = pickle.loads(pickle.dumps(store))  # as a worker gets it
    np.testing.assert_array_equal(copied.read(ROWS, POSITIONS, ["audio", "RGB"]), found[..., np.r_[112:128, 0:64]])


def test_half_precision_is_read_as_single(tmp_path: Path, features: dict[str, Any]) -> None:
    halves = {name: values.astype(np.float16) for name, values in features.items()}
    found = open_features(dump(tmp_path / "a.pkl", halves)).read(ROWS, POSITIONS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected(halves))


def test_a_torch_archive_is_read(tmp_path: Path, features: dict[str, Any]) -> None:
    save_torch_archive(tmp_path / "a.pt", {"features": features, "narration_ids": CLIP_IDS})
    np.testing.assert_array_equal(open_features(tmp_path / "a.pt").read(ROWS, POSITIONS), expected(features))


def test_one_feature_a_clip_and_clips_of_different_lengths_are_read(tmp_path: Path) -> None:
    clips = [np.full((count, 4), count, np.float32) for count in (2, 5, 1)]
    store = open_features(dump(tmp_path / "a.pkl", {"RGB": clips}, ["a", "b", "c"]))
    assert store.num_features.tolist() == [2, 5, 1]
    assert store.read(np.array([1, 0]), np.array([[4], [1]]))[..., 0].tolist() == [[5], [2]]
    flat = open_features(dump(tmp_path / "b.pkl", {"RGB": np.eye(3, dtype=np.float32)}, ["a", "b", "c"]))
    assert flat.num_features.tolist() == [1, 1, 1]
    assert flat.read(np.array([2]), np.array([[0]])).tolist() == [[[0, 0, 1]]]


def test_large_arrays_stay_in_the_file(tmp_path: Path, features: dict[str, Any]) -> None:
    """What the file holds later is what is read: nothing was loaded."""
    path = dump(tmp_path / "a.pkl", features)
    store = open_features(path)
    content = path.read_bytes()
    place = content.index(features["Flow"].tobytes())
    with path.open("r+b") as file:
        file.seek(place)
        file.write(np.full(48, 7, np.float32).tobytes())
    assert (store.read(np.array([0]), np.array([[0]]), ["Flow"]) == 7).all()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"a\.pkl have changed while in use: \d+ bytes, were \d+; begin anew"):
        pickle.loads(pickle.dumps(store)).read(ROWS, POSITIONS)


class Runs:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (os.system, ("echo",), "system"),
        (eval, ("1",), "eval"),
        (getattr, ("a", "upper"), "getattr"),
        (np.load, ("x",), "numpy.load"),
        (np.memmap, ("x",), "memmap"),
        (pickle.loads, (b"I1\n.",), "loads"),
    ],
)
def test_nothing_that_a_pickle_asks_for_is_run(
    tmp_path: Path, function: Any, args: tuple[Any, ...], name: str, protocol: int
) -> None:
    path = dump(tmp_path / "a.pkl", {"RGB": Runs(function, *args)}, protocol=protocol)
    with pytest.raises(DataError, match=rf"a\.pkl is refused: it calls for \S*{name}, which is no data; nothing was run"):
        open_features(path)


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x04" + b"\x8e" + (2**62).to_bytes(8, "little") + b"x.",  # bytes that are not there
        b"\x80\x05" + b"\x96" + (2**62).to_bytes(8, "little") + b"x.",  # a bytearray that is not there
        b"\x80\x04" + b"\x95" + (2**63).to_bytes(8, "little") + b"N",  # a frame of any length, and no end
        b"\x80\x04" + b"\x95" + b"\0" * 5,  # a frame cut off
        b"\x80\x05\x97.",  # a buffer that is nowhere
        b"\x80\x04\x82\x01.",  # an extension
        b"\x80\x04Nb.",  # state for nothing
        b"\x80\x04\xff.",  # no opcode
        b"\x80\x04R.",  # a call of nothing
        b"\x80\x09N.",  # a later protocol
        b"",
        b"P01_0,1,2\n",
    ],
)
def test_forged_and_foreign_files_are_refused(tmp_path: Path, program: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(program)
    with pytest.raises(DataError, match=r"a\.pkl is not a readable pickle \(.+\); it may be truncated"):
        open_features(tmp_path / "a.pkl")


def test_a_truncated_pickle_is_refused_wherever_it_ends(tmp_path: Path, features: dict[str, Any]) -> None:
    content = pickle.dumps({"features": features, "narration_ids": CLIP_IDS}, protocol=4)
    for size in (1, 3, 60, 5000, len(content) // 2, len(content) - 20, len(content) - 1):
        (tmp_path / "a.pkl").write_bytes(content[:size])
        with pytest.raises(DataError, match=r"a\.pkl is not a readable pickle \(.+\); it may be truncated"):
            open_features(tmp_path / "a.pkl")


SMALL = np.zeros((2, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], r'holds no features: it is not \{"features": '),
        ({"features": {}}, r"holds no features: it is not"),
        ({"features": {}, "narration_ids": []}, r"holds no features by modality"),
        ({"features": {"RGB": SMALL}, "narration_ids": 2}, r"narration_ids of type int, not a list of ids"),
        ({"features": {"RGB": SMALL}, "narration_ids": ["a", 2]}, r"a narration id of type int \(2\); ids must be text"),
        ({"features": {"RGB": SMALL}, "narration_ids": ["a", "a"]}, r"narration id 'a' occurs twice in .*a\.pkl"),
        ({"features": {"RGB": SMALL[:0]}, "narration_ids": []}, r"holds no clips"),
        (
            {"features": {"RGB": SMALL}, "narration_ids": ["a", "b", "c"]},
            r"features RGB of .*a\.pkl are of 2 clips, its narration_ids 3; both must be as many",
        ),
        ({"features": {"RGB": 5}, "narration_ids": ["a"]}, r"are of 0 clips, its narration_ids 1"),
        (
            {"features": {"RGB": SMALL.astype(int)}, "narration_ids": ["a", "b"]},
            r"RGB of .*a\.pkl are int64 in shape \(3, 4\) a clip; they must be floating-point numbers in shape \(S, W\)",
        ),
        ({"features": {"RGB": [SMALL[0], None]}, "narration_ids": ["a", "b"]}, r"are NoneType in shape \(\) a clip"),
        ({"features": {"RGB": SMALL[:, :0]}, "narration_ids": ["a", "b"]}, r"are float32 in shape \(0, 4\) a clip"),
        (
            {"features": {"RGB": [SMALL[0], SMALL[1, :, :2]]}, "narration_ids": ["a", "b"]},
            r"float32 of width 4 and float32 of width 2; all clips must have the same",
        ),
        (
            {"features": {"RGB": SMALL, "Flow": [SMALL[0], SMALL[1, :2]]}, "narration_ids": ["a", "b"]},
            r"clip b of .*a\.pkl has 3 features RGB and 2 features Flow; they must be as many",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=message):
        open_features(tmp_path / "a.pkl")
