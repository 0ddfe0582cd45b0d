"""Loaders of a run of localization, from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning as L

from zoopraxis.config.localization import LocalizationConfig, LocalizationDataConfig
from zoopraxis.data.features import SCORE_PREFIX, FeatureStore, open_features
from zoopraxis.data.index import UNLABELLED
from zoopraxis.data.loaders import EpochSampler
from zoopraxis.data.segments import VideoSegments
from zoopraxis.errors import AnnotationError, ConfigError, DataError
from zoopraxis.training.localization.loaders import WindowLoader, WindowReader, windows_to_learn
from zoopraxis.training.localization.splits import open_split
from zoopraxis.training.localization.windows import LongFeatures, WindowTable, cut_windows, seconds_per_feature, with_features

__all__ = ["LocalizationData", "Watched", "feature_modalities", "spacing_of"]


@dataclass(frozen=True, eq=False)
class Watched:
    """Windows of a split that are learned or validated on."""

    videos: VideoSegments
    features: LongFeatures
    table: WindowTable


class LocalizationData(L.LightningDataModule):
    """Loaders of training and validation, each process reading its own share.

    Everything is looked at when it is built: annotations, the presence of every video's features, and their lengths.

    Args:
        config: The run's settings.

    Attributes:
        train: Windows that are learned.
        val: Windows that are validated on; none without annotations of validation.
        store: The features.
        notes: What a person should know, one line each.

    Raises:
        ConfigError: If there are no annotations of training, or a setting does not fit.
        AnnotationError: If annotations are broken, or segments that are to be classified have no labels.
        DataError: If features are missing, broken or do not fit their videos, or no window has a segment.
    """

    def __init__(self, config: LocalizationConfig) -> None:
        super().__init__()
        self.config = config
        self.store = open_features(config.data.root)
        check_data_settings(config.data)
        videos = open_split(config.data, "train")
        if videos is None:
            raise ConfigError(
                f"no segments to learn: data.train is not set, and no annotations of training are found in "
                f"{config.data.annotations or config.data.root}; name them with data.train=FILE"
            )
        notes: list[str] = []
        self.train = self._watch(videos, "train", notes)
        val_videos = open_split(config.data, "val", class_names=videos.class_names)
        self.val = None if val_videos is None or not len(val_videos.index) else self._watch(val_videos, "val", notes)
        self.notes = tuple(notes)
        self._loaders: list[WindowLoader] = []

    @property
    def modalities(self) -> dict[str, int]:
        """Which features stand side by side, with their widths."""
        return dict(self.train.features.widths)

    def train_dataloader(self) -> WindowLoader:
        return self._loader(self.train, is_training=True)

    def val_dataloader(self) -> WindowLoader | list[Any]:
        return [] if self.val is None else self._loader(self.val, is_training=False)

    def teardown(self, stage: str) -> None:
        for loader in self._loaders:
            loader.close()
        self._loaders.clear()

    def _watch(self, videos: VideoSegments, split: str, notes: list[str]) -> Watched:
        data = self.config.data
        videos = with_features(videos, self.store, data)
        notes += videos.notes
        spacing = spacing_of(data, self.store)
        modalities = feature_modalities(data, self.store)
        features = LongFeatures(self.store, videos, data, modalities=modalities, feature_seconds=spacing)
        table = cut_windows(data, videos, spacing or 0.0)
        learned = windows_to_learn(data, videos, table)
        if not len(learned):
            raise DataError(
                f"none of the {len(table)} windows of split {split} has a segment to learn; look at data.num_steps="
                f"{data.num_steps}, data.min_part_inside={data.min_part_inside:g} and data.min_seconds={data.min_seconds:g}"
            )
        if len(learned) < len(table):
            notes.append(
                f"{len(table) - len(learned)} of {len(table)} windows of split {split} have no segment and are left out"
            )
        if self.config.model.class_maps:
            _check_labels(videos, split)
        return Watched(videos, features, learned)

    def _loader(self, watched: Watched, *, is_training: bool) -> WindowLoader:
        data, trainer = self.config.data, self.trainer
        reader = WindowReader(
            watched.features, watched.videos, watched.table, num_workers=data.num_workers, pin_memory=data.pin_memory
        )
        sampler = EpochSampler(
            len(reader),
            seed=self.config.seed,
            shuffle=is_training,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            pad="repeat" if is_training else "mark",
        )
        loader = WindowLoader(reader, sampler, batch_size=data.batch_size)
        self._loaders.append(loader)
        return loader


def check_data_settings(data: LocalizationDataConfig) -> None:
    """See that windows can be cut as the settings say.

    Raises:
        ConfigError: If proposals are longer than the window, windows leave gaps, or a setting has no effect.
    """
    if data.window == "video":
        for name, default in (("stride", None), ("feature_seconds", None)):
            if getattr(data, name) != default:
                raise ConfigError(f"data.{name}={getattr(data, name)} is for data.window=sliding; leave it out")
        return
    if data.max_duration > data.num_steps:
        raise ConfigError(
            f"data.max_duration={data.max_duration} is longer than a window of data.num_steps={data.num_steps}; "
            f"give {data.num_steps} or less"
        )
    if data.stride is not None and data.stride > data.num_steps:
        raise ConfigError(
            f"data.stride={data.stride} leaves gaps between windows of data.num_steps={data.num_steps}; "
            f"give {data.num_steps} or less"
        )


def feature_modalities(data: LocalizationDataConfig, store: FeatureStore) -> tuple[str, ...]:
    """Which features of a store stand side by side: those that are named, else all but class scores.

    Raises:
        ConfigError: If a name is unknown, or there are only class scores.
    """
    if data.modalities:
        return tuple(store.widths(data.modalities))
    found = tuple(name for name in store.modalities if not name.startswith(SCORE_PREFIX))
    if not found:
        raise ConfigError(f"{data.root} has class scores only, no features; name a store of features with data.root")
    return found


def spacing_of(data: LocalizationDataConfig, store: FeatureStore) -> float | None:
    """Seconds from one feature to the next; none where a window is a whole video."""
    return None if data.window == "video" else seconds_per_feature(data, store)


def _check_labels(videos: VideoSegments, split: str) -> None:
    """See that all segments have a class of every head.

    Raises:
        AnnotationError: If some have none.
    """
    if not videos.heads:
        raise AnnotationError(
            f"model.class_maps=true learns classes, but the segments of split {split} have none; set model.class_maps=false"
        )
    for head, labels in videos.labels.items():
        is_unknown = labels == UNLABELLED
        if is_unknown.any():
            raise AnnotationError(
                f"{int(is_unknown.sum())} of {len(labels)} segments of split {split} have no {head} (first: "
                f"{videos.index.clip_ids[int(is_unknown.argmax())]}); leave them out, or set model.class_maps=false"
            )
