"""Batches of clips of both domains side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from zoopraxis.data.loaders import ClipBatch, ClipLoader

__all__ = ["ClipPairs", "PairBatch"]


class PairBatch(TypedDict, total=False):
    """What a step of training sees: clips of the source and, where it learns from them, of the target."""

    source: ClipBatch
    target: ClipBatch


class ClipPairs:
    """A batch of each domain a step, read by loaders of their own, which have equally many batches an epoch.

    Iterating gives one epoch, or what is left of it; see `ClipLoader`, whose states make this one's.

    Args:
        loaders: By domain: `source`, and `target` where steps have clips of the target.
    """

    def __init__(self, loaders: Mapping[str, ClipLoader]) -> None:
        assert len({len(loader) for loader in loaders.values()}) == 1
        self.loaders = dict(loaders)

    @property
    def sampler(self) -> ClipPairs:
        """What Lightning tells the epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Give the batches of `epoch` from the next iteration on."""
        for loader in self.loaders.values():
            loader.set_epoch(epoch)

    def __len__(self) -> int:
        """Steps of a whole epoch."""
        return len(self.loaders["source"])

    def __iter__(self) -> Iterator[PairBatch]:
        """The epoch's steps, or those that are left of it.

        Raises:
            DataError: If a clip cannot be read; nothing is put in its place.
        """
        for batches in zip(*self.loaders.values(), strict=True):
            pair: Any = dict(zip(self.loaders, batches, strict=True))
            yield pair

    def state_dict(self) -> dict[str, dict[str, int]]:
        """Where the epoch stands: plain numbers, the same on every process."""
        return {domain: loader.state_dict() for domain, loader in self.loaders.items()}

    def load_state_dict(self, state: Mapping[str, dict[str, int]]) -> None:
        """Go on, at the next iteration, after the step at which `state` was taken.

        Raises:
            ConfigError: If the state is in the middle of an epoch that these loaders would give in another order or division.
        """
        for domain, loader in self.loaders.items():
            loader.load_state_dict(state[domain])

    def close(self) -> None:
        """End the reading processes; the next iteration starts them anew."""
        for loader in self.loaders.values():
            loader.close()
