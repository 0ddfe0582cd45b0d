"""Gulp folders: what is read, how much memory the index takes, and what is refused."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg

from zoopraxis.data.index import Clip
from zoopraxis.data.stores import gulp, open_store
from zoopraxis.data.stores.gulp import GulpStore
from zoopraxis.errors import ConfigError, DataError

HEIGHT, WIDTH = 16, 24


def make_frames(seed: int, num_frames: int, channels: int = 3, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    """Smooth frames, each of another color, shape (T, H, W, C)."""
    base = np.random.default_rng(seed).integers(40, 216, (num_frames, 1, 1, channels))
    slope = np.linspace(-30, 30, WIDTH)[None, None, :, None] * np.ones((1, height, 1, 1))
    return (base + slope).astype(np.uint8)


def encode(image: npt.NDArray[np.uint8]) -> bytes:
    grey = image.shape[-1] == 1
    colorspace, subsampling = ("GRAY", "Gray") if grey else ("RGB", "444")
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), 90, colorspace, subsampling))


def decode(data: bytes, colorspace: str = "RGB") -> npt.NDArray[np.uint8]:
    image: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace, fastdct=True, fastupsample=True)
    return image


def write_chunk(
    root: Path, number: int, items: Mapping[str, Sequence[bytes]], metadata: Mapping[str, Any] | None = None
) -> None:
    """A pair of files as the format's description has them, written without our writer."""
    root.mkdir(parents=True, exist_ok=True)
    data = b""
    table: dict[str, Any] = {}
    for key, images in items.items():
        rows = []
        for image in images:
            pad = 4 - len(image) % 4  # an image of full length gets four bytes: both conventions are met by readers
            rows.append([len(data), pad, len(image) + pad])
            data += image + b"\0" * pad
        table[key] = {"meta_data": [(metadata or {}).get(key, {})], "frame_info": rows}
    (root / f"data_{number}.gulp").write_bytes(data)
    (root / f"meta_{number}.gmeta").write_text(json.dumps(table))


