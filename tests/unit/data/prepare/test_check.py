"""`check_clips` and the quarantine list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.prepare import check
from zoopraxis.data.prepare.check import check_clips, read_quarantine, write_quarantine
from zoopraxis.data.stores import IntArray, UInt8Array, open_store
from zoopraxis.data.stores.frames import FrameFolderStore
from zoopraxis.errors import DataError


def test_whole_clips_give_an_empty_list(tmp_path: Path, frame_root: Path, index: ClipIndex) -> None:
    told: list[tuple[int, int]] = []

    outcome = check_clips(
        index,
        open_store("frames", frame_root),
        tmp_path / "check.json",
        quarantine=tmp_path / "quarantine.txt",
        on_progress=lambda done, total: told.append((done, total)),
    )

    assert (outcome.done, outcome.skipped, outcome.broken) == (9, 0, ())
    assert told[-1] == (9, 9)
    assert json.loads((tmp_path / "check.json").read_text()) == {"num_clips": 9, "num_broken": 0, "broken": []}
    assert read_quarantine(tmp_path / "quarantine.txt") == []


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_broken_clip_is_reported(
    tmp_path: Path, frame_root: Path, index: ClipIndex, num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_CLIPS_PER_TASK", 2)
    (frame_root / "P01" / "P01_01" / "frame_0000000002.jpg").unlink()
    (frame_root / "P01" / "P01_02" / "frame_0000000018.jpg").write_bytes(b"no image")

    outcome = check_clips(
        index,
        open_store("frames", frame_root),
        tmp_path / "check.json",
        quarantine=tmp_path / "quarantine.txt",
        num_workers=num_workers,
    )

    report = json.loads((tmp_path / "check.json").read_text())
    assert (report["num_clips"], report["num_broken"]) == (9, 2)
    assert [(row["clip_id"], row["row"], row["file"]) for row in report["broken"]] == [
        ("P01_01_0", 0, str(frame_root / "P01" / "P01_01")),
        ("P01_02_7", 7, str(frame_root / "P01" / "P01_02")),
    ]
    assert "frame_0000000002.jpg is missing" in report["broken"][0]["reason"]
    assert "frame_0000000018.jpg is no whole JPEG" in report["broken"][1]["reason"]
    assert outcome.done == 7
    assert read_quarantine(tmp_path / "quarantine.txt") == ["P01_01_0", "P01_02_7"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["check.json", "frames", "quarantine.txt"]


def test_a_run_that_was_stopped_goes_on(
    tmp_path: Path, frame_root: Path, index: ClipIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_CLIPS_PER_TASK", 2)
    read = FrameFolderStore.read
    clips: list[str] = []

    def stop_at_the_sixth(self: FrameFolderStore, clip: Clip, frames: IntArray) -> UInt8Array:
        if len(clips) == 5:
            raise KeyboardInterrupt
        clips.append(clip.clip_id)
        return read(self, clip, frames)

    store = open_store("frames", frame_root)
    with monkeypatch.context() as patch:
        patch.setattr(FrameFolderStore, "read", stop_at_the_sixth)
        with pytest.raises(KeyboardInterrupt):
            check_clips(index, store, tmp_path / "check.json")
    assert not (tmp_path / "check.json").exists()

    outcome = check_clips(index, store, tmp_path / "check.json")

    assert (outcome.done, outcome.skipped) == (5, 4)


def test_another_index_is_not_taken_for_the_stopped_one(
    tmp_path: Path, frame_root: Path, index: ClipIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store("frames", frame_root)
    with monkeypatch.context() as patch:
        patch.setattr(check, "write_text", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            check_clips(index, store, tmp_path / "check.json")

    assert check_clips(index.select([0, 1]), store, tmp_path / "check.json").done == 2


def test_a_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    ids = ["P01_01_7", "a clip with spaces.mp4", "ünïcode"]
    write_quarantine(ids, tmp_path / "list.txt")

    assert read_quarantine(tmp_path / "list.txt") == ids
    (tmp_path / "list.txt").write_text("\n  a \r\n\nb")
    assert read_quarantine(tmp_path / "list.txt") == ["a", "b"]


def test_an_id_that_is_no_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"clip id 'a\\nb' cannot be listed in .*list\.txt; ids must be one line"):
        write_quarantine(["a\nb"], tmp_path / "list.txt")


def test_a_missing_list_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the quarantine list .*absent\.txt: .*; make it with"):
        read_quarantine(tmp_path / "absent.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"cannot read the quarantine list .*binary\.txt"):
        read_quarantine(tmp_path / "binary.txt")
