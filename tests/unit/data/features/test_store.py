"""Feature stores: written in chunks, read in place, gone on with after a break, refused where they are broken."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from zoopraxis.data.features import FeatureWriter, check_widths, mapped, open_features, rows_by_name
from zoopraxis.errors import ConfigError, DataError

WIDTHS = {"RGB": 64, "Flow": 48, "Audio": 16}
CLIP_IDS = [f"P01_{number}" for number in range(12)]
COUNTS = [25, 1, 7, 25, 3, 25, 25, 2, 25, 25, 25, 4]


def clip(features: dict[str, Any], number: int) -> dict[str, Any]:
    return {name: values[number, : COUNTS[number]] for name, values in features.items()}


def write(out: Path, features: dict[str, Any], numbers: Any = range(12), **options: Any) -> Path:
    with FeatureWriter(out, WIDTHS, **{"chunk_clips": 5, "meta": {"per": "frame"}, **options}) as writer:
        for number in numbers:
            if CLIP_IDS[number] not in writer.done:
                writer.add(CLIP_IDS[number], clip(features, number), seconds=np.arange(COUNTS[number]) / 2)
    return out


def expected(features: dict[str, Any], rows: Any, positions: Any) -> Any:
    return np.concatenate([values[rows[:, None], positions] for values in features.values()], axis=-1)


def all_positions(generator: np.random.Generator, rows: Any) -> Any:
    return generator.integers(0, np.array(COUNTS)[rows][:, None], size=(len(rows), 6))


def test_features_may_lie_in_memory_in_any_order(tmp_path: Path, features: dict[str, Any]) -> None:
    with FeatureWriter(tmp_path / "store", WIDTHS) as writer:
        writer.add("columns first", {name: np.asfortranarray(values) for name, values in clip(features, 0).items()})
    rows, positions = np.array([0]), np.arange(COUNTS[0])[None]
    np.testing.assert_array_equal(open_features(tmp_path / "store").read(rows, positions), expected(features, rows, positions))


@pytest.mark.parametrize("options", [{}, {"chunk_clips": 100}, {"chunk_bytes": 1}, {"dtype": "float16"}])
def test_what_is_written_is_read(
    tmp_path: Path, features: dict[str, Any], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "_BLOCK_BYTES", 2000)
    monkeypatch.setattr(mapped, "_REGION_BITS", 12)
    monkeypatch.setattr(mapped, "_RESIDENT_REGIONS", 3)
    monkeypatch.setattr(mapped, "_MAX_MAPS", 2)
    store = open_features(write(tmp_path / "store", features, **options))
    assert len(store) == 12
    assert store.clip_ids.tolist() == CLIP_IDS
    assert store.num_features.tolist() == COUNTS
    assert store.modalities == WIDTHS
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 12, size=40)
    positions = all_positions(generator, rows)
    wanted = expected(features, rows, positions)
    if options.get("dtype") == "float16":
        wanted = wanted.astype(np.float16)
    for copy in (store, pickle.loads(pickle.dumps(store))):
        found = copy.read(rows, positions)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(store.read(rows, positions, ["flow", "audio"]), wanted[..., 64:])
    np.testing.assert_array_equal(store.read(rows, positions, ["Audio", "rgb"]), wanted[..., np.r_[112:128, 0:64]])
    assert store.read(rows[:0], positions[:0]).shape == (0, 6, 128)


def test_files_are_plain_ones(tmp_path: Path, features: dict[str, Any]) -> None:
    """Any program can read a store: JSON, Parquet, and arrays of rows."""
    root = write(tmp_path / "store", features)
    assert json.loads((root / "features.json").read_text()) == {
        "version": 1,
        "modalities": WIDTHS,
        "dtype": "float32",
        "meta": {"per": "frame"},
    }
    table = pq.read_table(root / "clips.parquet").to_pylist()
    assert [row["clip_id"] for row in table] == CLIP_IDS
    assert [row["chunk"] for row in table] == [0] * 5 + [1] * 5 + [2] * 2
    rows = np.load(root / "chunk_00001.npy")
    assert rows.shape == (sum(COUNTS[5:10]), 128)
    first = table[7]["first_row"]
    np.testing.assert_array_equal(rows[first : first + 2, 64:112], features["Flow"][7, :2])


def test_seconds_of_features_are_kept_where_given(tmp_path: Path, features: dict[str, Any]) -> None:
    with FeatureWriter(tmp_path, WIDTHS) as writer:
        writer.add("a", clip(features, 2), seconds=[0.5 * k for k in range(7)])
        writer.add("b", clip(features, 2))
    store = open_features(tmp_path)
    assert store.seconds(0).tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert store.seconds(1) is None
    with FeatureWriter(tmp_path, WIDTHS) as writer, pytest.raises(DataError, match=r"clip 'c' has 7 features and 2 times"):
        writer.add("c", clip(features, 2), seconds=[0, 1])


def test_a_killed_run_goes_on_after_its_last_chunk(tmp_path: Path, features: dict[str, Any]) -> None:
    root, whole = tmp_path / "store", write(tmp_path / "whole", features)
    writer = FeatureWriter(root, WIDTHS, chunk_clips=5, meta={"per": "frame"})
    for number in range(8):
        writer.add(CLIP_IDS[number], clip(features, number))
    assert writer.done == set(CLIP_IDS[:5])
    del writer  # killed: three clips at hand are lost
    (root / "chunk_00001.npy").write_bytes(b"half-written")  # and a chunk without its entry in the table
    (root / ".chunk_00001.77.tmp.npy").write_bytes(b"half-written")
    assert open_features(root).clip_ids.tolist() == CLIP_IDS[:5]
    store, rows = open_features(write(root, features)), np.arange(12)
    positions = all_positions(np.random.default_rng(1), rows)
    np.testing.assert_array_equal(store.read(rows, positions), open_features(whole).read(rows, positions))
    assert open_features(write(root, features)).clip_ids.tolist() == CLIP_IDS


def test_a_run_that_ends_by_an_error_loses_nothing(tmp_path: Path, features: dict[str, Any]) -> None:
    def break_off() -> None:
        with FeatureWriter(tmp_path, WIDTHS) as writer:
            writer.add("a", clip(features, 0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert open_features(tmp_path).clip_ids.tolist() == ["a"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, features: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, features, range(3))
    table = (tmp_path / "clips.parquet").read_bytes()

    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    def run() -> None:
        with FeatureWriter(tmp_path, WIDTHS, meta={"per": "frame"}) as writer:
            writer.add("x", clip(features, 0))
            monkeypatch.setattr("zoopraxis.files._sync", fail)

    with pytest.raises(OSError, match="No space left"):
        run()
    assert (tmp_path / "clips.parquet").read_bytes() == table
    assert open_features(tmp_path).clip_ids.tolist() == CLIP_IDS[:3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": {**WIDTHS, "RGB": 32}}, r"begun with modalities \{'RGB': 64.*\}, not \{'RGB': 32"),
        ({"modalities": dict(reversed(WIDTHS.items()))}, r"begun with modalities \{'RGB'.*\}, not \{'Audio'"),
        ({"dtype": "float16"}, r"begun with dtype float32, not float16; give the same or another folder"),
        ({"meta": {"per": "clip"}}, "begun with per frame, not clip; give the same or another folder"),
    ],
)
def test_a_store_begun_otherwise_is_refused(
    tmp_path: Path, features: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    write(tmp_path, features, range(2))
    given = {"modalities": WIDTHS, "meta": {"per": "frame"}, **options}
    with pytest.raises(DataError, match=message):
        FeatureWriter(tmp_path, given.pop("modalities"), **given)


def test_places_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"file is a file; give a folder"):
        FeatureWriter(tmp_path / "file", WIDTHS)
    with pytest.raises(DataError, match=r"is not empty and holds no features; choose a new or an empty folder"):
        FeatureWriter(tmp_path, WIDTHS)


def test_settings_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"features cannot be stored as 'int8'; known: float32, float16"):
        FeatureWriter(tmp_path, WIDTHS, dtype="int8")  # type: ignore[arg-type]
    for modalities in ({}, {"RGB": 0}, {"RGB": 1, "rgb": 2}):
        with pytest.raises(ConfigError, match=r"must be different names \(in any case\) with widths of at least 1"):
            FeatureWriter(tmp_path, modalities)


def test_clips_that_do_not_fit_are_refused_and_the_others_stay(tmp_path: Path, features: dict[str, Any]) -> None:
    good = clip(features, 0)
    bad_number = {**good, "Flow": good["Flow"].copy()}
    bad_number["Flow"][3, 4] = np.nan
    with FeatureWriter(tmp_path, WIDTHS, dtype="float16") as writer:
        writer.add("a", good)
        for clip_id, given, message in (
            ("a", good, r"clip 'a' is in the features .* already; ids must be unique"),
            ("b", {"RGB": good["RGB"]}, r"clip 'b' has features RGB, the store .* is of RGB, Flow, Audio; give each of them"),
            ("b", {**good, "Audio": good["Audio"][:, :9]}, r"features Audio of clip 'b' have shape \(25, 9\), not \(25, 16\)"),
            ("b", {**good, "Flow": good["Flow"][:9]}, r"features Flow of clip 'b' have shape \(9, 48\), not \(25, 48\)"),
            ("b", {name: values[:0] for name, values in good.items()}, r"have shape \(0, 64\), not \(n, 64\)"),
            ("b", bad_number, r"features of clip 'b' are not finite in float16; look at the clip and the network"),
            ("b", {**good, "RGB": good["RGB"] * 1e6}, r"features of clip 'b' are not finite in float16"),
        ):
            with pytest.raises(DataError, match=message):
                writer.add(clip_id, given)
        writer.add("b", good)
    assert open_features(tmp_path).clip_ids.tolist() == ["a", "b"]


def test_clips_without_features_are_counted(tmp_path: Path, features: dict[str, Any]) -> None:
    store = open_features(write(tmp_path, features))
    assert store.rows_of(["P01_7", "P01_0", "P01_7"]).tolist() == [7, 0, 7]
    assert store.rows_of([]).tolist() == []
    with pytest.raises(DataError, match=r"2 of 3 clips have no features in .* \(first: P02_1\); make them by `zoopraxis"):
        store.rows_of(["P01_0", "P02_1", "P02_0"])


def test_modalities_are_known_by_name(tmp_path: Path, features: dict[str, Any]) -> None:
    store = open_features(write(tmp_path, features))
    assert list(store.widths(["audio", "FLOW"]).items()) == [("Audio", 16), ("Flow", 48)]
    assert store.widths() == WIDTHS
    message = r"unknown modality 'Flwo' of the features .*; did you mean 'Flow'\? \(they have RGB, Flow, Audio\)"
    with pytest.raises(ConfigError, match=message):
        store.widths(["Flwo"])
    with pytest.raises(ConfigError, match=r"modalities RGB, rgb name one twice"):
        store.read(np.array([0]), np.array([[0]]), ["RGB", "rgb"])
    check_widths(store, {"audio": 16}, "the network")
    with pytest.raises(
        DataError, match=r"features Flow of .* have width 48, those of the network 1024; take features of the same"
    ):
        check_widths(store, {"RGB": 64, "Flow": 1024}, "the network")


def test_places_out_of_range_are_refused(tmp_path: Path, features: dict[str, Any]) -> None:
    store = open_features(write(tmp_path, features))
    for position in (-1, 7):
        with pytest.raises(ValueError, match=rf"positions of clip P01_2 must be in \[0, 7\), not {position}"):
            store.read(np.array([0, 2]), np.array([[0], [position]]))
    for row in (-1, 12):
        with pytest.raises(ValueError, match=r"rows must be in \[0, 12\)"):
            store.read(np.array([row]), np.array([[0]]))
    with pytest.raises(ValueError, match=r"rows \(2,\) and positions \(1, 1\) must be of shapes \(B,\) and \(B, S\)"):
        store.read(np.array([0, 1]), np.array([[0]]))


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there are no features .*none; check the path"):
        open_features(tmp_path / "none")
    with pytest.raises(DataError, match=r"is no feature store: it has no features\.json; make one by"):
        open_features(tmp_path)
    FeatureWriter(tmp_path, WIDTHS).close()
    with pytest.raises(DataError, match=r"holds no features yet; go on with the command that began it"):
        open_features(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("features.json", b"{", r"features\.json is not what describes a feature store"),
        ("features.json", b"[]", r"features\.json is not what describes a feature store"),
        ("features.json", b'{"version": 2, "modalities": {"a": 1}, "dtype": "float32", "meta": {}}', r"is of version 2, .* 1"),
        ("features.json", b'{"version": 1, "modalities": {"a": 0}, "dtype": "float32", "meta": {}}', r"tells no widths"),
        ("features.json", b'{"version": 1, "modalities": {"a": 1}, "dtype": "float32", "meta": 3}', r"has meta 3, not"),
        ("clips.parquet", b"PAR1", r"clips\.parquet is no table of clips"),
        ("chunk_00001.npy", None, r"cannot read .*chunk_00001\.npy: No such file or directory; make the features again"),
        ("chunk_00001.npy", b"", r"chunk_00001\.npy is no \.npy file of rows"),
        ("chunk_00001.npy", b"\x93NUMPY\x03\0", r"chunk_00001\.npy is no \.npy file of rows \(not version 1\.0\)"),
        ("chunk_00001.npy", slice(-8), r"has \d+ bytes of float32 in shape \(102, 128\), not the 102 rows of 128 float32 that"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, features: dict[str, Any], name: str, content: Any, message: str) -> None:
    root = write(tmp_path / "store", features)
    path = root / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[content] if isinstance(content, slice) else content)
    with pytest.raises(DataError, match=message):
        open_features(root)


@pytest.mark.parametrize("folder", ["/data/ucf101/RGB-feature", "Archery"])
def test_clips_are_found_by_the_last_part_of_their_paths(tmp_path: Path, features: dict[str, Any], folder: str) -> None:
    store = open_features(write(tmp_path / "store", features))
    wanted = [3, 0, 7]
    assert rows_by_name(store, np.array([f"{folder}/{CLIP_IDS[row]}/" for row in wanted])).tolist() == wanted
    assert rows_by_name(store, np.array([CLIP_IDS[row] for row in wanted])).tolist() == wanted
    for ids, message in (
        ([f"{folder}/P01_3", f"{folder}/P01_99"], f"1 of 2 clips have no features in .*first: {folder}/P01_99"),
        (["P01_3", f"{folder}/P01_4"], f"1 of 2 clips have no features in .*first: {folder}/P01_4"),
        ([f"{folder}/P01_3", "other/P01_3"], "2 of 2 clips have no features in"),
    ):
        with pytest.raises(DataError, match=message):
            rows_by_name(store, np.array(ids))


def test_videos_of_activitynet_are_found_with_and_without_their_prefix(tmp_path: Path, features: dict[str, Any]) -> None:
    with FeatureWriter(tmp_path / "store", WIDTHS) as writer:
        writer.add("v_aaa", clip(features, 0))
        writer.add("v_bbb", clip(features, 2))
    assert rows_by_name(open_features(tmp_path / "store"), np.array(["bbb", "aaa"])).tolist() == [1, 0]
    assert rows_by_name(open_features(tmp_path / "store"), np.array(["bbb", "ccc"]), allow_missing=True).tolist() == [1, -1]


def test_a_store_tells_what_its_features_are(tmp_path: Path, features: dict[str, Any]) -> None:
    assert open_features(write(tmp_path / "store", features)).meta == {"per": "frame"}
