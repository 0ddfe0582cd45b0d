"""From a recipe's data section to clips: which index, which store, which loaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L

from zoopraxis.config.schema import ClipDataConfig, DataConfig
from zoopraxis.data.annotations import read_annotations
from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.index import UNLABELLED, Clip, ClipIndex
from zoopraxis.data.loaders import ClipLoader, EpochSampler, check_batch_size
from zoopraxis.data.prepare.check import read_quarantine
from zoopraxis.data.sampling import SAMPLERS
from zoopraxis.data.stores import ClipStore, IntArray, UInt8Array, open_store
from zoopraxis.data.validation import raise_for, validate
from zoopraxis.errors import AnnotationError, ConfigError, DataError
from zoopraxis.training.clip_data import clip_dataset

__all__ = ["ClipDataModule", "JoinedStore", "RecognitionData", "Split", "check_split", "open_split"]

_FOLDERS = {"train": ("train",), "val": ("validation", "val"), "test": ("test",)}


@dataclass(frozen=True)
class Split:
    """The clips of one split, and where their frames are."""

    index: ClipIndex
    store: ClipStore


class JoinedStore:
    """Clips of several stores; each is read from the first store that has it.

    Args:
        stores: The stores, at least one.
    """

    def __init__(self, stores: Sequence[ClipStore]) -> None:
        self.stores = tuple(stores)

    def num_frames(self, clip: Clip) -> int:
        """Frames of a clip; `DataError` if no store has it."""
        return self._holder(clip).num_frames(clip)

    def frame_rate(self, clip: Clip) -> float | None:
        """Frames a second of a clip, where its store knows; `DataError` if no store has it."""
        return self._holder(clip).frame_rate(clip)

    def check(self, clip: Clip) -> None:
        """`DataError` if no store has the clip."""
        self._holder(clip)

    def read(self, clip: Clip, frames: IntArray) -> UInt8Array:
        """Frames of a clip, as its store gives them."""
        return self._holder(clip).read(clip, frames)

    def _holder(self, clip: Clip) -> ClipStore:
        errors = []
        for store in self.stores:
            try:
                store.check(clip)
            except DataError as error:
                errors.append(error)
            else:
                return store
        others = len(errors) - 1
        raise DataError(f"{errors[0]}; {others} other stores lack it, too") if others else errors[0]


def open_split(config: DataConfig, split: str, *, class_names: Mapping[str, Sequence[str]] | None = None) -> Split | None:
    """The clips of `split` (train, val or test), without the quarantined; none if the recipe names none and none is found.

    Args:
        config: The recipe's data section.
        split: Its name.
        class_names: Each head's classes in label order, where they are known already: those of the training split.

    Raises:
        ConfigError: If the root is missing, or the sampling is unknown or does not go with the numbers beside it.
        AnnotationError: If the annotations are broken.
    """
    SAMPLERS.get(config.sampling)(config.num_segments, config.segment_length, config.interval, config.target_fps)
    root = Path(config.root)
    if not root.exists():
        raise ConfigError(f"data.root={config.root} does not exist; name the folder of the {config.store} store")
    folder = _store_folder(config, root, split)
    annotations = getattr(config, split)
    if annotations is None and (config.store != "gulp" or folder is None):
        return None
    index = read_annotations(
        annotations if annotations is not None else str(folder),
        format=config.annotations if annotations is not None else "gulp",
        modality=config.modality,
        split=split,
        class_names=class_names,
        official_split=config.official_split,
    )
    if folder is None:
        raise DataError(f"no gulp folder of split {split!r} in {root}: looked for {', '.join(_names(config, split))}")
    if config.quarantine is not None:
        index = index.without(read_quarantine(Path(config.quarantine)))
    return Split(index, open_store(config.store, folder, modality=config.modality, index_cache=config.index_cache))


def _names(config: DataConfig, split: str) -> list[str]:
    return [f"{config.modality}_{name}" for name in _FOLDERS[split]]


def _store_folder(config: DataConfig, root: Path, split: str) -> Path | None:
    """The store's own folder: the root, or for gulp the folder of the split in it."""
    if config.store != "gulp" or any(root.glob("*.gmeta")):
        return root
    return next((root / name for name in _names(config, split) if (root / name).is_dir()), None)


