"""From videos to folders of frames in EPIC-KITCHENS' layout."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoopraxis.data.decoding import VideoReader
from zoopraxis.data.prepare.pixels import write_jpeg
from zoopraxis.data.prepare.sources import find_videos
from zoopraxis.data.prepare.work import (
    Broken,
    OnProgress,
    Outcome,
    atomic_folder,
    run_over_sources,
)
from zoopraxis.data.stores import UInt8Array
from zoopraxis.errors import ConfigError, DataError

__all__ = ["write_frames"]


def write_frames(
    videos: str | Path,
    out: str | Path,
    *,
    fps: float | None = None,
    resize: int | None = None,
    quality: int = 95,
    num_workers: int = 1,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Write every video below `videos` as `<out>/<source>/frame_%010d.jpg`, numbered from 1.

    A video's folder appears when it is complete; one that is there is kept. Videos that cannot be read to their end are set
    aside.

    Args:
        videos: A folder, searched with all below it, or one file.
        out: The root of the frame folders, of this work alone.
        fps: Frames per second to take: the frame on display at k / fps seconds, for every k before the end. None takes
            every frame once. (Frame numbers of annotations hold for one rate: EPIC's for 60 fps, 2018, and 50, 2020.)
        resize: Shorter side, px; None keeps the size. EPIC's frames have 256.
        quality: Of the JPEGs.
        num_workers: Processes; see `run_tasks`.
        on_progress: Told the number of videos.

    Raises:
        ConfigError: If fps is not positive.
        DataError: If there are no videos, `out` was begun with other settings or cannot be written, or a process was killed.
    """
    if fps is not None and fps <= 0:
        raise ConfigError(f"fps ({fps}) must be positive; leave it out to take every frame")
    out = Path(out)
    return run_over_sources(
        _extract,
        _Job(out, fps, resize, quality),
        find_videos(videos),
        out,
        settings={"content": "frames", "fps": fps, "resize": resize, "quality": quality},
        num_workers=num_workers,
        on_progress=on_progress,
    )


@dataclass(frozen=True)
class _Job:
    out: Path
    fps: float | None
    resize: int | None
    quality: int


def _extract(job: _Job, item: tuple[str, Path]) -> Broken | None:
    source, path = item
    try:
        with atomic_folder(job.out / source) as folder, VideoReader(path, resize=job.resize) as video:
            for number, image in enumerate(_frames(video, job.fps), start=1):
                write_jpeg(folder / f"frame_{number:010d}.jpg", image, quality=job.quality)
    except DataError as error:
        return Broken(item=source, file=str(path), reason=str(error))
    return None


def _frames(video: VideoReader, fps: float | None) -> Iterator[UInt8Array]:
    if fps is None:
        yield from video.iter_frames()
        return
    num_images = math.ceil(video.duration_seconds * fps - 1e-6)
    times = np.arange(max(1, num_images)) / fps
    repeats = np.bincount(video.frames_at(times), minlength=video.num_frames)
    for image, count in zip(video.iter_frames(), repeats.tolist(), strict=True):
        for _ in range(count):
            yield image
