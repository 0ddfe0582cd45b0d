"""Batches of windows of long videos, in the same order whatever the number of reading threads.

# B windows, C features of a step, T steps, G segments of the window that has most of them
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoopraxis.config.localization import LocalizationDataConfig
from zoopraxis.data.index import UNLABELLED
from zoopraxis.data.loaders import EpochPosition, EpochSampler
from zoopraxis.data.segments import VideoSegments
from zoopraxis.errors import ConfigError
from zoopraxis.training.localization.windows import LongFeatures, WindowTable, parts_of
from zoopraxis.training.read_ahead import ReadAhead

__all__ = ["WindowBatch", "WindowLoader", "WindowReader", "windows_to_learn"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_READ_AHEAD = 2
"""Batches that are read ahead."""


class WindowBatch(TypedDict):
    """Several windows.

    Attributes:
        features: float32, (B, C, T).
        segments: float64, (B, G, 2): starts and stops as parts of the window.
        present: bool, (B, G): which of them are any.
        labels: For each head int64, (B, G), `UNLABELLED` where not known or where there is no segment.
        index: int64, (B,): rows of the table of windows; -1 for a window that only fills up the batch.
    """

    features: Tensor
    segments: Tensor
    present: Tensor
    labels: dict[str, Tensor]
    index: Tensor


def windows_to_learn(data: LocalizationDataConfig, videos: VideoSegments, table: WindowTable) -> WindowTable:
    """The windows that have a segment to learn."""
    has_any = np.zeros(len(table), dtype=np.bool_)
    for row, (video, bounds) in enumerate(zip(table.video.tolist(), table.bounds, strict=True)):
        segments_G2, _ = videos.segments(video)
        has_any[row] = bool(parts_of(data, segments_G2, bounds)[1].any())
    return table.take(has_any)


class WindowReader:
    """Windows with their features and segments, whole batches at once.

    Args:
        features: The videos' features.
        videos: The videos and their segments.
        table: The windows.
        num_workers: Threads that read windows; 0 reads in the caller's.
        pin_memory: Whether features are put into page-locked memory, from which copies to a GPU are faster.
    """

    def __init__(
        self,
        features: LongFeatures,
        videos: VideoSegments,
        table: WindowTable,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.features = features
        self.videos = videos
        self.table = table
        self.num_workers = num_workers
        self.pin_memory = pin_memory and torch.cuda.is_available()

    def __len__(self) -> int:
        return len(self.table)

    def read(self, rows: IntArray, pool: ThreadPoolExecutor | None = None) -> WindowBatch:
        """The windows of some rows of the table, shape (B,); `~row` for a window that only fills up the batch."""
        picked = np.where(rows < 0, ~rows, rows)
        features = torch.empty(len(rows), self.features.num_channels, self.features.data.num_steps, pin_memory=self.pin_memory)
        places_BCT = features.numpy()

        def fill(place: int) -> None:
            row = picked[place]
            places_BCT[place] = self.features.read(int(self.table.video[row]), self.table.bounds[row])

        for _ in map(fill, range(len(rows))) if pool is None else pool.map(fill, range(len(rows))):
            pass
        return {"features": features, **self._learned(rows, picked)}  # type: ignore[typeddict-item]

    def _learned(self, rows: IntArray, picked: IntArray) -> dict[str, object]:
        """Segments and labels, filled up to those of the window that has most."""
        found = [self._segments(int(row)) for row in picked]
        most = max(len(parts) for parts, _ in found)
        segments = np.zeros((len(rows), most, 2))
        present = np.zeros((len(rows), most), dtype=np.bool_)
        labels = {head: np.full((len(rows), most), UNLABELLED) for head in self.videos.class_names}
        for place, (parts_G2, own_labels) in enumerate(found):
            segments[place, : len(parts_G2)] = parts_G2
            present[place, : len(parts_G2)] = True
            for head, values in own_labels.items():
                labels[head][place, : len(parts_G2)] = values
        return {
            "segments": torch.from_numpy(segments),
            "present": torch.from_numpy(present),
            "labels": {head: torch.from_numpy(values) for head, values in labels.items()},
            "index": torch.from_numpy(np.where(rows < 0, -1, rows)),
        }

    def _segments(self, row: int) -> tuple[FloatArray, dict[str, IntArray]]:
        segments_G2, labels = self.videos.segments(int(self.table.video[row]))
        parts, is_learned = parts_of(self.features.data, segments_G2, self.table.bounds[row])
        return parts, {head: values[is_learned] for head, values in labels.items()}


class WindowLoader:
    """Batches of windows: shuffled for training, each window once for validation.

    Iterating gives one epoch: the sampler's, from its start, or once from where a loaded state stopped. The state counts the
    batches that were given out, not those that were read ahead, so that a resumed run gets exactly those that it lacks.
    Lightning saves and restores it, and sets the epoch through `sampler`. The global random state is not touched.

    Args:
        reader: The windows.
        sampler: Their order.
        batch_size: Windows a batch; the last of an epoch may be smaller.

    Raises:
        ValueError: If `batch_size` is not positive.
    """

    def __init__(self, reader: WindowReader, sampler: EpochSampler, *, batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size ({batch_size}) must be at least 1")
        self.reader = reader
        self.sampler = sampler
        self.batch_sampler = None  # Lightning asks
        self.batch_size = batch_size
        self._position = EpochPosition()
        self._pool = ThreadPoolExecutor(reader.num_workers, "read-windows") if reader.num_workers else None
        self._ahead: ReadAhead[IntArray, WindowBatch] = ReadAhead(self._read, _READ_AHEAD if self._pool else 0)

    def set_epoch(self, epoch: int) -> None:
        """Give the batches of `epoch` from the next iteration on."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[WindowBatch]:
        """The epoch's batches, or those that are left of it. The epoch is the one set when the first batch is asked for.

        Raises:
            DataError: If features cannot be read.
        """
        first = self._position.begin(self.sampler.epoch)
        rows = self.sampler.keys()[:, 1]
        starts = range(first * self.batch_size, len(rows), self.batch_size)
        for batch in self._ahead.over(rows[start : start + self.batch_size] for start in starts):
            self._position.num_given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands: plain numbers, the same on every process."""
        return {"epoch": self._position.epoch, "num_given": self._position.num_given, **self._geometry()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on, at the next iteration, after the batch at which `state` was taken.

        Raises:
            ConfigError: If the state is in the middle of an epoch that this loader would give in another order or division.
        """
        is_inside = 0 < state["num_given"] * state["windows_per_step"] < state["num_windows"]
        for name, value in self._geometry().items():
            if is_inside and state[name] != value:
                raise ConfigError(
                    f"the checkpoint was saved after batch {state['num_given']} of epoch {state['epoch']} with {name} "
                    f"{state[name]}, but now it is {value}; resume with the same, or from a checkpoint at the end of an epoch"
                )
        num_given = state["num_given"] if is_inside or not state["num_given"] else len(self)
        self._position.load(state["epoch"], num_given)
        self.set_epoch(state["epoch"])

    def close(self) -> None:
        """End the reading threads; the loader cannot be used any more."""
        self._ahead.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _read(self, rows: IntArray) -> WindowBatch:
        return self.reader.read(rows, self._pool)

    def _geometry(self) -> dict[str, int]:
        sampler = self.sampler
        return {
            "windows_per_step": self.batch_size * sampler.world_size,
            "num_windows": sampler.num_clips,
            "seed": sampler.seed,
        }
