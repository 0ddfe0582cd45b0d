"""Reading clips of which some may be broken: those that are whole, with the times of their frames, and what ails the others."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from zoopraxis.data.clips import ClipDataset, ClipItem
from zoopraxis.data.loaders import ClipBatch, collate_clips
from zoopraxis.data.prepare.pixels import clip_file
from zoopraxis.data.prepare.work import Broken
from zoopraxis.errors import DataError

__all__ = ["Attempts", "read_attempts"]

Seconds = npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class Attempts:
    """What came of reading some clips.

    Attributes:
        clips: Those that could be read, None if none could.
        seconds: Of each of these where in its video every frame that was picked lies, in the sampler's order; None where the
            frame rate is not known.
        broken: The others.
    """

    clips: ClipBatch | None
    seconds: tuple[Seconds, ...]
    broken: tuple[Broken, ...]


def read_attempts(dataset: ClipDataset, rows: Sequence[int], *, batch_size: int, num_workers: int = 0) -> Iterator[Attempts]:
    """Read clips of a data set of tests, in the order given. Unlike in `ClipLoader`, a broken clip does not end the reading.

    Args:
        dataset: The clips.
        rows: Which of them.
        batch_size: Clips that are read at once.
        num_workers: Reading processes; 0 reads in this one.
    """
    if num_workers:
        gc.collect()  # decoders that nothing refers to must end before workers are forked; see `ClipLoader`
    yield from DataLoader(
        _Attempting(dataset),
        batch_size=batch_size,
        sampler=rows,
        num_workers=num_workers,
        collate_fn=_collate,
        generator=torch.Generator(),  # so that the global random state stays untouched
    )


class _Attempting(Dataset[tuple[ClipItem, Seconds] | Broken]):
    """Each clip by its row, or what is wrong with it. That travels as a value: what a worker raises would end them all."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, row: int) -> tuple[ClipItem, Seconds] | Broken:
        try:
            return self.dataset[0, row], self._seconds(row)
        except DataError as error:
            clip = self.dataset.index[row]
            return Broken(item=clip.clip_id, file=clip_file(self.dataset.store, clip), reason=str(error), row=row)

    def _seconds(self, row: int) -> Seconds:
        dataset, clip = self.dataset, self.dataset.index[row]
        rate = dataset.store.frame_rate(clip) or dataset.fps
        if rate is None:
            return None
        start = clip.start_seconds if clip.start_seconds is not None else (clip.start_frame or 0) / rate
        frames = dataset.sampler.test(dataset.store.num_frames(clip), num_clips=dataset.num_clips, frame_rate=rate)
        seconds: npt.NDArray[np.float64] = start + frames / rate
        return seconds


def _collate(attempts: Sequence[tuple[ClipItem, Seconds] | Broken]) -> Attempts:
    whole = [attempt for attempt in attempts if not isinstance(attempt, Broken)]
    return Attempts(
        clips=collate_clips([item for item, _ in whole]) if whole else None,
        seconds=tuple(seconds for _, seconds in whole),
        broken=tuple(attempt for attempt in attempts if isinstance(attempt, Broken)),
    )
