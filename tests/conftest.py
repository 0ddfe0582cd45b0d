"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

if TYPE_CHECKING:
    from zoopraxis.data.index import Clip


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data (epic100/, videos/, weizmann4/), or a skip."""
    folder = os.environ.get("ZOOPRAXIS_REAL_DATA")
    if not folder:
        pytest.skip("ZOOPRAXIS_REAL_DATA is not set; it names a folder with epic100/, videos/ and weizmann4/")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.fail(f"ZOOPRAXIS_REAL_DATA={folder} is no folder")
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A function that runs `zoopraxis` with its arguments as text, and gives its status, output and errors."""
    from zoopraxis.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def tiny_gulp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the gulp folders `rgb_train` (22 clips) and `rgb_validation` (9 clips) of 48x40 px and 10 to 15 frames.

    Four labels of the head `label`: a bright bar at one of four heights.
    """
    from zoopraxis.data.index import ClipIndex
    from zoopraxis.data.prepare.gulp import write_gulp

    root = tmp_path_factory.mktemp("tiny")
    for split, num_clips in (("train", 22), ("validation", 9)):
        index = ClipIndex.from_columns(
            clip_id=[f"{split}_{row}" for row in range(num_clips)],
            source=[f"{split}_{row}" for row in range(num_clips)],
            labels={"label": np.arange(num_clips) % 4},
            class_names={"label": ["top", "upper", "lower", "bottom"]},
            split=split,
        )
        write_gulp(index, _BarStore(), root / f"rgb_{split}")
    return root


@pytest.fixture(scope="session")
def tiny_challenge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a store of generated `features` and `annotations` of the adaptation challenge; see `tiny_domains`."""
    from tiny_domains import write_challenge

    return write_challenge(tmp_path_factory.mktemp("challenge") / "root")


@pytest.fixture(scope="session")
def tiny_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a store of generated `features` of long videos and `annotations` of segments in them; see `tiny_videos`."""
    from tiny_videos import write_videos

    return write_videos(tmp_path_factory.mktemp("videos") / "root")


@pytest.fixture(scope="session")
def tiny_data_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a store of generated `features` and `annotations` of two data sets with shared classes."""
    from tiny_domains import write_data_sets

    return write_data_sets(tmp_path_factory.mktemp("data_sets") / "root")


class _BarStore:
    """Frames that are made when they are read."""

    def num_frames(self, clip: Clip) -> int:
        return 10 + int(clip.clip_id.rsplit("_", 1)[1]) % 6

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        row = int(clip.clip_id.rsplit("_", 1)[1])
        images = np.random.default_rng(row).integers(0, 80, (len(frames), 40, 48, 3), dtype=np.uint8)
        images[:, 10 * (row % 4) : 10 * (row % 4) + 10] += 150
        return images
