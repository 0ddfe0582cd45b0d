"""Loaders of an adaptation run, from its settings and the clips of both domains."""

from __future__ import annotations

import dataclasses
from typing import Any

import lightning as L

from zoopraxis.config.adaptation import AdaptationConfig, AdaptationDataConfig
from zoopraxis.data.index import ClipIndex
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.adaptation.batches import (
    ClipBatches,
    DomainBatches,
    FeatureBatches,
    Loader,
    feature_loader,
    target_batch_size,
    trained_clips,
)
from zoopraxis.training.adaptation.domains import Domains
from zoopraxis.training.adaptation.selection import needed_set

__all__ = ["AdaptationData", "check_data_settings", "feature_loader"]

_CLIPS_ONLY = (
    "modality",
    "index_cache",
    "sampling",
    "interval",
    "target_fps",
    "fps",
    "test_num_segments",
    "segment_length",
    "transform",
)
"""Settings of frames, which say nothing of features."""


class AdaptationData(L.LightningDataModule):
    """Loaders of training and validation, each process reading its own share.

    The clips to watch are `source_val` and `target_val`, where there are any, and the target's training clips for
    `run.select=entropy`, which needs no labels. Where the recipe names none, the challenge's are watched if the store has them.

    Args:
        config: The run's settings.
        domains: The clips.
        batches: Where the batches come from; none: of features or clips, as `data.store` says.

    Attributes:
        val_names: Of the validation sets, in the order of the loaders: `source_val`, `target_val`, `target_train`.
        notes: What a person should know, one line each.

    Raises:
        ConfigError: If a setting has no effect with the store, or a store is missing.
        DataError: If a store is broken, or domains have features of other widths.
    """

    def __init__(self, config: AdaptationConfig, domains: Domains, *, batches: DomainBatches | None = None) -> None:
        super().__init__()
        check_data_settings(config.data)
        self.config = config
        self.domains = domains
        kind = FeatureBatches if config.data.store == "features" else ClipBatches
        self.batches: DomainBatches = kind(config, domains) if batches is None else batches
        self.notes: tuple[str, ...] = domains.notes
        self._watched = _watched(config, domains)
        self._loaders: list[Loader] = []

    @property
    def val_names(self) -> tuple[str, ...]:
        return tuple(self._watched)

    @property
    def modalities(self) -> dict[str, int]:
        """Which features stand side by side, with their widths; none of clips."""
        return dict(self.batches.modalities) if isinstance(self.batches, FeatureBatches) else {}

    @property
    def feature_dim(self) -> int:
        """Features of a segment, D; 0 of clips."""
        return sum(self.modalities.values())

    @property
    def batch_sizes(self) -> tuple[int, int]:
        """Clips of the source and of the target a step and process."""
        return self.config.data.batch_size, target_batch_size(self.config.data, self.domains)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch of this process."""
        return len(self.batches.training(**self._process()))

    @property
    def len_source(self) -> int:
        """Batches of one pass over the source, whether or not an epoch has as many steps."""
        share = -(-len(self.domains.source) // self._process()["world_size"])
        return -(-share // self.config.data.batch_size)

    def check(self) -> None:
        """See that everything that will be read is there, before anything is trained.

        Raises:
            DataError: With the number of missing clips, the first, and the cure.
        """
        for role, index in trained_clips(self.config, self.domains).items():
            self.batches.check(role, index)
        for role, index in list(self._watched.items()):
            try:
                self.batches.check(role, index)
            except DataError as error:
                is_named = getattr(self.config.data, role, None) is not None
                if is_named or role == needed_set(self.config.run.select):
                    raise
                del self._watched[role]
                self.notes += (f"{role} is not watched: {error}",)

    def train_dataloader(self) -> Loader:
        return self._kept(self.batches.training(**self._process()))

    def val_dataloader(self) -> list[Loader]:
        return [self._kept(self.batches.validation(role, index, **self._process())) for role, index in self._watched.items()]

    def teardown(self, stage: str) -> None:
        for loader in self._loaders:
            loader.close()
        self._loaders.clear()

    def _kept(self, loader: Loader) -> Loader:
        self._loaders.append(loader)
        return loader

    def _process(self) -> dict[str, int]:
        trainer = self.trainer
        return {"rank": trainer.global_rank if trainer else 0, "world_size": trainer.world_size if trainer else 1}


def check_data_settings(config: AdaptationDataConfig) -> None:
    """See that no setting is given that the store makes no use of.

    Raises:
        ConfigError: With the setting and the cure.
    """
    if config.store != "features":
        if config.modalities:
            raise ConfigError(
                f"data.modalities={config.modalities} chooses among features, but data.store={config.store} holds frames; "
                "leave it out, and give data.modality"
            )
        return
    given, default = dataclasses.asdict(config), dataclasses.asdict(AdaptationDataConfig())
    for name in _CLIPS_ONLY:
        if given[name] != default[name]:
            path, value = _first_difference(f"data.{name}", given[name], default[name])
            raise ConfigError(
                f"{path}={value} is for frames, but data.store=features; leave it out, or set data.store=gulp, frames or video"
            )


def _watched(config: AdaptationConfig, domains: Domains) -> dict[str, ClipIndex]:
    """The clips to watch, by the name of the validation set."""
    target_train = domains.target if config.run.select == "entropy" else None
    found = {"source_val": domains.source_val, "target_val": domains.target_val, "target_train": target_train}
    return {role: index for role, index in found.items() if index is not None}


def _first_difference(path: str, given: Any, default: Any) -> tuple[str, Any]:
    """The first setting in a table that is not its default, with its path."""
    if isinstance(given, dict):
        name = next(name for name in given if given[name] != default[name])
        return _first_difference(f"{path}.{name}", given[name], default[name])
    return path, given
