"""Which views of clips a test looks at, and the clips as these views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from zoopraxis.config.adaptation import AdaptationConfig
from zoopraxis.config.load import config_from_dict
from zoopraxis.config.localization import LocalizationConfig
from zoopraxis.config.schema import TrainConfig, ViewsConfig
from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.transforms import CropOrder, NumCrops, TestTransform
from zoopraxis.errors import ConfigError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.inference import tied_frames
from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.training.data import Split
from zoopraxis.training.options import TestOptions

__all__ = ["ClipConfig", "TestViews", "dataset_of_views", "run_config", "views_of"]

ClipConfig = TrainConfig | AdaptationConfig
"""The settings that networks on clips are trained with."""


@dataclass(frozen=True)
class TestViews:
    """What is looked at of each clip.

    Attributes:
        size: Height and width of a view, px.
        num_segments: Frames of a view, T.
        num_clips: Views along time.
        num_crops: Views in space.
        average: `score` or `prob`.
        crop_order: Of three crops.
    """

    __test__ = False  # pytest: not a test class

    size: int
    num_segments: int
    num_clips: int
    num_crops: int
    average: str
    crop_order: CropOrder


def dataset_of_views(split: Split, preprocessing: Preprocessing, views: TestViews, *, fps: float | None = None) -> ClipDataset:
    """The clips of a split, as these views.

    Args:
        split: The clips, and where their frames are.
        preprocessing: Of the network.
        views: What is looked at of each clip.
        fps: Frame rate of stored frames, where the store cannot tell it.
    """
    transform = TestTransform(
        size=views.size,
        resize=preprocessing.resize,
        num_crops=cast("NumCrops", views.num_crops),
        modality=preprocessing.modality,
        segment_length=preprocessing.segment_length,
        antialias=preprocessing.antialias,
        crop_order=views.crop_order,
    )
    return ClipDataset(
        split.index,
        split.store,
        transform=transform,
        num_segments=views.num_segments,
        segment_length=preprocessing.segment_length,
        sampling=preprocessing.sampling,
        interval=preprocessing.interval,
        target_fps=preprocessing.target_fps,
        fps=fps,
        training=False,
        num_clips=views.num_clips,
    )


def run_config(model: VideoModel) -> ClipConfig | None:
    """The configuration that the model was trained with; none for a published one."""
    stored = model.record.get("config")
    config = None if stored is None else config_from_dict(stored)
    assert not isinstance(config, LocalizationConfig)  # of networks on features
    return config


def views_of(config: ClipConfig | None, options: TestOptions, model: VideoModel, split: str) -> TestViews:
    """The views that a test looks at: as the options say, else as the run's settings or the published evaluation have them.

    Args:
        config: The settings that the network was trained with, if any.
        options: What differs.
        model: The network.
        split: Of the clips; networks may be tested with more frames than they are validated with.

    Raises:
        ConfigError: If the network cannot take such views.
    """
    defaults, test_size, test_num_segments = _own_views(config, model, split)
    preprocessing = model.preprocessing
    views = TestViews(
        size=options.size or test_size or preprocessing.size,
        num_segments=options.num_segments or test_num_segments or preprocessing.num_segments,
        num_clips=options.num_clips or defaults.num_clips,
        num_crops=options.num_crops or defaults.num_crops,
        average=options.average or defaults.average,
        crop_order=defaults.crop_order,
    )
    if views.num_crops not in (1, 3, 5, 10):
        raise ConfigError(f"num_crops is {views.num_crops}, but it must be 1, 3, 5 or 10")
    if views.average not in ("score", "prob"):
        raise ConfigError(f"average is {views.average!r}, but it must be score or prob")
    if views.size > preprocessing.resize:
        raise ConfigError(
            f"size is {views.size}, but crops are cut from frames of {preprocessing.resize} px; "
            f"give {preprocessing.resize} or less"
        )
    model.check_view(views.num_segments, views.size)
    tied = tied_frames(model.state_dict())
    if tied is not None and views.num_segments != tied[1]:
        title, num_frames = tied
        raise ConfigError(
            f"the network has {title} for {num_frames} frames, so that clips of {views.num_segments} frames cannot be scored; "
            f"use {num_frames} (--num-segments {num_frames})"
        )
    return views


def _own_views(config: ClipConfig | None, model: VideoModel, split: str) -> tuple[ViewsConfig, int | None, int | None]:
    """Views, size and frames as the run's settings have them, or the published evaluation of published weights."""
    if config is not None:
        num_segments = config.data.test_num_segments if split == "test" else None
        return config.views if isinstance(config, TrainConfig) else ViewsConfig(), config.data.transform.test_size, num_segments
    published = model.record.get("evaluation")
    if published is None:
        return ViewsConfig(), None, None
    views = ViewsConfig(num_clips=published["num_clips"], num_crops=published["num_crops"], average=published["average"])
    return views, published["size"], published["num_frames"]
