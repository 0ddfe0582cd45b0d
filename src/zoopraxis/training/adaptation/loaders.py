"""Batches of features: of one domain in the order of its clips, or of both domains side by side, read ahead by one thread.

# B clips, S segments, D features (of all modalities side by side)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from zoopraxis.data.features import rows_by_name, segment_positions
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.data.loaders import EpochPosition, EpochSampler
from zoopraxis.data.sampling import IntArray
from zoopraxis.errors import ConfigError
from zoopraxis.training.read_ahead import ReadAhead
from zoopraxis.training.steps import step_seed

if TYPE_CHECKING:
    from zoopraxis.data.features import FeatureStore

__all__ = ["DomainLoader", "DomainOrder", "DomainStep", "FeatureBatch", "FeatureLoader", "FeatureReader"]


class FeatureBatch(TypedDict):
    """Several clips of one domain.

    Attributes:
        features: float32, (B, S, D).
        index: int64, (B,): rows of the index; -1 for a clip that only fills up the batch, to be dropped from results.
        labels: For each head int64, (B,), `UNLABELLED` where not known and in clips that only fill up the batch.
    """

    features: Tensor
    index: Tensor
    labels: dict[str, Tensor]


class DomainStep(TypedDict, total=False):
    """What a step of training sees: a batch of the source and, where it learns from them, one of the target."""

    source: FeatureBatch
    target: FeatureBatch


class FeatureReader:
    """The features of an index's clips, whole batches at once.

    Which of a clip's features are read is the rule of tests, in training too: nothing is random.

    Args:
        index: The clips.
        store: Their features.
        num_segments: Features a clip, S.
        modalities: Which stand side by side, in this order; empty: all of the store.
        pin_memory: Whether batches are put into page-locked memory, from which copies to a GPU are faster.

    Raises:
        DataError: If the store lacks clips.

    Source: jonmun/EPIC-KITCHENS-100_UDA_TA3N, `dataset.py` and `main.py`, which take the training clips by the rule of tests.
    """

    def __init__(
        self,
        index: ClipIndex,
        store: FeatureStore,
        *,
        num_segments: int,
        modalities: Sequence[str] = (),
        pin_memory: bool = False,
    ) -> None:
        self.index = index
        self.store = store
        self.modalities = tuple(modalities) or tuple(store.modalities)
        self.rows = rows_by_name(store, index.clip_ids)
        self.positions = segment_positions(store.num_features[self.rows], num_segments)
        self.labels = index.labels()
        self.pin_memory = pin_memory and torch.cuda.is_available()

    def __len__(self) -> int:
        return len(self.index)

    def read(self, rows: IntArray) -> FeatureBatch:
        """The clips of some rows of the index, shape (B,); `~row` for a clip that only fills up the batch."""
        picked = np.where(rows < 0, ~rows, rows)
        features = torch.from_numpy(self.store.read(self.rows[picked], self.positions[picked], self.modalities))
        labels = {
            head: torch.from_numpy(np.where(rows < 0, UNLABELLED, numbers[picked])) for head, numbers in self.labels.items()
        }
        index = torch.from_numpy(np.where(rows < 0, -1, rows))
        return {"features": features.pin_memory() if self.pin_memory else features, "index": index, "labels": labels}


class FeatureLoader:
    """Batches of one domain for validation and tests: the clips in their order, each once.

    With several processes each takes every `world_size`-th clip, and all equally many: clips that only fill up have index -1.

    Args:
        reader: The clips.
        batch_size: Clips a batch; the last may be smaller.
        rank: This process's number.
        world_size: The number of processes.
        read_ahead: Batches that a thread reads ahead; 0 reads in the caller's.

    Raises:
        ValueError: If `batch_size` is not positive.
    """

    def __init__(
        self, reader: FeatureReader, *, batch_size: int, rank: int = 0, world_size: int = 1, read_ahead: int = 2
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size ({batch_size}) must be at least 1")
        self.reader = reader
        self.batch_size = batch_size
        self.order = EpochSampler(len(reader), shuffle=False, rank=rank, world_size=world_size, pad="mark")
        self._ahead: ReadAhead[IntArray, FeatureBatch] = ReadAhead(reader.read, read_ahead)

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[FeatureBatch]:
        """All batches.

        Raises:
            DataError: If features cannot be read.
        """
        return self._ahead.over(_cut(self.order.keys()[:, 1], self.batch_size))

    def close(self) -> None:
        """End the reading thread."""
        self._ahead.close()


class DomainOrder:
    """The steps of an epoch: which clips of each domain stand in which.

    Each domain has a random order of its own, a function of (seed, epoch, domain), cut into batches of which the last of a pass
    may be smaller. An epoch ends with the domain that has fewer batches (`shorter`), or with the one that has more, while the
    other begins anew in another order (`longer`).

    Args:
        num_clips: Clips of the source and of the target; of the source alone where the target has no part in training.
        batch_sizes: Clips of each a step, of one process.
        epoch: See above.
        seed: Root of the orders.
        rank: This process's number.
        world_size: The number of processes, which take equally many batches.

    Raises:
        ValueError: If a number is not positive, or there are other numbers of domains than one and two.
    """

    def __init__(
        self,
        num_clips: Sequence[int],
        batch_sizes: Sequence[int],
        *,
        epoch: Literal["shorter", "longer"] = "shorter",
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 1 <= len(num_clips) == len(batch_sizes) <= 2:
            raise ValueError(f"there must be one or two domains, each with a batch size: {num_clips} clips by {batch_sizes}")
        if min(batch_sizes) < 1:
            raise ValueError(f"batch_sizes ({batch_sizes}) must be at least 1")
        self.batch_sizes = tuple(batch_sizes)
        self.mode = epoch
        self.seed = seed
        self.epoch = 0
        self.samplers = [
            EpochSampler(number, seed=step_seed(seed, domain), shuffle=True, rank=rank, world_size=world_size)
            for domain, number in enumerate(num_clips)
        ]
        self.batches_per_pass = tuple(
            -(-len(sampler) // size) for sampler, size in zip(self.samplers, self.batch_sizes, strict=True)
        )

    def set_epoch(self, epoch: int) -> None:
        """Give the steps of `epoch` from the next iteration on."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Steps of an epoch."""
        return (min if self.mode == "shorter" else max)(self.batches_per_pass)

    def steps(self, first: int = 0) -> Iterator[tuple[IntArray, ...]]:
        """For each step of the epoch, from `first` on, the rows of each domain's clips, shape (B,) each."""
        batches = [self._batches(domain) for domain in range(len(self.samplers))]
        for step in range(first, len(self)):
            yield tuple(own[step] for own in batches)

    def geometry(self) -> dict[str, int]:
        """What has to be as it was, where a run goes on in the middle of an epoch."""
        world_size = self.samplers[0].world_size
        geometry = {"seed": self.seed, "num_domains": len(self.samplers), "num_steps": len(self)}
        for name, sampler, size in zip(("source", "target"), self.samplers, self.batch_sizes, strict=False):
            geometry |= {f"{name}_clips": sampler.num_clips, f"{name}_clips_per_step": size * world_size}
        return geometry

    def _batches(self, domain: int) -> list[IntArray]:
        """The domain's batches in this epoch, at least as many as there are steps."""
        num_passes = -(-len(self) // self.batches_per_pass[domain])
        batches: list[IntArray] = []
        for number in range(num_passes):
            self.samplers[domain].set_epoch(self.epoch * num_passes + number)
            batches += _cut(self.samplers[domain].keys()[:, 1], self.batch_sizes[domain])
        return batches


class DomainLoader:
    """A batch of each domain a step, for training.

    Iterating gives one epoch: the one that is set, from its start, or once from where a loaded state stopped. The state counts
    the steps that were given out, not those that were read ahead, so that a resumed run gets exactly those that it lacks.
    Lightning saves and restores it, and sets the epoch through `sampler`. The global random state is not touched.

    Args:
        readers: The source's clips, and the target's where it has a part in training.
        order: Which clips stand in which step.
        read_ahead: Steps that a thread reads ahead; 0 reads in the caller's.
    """

    def __init__(self, readers: Sequence[FeatureReader], order: DomainOrder, *, read_ahead: int = 2) -> None:
        assert len(readers) == len(order.samplers)
        self.readers = tuple(readers)
        self.sampler = order
        self._position = EpochPosition()
        self._ahead: ReadAhead[tuple[IntArray, ...], DomainStep] = ReadAhead(self._read, read_ahead)

    def set_epoch(self, epoch: int) -> None:
        """Give the steps of `epoch` from the next iteration on."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[DomainStep]:
        """The epoch's steps, or those that are left of it. The epoch is the one set when the first step is asked for.

        Raises:
            DataError: If features cannot be read.
        """
        first = self._position.begin(self.sampler.epoch)
        for step in self._ahead.over(self.sampler.steps(first)):
            self._position.num_given += 1
            yield step

    def state_dict(self) -> dict[str, int]:
        """Where the epoch stands: plain numbers, the same on every process."""
        return {"epoch": self._position.epoch, "num_given": self._position.num_given, **self.sampler.geometry()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on, at the next iteration, after the step at which `state` was taken.

        Raises:
            ConfigError: If the state is in the middle of an epoch that this loader would give in another order or division.
        """
        is_inside = 0 < state["num_given"] < state["num_steps"]
        now = self.sampler.geometry()
        for name, value in now.items():
            if is_inside and state.get(name) != value:
                raise ConfigError(
                    f"the checkpoint was saved after step {state['num_given']} of epoch {state['epoch']} with {name} "
                    f"{state.get(name)}, but now it is {value}; resume with the same, or from a checkpoint at an epoch's end"
                )
        num_given = state["num_given"] if is_inside or not state["num_given"] else len(self)
        self._position.load(state["epoch"], num_given)
        self.set_epoch(state["epoch"])

    def close(self) -> None:
        """End the reading thread; the next iteration starts one anew."""
        self._ahead.close()

    def _read(self, step: tuple[IntArray, ...]) -> DomainStep:
        batches = [reader.read(rows) for reader, rows in zip(self.readers, step, strict=True)]
        return {"source": batches[0], "target": batches[1]} if len(batches) == 2 else {"source": batches[0]}


def _cut(rows: IntArray, batch_size: int) -> list[IntArray]:
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
