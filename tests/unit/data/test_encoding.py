"""Video files are written whole, the same each time, or not at all."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from zoopraxis.data import encoding
from zoopraxis.data.decoding import VideoReader
from zoopraxis.data.encoding import write_video
from zoopraxis.errors import ConfigError, DataError


def drifting(num_frames: int = 40, height: int = 96, width: int = 128) -> Iterator[np.ndarray]:
    """Noise at several scales that drifts: enough detail for every decision of an encoder to count."""
    generator = np.random.default_rng(5)
    fine = generator.integers(0, 90, (height + 40, width + 80, 3))
    coarse = np.kron(generator.integers(0, 160, (height // 8 + 6, width // 8 + 11, 3)), np.ones((8, 8, 1), dtype=int))
    for number in range(num_frames):
        y, x = number % 17, number * 3 % 61
        frame = coarse[y : y + height, x : x + width] + fine[2 * y : 2 * y + height, x : x + width]
        yield frame.astype(np.uint8)


def keyframes(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [frame for frame, picture in enumerate(container.decode(video=0)) if picture.key_frame]


def test_frames_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "video.mp4"
    frames = np.stack([np.repeat(frame[:, :, :1], 3, axis=2) for frame in drifting()])
    write_video(path, frames, fps=30000 / 1001, crf=10)
    reader = VideoReader(path)
    assert reader.num_frames == 40
    assert reader.fps == pytest.approx(30000 / 1001)
    assert np.abs(reader.read(np.arange(40)).astype(int) - frames).mean() < 2
    assert not list(path.parent.glob(".*")), "no temporary file is left"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_the_same_frames_give_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    contents = set()
    for number in range(3):
        path = tmp_path / f"video{number}{suffix}"
        write_video(path, drifting(), fps=25)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np; from zoopraxis.data.encoding import write_video; "
        "write_video(sys.argv[2], np.load(sys.argv[1]), fps=25)"
    )
    np.save(tmp_path / "frames.npy", np.stack(list(drifting())))
    for name in ("one.mp4", "two.mp4"):
        subprocess.run([sys.executable, "-c", program, tmp_path / "frames.npy", tmp_path / name], check=True)
    write_video(tmp_path / "three.mp4", drifting(), fps=25)
    contents = {path.read_bytes() for path in tmp_path.glob("*.mp4")}
    assert len(contents) == 1


@pytest.mark.parametrize("gop", [1, 5, 12, 250])
def test_keyframes_come_at_least_every_gop(gop: int, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write_video(path, drifting(), fps=25, gop=gop)
    found = keyframes(path)
    assert found[0] == 0
    assert min(gop, 40) // 2 < max(np.diff([*found, 40])) <= gop


def test_frames_are_taken_one_by_one(tmp_path: Path) -> None:
    taken = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal taken
        for frame in drifting(10):
            taken += 1
            yield frame
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_video(tmp_path / "video.mp4", counted(), fps=25)
    assert taken == 10
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    with pytest.raises(DataError, match=r"no frames were given for .*video.mp4"):
        write_video(path, [], fps=25)
    with pytest.raises(DataError, match=r"frames of 63x64 px cannot be yuv420p, which needs even sides"):
        write_video(path, [np.zeros((64, 63, 3), dtype=np.uint8)], fps=25)
    with pytest.raises(DataError, match=r"a frame for .*video.mp4 has shape \(32, 64, 3\).*all must be uint8 of one shape"):
        write_video(path, [np.zeros((64, 64, 3), dtype=np.uint8), np.zeros((32, 64, 3), dtype=np.uint8)], fps=25)
    with pytest.raises(DataError, match="type float64; all must be uint8"):
        write_video(path, [np.zeros((64, 64, 3))], fps=25)
    with pytest.raises(ConfigError, match="unknown video encoder 'x264'; use libx264"):
        write_video(path, drifting(2), fps=25, codec="x264")
    with pytest.raises(ConfigError, match="unknown pixel format 'yuv'; use yuv420p"):
        write_video(path, drifting(2), fps=25, pixel_format="yuv")
    with pytest.raises(ConfigError, match=r"no video container has the suffix '.vid'; name the file .mp4 or .mkv"):
        write_video(path.with_suffix(".vid"), drifting(2), fps=25)
    with pytest.raises(ValueError, match=r"fps \(0\) and gop \(12\) must be positive"):
        write_video(path, drifting(2), fps=0)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mux = av.container.OutputContainer.mux

    class Full:
        """A container on a disk that fills up after a few packets."""

        def __init__(self, path: Path) -> None:
            self.container, self.room = av.open(str(path), "w"), 5

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.container.close()

        def add_stream(self, *args: object, **kwargs: object) -> object:
            return self.container.add_stream(*args, **kwargs)

        def mux(self, packet: object) -> None:
            self.room -= 1
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            mux(self.container, packet)

    monkeypatch.setattr(encoding, "_open", Full)
    with pytest.raises(
        DataError, match=r"cannot write the video .*video.mp4 \(No space left on device\); check the folder, the space"
    ):
        write_video(tmp_path / "video.mp4", drifting(), fps=25)
    assert not list(tmp_path.iterdir())
