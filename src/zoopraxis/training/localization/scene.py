"""What a network of localization looks at: the videos of a split, their features, and what names their proposals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from zoopraxis.config.localization import LocalizationConfig
from zoopraxis.data.features import SCORE_PREFIX, FeatureStore, check_widths, open_features
from zoopraxis.data.segments import VideoSegments
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.localization.checkpoints import Localizer
from zoopraxis.training.localization.clips import ClipNamer
from zoopraxis.training.localization.data import check_data_settings, feature_modalities, spacing_of
from zoopraxis.training.localization.naming import MapNamer, Namer, NoNames, ScoreNamer, VideoNamer, read_video_scores
from zoopraxis.training.localization.settings import settings_of_test
from zoopraxis.training.localization.splits import open_split
from zoopraxis.training.localization.windows import LongFeatures, with_features
from zoopraxis.training.options import TestOptions

__all__ = ["Scene", "build_namer", "long_features", "open_scene"]


@dataclass(frozen=True, eq=False)
class Scene:
    """What a network is to look at.

    Attributes:
        config: The settings.
        videos: The videos, and what is labelled in them.
        store: Their features.
        class_names: For each head its classes, as far as they are known.
    """

    config: LocalizationConfig
    videos: VideoSegments
    store: FeatureStore
    class_names: Mapping[str, tuple[str, ...]]


def open_scene(localizer: Localizer, split: str, options: TestOptions) -> Scene:
    """Open the videos and features of a split; the errors are those of `localize_split`."""
    config = settings_of_test(localizer, options, split)
    check_data_settings(config.data)
    videos = open_split(config.data, split, class_names=localizer.class_names or None)
    if videos is None:
        raise ConfigError(
            f"no videos of split {split!r} in {config.data.annotations or config.data.root}; name their annotations with "
            "--annotations"
        )
    store = open_features(config.data.root)
    return Scene(config, with_features(videos, store, config.data), store, localizer.class_names or videos.class_names)


def long_features(localizer: Localizer, scene: Scene) -> LongFeatures:
    """What the network sees of the videos.

    Raises:
        DataError: If features are not as wide as the network takes them.
    """
    store, data = scene.store, scene.config.data
    if localizer.modalities:
        check_widths(store, localizer.modalities, "the network")
    modalities = feature_modalities(data, store)
    features = LongFeatures(store, scene.videos, data, modalities=modalities, feature_seconds=spacing_of(data, store))
    wanted = localizer.network.arguments["in_dim"]
    if features.num_channels != wanted:
        named = " + ".join(f"{width} {name}" for name, width in features.widths.items())
        raise DataError(
            f"{store.path} has features of width {named}, but the network takes {wanted}; name those of its training with "
            "--set data.modalities=[NAMES]"
        )
    return features


def _score_namer(localizer: Localizer, scene: Scene, features: LongFeatures, device: torch.device) -> ScoreNamer:
    """Names from class scores beside the features, or in the store `classes.scores`.

    Raises:
        DataError: If there are none, or the annotations do not tell how many classes there are.
    """
    settings, data = scene.config.classes, scene.config.data
    store = scene.store if settings.scores is None else open_features(settings.scores)
    names = scene.class_names
    heads = [head for head in (data.heads or names) if f"{SCORE_PREFIX}{head}" in store.modalities]
    if not heads:
        offered = ", ".join(name for name in store.modalities if name.startswith(SCORE_PREFIX)) or "none"
        raise DataError(
            f"the features {store.path} have no class scores of {', '.join(data.heads or names) or 'known heads'} (they have: "
            f"{offered}); make them with: zoopraxis prepare features extract --scores, or set classes.by=none"
        )
    spacing = spacing_of(data, store)
    scores = {
        head: LongFeatures(store, scene.videos, data, modalities=[f"{SCORE_PREFIX}{head}"], feature_seconds=spacing)
        for head in heads
    }
    return ScoreNamer(scores, {head: len(names[head]) for head in heads}, settings, device=device)


def _map_namer(localizer: Localizer, scene: Scene, features: LongFeatures, device: torch.device) -> MapNamer:
    return MapNamer(localizer.network, features, scene.config.classes, device=device)


def _video_namer(localizer: Localizer, scene: Scene, features: LongFeatures, device: torch.device) -> VideoNamer:
    """Names from one vector of class scores a video.

    Raises:
        ConfigError: If no file of them is named, or there are several heads.
        DataError: If videos have none, or they are of other classes.
    """
    settings, names = scene.config.classes, scene.class_names
    if settings.scores is None:
        raise ConfigError("classes.by=video needs the file of the videos' class scores; give classes.scores=FILE")
    heads = scene.config.data.heads or list(names)
    if len(heads) != 1:
        raise ConfigError(
            f"classes.by=video names by one head, and there are {', '.join(heads) or 'none'}; choose with data.heads"
        )
    found, own_names = read_video_scores(settings.scores)
    ids = [video if video in found else video.removeprefix("v_") for video in scene.videos.video_ids.tolist()]
    missing = [video for video in ids if video not in found]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(ids)} videos have no class scores in {settings.scores} (first: {missing[0]}); "
            "name the file of this split"
        )
    scores_VK = np.stack([found[video] for video in ids])
    wanted = names[heads[0]]
    order = list(wanted if own_names is None else own_names)
    if sorted(order) != sorted(wanted) or scores_VK.shape[1] != len(wanted):
        raise DataError(
            f"{settings.scores} has scores of {scores_VK.shape[1]} classes, which are not the {len(wanted)} of the annotations"
            "; name scores of the same classes"
        )
    return VideoNamer(scores_VK[:, [order.index(name) for name in wanted]], heads[0], settings)


def _clip_namer(localizer: Localizer, scene: Scene, features: LongFeatures, device: torch.device) -> ClipNamer:
    return ClipNamer(scene.videos, scene.config.classes, num_workers=scene.config.data.num_workers, device=device)


def build_namer(localizer: Localizer, scene: Scene, features: LongFeatures, device: torch.device) -> Namer:
    """What proposals are called, as `classes.by` says.

    Args:
        localizer: The network.
        scene: The videos and settings.
        features: What the network sees of the videos.
        device: Where is computed.

    Raises:
        ConfigError: If a setting that it needs is not given, or does not fit.
        DataError: If class scores are missing, broken, or of other classes.
        CheckpointError: If a network of recognition cannot be loaded.
    """
    return _NAMERS[scene.config.classes.by](localizer, scene, features, device)


_NAMERS: dict[str, Callable[[Localizer, Scene, LongFeatures, torch.device], Namer]] = {
    "scores": _score_namer,
    "maps": _map_namer,
    "video": _video_namer,
    "clips": _clip_namer,
    "none": lambda localizer, scene, features, device: NoNames(),
}
"""How `classes.by` names proposals."""
