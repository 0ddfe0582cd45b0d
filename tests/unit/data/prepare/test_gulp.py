"""`write_gulp`: what is in the folder, and what becomes of interruptions, broken clips and full disks."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.data.annotations.gulp import read_gulp
from zoopraxis.data.index import ClipIndex
from zoopraxis.data.prepare.gulp import write_gulp
from zoopraxis.data.stores import open_store
from zoopraxis.data.stores.frames import FrameFolderStore
from zoopraxis.data.stores.gulp import GulpStore
from zoopraxis.errors import AnnotationError, DataError


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Let writes beyond `num_bytes` of one file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_all_frames_and_labels_come_back(tmp_path: Path, frame_root: Path, index: ClipIndex) -> None:
    told: list[tuple[int, int]] = []
    store = open_store("frames", frame_root)

    outcome = write_gulp(
        index, store, tmp_path / "out", clips_per_chunk=4, on_progress=lambda done, total: told.append((done, total))
    )

    assert (outcome.done, outcome.skipped, outcome.broken) == (9, 0, ())
    assert told == [(0, 9), (4, 9), (8, 9), (9, 9)]
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".gmeta"] * 3 + [".gulp"] * 3 + [".json"]
    gulped = GulpStore(tmp_path / "out")
    assert gulped.clip_ids == index.clip_ids.tolist()
    for row in range(len(index)):
        clip = index[row]
        assert gulped.num_frames(clip) == 4
        original = store.read(clip, np.arange(4)).astype(int)
        assert abs(gulped.read(clip, np.arange(4)) - original).mean() < 3
    again = read_gulp(tmp_path / "out")
    assert again.table.to_pylist() == index.table.to_pylist()
    assert again.class_names == index.class_names


def test_flow_is_stored_as_it_is_read(tmp_path: Path, frame_root: Path, index: ClipIndex) -> None:
    for video in ("P01_01", "P01_02"):
        frames = frame_root / "P01" / video
        for component in ("u", "v"):
            (tmp_path / "flow" / "P01" / video / component).mkdir(parents=True)
            for path in frames.iterdir():
                (tmp_path / "flow" / "P01" / video / component / path.name).write_bytes(path.read_bytes())
    store = open_store("frames", tmp_path / "flow", modality="flow")

    write_gulp(index, store, tmp_path / "out", modality="flow")

    gulped = open_store("gulp", tmp_path / "out", modality="flow")
    frames_THWC = gulped.read(index[3], np.arange(4))
    assert frames_THWC.shape[-1] == 2
    assert abs(frames_THWC - store.read(index[3], np.arange(4)).astype(int)).max() <= 8


def test_the_shorter_side_is_resized(tmp_path: Path, frame_root: Path, index: ClipIndex) -> None:
    store = open_store("frames", frame_root)
    write_gulp(index, store, tmp_path / "out", resize=16)

    small = GulpStore(tmp_path / "out").read(index[0], np.arange(4)).astype(int)

    assert small.shape == (4, 16, 24, 3)
    means = store.read(index[0], np.arange(4)).reshape(4, 16, 2, 24, 2, 3).mean(axis=(2, 4))
    assert abs(small - means).mean() < 4


def test_several_processes_write_the_same_bytes(tmp_path: Path, frame_root: Path, index: ClipIndex) -> None:
    store = open_store("frames", frame_root)
    write_gulp(index, store, tmp_path / "one", clips_per_chunk=2)
    outcome = write_gulp(index, store, tmp_path / "two", clips_per_chunk=2, num_workers=2)

    assert outcome.done == 9
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_what_is_finished_is_kept_and_the_rest_is_written(tmp_path: Path, frame_root: Path, index: ClipIndex) -> None:
    store = open_store("frames", frame_root)
    write_gulp(index, store, tmp_path / "whole", clips_per_chunk=2)
    write_gulp(index, store, tmp_path / "out", clips_per_chunk=2)
    (tmp_path / "out" / "meta_1.gmeta").unlink()
    (tmp_path / "out" / "data_1.gulp").write_bytes(b"half")
    (tmp_path / "out" / "data_3.gulp").unlink()
    (tmp_path / "out" / ".data_3.99.tmp.gulp").touch()
    kept = (tmp_path / "out" / "data_0.gulp").stat()

    outcome = write_gulp(index, store, tmp_path / "out", clips_per_chunk=2)

    assert (outcome.done, outcome.skipped) == (4, 5)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert (tmp_path / "out" / "data_0.gulp").stat() == kept


def test_broken_clips_are_set_aside_and_tried_again(tmp_path: Path, frame_root: Path, index: ClipIndex) -> None:
    store = open_store("frames", frame_root)
    write_gulp(index, store, tmp_path / "whole", clips_per_chunk=2)
    broken = frame_root / "P01" / "P01_02" / "frame_0000000010.jpg"
    image = broken.read_bytes()
    broken.write_bytes(image[:100])

    outcome = write_gulp(index, store, tmp_path / "out", clips_per_chunk=2)

    assert outcome.done == 8
    assert [(clip.item, clip.row) for clip in outcome.broken] == [("P01_02_3", 3)]
    assert "frame_0000000010.jpg is no whole JPEG" in outcome.broken[0].reason
    assert outcome.broken[0].file == str(broken.parent)

    broken.write_bytes(image)
    outcome = write_gulp(index, store, tmp_path / "out", clips_per_chunk=2)

    assert outcome.broken == ()
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_full_disk_is_told_and_the_same_call_goes_on(tmp_path: Path, frame_root: Path, index: ClipIndex) -> None:
    store = open_store("frames", frame_root)
    write_gulp(index, store, tmp_path / "whole", clips_per_chunk=3)
    size = (tmp_path / "whole" / "data_0.gulp").stat().st_size
    (tmp_path / "out").mkdir()

    with largest_file(size // 2), pytest.raises(DataError, match=r"cannot read or write .*out: File too large; make room"):
        write_gulp(index, store, tmp_path / "out", clips_per_chunk=3)
    with pytest.raises(DataError, match=r"no data_<n>\.gulp"):
        GulpStore(tmp_path / "out")

    write_gulp(index, store, tmp_path / "out", clips_per_chunk=3)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"resize": 16}, r"another resize \(null, now 16\)"), ({"quality": 80}, r"another quality \(90, now 80\)")],
)
def test_other_settings_in_the_same_folder_are_refused(
    tmp_path: Path, frame_root: Path, index: ClipIndex, change: dict[str, Any], message: str
) -> None:
    store = open_store("frames", frame_root)
    write_gulp(index, store, tmp_path / "out")

    with pytest.raises(DataError, match=message):
        write_gulp(index, store, tmp_path / "out", **change)
    with pytest.raises(DataError, match="was begun with another clips"):
        write_gulp(index.select([0, 1]), store, tmp_path / "out")


def test_a_folder_that_another_program_wrote_is_not_touched(tmp_path: Path, frame_root: Path, index: ClipIndex) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "data_0.gulp").write_bytes(b"theirs")

    with pytest.raises(DataError, match="is not empty and was not begun by this command"):
        write_gulp(index, open_store("frames", frame_root), tmp_path / "out")
    assert files(tmp_path / "out") == {"data_0.gulp": b"theirs"}


def test_repeated_ids_are_refused(tmp_path: Path, frame_root: Path, index: ClipIndex) -> None:
    with pytest.raises(AnnotationError, match="clip id 'P01_02_1' occurs more than once in the index"):
        write_gulp(index.select([0, 1, 1]), open_store("frames", frame_root), tmp_path / "out")


def test_nothing_of_a_failing_program_is_taken_for_a_broken_clip(
    tmp_path: Path, frame_root: Path, index: ClipIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(FrameFolderStore, "read", fail)
    with pytest.raises(ZeroDivisionError):
        write_gulp(index, open_store("frames", frame_root), tmp_path / "out")