def check_split(split: Split, heads: Mapping[str, int]) -> None:
    """Hold every row of a split against the heads and the store.

    Raises:
        AnnotationError: In one line, with the first few rows that do not fit.
    """
    raise_for(validate(split.index, heads=heads, store=split.store))


class ClipDataModule(L.LightningDataModule):
    """Makes loaders for the processes of a trainer, and ends their workers when the trainer is done.

    Args:
        config: Batch size and workers.
    """

    def __init__(self, config: ClipDataConfig) -> None:
        super().__init__()
        self.settings = config
        self._loaders: list[ClipLoader] = []

    def loader(
        self, dataset: ClipDataset, *, seed: int = 0, shuffle: bool, num_folds: int = 1, num_repeats: int = 1
    ) -> ClipLoader:
        """This process's share of the clips; in training all shares are made equal by repeats, else each clip comes once.

        `num_folds` and `num_repeats` are those of `EpochSampler`.
        """
        trainer = self.trainer
        sampler = EpochSampler(
            len(dataset),
            seed=seed,
            shuffle=shuffle,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            pad="repeat" if shuffle else "mark",
            num_folds=num_folds,
            num_repeats=num_repeats,
        )
        self._loaders.append(
            ClipLoader(
                dataset,
                sampler,
                batch_size=self.settings.batch_size,
                num_workers=self.settings.num_workers,
                pin_memory=self.settings.pin_memory,
            )
        )
        return self._loaders[-1]

    def teardown(self, stage: str) -> None:
        for loader in self._loaders:
            loader.close()
        self._loaders.clear()


class RecognitionData(ClipDataModule):
    """Loaders of training and validation, each process reading its own share.

    Args:
        config: The recipe's data section.
        heads: Classes a head, which every label must fit.
        train: The training clips.
        val: The validation clips, if there are any.
        seed: Root of the randomness of order and augmentation.
    """

    def __init__(self, config: DataConfig, *, heads: Mapping[str, int], train: Split, val: Split | None, seed: int) -> None:
        super().__init__(config)
        self.config = config
        self.heads = dict(heads)
        self.train = train
        self.val = val
        self.seed = seed

    def check(self) -> None:
        """Hold every row against the heads and the store, before anything is trained.

        Raises:
            AnnotationError: In one line, with the first few rows that do not fit, or the first clip without a label.
            ConfigError: If the settings of training's transform or batches do not go together, or not with the heads.
        """
        check_batch_size(self.config.batch_size, self.config.num_repeats)
        self._dataset(self.train, training=True)
        for name, split in (("train", self.train), ("val", self.val)):
            if split is None:
                continue
            check_split(split, self.heads)
            for head in self.heads:
                is_bare = split.index.labels()[head] == UNLABELLED
                if is_bare.any():
                    first = split.index.clip_ids[is_bare][0]
                    raise AnnotationError(
                        f"{is_bare.sum()} clips of split {name!r} have no label of head {head!r}, first {first}; "
                        f"name labelled annotations with data.{name}=..."
                    )

    def train_dataloader(self) -> ClipLoader:
        return self.loader(
            self._dataset(self.train, training=True),
            seed=self.seed,
            shuffle=True,
            num_folds=self.config.num_folds,
            num_repeats=self.config.num_repeats,
        )

    def val_dataloader(self) -> ClipLoader | list[ClipLoader]:
        if self.val is None:
            return []
        return self.loader(self._dataset(self.val, training=False), seed=self.seed, shuffle=False)

    def _dataset(self, split: Split, *, training: bool) -> ClipDataset:
        return clip_dataset(self.config, split.index, split.store, heads=self.heads, seed=self.seed, training=training)
