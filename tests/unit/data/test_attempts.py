"""Reading on where a clip is broken."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from zoopraxis.data.attempts import Attempts, read_attempts
from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.transforms import TestTransform
from zoopraxis.errors import DataError


class GreyStore:
    """Clips of ten frames of one grey, their row's; every third is broken."""

    def num_frames(self, clip: Clip) -> int:
        return 10

    def frame_rate(self, clip: Clip) -> float | None:
        return None

    def check(self, clip: Clip) -> None:
        """All are there."""

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        if int(clip.clip_id) % 3 == 0:
            raise DataError("truncated")
        return np.full((len(frames), 8, 8, 3), int(clip.clip_id), np.uint8)


def read(rows: list[int], *, fps: float | None = None, num_workers: int = 0) -> list[Attempts]:
    ids = [str(row) for row in range(8)]
    index = ClipIndex.from_columns(clip_id=ids, source=ids, labels={}, class_names={}, start_frame=4)
    dataset = ClipDataset(
        index, GreyStore(), transform=TestTransform(size=8, resize=8), num_segments=2, fps=fps, training=False
    )
    return list(read_attempts(dataset, rows, batch_size=2, num_workers=num_workers))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_whole_clips_are_read_and_broken_ones_told(num_workers: int) -> None:
    first, second, third = read([1, 3, 0, 6, 7], num_workers=num_workers)
    assert first.clips is not None
    assert first.clips["index"].tolist() == [1]
    assert first.clips["clip"].unique().tolist() == [1]
    assert [(one.item, one.row) for one in (*first.broken, *second.broken)] == [("3", 3), ("0", 0), ("6", 6)]
    assert first.broken[0].reason.startswith("clip '3': truncated; list all broken clips")
    assert second.clips is None
    assert third.clips is not None
    assert (third.clips["index"].tolist(), third.broken) == ([7], ())


def test_times_of_frames() -> None:
    (attempts,) = read([1, 3], fps=2.0)
    (seconds,) = attempts.seconds
    assert seconds is not None
    assert seconds.tolist() == [2 + 1, 2 + 3.5]
    (attempts,) = read([1])
    assert attempts.seconds == (None,)
