"""Frames on their way to files: blocks, sizes, JPEGs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from zoopraxis.data.index import Clip
from zoopraxis.data.prepare import pixels
from zoopraxis.data.prepare.pixels import clip_file, iter_clip, resize_shorter_side, write_jpeg
from zoopraxis.data.stores import IntArray, UInt8Array
from zoopraxis.errors import DataError


class Counting:
    """A store whose frames are filled with their numbers."""

    def num_frames(self, clip: Clip) -> int:
        return int(clip.source)

    def read(self, clip: Clip, frames: IntArray) -> UInt8Array:
        return np.broadcast_to(frames[:, None, None, None], (len(frames), 2, 3, 3)).astype(np.uint8)


class Placed(Counting):
    """A store that knows where clips are, if they are."""

    def path(self, clip: Clip) -> Path:
        if clip.source == "0":
            raise DataError("no such clip")
        return Path("/there") / clip.source


@pytest.mark.parametrize(("num_frames", "lengths"), [(5, [5]), (16, [16]), (40, [16, 7, 7, 7, 3]), (0, [])])
def test_a_clip_comes_in_order_in_blocks_of_bounded_size(
    monkeypatch: pytest.MonkeyPatch, num_frames: int, lengths: list[int]
) -> None:
    monkeypatch.setattr(pixels, "_BLOCK_BYTES", 7 * 18)

    blocks = list(iter_clip(Counting(), Clip("a", str(num_frames))))

    assert [len(block) for block in blocks] == lengths
    assert [int(frame[0, 0, 0]) for block in blocks for frame in block] == list(range(num_frames))


def test_a_clips_file_is_named_where_the_store_knows_it() -> None:
    assert clip_file(Placed(), Clip("a", "7")) == "/there/7"
    assert clip_file(Placed(), Clip("a", "0")) == "0"
    assert clip_file(Counting(), Clip("a", "7")) == "7"


@pytest.mark.parametrize(("height", "width", "expected"), [(8, 12, (4, 6)), (12, 8, (6, 4)), (4, 6, (4, 6)), (2, 5, (4, 10))])
def test_the_shorter_side_gets_the_size(height: int, width: int, expected: tuple[int, int]) -> None:
    frames = np.full((2, height, width, 3), (10, 100, 200), dtype=np.uint8)

    resized = resize_shorter_side(frames, 4)

    assert resized.shape == (2, *expected, 3)
    assert resized.flags.c_contiguous
    assert (resized == np.array([10, 100, 200], dtype=np.uint8)).all()


def test_images_are_written_in_full_color_and_grey(tmp_path: Path) -> None:
    color = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    write_jpeg(tmp_path / "color.jpg", color[:, ::-1], quality=95)
    write_jpeg(tmp_path / "grey.jpg", color[..., 0], quality=95)

    assert simplejpeg.decode_jpeg_header((tmp_path / "color.jpg").read_bytes()) == (16, 24, "YCbCr", "444")
    assert simplejpeg.decode_jpeg_header((tmp_path / "grey.jpg").read_bytes())[2].lower() == "gray"
    read = simplejpeg.decode_jpeg((tmp_path / "color.jpg").read_bytes())
    assert abs(read.astype(int) - color[:, ::-1]).mean() < 6
