"""Reading long videos for their windows, in this process or in several, each with videos of its own."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.prepare.pixels import clip_file
from zoopraxis.data.prepare.work import Broken
from zoopraxis.data.sampling import SAMPLERS, Sampler
from zoopraxis.data.stores import ClipStore
from zoopraxis.data.stores.video import VideoStore
from zoopraxis.data.transforms import TestTransform
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.models.base import VideoModel
from zoopraxis.training.extraction_frames import WindowPlan, Windows, plan_windows, read_frames

__all__ = ["Part", "WindowReader", "read_videos"]

Part = tuple[int, WindowPlan | Tensor | Broken]
"""Row of a video, and what comes of it: first its plan, then its frames in blocks; or what ails it, and nothing more."""


class WindowReader:
    """From videos to transformed frames; goes to the reading processes.

    Args:
        model: Tells the frames of a window, and what is done to each.
        store: Where the frames are.
        windows: Which windows, of how many crops.
        fps: Frame rate of stored frames, which do not tell it.
    """

    def __init__(self, model: VideoModel, store: ClipStore, windows: Windows, fps: float | None) -> None:
        preprocessing = model.preprocessing
        self.store = store
        self.windows = windows
        self.fps = fps
        self.sampler: Sampler = SAMPLERS.get(preprocessing.sampling)(
            preprocessing.num_segments, preprocessing.segment_length, preprocessing.interval, preprocessing.target_fps
        )
        self.transform = TestTransform(
            size=preprocessing.size,
            resize=preprocessing.resize,
            num_crops=windows.num_crops,
            modality=preprocessing.modality,
            antialias=preprocessing.antialias,
        )

    def check(self, clip: Clip) -> None:
        """Refuse what no video can be read with.

        Raises:
            ConfigError: If windows need a length, or the frame rate is not known.
        """
        if self.windows.length is None and self.sampler.span(self.sampler.target_fps) is None:
            raise ConfigError(
                f"the network picks its {self.sampler.num_segments} frames from all of a clip, however long; "
                "tell how many seconds a window has (--window), such as the clips that it was trained with"
            )
        if self.fps is None and not isinstance(self.store, VideoStore) and self.store.frame_rate(clip) is None:
            raise ConfigError("windows are told in seconds, but stored frames have no rate; give the frames' (--fps)")

    def plan(self, clip: Clip) -> WindowPlan:
        """Which frames of a video are read; see `plan_windows`."""
        return plan_windows(self.sampler, self.store, clip, self.windows, fps=self.fps)

    def read(self, clip: Clip, plan: WindowPlan) -> Iterator[Tensor]:
        """They, transformed, in blocks; see `read_frames`."""
        return read_frames(self.store, clip, plan.frames, self.transform)

    def start_seconds(self, clip: Clip) -> float:
        """Where in its video a clip begins."""
        if clip.start_seconds is not None:
            return clip.start_seconds
        return (clip.start_frame or 0) / (self.store.frame_rate(clip) or self.fps or 1.0)


def read_videos(reader: WindowReader, videos: ClipIndex, rows: Sequence[int], *, num_workers: int = 0) -> Iterator[Part]:
    """Read videos for their windows.

    Args:
        reader: Reads one.
        videos: The index.
        rows: Which of it.
        num_workers: Processes, each of which reads other videos, so that parts of several videos come in turn; 0 reads in this
            one.
    """
    dataset = _Videos(reader, videos, rows)
    if not num_workers:
        yield from dataset
        return
    gc.collect()  # decoders that nothing refers to must end before workers are forked; see `ClipLoader`
    yield from DataLoader(
        dataset,
        batch_size=None,
        num_workers=min(num_workers, max(1, len(rows))),
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # so that the global random state stays untouched
    )


class _Videos(IterableDataset[Part]):
    """Videos read one after the other; in each of several processes its own. What ails one travels as a value."""

    def __init__(self, reader: WindowReader, videos: ClipIndex, rows: Sequence[int]) -> None:
        self.reader, self.videos, self.rows = reader, videos, rows

    def __iter__(self) -> Iterator[Part]:
        worker = get_worker_info()
        for row in self.rows if worker is None else self.rows[worker.id :: worker.num_workers]:
            clip = self.videos[row]
            try:
                plan = self.reader.plan(clip)
                yield row, plan
                for block in self.reader.read(clip, plan):
                    yield row, block
            except DataError as error:
                yield row, Broken(item=clip.clip_id, file=clip_file(self.reader.store, clip), reason=str(error), row=row)


def _as_it_is(part: Any) -> Any:
    return part
