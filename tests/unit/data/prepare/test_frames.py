"""`write_frames`: videos as folders of frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from zoopraxis.data.decoding import VideoReader
from zoopraxis.data.index import Clip
from zoopraxis.data.prepare.frames import write_frames
from zoopraxis.data.stores import open_store
from zoopraxis.errors import ConfigError, DataError

MakeVideo = Callable[..., npt.NDArray[np.uint8]]


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_frame_is_written_in_epics_layout(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "videos" / "P01" / "videos" / "P01_11.MP4", 7)
    make_video(tmp_path / "videos" / "wave" / "ann.mkv", 5, seed=1)
    told: list[tuple[int, int]] = []

    outcome = write_frames(tmp_path / "videos", tmp_path / "out", on_progress=lambda *now: told.append(now))

    assert (outcome.done, outcome.skipped, outcome.broken) == (2, 0, ())
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert names(tmp_path / "out") == [
        *(f"P01/P01_11/frame_{number:010d}.jpg" for number in range(1, 8)),
        *(f"wave/ann/frame_{number:010d}.jpg" for number in range(1, 6)),
        "zoopraxis.json",
    ]
    read = open_store("frames", tmp_path / "out").read(Clip("a", "P01/P01_11"), np.arange(7))
    decoded = VideoReader(tmp_path / "videos" / "P01" / "videos" / "P01_11.MP4").read(np.arange(7))
    assert abs(read - decoded.astype(int)).mean() < 3


def test_frames_are_taken_at_the_rate_asked_for(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "videos" / "a.mp4", 12)  # 10 frames a second
    decoded = VideoReader(tmp_path / "videos" / "a.mp4").read(np.arange(12)).astype(int)

    for fps, expected in ((5.0, [0, 2, 4, 6, 8, 10]), (20.0, [t // 2 for t in range(24)])):
        out = tmp_path / f"out{fps}"
        write_frames(tmp_path / "videos", out, fps=fps)
        store = open_store("frames", out)
        read = store.read(Clip("a", "a"), np.arange(store.num_frames(Clip("a", "a"))))
        distances = abs(read[:, None] - decoded[None]).mean(axis=(2, 3, 4))
        assert distances.argmin(axis=1).tolist() == expected


def test_the_shorter_side_is_resized(tmp_path: Path, make_video: MakeVideo) -> None:
    make_video(tmp_path / "videos" / "a.mp4", 3)

    write_frames(tmp_path / "videos" / "a.mp4", tmp_path / "out", resize=16)

    assert open_store("frames", tmp_path / "out").read(Clip("a", "a"), np.arange(3)).shape == (3, 16, 24, 3)


def test_broken_videos_are_set_aside_and_the_rest_goes_on(tmp_path: Path, make_video: MakeVideo) -> None:
    for name in ("a", "c"):
        make_video(tmp_path / "videos" / f"{name}.mp4", 4)
    (tmp_path / "videos" / "b.mp4").write_bytes(b"no video at all" * 100)
    (tmp_path / "videos" / "d.mp4").touch()

    outcome = write_frames(tmp_path / "videos", tmp_path / "out", num_workers=2)

    assert outcome.done == 2
    assert [one.item for one in outcome.broken] == ["b", "d"]
    assert outcome.broken[0].file == str(tmp_path / "videos" / "b.mp4")
    assert str(tmp_path / "videos" / "b.mp4") in outcome.broken[0].reason
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "c", "zoopraxis.json"]


def test_a_finished_video_is_kept_and_the_rest_is_written(tmp_path: Path, make_video: MakeVideo) -> None:
    for name in ("a", "b"):
        make_video(tmp_path / "videos" / "P01" / f"{name}.mp4", 4)
    write_frames(tmp_path / "videos", tmp_path / "out")
    expected = names(tmp_path / "out")
    for path in (tmp_path / "out" / "P01" / "b").iterdir():
        path.unlink()
    (tmp_path / "out" / "P01" / "b").rename(tmp_path / "out" / "P01" / ".b.99.tmp")  # as a killed run leaves it

    outcome = write_frames(tmp_path / "videos", tmp_path / "out")

    assert (outcome.done, outcome.skipped) == (1, 1)
    assert names(tmp_path / "out") == expected
    with pytest.raises(DataError, match=r"was begun with another resize \(null, now 16\)"):
        write_frames(tmp_path / "videos", tmp_path / "out", resize=16)


def test_a_folder_without_videos_and_a_rate_of_zero_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no video file \(.*\.mp4.*\) in "):
        write_frames(tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"fps \(0\) must be positive; leave it out to take every frame"):
        write_frames(tmp_path, tmp_path / "out", fps=0)


def test_two_videos_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.avi"):
        (tmp_path / name).touch()

    with pytest.raises(DataError, match=r"a\.avi and .*a\.mp4 would both be a; rename one"):
        write_frames(tmp_path, tmp_path / "out")
