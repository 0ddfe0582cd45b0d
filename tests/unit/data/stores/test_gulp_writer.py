"""Writing gulp folders: the format, and what a failure leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg

from zoopraxis.data.index import Clip
from zoopraxis.data.stores.gulp import GulpStore
from zoopraxis.data.stores.gulp_writer import GulpWriter
from zoopraxis.errors import DataError

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 16, 24, 3), dtype=np.uint8)


def test_a_chunk_has_padded_jpegs_of_quality_90_without_chroma_subsampling(tmp_path: Path) -> None:
    with GulpWriter(tmp_path).chunk(4) as chunk:
        assert chunk.append("a", FRAMES, {"verb_class": 2}) == 3
        assert chunk.append("b", FRAMES[:1], {}) == 1
    data = (tmp_path / "data_4.gulp").read_bytes()
    table = json.loads((tmp_path / "meta_4.gmeta").read_text())

    assert list(table) == ["a", "b"]
    assert table["a"]["meta_data"] == [{"verb_class": 2, "num_frames": 3, "frame_size": [16, 24, 3]}]
    rows = table["a"]["frame_info"] + table["b"]["frame_info"]
    end = 0
    for (offset, pad, length), frame in zip(rows, [*FRAMES, FRAMES[0]], strict=True):
        assert (offset, length % 4) == (end, 0)
        assert 0 <= pad < 4
        image = data[offset : offset + length - pad]
        assert image == simplejpeg.encode_jpeg(frame, 90, "RGB", "444")
        assert data[offset + length - pad : offset + length] == b"\0" * pad
        end = offset + length
    assert end == len(data)


def test_grey_images_count_as_pairs(tmp_path: Path) -> None:
    flow = FRAMES[..., :2].transpose(0, 3, 1, 2).reshape(-1, 16, 24)
    with GulpWriter(tmp_path).chunk(0) as chunk:
        chunk.append("a", flow, {})

    (_, stored), store = next(GulpStore(tmp_path, "flow").metadata()), GulpStore(tmp_path, "flow")

    assert stored == {"num_frames": 3, "frame_size": [16, 24]}
    read = store.read(Clip("a", ""), np.arange(3))
    for t in range(3):
        for component in (0, 1):
            data = simplejpeg.encode_jpeg(np.ascontiguousarray(flow[2 * t + component][..., None]), 90, "GRAY", "Gray")
            expected = simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, fastupsample=True)[..., 0]
            np.testing.assert_array_equal(read[t, ..., component], expected)


def test_a_clip_that_fails_leaves_nothing_and_the_chunk_goes_on(tmp_path: Path) -> None:
    def broken() -> Iterator[npt.NDArray[np.uint8]]:
        yield FRAMES[0]
        raise DataError("frame 1 is broken")

    with GulpWriter(tmp_path / "with").chunk(0) as chunk:
        chunk.append("a", FRAMES, {})
        with pytest.raises(DataError, match="frame 1 is broken"):
            chunk.append("b", broken(), {})
        with pytest.raises(DataError, match="clip 'c' has no frames"):
            chunk.append("c", [], {})
        chunk.append("d", FRAMES[1:], {})
    with GulpWriter(tmp_path / "without").chunk(0) as chunk:
        chunk.append("a", FRAMES, {})
        chunk.append("d", FRAMES[1:], {})

    for name in ("data_0.gulp", "meta_0.gmeta"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


def test_a_repeated_id_is_refused(tmp_path: Path) -> None:
    with GulpWriter(tmp_path).chunk(0) as chunk:
        chunk.append("a", FRAMES, {})
        with pytest.raises(DataError, match="clip id 'a' occurs twice"):
            chunk.append("a", FRAMES, {})


def test_a_chunk_is_finished_only_when_its_metadata_are_there(tmp_path: Path) -> None:
    writer = GulpWriter(tmp_path)
    assert writer.finished_ids(0) is None
    with pytest.raises(ZeroDivisionError), writer.chunk(0) as chunk:
        chunk.append("a", FRAMES, {"late": 1 / 0})
    assert list(tmp_path.iterdir()) == []

    with writer.chunk(0) as chunk:
        chunk.append("a", FRAMES, {})
        assert writer.finished_ids(0) is None
    assert writer.finished_ids(0) == ["a"]

    with pytest.raises(DataError, match="clip 'b' has no frames"), writer.chunk(0) as chunk:
        chunk.append("b", [], {})
    assert writer.finished_ids(0) is None
