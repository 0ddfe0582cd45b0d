"""Small videos, frames and indexes for the tests of preparation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg

from zoopraxis.data.encoding import write_video
from zoopraxis.data.index import ClipIndex

HEIGHT, WIDTH, FPS = 32, 48, 10.0


def moving_texture(num_frames: int, *, step: int = 2, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Frames of a smooth texture that moves right by `step` px a frame, shape (T, H, W, 3)."""
    generator = np.random.default_rng(seed)
    x = np.arange(WIDTH)[None, :] - step * np.arange(num_frames)[:, None]
    y = np.arange(HEIGHT)
    frames = np.full((num_frames, HEIGHT, WIDTH, 3), 128.0)
    for _ in range(6):
        period_x, period_y = generator.uniform(9, 30, 2)
        phase, strength = generator.uniform(0, 6, 3), generator.uniform(8, 16, 3)
        angle = x[:, None, :, None] * (2 * np.pi / period_x) + y[None, :, None, None] * (2 * np.pi / period_y)
        frames += strength * np.sin(angle + phase)
    return frames.clip(0, 255).astype(np.uint8)


@pytest.fixture
def make_video() -> Callable[..., npt.NDArray[np.uint8]]:
    """A function that writes a video of moving texture and returns the frames that went into it."""

    def make(path: Path, num_frames: int = 12, *, step: int = 2, seed: int = 0) -> npt.NDArray[np.uint8]:
        frames = moving_texture(num_frames, step=step, seed=seed)
        write_video(path, frames, fps=FPS, gop=4)
        return frames

    return make


@pytest.fixture
def make_frames() -> Callable[..., npt.NDArray[np.uint8]]:
    """A function that writes a folder of frames of moving texture and returns them."""

    def make(folder: Path, num_frames: int = 12, *, step: int = 2, seed: int = 0) -> npt.NDArray[np.uint8]:
        folder.mkdir(parents=True)
        frames = moving_texture(num_frames, step=step, seed=seed)
        for number, image in enumerate(frames, start=1):
            data = simplejpeg.encode_jpeg(image, 98, "RGB", "444")
            (folder / f"frame_{number:010d}.jpg").write_bytes(data)
        return frames

    return make


@pytest.fixture
def frame_root(tmp_path: Path, make_frames: Callable[..., npt.NDArray[np.uint8]]) -> Path:
    """Two videos as frame folders, P01/P01_01 and P01/P01_02, of 24 frames each."""
    for number in (1, 2):
        make_frames(tmp_path / "frames" / "P01" / f"P01_0{number}", 24, seed=number)
    return tmp_path / "frames"


@pytest.fixture
def index() -> ClipIndex:
    """Nine clips of 4 frames in the videos of `frame_root`, with heads verb and noun."""
    numbers = range(9)
    return ClipIndex.from_columns(
        clip_id=[f"P01_0{number % 2 + 1}_{number}" for number in numbers],
        source=[f"P01/P01_0{number % 2 + 1}" for number in numbers],
        labels={"verb": [number % 3 for number in numbers], "noun": [number % 2 for number in numbers]},
        class_names={"verb": ["take", "put", "open"], "noun": ["tap", "spoon"]},
        start_frame=[2 * number for number in numbers],
        stop_frame=[2 * number + 4 for number in numbers],
        split="train",
        participant_id="P01",
    )
