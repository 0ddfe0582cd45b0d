"""Batches of clips: the order of an epoch, its division among devices, and how to go on in the middle of it."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from zoopraxis.data.clips import ClipDataset, ClipItem, ClipKey
from zoopraxis.data.sampling import IntArray
from zoopraxis.errors import ConfigError, DataError

__all__ = ["BatchSampler", "ClipBatch", "ClipLoader", "EpochPosition", "EpochSampler", "check_batch_size", "collate_clips"]


class ClipBatch(TypedDict):
    """Several clips.

    Attributes:
        clip: uint8, (B, T, C, h, w), or (B, V, T, C, h, w); the channels are last in memory.
        index: int64, (B,): rows of the index; -1 for a clip that only fills up the batch, to be dropped from results.
        labels: For each head int64, (B,), `UNLABELLED` where not known and in clips that only fill up the batch.
    """

    clip: Tensor
    index: Tensor
    labels: dict[str, Tensor]


class EpochSampler:
    """The clips of one epoch, in order, as keys (turn, row) of a `ClipDataset`.

    An epoch may be several passes over the clips (`num_folds`), each in an order of its own, and in a pass a clip may come
    several times side by side (`num_repeats`). Each time it has another turn, hence another augmentation: the turns of epoch e
    are numbered from e * num_folds * num_repeats on.

    With several processes (`world_size`) each takes every `world_size`-th clip, with all its repeats, so that one step of all
    of them is a contiguous part of the order that a single process would take. All get equally many clips; where the number
    does not divide, `pad` says what fills up: "repeat" takes clips from the order's beginning (training); "mark" gives those as
    `~row`, which makes items with index -1 and no labels, so that each clip counts exactly once (validation and test).

    Args:
        num_clips: Clips of the whole data set.
        seed: Of the order.
        shuffle: Whether each pass has a random order, a function of (seed, number of the pass); else it is the index's.
        rank: This process's number.
        world_size: The number of processes.
        pad: See above.
        num_folds: Passes an epoch.
        num_repeats: Times that a clip comes in a pass.

    Attributes:
        epoch: The epoch whose keys are given.

    Raises:
        ValueError: If a number is not positive, or `rank` is not below `world_size`.
    """

    def __init__(
        self,
        num_clips: int,
        *,
        seed: int = 0,
        shuffle: bool,
        rank: int = 0,
        world_size: int = 1,
        pad: Literal["repeat", "mark"] = "repeat",
        num_folds: int = 1,
        num_repeats: int = 1,
    ) -> None:
        for name, number in (("num_clips", num_clips), ("num_folds", num_folds), ("num_repeats", num_repeats)):
            if number < 1:
                raise ValueError(f"{name} ({number}) must be at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank ({rank}) must be at least 0 and less than world_size ({world_size})")
        self.num_clips = num_clips
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.pad = pad
        self.num_folds = num_folds
        self.num_repeats = num_repeats
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Give the keys of `epoch` from the next iteration on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_clips * self.num_folds // self.world_size) * self.num_repeats

    def __iter__(self) -> Iterator[ClipKey]:
        return ((turn, row) for turn, row in self.keys().tolist())

    def keys(self) -> IntArray:
        """This process's (turn, row) in this epoch, shape (len(self), 2), int64; rows are below 0 where they only fill up."""
        passes = range(self.epoch * self.num_folds, (self.epoch + 1) * self.num_folds)
        orders = [np.stack([np.full(self.num_clips, number), self._order(number)], axis=1) for number in passes]
        keys = np.concatenate(orders).astype(np.int64)
        num_keys = len(self) // self.num_repeats * self.world_size
        filled = keys[np.arange(num_keys) % len(keys)]
        if self.pad == "mark":
            filled[len(keys) :, 1] = ~filled[len(keys) :, 1]
        own = filled[self.rank :: self.world_size].repeat(self.num_repeats, axis=0)
        own[:, 0] = own[:, 0] * self.num_repeats + np.arange(len(own)) % self.num_repeats
        return own

    def _order(self, number: int) -> IntArray:
        """The rows in the order of the pass of this number, counted from the run's beginning."""
        rows = np.arange(self.num_clips)
        if not self.shuffle:
            return rows
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, number]))).permutation(rows)


