"""Published features of long videos: read file by file, converted, refused where they do not fit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoopraxis.data.features import SCORE_PREFIX, open_features
from zoopraxis.data.features.video_parts import Span
from zoopraxis.data.prepare.features import convert_features
from zoopraxis.errors import DataError

VIDEOS = {"P01_01": [(0, 5000), (5000, 10000), (10000, 12300), (12300, 12400)], "P02_101": [(0, 4000)]}
MOMENTS = (7 + 8 * np.arange(400)) / 60


def rows_of(video: str, start: int, stop: int) -> np.ndarray:
    return np.flatnonzero((start / 1000 <= MOMENTS) & (stop / 1000 >= MOMENTS))


def features_of(video: str, width: int) -> np.ndarray:
    seed = int(video[-1]) + width
    return np.random.default_rng(seed).standard_normal((400, width), dtype=np.float32)


def write_pieces(folder: Path, width: int, *, surplus: int = 0, torch_file: bool = True) -> Path:
    folder.mkdir(parents=True)
    for video, pieces in VIDEOS.items():
        for start, stop in pieces:
            rows = features_of(video, width)[rows_of(video, start, stop)]
            rows = np.concatenate([rows, np.full((surplus, width), 7, np.float32)])
            path = folder / f"{video}_{start}_{stop}.pkl"
            if torch_file:
                torch.save(rows, path)
            else:
                path.write_bytes(pickle.dumps(rows))
    return folder


def write_scores(folder: Path) -> None:
    folder.mkdir()
    for video, pieces in VIDEOS.items():
        for start, stop in pieces:
            rows = rows_of(video, start, stop)
            scores = {"verb_class": features_of(video, 9)[rows], "noun_class": torch.from_numpy(features_of(video, 12)[rows])}
            torch.save(scores, folder / f"{video}_{start}_{stop}.pkl")


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    write_pieces(tmp_path / "all" / "one", 6)
    write_pieces(tmp_path / "all" / "two", 4, surplus=1, torch_file=False)
    write_scores(tmp_path / "all" / "classes")
    return tmp_path / "all"


def test_pieces_hold_the_features_whose_moment_is_in_them() -> None:
    spans = [(0, 5000), (5000, 10000), (10000, 15000), (15000, 17300), (15000, 16250)]
    assert [Span("video", *span).num_rows for span in spans] == [len(rows_of("video", *span)) for span in spans]


def test_pieces_of_a_video_are_one(pieces: Path) -> None:
    store = open_features(pieces)
    assert store.clip_ids.tolist() == ["P01_01", "P02_101"]
    assert store.modalities == {f"{SCORE_PREFIX}verb": 9, f"{SCORE_PREFIX}noun": 12, "one": 6, "two": 4}
    assert store.num_features.tolist() == [len(rows_of("", 0, 12300)), len(rows_of("", 0, 4000))]
    positions = np.array([[0, 40, 91, 37], [0, 1, 2, 29]])
    found = store.read(np.array([0, 1]), positions, ["two", "one"])
    for video, taken, features in zip(VIDEOS, positions, found, strict=True):
        expected = np.concatenate([features_of(video, 4), features_of(video, 6)], axis=1)[taken]
        np.testing.assert_array_equal(features, expected)
    scores = store.read(np.array([1]), np.array([[5]]), ["score:noun"])
    np.testing.assert_array_equal(scores[0], features_of("P02_101", 12)[[5]])


def test_pieces_tell_their_moments(pieces: Path) -> None:
    store = open_features(pieces / "one")
    seconds = store.seconds(1)
    assert seconds is not None
    np.testing.assert_allclose(seconds, MOMENTS[:30])
    assert store.modalities == {"features": 6}
    assert pickle.loads(pickle.dumps(store)).read(np.array([0]), np.array([[3]])).shape == (1, 1, 6)


def test_pieces_become_a_store(pieces: Path, tmp_path: Path) -> None:
    assert convert_features(pieces, tmp_path / "out").done == 2
    published, converted = open_features(pieces), open_features(tmp_path / "out")
    assert converted.modalities == published.modalities
    assert converted.meta == {"converted_from": ".pkl"}
    rows, positions = np.array([1, 0]), np.array([[0, 20], [90, 3]])
    np.testing.assert_array_equal(converted.read(rows, positions), published.read(rows, positions))
    np.testing.assert_array_equal(converted.seconds(0), published.seconds(0))


def test_pieces_of_another_frame_rate_are_refused(pieces: Path, tmp_path: Path) -> None:
    path = pieces / "one" / "P01_01_5000_10000.pkl"
    torch.save(np.zeros((31, 6), np.float32), path)
    with pytest.raises(DataError, match=r"P01_01_5000_10000\.pkl has 31 features, not 38 \(8 frames apart at 60 a second\)"):
        open_features(pieces / "one").read(np.array([0]), np.array([[50]]))
    outcome = convert_features(pieces / "one", tmp_path / "out")
    assert [broken.item for broken in outcome.broken] == ["P01_01"]


def test_pieces_of_another_width_are_refused(pieces: Path) -> None:
    torch.save(np.zeros((38, 5), np.float32), pieces / "one" / "P01_01_5000_10000.pkl")
    with pytest.raises(DataError, match=r"features features of .*_10000\.pkl have width 5, those of the first file of .* 6"):
        open_features(pieces / "one").read(np.array([0]), np.array([[50]]))


def test_a_missing_piece_is_named(pieces: Path) -> None:
    (pieces / "one" / "P01_01_5000_10000.pkl").unlink()
    with pytest.raises(DataError, match=r"video P01_01 has no features from 5000 to 10000 ms in .*one; get the missing files"):
        open_features(pieces)


def test_folders_side_by_side_must_be_of_the_same_videos(pieces: Path) -> None:
    (pieces / "two" / "P02_101_0_4000.pkl").unlink()
    with pytest.raises(DataError, match=r"1 videos are not both in .* \(first: P02_101, which classes has and two lacks\)"):
        open_features(pieces)
    (pieces / "two" / "P02_101_0_3000.pkl").write_bytes(pickle.dumps(np.zeros((22, 4), np.float32)))
    with pytest.raises(DataError, match=r"video P02_101 has 30 features in .*classes and 22 in .*two; .* must be as many"):
        open_features(pieces)


def test_files_that_would_run_code_are_refused(pieces: Path) -> None:
    (pieces / "one" / "P01_01_0_5000.pkl").write_bytes(pickle.dumps(print))
    with pytest.raises(DataError, match=r"P01_01_0_5000\.pkl is refused: it calls for builtins\.print"):
        open_features(pieces / "one")


def test_files_of_something_else_are_refused(pieces: Path) -> None:
    (pieces / "one" / "P01_01_0_5000.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match=r"P01_01_0_5000\.pkl holds list, not numbers in shape \(n, W\); get it again"):
        open_features(pieces / "one")


def test_a_piece_that_holds_nothing_is_refused(pieces: Path) -> None:
    (pieces / "classes" / "P01_01_0_5000.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(DataError, match=r"P01_01_0_5000\.pkl holds no features; get it again"):
        open_features(pieces)


def write_arrays(folder: Path, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [np.random.default_rng(number).standard_normal(shape).astype(np.float32) for number, shape in enumerate(shapes)]
    for number, array in enumerate(arrays):
        np.save(folder / f"video_{number}.npy", array)
    return arrays


@pytest.mark.parametrize(
    ("shapes", "has_columns"),
    [([(5, 8), (7, 8)], False), ([(8, 5), (8, 7)], True), ([(4, 9), (4, 9)], False), ([(9, 4), (9, 4)], True)],
)
def test_arrays_are_told_by_the_axis_that_is_always_as_long(tmp_path: Path, shapes: Any, has_columns: bool) -> None:
    arrays = write_arrays(tmp_path / "arrays", *shapes)
    rows = [array.T if has_columns else array for array in arrays]
    store = open_features(tmp_path / "arrays")
    assert store.modalities == {"features": rows[0].shape[1]}
    assert store.num_features.tolist() == [len(array) for array in rows]
    assert store.seconds(0) is None
    np.testing.assert_array_equal(store.read(np.array([1]), np.array([[3, 0]]))[0], rows[1][[3, 0]])


def test_the_layout_and_the_name_can_be_told(tmp_path: Path) -> None:
    arrays = write_arrays(tmp_path / "arrays", (9, 4))
    convert_features(tmp_path / "arrays", tmp_path / "out", layout="rows", modality="i3d")
    store = open_features(tmp_path / "out")
    assert store.modalities == {"i3d": 4}
    np.testing.assert_array_equal(store.read(np.array([0]), np.arange(9)[None])[0], arrays[0])


def test_arrays_of_different_widths_are_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "arrays", (5, 8), (6, 9))
    with pytest.raises(DataError, match=r"the arrays in .* differ in both axes \(first: \(5, 8\)\)"):
        open_features(tmp_path / "arrays")
    write_arrays(tmp_path / "arrays", (5,))
    with pytest.raises(DataError, match=r"must be of shape \(n, W\) or \(W, n\), not \(5,\)"):
        open_features(tmp_path / "arrays")


def test_broken_arrays_are_refused(tmp_path: Path) -> None:
    write_arrays(tmp_path / "arrays", (5, 8), (6, 8))
    (tmp_path / "arrays" / "video_1.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"video_1\.npy is no \.npy file of numbers \(.*\); get or make it again"):
        open_features(tmp_path / "arrays")


@pytest.mark.parametrize("header", ["", "f0,f1,f2\n"])
@pytest.mark.parametrize("ending", ["", "\n"])
def test_rows_of_text(tmp_path: Path, header: str, ending: str) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "v_aaa.csv").write_text(f"{header}1,2,3\n4,5,6.5{ending}")
    (tmp_path / "text" / "v_bbb.csv").write_text(f"{header}7,8,9{ending}")
    store = open_features(tmp_path / "text")
    assert store.num_features.tolist() == [2, 1]
    np.testing.assert_array_equal(store.read(np.array([0]), np.array([[1, 0]])), [[[4, 5, 6.5], [1, 2, 3]]])


@pytest.mark.parametrize("content", ["", "f0,f1,f2\n"])
def test_text_without_a_row_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text("1,2,3\n")
    (tmp_path / "b.csv").write_text(content)
    with pytest.raises(DataError, match=r"b\.csv has no row of numbers; get or make it again"):
        open_features(tmp_path)


def test_text_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "v_aaa.csv").write_text("1,2,3\n4,x,6\n")
    (tmp_path / "text" / "v_bbb.csv").write_text("1,2,3\n4,x,6\n")
    with pytest.raises(DataError, match=r"is no feature store"):
        open_features(tmp_path / "text")
    (tmp_path / "text" / "v_aaa.csv").write_text("1,2,3\n4,5,6\n")
    with pytest.raises(DataError, match=r"v_bbb\.csv cannot be read as features \(.*\); it may be truncated: get it again"):
        open_features(tmp_path / "text").read(np.array([1]), np.array([[0]]))


def test_videos_without_features_are_named(tmp_path: Path) -> None:
    write_arrays(tmp_path / "arrays", (5, 8))
    with pytest.raises(DataError, match=r"1 of 2 clips have no features in .* \(first: video_7\)"):
        open_features(tmp_path / "arrays").rows_of(["video_0", "video_7"])
