"""Where the batches of an adaptation run come from: stored features, or clips read from their frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from zoopraxis.config.adaptation import AdaptationConfig, AdaptationDataConfig
from zoopraxis.data.features import check_widths
from zoopraxis.data.index import ClipIndex
from zoopraxis.data.stores import ClipStore
from zoopraxis.training.adaptation.clips import (
    build_loaders,
    build_validation_loader,
    check_clip_settings,
    open_clip_store,
)
from zoopraxis.training.adaptation.domains import Domains, domain_of
from zoopraxis.training.adaptation.features import open_domain_features
from zoopraxis.training.adaptation.loaders import DomainLoader, DomainOrder, FeatureLoader, FeatureReader
from zoopraxis.training.data import Split, check_split

__all__ = [
    "ClipBatches",
    "DomainBatches",
    "FeatureBatches",
    "Loader",
    "feature_loader",
    "target_batch_size",
    "trained_clips",
]

_READ_AHEAD = 3
"""Steps that a thread reads ahead, unless `data.num_workers` is 0."""


class Loader(Protocol):
    """What Lightning iterates over."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def close(self) -> None:
        """End what reads ahead."""
        ...


class DomainBatches(Protocol):
    """Where the batches of an adaptation run come from."""

    def check(self, role: str, index: ClipIndex) -> None:
        """`DataError` if clips are not there."""
        ...

    def training(self, *, rank: int, world_size: int) -> Loader:
        """Steps of both domains."""
        ...

    def validation(self, role: str, index: ClipIndex, *, rank: int, world_size: int) -> Loader:
        """Batches of one index, each clip once."""
        ...


class FeatureBatches:
    """Batches of features.

    Args:
        config: The run's settings.
        domains: The clips.

    Attributes:
        modalities: Which features stand side by side, with their widths.

    Raises:
        ConfigError: If a store is missing, or there is no such modality.
        DataError: If a store is broken, or the domains have other widths.
    """

    def __init__(self, config: AdaptationConfig, domains: Domains) -> None:
        self.config = config
        self.domains = domains
        self.modalities = open_domain_features(config.data, "source").widths(config.data.modalities)
        if "target" in trained_clips(config, domains):
            check_widths(open_domain_features(config.data, "target"), self.modalities, "the source")
        self._readers: dict[str, FeatureReader] = {}

    def check(self, role: str, index: ClipIndex) -> None:
        """See that the store has the features of all clips.

        Raises:
            DataError: With the number of missing ones, the first, and the cure.
        """
        self._reader(role, index)

    def training(self, *, rank: int, world_size: int) -> DomainLoader:
        """Steps of both domains, of the source alone where `adapt.target` is `none`."""
        data = self.config.data
        roles = trained_clips(self.config, self.domains)
        order = DomainOrder(
            [len(index) for index in roles.values()],
            (data.batch_size, target_batch_size(data, self.domains))[: len(roles)],
            epoch=data.epoch,
            seed=self.config.seed,
            rank=rank,
            world_size=world_size,
        )
        readers = [self._reader(role, index) for role, index in roles.items()]
        return DomainLoader(readers, order, read_ahead=_depth(data))

    def validation(self, role: str, index: ClipIndex, *, rank: int, world_size: int) -> FeatureLoader:
        """Batches of one index, each clip once."""
        data = self.config.data
        return FeatureLoader(
            self._reader(role, index), batch_size=data.batch_size, rank=rank, world_size=world_size, read_ahead=_depth(data)
        )

    def _reader(self, role: str, index: ClipIndex) -> FeatureReader:
        known = self._readers.get(role)
        if known is None or known.index is not index:
            known = self._readers[role] = _reader(self.config.data, role, index, self.modalities, whose="the source")
        return known


class ClipBatches:
    """Batches of clips, read from frames; as `FeatureBatches`.

    Args:
        config: The run's settings.
        domains: The clips.
    """

    def __init__(self, config: AdaptationConfig, domains: Domains) -> None:
        check_clip_settings(config)
        self.config = config
        self.domains = domains
        self._stores: dict[str, ClipStore] = {}

    def check(self, role: str, index: ClipIndex) -> None:
        """See that the store has all clips.

        Raises:
            AnnotationError: With the first few rows that it lacks.
        """
        check_split(Split(index, self._store(role)), self.domains.heads)

    def training(self, *, rank: int, world_size: int) -> Loader:
        """Steps of both domains, of the source alone where `adapt.target` is `none`."""
        domains = self.domains
        indexes = trained_clips(self.config, domains)
        return build_loaders(
            self.config.data,
            indexes,
            stores={role: self._store(role) for role in indexes},
            heads=domains.heads,
            target_batch_size=target_batch_size(self.config.data, domains),
            seed=self.config.seed,
            rank=rank,
            world_size=world_size,
        )

    def validation(self, role: str, index: ClipIndex, *, rank: int, world_size: int) -> Loader:
        """Batches of one index, each clip once."""
        return build_validation_loader(
            self.config.data,
            index,
            store=self._store(role),
            heads=self.domains.heads,
            rank=rank,
            world_size=world_size,
        )

    def _store(self, role: str) -> ClipStore:
        """The store of a role's domain, opened once."""
        domain = domain_of(role)
        if domain not in self._stores:
            self._stores[domain] = open_clip_store(self.config.data, domain)
        return self._stores[domain]


def target_batch_size(config: AdaptationDataConfig, domains: Domains) -> int:
    """Clips of the target a step: as set, or so many that both domains end together, rounded down (published)."""
    if config.target_batch_size is not None:
        return config.target_batch_size
    return max(1, config.batch_size * len(domains.target) // len(domains.source))


def trained_clips(config: AdaptationConfig, domains: Domains) -> dict[str, ClipIndex]:
    """The clips that steps have, by domain."""
    return {"source": domains.source} | ({} if config.adapt.target == "none" else {"target": domains.target})


def feature_loader(
    config: AdaptationDataConfig,
    split: str,
    index: ClipIndex,
    *,
    modalities: Mapping[str, int] | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> FeatureLoader:
    """The batches of one split's features, each clip once, for tests.

    Args:
        config: The recipe's data section.
        split: As for `open_domain`; it tells the domain, hence the store.
        index: Its clips.
        modalities: Those that the network was trained with, with their widths; default: those of the settings.
        rank: This process's number.
        world_size: The number of processes.

    Raises:
        ConfigError: If a store or modality is missing.
        DataError: If features are missing, or of other widths than those that the network was trained with.
    """
    if modalities is None:
        modalities = open_domain_features(config, split).widths(config.modalities)
    return FeatureLoader(
        _reader(config, split, index, modalities, whose="the network"),
        batch_size=config.batch_size,
        rank=rank,
        world_size=world_size,
        read_ahead=_depth(config),
    )


def _reader(
    config: AdaptationDataConfig, role: str, index: ClipIndex, modalities: Mapping[str, int], *, whose: str
) -> FeatureReader:
    store = open_domain_features(config, role)
    check_widths(store, modalities, whose)
    return FeatureReader(
        index,
        store,
        num_segments=config.num_segments,
        modalities=tuple(modalities),
        pin_memory=config.pin_memory,
    )


def _depth(config: AdaptationDataConfig) -> int:
    return _READ_AHEAD if config.num_workers else 0
