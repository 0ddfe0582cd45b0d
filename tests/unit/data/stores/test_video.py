"""Clips in video files: found where they lie, cut by seconds or frames, and refused where they do not fit."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.data.encoding import write_video
from zoopraxis.data.index import Clip
from zoopraxis.data.stores.video import VideoStore
from zoopraxis.errors import DataError


def write_levels(path: Path, num_frames: int = 50) -> Path:
    """Frame n is the gray level 5 n; 25 frames a second."""
    write_video(path, [np.full((32, 48, 3), 5 * number, dtype=np.uint8) for number in range(num_frames)], fps=25)
    return path


def numbers(frames: np.ndarray) -> list[int]:
    """Frame numbers in the file, told by their levels."""
    return [round(float(level) / 5) for level in frames.mean(axis=(1, 2, 3))]


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("cut/onion.mp4", "cut/onion.mp4"),
        ("cut/onion", "cut/onion.mkv"),
        ("P01/P01_11", "P01/videos/P01_11.MP4"),
        ("P01/P01_11", "P01/P01_11.MP4"),
        ("a.b/c.d", "a.b/c.d.avi"),
    ],
)
def test_where_files_are_found(source: str, file: str, tmp_path: Path) -> None:
    write_levels(tmp_path / file)
    store = VideoStore(tmp_path)
    assert store.path(Clip("c1", source)) == tmp_path / file
    assert store.num_frames(Clip("c1", source)) == 50


def test_the_frame_rate_is_the_files(tmp_path: Path) -> None:
    write_levels(tmp_path / "v.mp4")
    assert VideoStore(tmp_path).frame_rate(Clip("c1", "v.mp4", start_frame=0, stop_frame=3)) == pytest.approx(25)


def test_spans(tmp_path: Path) -> None:
    write_levels(tmp_path / "v.mp4")
    store = VideoStore(tmp_path)
    by_seconds = Clip("c1", "v.mp4", start_seconds=1.0, stop_seconds=1.4, start_frame=0, stop_frame=3)
    assert store.num_frames(by_seconds) == 10
    assert numbers(store.read(by_seconds, np.array([9, 0, 4, 4]))) == [34, 25, 29, 29]
    by_frames = Clip("c2", "v.mp4", start_frame=7, stop_frame=12)
    assert store.num_frames(by_frames) == 5
    assert numbers(store.read(by_frames, np.arange(5))) == [7, 8, 9, 10, 11]
    assert numbers(store.read(Clip("c3", "v.mp4"), np.array([49]))) == [49]
    over_the_end = Clip("c4", "v.mp4", start_frame=45, stop_frame=52)
    assert store.num_frames(over_the_end) == 5, "annotations may overshoot by up to a second"


def test_frames_come_one_by_one_with_their_times(tmp_path: Path) -> None:
    write_levels(tmp_path / "v.mp4")
    store, span = VideoStore(tmp_path), Clip("c1", "v.mp4", start_frame=5, stop_frame=50)
    assert numbers(np.stack(list(store.iter_frames(span, np.array([0, 2, 3, 9]))))) == [5, 7, 8, 14]
    np.testing.assert_allclose(store.frame_times(span), np.arange(45) / 25, atol=1e-6)
    whole = (tmp_path / "v.mp4").read_bytes()
    (tmp_path / "v.mp4").write_bytes(whole[:60])
    with pytest.raises(DataError, match=r"^clip c1: .*v.mp4"):
        list(VideoStore(tmp_path).iter_frames(span, np.array([0])))


def test_spans_that_do_not_fit(tmp_path: Path) -> None:
    path = write_levels(tmp_path / "v.mp4")
    store = VideoStore(tmp_path)
    with pytest.raises(DataError, match=rf"clip c1 spans 60 to 70 frames, but {path} has 50 frames; correct the annotation"):
        store.num_frames(Clip("c1", "v.mp4", start_frame=60, stop_frame=70))
    with pytest.raises(DataError, match=r"clip c1 spans 10 to 90 frames, but .* has 50 frames"):
        store.num_frames(Clip("c1", "v.mp4", start_frame=10, stop_frame=90))
    with pytest.raises(DataError, match=r"clip c1 spans 1.5 to 3.5 s, but .* has 2 s"):
        store.num_frames(Clip("c1", "v.mp4", start_seconds=1.5, stop_seconds=3.5))
    with pytest.raises(DataError, match=r"clip c1 spans 1.5 to 1.5 s"):
        store.num_frames(Clip("c1", "v.mp4", start_seconds=1.5, stop_seconds=1.5))
    with pytest.raises(DataError, match=r"clip c1 has frames 0 to 4; \[5\] were asked for"):
        store.read(Clip("c1", "v.mp4", start_frame=0, stop_frame=5), np.array([5]))


def test_errors_name_the_clip_and_the_file(tmp_path: Path) -> None:
    store = VideoStore(tmp_path)
    with pytest.raises(
        DataError, match=r"clip c1: there is no video .*none, nor with one of the suffixes .mp4 .*; check data.root"
    ):
        store.num_frames(Clip("c1", "none"))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"clip c1: .*broken.mp4 cannot be read as a video"):
        store.read(Clip("c1", "broken.mp4"), np.array([0]))


def test_few_files_stay_open_and_all_are_right(tmp_path: Path) -> None:
    for number in range(5):
        write_levels(tmp_path / f"{number}.mp4", 20 + number)
    store = VideoStore(tmp_path, max_open=2)
    for _ in range(2):
        for number in range(5):
            clip = Clip("c1", f"{number}.mp4")
            assert store.num_frames(clip) == 20 + number
            assert numbers(store.read(clip, np.array([3, 17]))) == [3, 17]
    assert len(store._readers) == 2


def test_resize_and_cache(tmp_path: Path) -> None:
    write_levels(tmp_path / "v.mp4")
    store = VideoStore(tmp_path, resize=16, index_cache=tmp_path / "cache")
    assert store.read(Clip("c1", "v.mp4"), np.array([0])).shape == (1, 16, 24, 3)


def _read_in_child(store: VideoStore, results: Any) -> None:
    results.put(numbers(store.read(Clip("c1", "v.mp4"), np.array([40, 2]))))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_used_store_goes_to_workers(method: str, tmp_path: Path) -> None:
    write_levels(tmp_path / "v.mp4")
    store = VideoStore(tmp_path)
    assert numbers(store.read(Clip("c1", "v.mp4"), np.array([9]))) == [9]
    if method == "spawn":
        again = pickle.loads(pickle.dumps(store))
        assert not again._readers, "open files do not travel"
        assert numbers(again.read(Clip("c1", "v.mp4"), np.array([40]))) == [40]
        return
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_read_in_child, args=(store, results))
    child.start()
    assert results.get(timeout=60) == [40, 2]
    child.join(timeout=60)
    assert child.exitcode == 0
    assert numbers(store.read(Clip("c1", "v.mp4"), np.array([30]))) == [30]
