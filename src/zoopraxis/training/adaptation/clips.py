"""Domain adaptation from clips: where their frames are, loaders of both domains, and the network that looks at them.

# B clips, T frames, C channels, H height, W width
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoopraxis.config.adaptation import AdaptationConfig, AdaptationDataConfig
from zoopraxis.data.index import ClipIndex
from zoopraxis.data.loaders import ClipLoader, EpochSampler
from zoopraxis.data.sampling import SAMPLERS
from zoopraxis.data.stores import ClipStore, open_store
from zoopraxis.errors import ConfigError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import create_model
from zoopraxis.models.checkpoints import initialize
from zoopraxis.models.preprocessing import Preprocessing, normalize
from zoopraxis.training.adaptation.pairs import ClipPairs
from zoopraxis.training.adaptation.settings import network_arguments
from zoopraxis.training.build import check_views, preprocessing_of
from zoopraxis.training.clip_data import check_sizes, clip_dataset, train_transform
from zoopraxis.training.data import JoinedStore
from zoopraxis.training.steps import step_seed

__all__ = [
    "build_loaders",
    "build_validation_loader",
    "build_video_network",
    "check_clip_settings",
    "clip_inputs",
    "open_clip_store",
]


def check_clip_settings(config: AdaptationConfig) -> None:
    """See that the settings of clips go together, before anything is read.

    Raises:
        ConfigError: With the setting and the cure.
    """
    data, model = config.data, config.model
    if model.weights is not None and model.backbone_weights is not None:
        raise ConfigError(
            f"model.backbone_weights={model.backbone_weights} is for the backbone, but model.weights={model.weights} has one, "
            "too; leave one of them out"
        )
    SAMPLERS.get(data.sampling)(data.num_segments, data.segment_length, data.interval, data.target_fps)
    check_sizes(data.transform)
    train_transform(data)


def open_clip_store(config: AdaptationDataConfig, domain: str) -> ClipStore:
    """Where the frames of a domain's clips are: in `target_root`, if the domain is the target and it is set, else in `root`.

    A root of gulp folders is a folder itself, or has some, of any splits; a clip is read from the first that has it.

    Args:
        config: The recipe's data section, with a store of clips.
        domain: `source` or `target`.

    Raises:
        ConfigError: If the root does not exist.
        DataError: If it holds no store, or a broken one.
    """
    setting = "target_root" if domain == "target" and config.target_root is not None else "root"
    root = Path(getattr(config, setting))
    if not root.exists():
        raise ConfigError(f"data.{setting}={root} does not exist; name the folder of the {config.store} store")
    folders = [root]
    if config.store == "gulp" and not any(root.glob("*.gmeta")):
        folders = sorted({path.parent for path in root.glob(f"{config.modality}_*/*.gmeta")}) or [root]
    stores = [open_store(config.store, path, modality=config.modality, index_cache=config.index_cache) for path in folders]
    return stores[0] if len(stores) == 1 else JoinedStore(stores)


def build_loaders(
    config: AdaptationDataConfig,
    indexes: Mapping[str, ClipIndex],
    *,
    stores: Mapping[str, ClipStore],
    heads: Mapping[str, int],
    target_batch_size: int,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
) -> ClipPairs:
    """The loaders of training, each process reading its own share.

    An epoch has as many steps as the domain with fewer batches, or with more (`data.epoch`); the other domain then begins anew,
    in another order and with other crops, as often as is needed. Both share the reading processes (`data.num_workers`).

    Args:
        config: The recipe's data section.
        indexes: The clips by domain: `source`, and `target` where steps have clips of the target.
        stores: Where their frames are, by domain.
        heads: Classes a head.
        target_batch_size: Clips of the target a step and process.
        seed: Root of the randomness of order and augmentation.
        rank: This process's number.
        world_size: The number of processes.

    Raises:
        ConfigError: If settings of the transform do not go together, or not with the heads.
    """
    batch_sizes = {"source": config.batch_size, "target": target_batch_size}
    shares = {domain: -(-len(index) // world_size) for domain, index in indexes.items()}
    choose = min if config.epoch == "shorter" else max
    num_steps = choose(-(-share // batch_sizes[domain]) for domain, share in shares.items())
    loaders = {}
    for number, (domain, index) in enumerate(indexes.items()):
        sampler = EpochSampler(
            len(index),
            seed=step_seed(seed, number),
            shuffle=True,
            rank=rank,
            world_size=world_size,
            num_folds=_num_folds(len(index), world_size, batch_sizes[domain], num_steps),
        )
        loaders[domain] = ClipLoader(
            clip_dataset(config, index, stores[domain], heads=heads, seed=seed, training=True),
            sampler,
            batch_size=batch_sizes[domain],
            num_workers=-(-config.num_workers // len(indexes)),
            pin_memory=config.pin_memory,
            max_batches=num_steps,
        )
    return ClipPairs(loaders)


def build_validation_loader(
    config: AdaptationDataConfig,
    index: ClipIndex,
    *,
    store: ClipStore,
    heads: Mapping[str, int],
    rank: int = 0,
    world_size: int = 1,
) -> ClipLoader:
    """The loader of one set of validation clips, in the index's order: one view each; processes get equally many.

    What fills up a process's share has index -1 and no labels.

    Args:
        config: The recipe's data section.
        index: The clips.
        store: Where their frames are.
        heads: Classes a head.
        rank: This process's number.
        world_size: The number of processes.
    """
    dataset = clip_dataset(config, index, store, heads=heads, seed=0, training=False)
    return ClipLoader(
        dataset,
        EpochSampler(len(index), shuffle=False, rank=rank, world_size=world_size, pad="mark"),
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        pin_memory=config.pin_memory,
    )


def clip_inputs(batch: Mapping[str, Any], preprocessing: Preprocessing) -> Tensor:
    """The clips of a batch as a network takes them, normalized on the device that they are on; shape (B, T, C, H, W)."""
    return normalize(batch["clip"], preprocessing)


def build_video_network(config: AdaptationConfig, heads: Mapping[str, int], *, pretrained: bool) -> VideoModel:
    """The network on clips that a configuration describes, as a run starts with it.

    Args:
        config: The run's settings.
        heads: Head name to number of classes.
        pretrained: Take the initial weights that the settings name: `model.weights`, else `model.backbone_weights`, else those
            of the image network (`model.pretrained`). False for one whose weights come from a checkpoint of the run.

    Returns:
        The model `ta3n`.

    Raises:
        ConfigError: If a setting does not fit the network.
        CheckpointError: If the initial weights cannot be had, or are of another network.
    """
    data, settings = config.data, config.model
    has_weights = settings.weights is not None or settings.backbone_weights is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = create_model(
            "ta3n",
            heads=heads,
            backbone=settings.backbone,
            temporal=settings.temporal,
            segment_length=data.segment_length,
            modality=data.modality,
            pretrained=pretrained and settings.pretrained and not has_weights,
            partial_bn=settings.partial_bn,
            freeze_norms=settings.freeze_norms,
            preprocessing=preprocessing_of(data, mean=settings.mean, std=settings.std),
            share_norms=settings.share_norms,
            **network_arguments(config),
        )
    if pretrained and settings.weights is not None:
        initialize(model, settings.weights)
    if pretrained and settings.backbone_weights is not None:
        initialize(model, settings.backbone_weights, is_backbone_only=True)
    if settings.grad_checkpointing:
        model.set_grad_checkpointing()
    check_views(model, data)
    return model


def _num_folds(num_clips: int, world_size: int, batch_size: int, num_steps: int) -> int:
    """The fewest passes over the clips that fill so many steps; the last batch may be smaller."""
    return (num_steps - 1) * batch_size * world_size // num_clips + 1
