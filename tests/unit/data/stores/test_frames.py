"""Folders of JPEGs: the right files are read, and a missing one is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from zoopraxis.data.index import Clip
from zoopraxis.data.stores.frames import FrameFolderStore
from zoopraxis.errors import DataError


def write_rgb(folder: Path, num_frames: int, height: int = 24) -> None:
    """Frame n (from 0) is the gray level 5 n."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num_frames):
        image = np.full((height, 32, 3), 5 * number, dtype=np.uint8)
        (folder / f"frame_{number + 1:010d}.jpg").write_bytes(simplejpeg.encode_jpeg(image, quality=95))


def write_flow(folder: Path, num_frames: int) -> None:
    """Pair n (from 0) has u = 5 n and v = 200 - 5 n."""
    for part in ("u", "v"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for number in range(num_frames):
            level = 5 * number if part == "u" else 200 - 5 * number
            image = np.full((24, 32, 1), level, dtype=np.uint8)
            (folder / part / f"frame_{number + 1:010d}.jpg").write_bytes(simplejpeg.encode_jpeg(image, colorspace="GRAY"))


def levels(frames: np.ndarray) -> list[int]:
    """Mean level of each frame's first channel."""
    return [round(value) for value in frames[..., 0].mean(axis=(1, 2))]


def test_frames_of_a_span(tmp_path: Path) -> None:
    write_rgb(tmp_path / "dish", 30)
    store = FrameFolderStore(tmp_path)
    clip = Clip("c1", "dish", start_frame=10, stop_frame=20)
    assert store.num_frames(clip) == 10
    frames = store.read(clip, np.array([9, 0, 0, 3]))
    assert frames.shape == (4, 24, 32, 3)
    assert frames.dtype == np.uint8
    assert levels(frames) == [95, 50, 50, 65]


@pytest.mark.parametrize(
    "naming", ["{:05d}.jpg", "img_{:05d}.jpg", "image_{:05d}.jpg", "frame_{:010d}.jpg", "{:06d}.JPG", "im-{:04d}.jpeg"]
)
def test_other_names_are_told_from_the_folder(naming: str, tmp_path: Path) -> None:
    write_rgb(tmp_path / "epic", 12)
    (tmp_path / "24413").mkdir()
    for number in range(1, 13):
        (tmp_path / "epic" / f"frame_{number:010d}.jpg").rename(tmp_path / "24413" / naming.format(number))
    (tmp_path / "24413" / "notes.txt").write_text("not a frame")
    store = FrameFolderStore(tmp_path)
    whole, span = Clip("c1", "24413"), Clip("c2", "24413", start_frame=0, stop_frame=12)
    assert (store.num_frames(whole), store.num_frames(span)) == (12, 12)
    assert levels(store.read(span, np.array([0, 11, 4]))) == [0, 55, 20]
    (tmp_path / "24413" / naming.format(3)).unlink()
    with pytest.raises(DataError, match=rf"clip c1: .*{naming.format(3)} is missing, but later frames are there"):
        FrameFolderStore(tmp_path).num_frames(whole)
    with pytest.raises(DataError, match=rf"clip c3: .*{naming.format(13)} is missing; extract the frames again, or check"):
        store.num_frames(Clip("c3", "24413", start_frame=0, stop_frame=13))


def test_flow_beside_rgb_in_one_folder_is_passed_over(tmp_path: Path) -> None:
    write_rgb(tmp_path / "dish", 3)
    for number in range(1, 4):
        data = (tmp_path / "dish" / f"frame_{number:010d}.jpg").read_bytes()
        (tmp_path / "dish" / f"frame_{number:010d}.jpg").unlink()
        (tmp_path / "dish" / f"img_{number:05d}.jpg").write_bytes(data)
        (tmp_path / "dish" / f"flow_x_{number:05d}.jpg").write_bytes(data)
    store = FrameFolderStore(tmp_path)
    assert store.num_frames(Clip("c1", "dish")) == 3
    assert store.frame_rate(Clip("c1", "dish")) is None


def test_frames_that_count_from_0_are_refused(tmp_path: Path) -> None:
    write_rgb(tmp_path / "dish", 3)
    for number in range(1, 4):
        (tmp_path / "dish" / f"frame_{number:010d}.jpg").rename(tmp_path / "dish" / f"img_{number - 1:05d}.jpg")
    with pytest.raises(DataError, match=r"clip c1: .*img_00000.jpg is numbered from 0, but frames count from 1; rename them"):
        FrameFolderStore(tmp_path).num_frames(Clip("c1", "dish"))


def test_a_clip_without_span_is_the_whole_folder(tmp_path: Path) -> None:
    write_rgb(tmp_path / "dish", 7)
    store = FrameFolderStore(tmp_path)
    assert store.num_frames(Clip("c1", "dish")) == 7
    assert levels(store.read(Clip("c1", "dish"), np.array([6]))) == [30]


@pytest.mark.parametrize("folder", ["P01/P01_11", "P01/rgb_frames/P01_11"])
def test_both_layouts_of_epic(folder: str, tmp_path: Path) -> None:
    write_rgb(tmp_path / folder, 5)
    assert FrameFolderStore(tmp_path).num_frames(Clip("c1", "P01/P01_11", start_frame=1, stop_frame=4)) == 3


@pytest.mark.parametrize("folder", ["P01/P01_11", "P01/flow_frames/P01_11"])
def test_flow_has_two_channels(folder: str, tmp_path: Path) -> None:
    write_flow(tmp_path / folder, 12)
    store = FrameFolderStore(tmp_path, "flow")
    pairs = store.read(Clip("c1", "P01/P01_11", start_frame=2, stop_frame=12), np.array([0, 8]))
    assert pairs.shape == (2, 24, 32, 2)
    np.testing.assert_allclose(pairs[:, 0, 0], [[10, 190], [50, 150]], atol=1)
    assert store.num_frames(Clip("c2", "P01/P01_11")) == 12


def test_jpegs_are_decoded_as_published_numbers_were_made(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = simplejpeg.encode_jpeg(noise, quality=90, colorsubsampling="420")
    (tmp_path / "dish").mkdir()
    (tmp_path / "dish" / "frame_0000000001.jpg").write_bytes(data)
    expected = simplejpeg.decode_jpeg(data, fastdct=True, fastupsample=True)
    assert not np.array_equal(expected, simplejpeg.decode_jpeg(data)), "the exact decoding would not be told apart"
    np.testing.assert_array_equal(FrameFolderStore(tmp_path).read(Clip("c1", "dish"), np.array([0]))[0], expected)


def test_a_store_can_be_pickled(tmp_path: Path) -> None:
    write_rgb(tmp_path / "dish", 3)
    store = FrameFolderStore(tmp_path)
    assert store.num_frames(Clip("c1", "dish")) == 3
    assert levels(pickle.loads(pickle.dumps(store)).read(Clip("c1", "dish"), np.array([2]))) == [10]


def test_a_hole_is_told_by_name(tmp_path: Path) -> None:
    write_rgb(tmp_path / "dish", 10)
    (tmp_path / "dish" / "frame_0000000004.jpg").unlink()
    store = FrameFolderStore(tmp_path)
    with pytest.raises(DataError, match=r"clip c1: .*frame_0000000004.jpg is missing, but later frames are there; extract"):
        store.num_frames(Clip("c1", "dish"))
    span = Clip("c2", "dish", start_frame=0, stop_frame=10)
    with pytest.raises(DataError, match=r"clip c2: .*frame_0000000004.jpg is missing; extract the frames again"):
        store.read(span, np.array([0, 3]))
    assert levels(store.read(span, np.array([4]))) == [20]


def test_spans_that_do_not_fit(tmp_path: Path) -> None:
    write_rgb(tmp_path / "dish", 10)
    store = FrameFolderStore(tmp_path)
    with pytest.raises(DataError, match=r"clip c1: .*frame_0000000011.jpg is missing; extract the frames again, or check"):
        store.num_frames(Clip("c1", "dish", start_frame=5, stop_frame=11))
    with pytest.raises(DataError, match=r"clip c1 spans frames 5 to 5; the stop must be greater"):
        store.num_frames(Clip("c1", "dish", start_frame=5, stop_frame=5))
    with pytest.raises(DataError, match=r"clip c1 has frames 0 to 4; \[5\] were asked for"):
        store.read(Clip("c1", "dish", start_frame=0, stop_frame=5), np.array([5]))
    with pytest.raises(DataError, match=r"clip c1 is given in seconds, but frames in .* have no rate; give start_frame"):
        store.num_frames(Clip("c1", "dish", start_seconds=0.0, stop_seconds=1.0))
    with pytest.raises(
        DataError, match=r"clip c1: no rgb frames in .*none or .*; check data.root, or make them with: zoopraxis"
    ):
        store.num_frames(Clip("c1", "none"))


def test_broken_images(tmp_path: Path) -> None:
    write_rgb(tmp_path / "dish", 4)
    store, clip = FrameFolderStore(tmp_path), Clip("c1", "dish")
    (tmp_path / "dish" / "frame_0000000002.jpg").write_bytes(b"no JPEG")
    with pytest.raises(DataError, match=r"clip c1: .*frame_0000000002.jpg is no whole JPEG \(.*\); extract the frames again"):
        store.read(clip, np.array([1]))
    write_rgb(tmp_path / "dish", 1, height=48)
    with pytest.raises(DataError, match=r"clip c1: frames in .*dish differ in size: .*; extract them again"):
        store.read(clip, np.array([0, 2]))
    write_flow(tmp_path / "flow", 4)
    (tmp_path / "flow" / "v" / "frame_0000000004.jpg").unlink()
    with pytest.raises(DataError, match=r"clip c1: .*flow has 4 u and 3 v images; extract the flow again"):
        FrameFolderStore(tmp_path, "flow").num_frames(Clip("c1", "flow"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"clip c1: there is no .*empty/frame_0000000001.jpg; extract the frames again"):
        store.num_frames(Clip("c1", "empty"))


def test_the_frames_of_a_source_with_a_suffix_are_found_without_it(tmp_path: Path) -> None:
    folder = tmp_path / "bend" / "person01"
    folder.mkdir(parents=True)
    image = np.full((16, 24, 3), 200, dtype=np.uint8)
    (folder / "frame_0000000001.jpg").write_bytes(simplejpeg.encode_jpeg(image))
    store = FrameFolderStore(tmp_path)
    clip = Clip("bend/person01", "bend/person01.mp4")
    store.check(clip)
    assert store.read(clip, np.array([0])).shape == (1, 16, 24, 3)