class EpochPosition:
    """Where a loader stands, so that a resumed run gets exactly the batches that it lacks.

    Args:
        epoch: The first epoch.

    Attributes:
        epoch: The epoch that is given, or was given last.
        num_given: How many of its batches were given out.
    """

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch
        self.num_given = 0
        self._is_loaded = False

    def begin(self, epoch: int) -> int:
        """Begin `epoch` from its start, or once from a loaded position in it; returns the number of its first batch."""
        if not self._is_loaded or epoch != self.epoch:
            self.epoch, self.num_given = epoch, 0
        self._is_loaded = False
        return self.num_given

    def load(self, epoch: int, num_given: int) -> None:
        """Go on from here, if the next epoch that begins is this one."""
        self.epoch, self.num_given = epoch, num_given
        self._is_loaded = True


class ClipLoader:
    """Batches of clips, read by worker processes, the same whatever their number.

    Iterating gives one epoch: the sampler's, from its start, or once from where a loaded state stopped. The state counts the
    batches that were given out, not those that workers have read ahead, so a resumed run gets exactly the batches it lacks.
    Lightning saves and restores it, and sets the epoch through `sampler`. The global random state is not touched.

    Args:
        dataset: The clips.
        sampler: Their order.
        batch_size: Clips per batch, all repeats counted; the last batch of an epoch may be smaller.
        num_workers: Reading processes, each with one thread; 0 reads in this process.
        pin_memory: Whether batches are put into page-locked memory, from which copies to a GPU are faster.
        prefetch_factor: Batches that each worker reads ahead.
        max_batches: An epoch ends after so many batches; none: with the sampler's last.

    Raises:
        ValueError: If `batch_size` is not positive.
        ConfigError: If a batch would have only some of the repeats of a clip.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        sampler: EpochSampler,
        *,
        batch_size: int,
        num_workers: int = 0,
        pin_memory: bool = False,
        prefetch_factor: int = 2,
        max_batches: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size ({batch_size}) must be at least 1")
        check_batch_size(batch_size, sampler.num_repeats)
        self.dataset = dataset
        self.sampler = sampler
        self.batch_size = batch_size
        self.batch_sampler = BatchSampler(sampler, batch_size, max_batches)
        self._position = EpochPosition(sampler.epoch)
        self._loader: DataLoader[ClipItem] = DataLoader(
            cast("Any", _Attempts(dataset)),
            batch_sampler=self.batch_sampler,
            num_workers=num_workers,
            collate_fn=_collate_attempts,
            pin_memory=pin_memory and torch.cuda.is_available(),
            prefetch_factor=prefetch_factor if num_workers else None,
            persistent_workers=num_workers > 0,
            generator=torch.Generator(),
        )

    def set_epoch(self, epoch: int) -> None:
        """Give the batches of `epoch` from the next iteration on."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[ClipBatch]:
        """The epoch's batches, or those that are left of it. The epoch is the one set when the first batch is asked for.

        Raises:
            DataError: If a clip cannot be read; nothing is put in its place.
        """
        self.batch_sampler.first = self._position.begin(self.sampler.epoch)
        if self._loader.num_workers and self._loader._iterator is None:
            # Decoders that nothing refers to any more must end here: in a forked worker that would wait for ever for their
            # threads, which exist in this process only.
            gc.collect()
        for batch in self._loader:
            if isinstance(batch, _Failure):
                raise batch.error
            self._position.num_given += 1
            yield cast("ClipBatch", batch)

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands: plain numbers, the same on every process."""
        return {"epoch": self._position.epoch, "num_batches": self._position.num_given, **self._geometry()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on, at the next iteration, after the batch at which `state` was taken.

        A state in the middle of an epoch fits a run with another number of processes if all of them together take as many clips
        a step.

        Raises:
            ConfigError: If the state is in the middle of an epoch that this loader would give in another order or division.
        """
        clips_per_epoch = state["num_clips"] * state["num_folds"] * state["num_repeats"]
        if self.batch_sampler.max_batches is not None:
            clips_per_epoch = min(clips_per_epoch, self.batch_sampler.max_batches * state["clips_per_step"])
        is_inside = 0 < state["num_batches"] * state["clips_per_step"] < clips_per_epoch
        for name, value in self._geometry().items():
            if is_inside and state[name] != value:
                raise ConfigError(
                    f"the checkpoint was saved after batch {state['num_batches']} of epoch {state['epoch']} with {name} "
                    f"{state[name]}, but now it is {value}; resume with the same, or from a checkpoint at the end of an epoch"
                )
        num_given = state["num_batches"] if is_inside or not state["num_batches"] else len(self)
        self._position.load(state["epoch"], num_given)
        self.set_epoch(state["epoch"])

    def close(self) -> None:
        """End the worker processes; the next iteration starts them anew.

        Left to the garbage collector, which may take their queues first, ending them can take seconds.
        """
        iterator: Any = self._loader._iterator
        if iterator is not None:
            iterator._shutdown_workers()
            self._loader._iterator = None

    def _geometry(self) -> dict[str, int]:
        sampler = self.sampler
        return {
            "clips_per_step": self.batch_size * sampler.world_size,
            "num_clips": sampler.num_clips,
            "num_folds": sampler.num_folds,
            "num_repeats": sampler.num_repeats,
            "seed": sampler.seed,
        }