def clip(clip_id: str, source: str = "") -> Clip:
    return Clip(clip_id, source)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Chunks 0 and 1 with clips a (3 frames), c (2) and b (4)."""
    write_chunk(tmp_path, 0, {"a": [encode(f) for f in make_frames(0, 3)], "c": [encode(f) for f in make_frames(2, 2)]})
    write_chunk(tmp_path, 1, {"b": [encode(f) for f in make_frames(1, 4)]}, {"b": {"verb_class": 3, "narration": "cut"}})
    return tmp_path


def test_frames_are_the_published_decoding_in_the_order_asked_for(folder: Path) -> None:
    store = GulpStore(folder)
    expected = [decode(encode(f)) for f in make_frames(1, 4)]

    frames = store.read(clip("b"), np.array([3, 0, 3, 1]))

    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, np.stack([expected[number] for number in (3, 0, 3, 1)]))
    assert [store.num_frames(clip(name)) for name in "abc"] == [3, 4, 2]


def test_flow_is_pairs_of_grey_images_u_then_v(tmp_path: Path) -> None:
    flow = make_frames(0, 5, channels=2)
    images = [encode(frame[..., component : component + 1]) for frame in flow for component in (0, 1)]
    write_chunk(tmp_path, 0, {"a": images})
    store = GulpStore(tmp_path, "flow")

    read = store.read(clip("a"), np.array([4, 1]))

    assert store.num_frames(clip("a")) == 5
    assert read.shape == (2, HEIGHT, WIDTH, 2)
    assert read.flags.c_contiguous
    for place, number in enumerate((4, 1)):
        for component in (0, 1):
            expected = decode(images[2 * number + component], "GRAY")[..., 0]
            np.testing.assert_array_equal(read[place, ..., component], expected)


def test_chunks_are_ordered_by_number_and_ids_keep_file_order(tmp_path: Path) -> None:
    for number, name in ((10, "x"), (2, "y"), (0, "z")):
        write_chunk(tmp_path, number, {f"{name}2": [encode(make_frames(0, 1)[0])], f"{name}1": [encode(make_frames(1, 1)[0])]})

    assert GulpStore(tmp_path).clip_ids == ["z2", "z1", "y2", "y1", "x2", "x1"]


def test_metadata_are_those_of_the_folder(folder: Path) -> None:
    stored = dict(GulpStore(folder).metadata())

    assert list(stored) == ["a", "c", "b"]
    assert stored["b"] == {"verb_class": 3, "narration": "cut"}


def test_a_folder_with_keys_of_its_own_is_found_by_source(folder: Path) -> None:
    store = GulpStore(folder)

    np.testing.assert_array_equal(store.read(clip("P01_01_7", source="c"), np.array([1])), store.read(clip("c"), np.array([1])))


def test_the_index_takes_at_most_24_bytes_a_frame(tmp_path: Path) -> None:
    image = encode(make_frames(0, 1)[0])
    for number in range(3):
        write_chunk(tmp_path, number, {f"P01_101_{number}_{item}": [image] * 30 for item in range(20)})

    store = GulpStore(tmp_path)

    assert store.num_images == 3 * 20 * 30
    assert store.index_bytes <= 24 * store.num_images
    assert len(pickle.dumps(store)) <= 24 * store.num_images


def test_a_pickled_store_reads_the_same(folder: Path) -> None:
    store = GulpStore(folder)
    frames = store.read(clip("a"), np.arange(3))

    again = pickle.loads(pickle.dumps(store))

    np.testing.assert_array_equal(again.read(clip("a"), np.arange(3)), frames)


def test_forked_and_spawned_processes_read_the_same(folder: Path) -> None:
    store = open_store("gulp", folder)
    frames = store.read(clip("b"), np.arange(4))
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            for read in pool.starmap(store.read, [(clip("b"), np.arange(4))] * 4):
                np.testing.assert_array_equal(read, frames)


def test_few_files_stay_open_however_many_chunks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gulp, "_MAX_OPEN_FILES", 2)
    for number in range(6):
        write_chunk(tmp_path, number, {str(number): [encode(make_frames(number, 1)[0])]})
    store = GulpStore(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for number in [*range(6), 0, 3, 5]:
        expected = decode(encode(make_frames(number, 1)[0]))
        np.testing.assert_array_equal(store.read(clip(str(number)), np.array([0]))[0], expected)

    assert len(os.listdir("/proc/self/fd")) == before + 2
    store.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_missing_folder_and_one_without_gulp_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no gulp folder .*absent; make it with: zoopraxis prepare gulp"):
        GulpStore(tmp_path / "absent")
    with pytest.raises(DataError, match=r"holds no data_<n>\.gulp; it is no gulp folder"):
        GulpStore(tmp_path)


def test_a_data_file_without_metadata_is_refused(folder: Path) -> None:
    (folder / "meta_1.gmeta").unlink()

    with pytest.raises(DataError, match=r"data_1\.gulp has no meta_1\.gmeta: its writing was cut off; run the command"):
        GulpStore(folder)


def test_metadata_without_a_data_file_are_refused(folder: Path) -> None:
    (folder / "data_0.gulp").unlink()

    with pytest.raises(DataError, match=r"meta_0\.gmeta has no data_0\.gulp; copy that file again"):
        GulpStore(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"cannot read .*meta_0\.gmeta: "),
        ("[]", r"meta_0\.gmeta is no JSON table"),
        ('{"a": {"frame_info": []}}', r"clip 'a' lacks frame_info or meta_data"),
        ('{"a": {"frame_info": [[0, 1]], "meta_data": [{}]}}', r"frame_info must be triples of whole numbers"),
        ('{"a": {"frame_info": [[0, "x", 9]], "meta_data": [{}]}}', r"frame_info must be triples of whole numbers"),
        ('{"a": {"frame_info": [[0, 9, 4]], "meta_data": [{}]}}', r"a frame has a negative offset or an impossible length"),
        ('{"a": {"frame_info": [[-4, 0, 4]], "meta_data": [{}]}}', r"a frame has a negative offset or an impossible length"),
    ],
)
def test_broken_metadata_are_refused(folder: Path, text: str, message: str) -> None:
    (folder / "meta_0.gmeta").write_text(text)

    with pytest.raises(DataError, match=message):
        GulpStore(folder)


def test_an_id_in_two_chunks_is_refused(folder: Path) -> None:
    write_chunk(folder, 2, {"c": [encode(make_frames(0, 1)[0])]})

    with pytest.raises(DataError, match=r"clip 'c' is in meta_0\.gmeta and again in meta_2\.gmeta"):
        GulpStore(folder)


def test_an_unfinished_folder_of_ours_is_refused(folder: Path) -> None:
    (folder / "zoopraxis.json").write_text('{"modality": "rgb", "num_chunks": 5}')

    with pytest.raises(DataError, match=r"is unfinished: 2 of 5 chunks; run the same zoopraxis prepare gulp again"):
        GulpStore(folder)


def test_the_other_modality_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"clip 'b' in .*data_1\.gulp holds color images, but the modality is flow"):
        GulpStore(folder, "flow").read(clip("b"), np.array([0]))
    grey = tmp_path / "grey"
    write_chunk(grey, 0, {"a": [encode(f) for f in make_frames(0, 2, channels=1)]})
    with pytest.raises(DataError, match=r"holds grey images, but the modality is rgb; try modality flow"):
        GulpStore(grey).read(clip("a"), np.array([0]))
    (grey / "zoopraxis.json").write_text('{"modality": "flow", "num_chunks": 1}')
    with pytest.raises(DataError, match=r"holds flow, not rgb; set the modality"):
        GulpStore(grey)
    with pytest.raises(ConfigError, match=r"unknown modality 'flwo'; did you mean 'flow'\?"):
        GulpStore(grey, "flwo")


def test_an_unknown_clip_and_an_empty_one_are_refused(folder: Path) -> None:
    write_chunk(folder, 2, {"none": []})
    store = GulpStore(folder)

    with pytest.raises(DataError, match=r"clip 'd' is not in the gulp folder .* \(4 clips\)"):
        store.num_frames(clip("d"))
    with pytest.raises(DataError, match=r"clip 'none' has no frames in .*data_2\.gulp"):
        store.num_frames(clip("none"))


def test_half_a_pair_of_flow_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"clip 'a' has 3 images in .*data_0\.gulp, but flow needs pairs"):
        GulpStore(folder, "flow").num_frames(clip("a"))


@pytest.mark.parametrize("number", [-1, 3])
def test_a_frame_out_of_range_is_refused(folder: Path, number: int) -> None:
    with pytest.raises(DataError, match=rf"clip 'a' has frames 0 to 2, but frame {number} was asked for"):
        GulpStore(folder).read(clip("a"), np.array([0, number]))


def test_a_data_file_that_is_cut_off_fails_for_its_own_clips_only(folder: Path) -> None:
    data = (folder / "data_0.gulp").read_bytes()
    (folder / "data_0.gulp").write_bytes(data[: len(data) - 40])
    store = GulpStore(folder)

    assert store.num_frames(clip("a")) == 3
    with pytest.raises(DataError, match=rf"clip 'c' reaches to byte \d+ of .*data_0\.gulp, which ends at {len(data) - 40}"):
        store.num_frames(clip("c"))
    with pytest.raises(DataError, match=r"the file is cut off; copy it again"):
        store.read(clip("c"), np.array([0]))


def test_a_corrupt_image_names_frame_file_and_byte(folder: Path) -> None:
    path = folder / "data_0.gulp"
    data = bytearray(path.read_bytes())
    begin = json.loads((folder / "meta_0.gmeta").read_text())["a"]["frame_info"][1][0]
    data[begin : begin + 20] = b"\0" * 20
    path.write_bytes(data)
    store = GulpStore(folder)

    with pytest.raises(DataError, match=rf"frame 1 of clip 'a' at byte {begin} of .*data_0\.gulp is no whole JPEG"):
        store.read(clip("a"), np.array([0, 1]))
    assert store.read(clip("a"), np.array([0, 2])).shape == (2, HEIGHT, WIDTH, 3)


def test_images_of_two_sizes_in_one_clip_are_refused(tmp_path: Path) -> None:
    write_chunk(tmp_path, 0, {"a": [encode(make_frames(0, 1)[0]), encode(make_frames(0, 1, height=8)[0])]})

    with pytest.raises(DataError, match=r"frame 1 of clip 'a' .* is 24x8 px, another one of the clip 24x16"):
        GulpStore(tmp_path).read(clip("a"), np.array([0, 1]))


def test_a_disk_that_fails_names_frame_and_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(DataError, match=r"frame 2 of clip 'a' .*data_0\.gulp cannot be read \(Input/output error\)"):
        GulpStore(folder).read(clip("a"), np.array([2]))