def check_batch_size(batch_size: int, num_repeats: int) -> None:
    """See that batches have all repeats of their clips.

    Raises:
        ConfigError: If one would have only some of a clip's.
    """
    if batch_size % num_repeats:
        raise ConfigError(
            f"data.batch_size is {batch_size}, but it counts all views of a clip, so that it must be divisible by "
            f"data.num_repeats={num_repeats}; try {max(1, batch_size // num_repeats) * num_repeats}"
        )


def collate_clips(items: Sequence[ClipItem]) -> ClipBatch:
    """Put clips into one batch whose channels are last in memory, as theirs are. In a worker the batch is in shared memory."""
    layout = [{**item, "clip": item["clip"].movedim(-3, -1)} for item in items]
    batch = default_collate(layout)
    return {"clip": batch["clip"].movedim(-1, -3), "index": batch["index"], "labels": batch["labels"]}


class BatchSampler:
    """The sampler's keys, a batch at a time, from batch `first` on, up to `max_batches` of an epoch."""

    def __init__(self, sampler: EpochSampler, batch_size: int, max_batches: int | None = None) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.max_batches = max_batches
        self.first = 0

    def __len__(self) -> int:
        num_batches = -(-len(self.sampler) // self.batch_size)
        return num_batches if self.max_batches is None else min(num_batches, self.max_batches)

    def __iter__(self) -> Iterator[list[ClipKey]]:
        keys = self.sampler.keys()[: len(self) * self.batch_size]
        for start in range(self.first * self.batch_size, len(keys), self.batch_size):
            yield [(turn, row) for turn, row in keys[start : start + self.batch_size].tolist()]


@dataclass(frozen=True)
class _Failure:
    """A clip that could not be read. It travels as a value: what a worker raises, torch buries in that worker's traceback."""

    error: DataError


class _Attempts:
    """A data set whose batch is its items, or the failure of the first that cannot be read."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __getitems__(self, keys: Sequence[ClipKey]) -> list[ClipItem] | _Failure:
        try:
            return [self.dataset[key] for key in keys]
        except DataError as error:
            return _Failure(error)


def _collate_attempts(attempt: list[ClipItem] | _Failure) -> ClipBatch | _Failure:
    return attempt if isinstance(attempt, _Failure) else collate_clips(attempt)
