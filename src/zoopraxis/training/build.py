"""The network that a configuration describes."""

from __future__ import annotations

from collections.abc import Mapping

from zoopraxis.config.schema import TrainConfig
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import create_model
from zoopraxis.models.preprocessing import Preprocessing

__all__ = ["build_model"]


def build_model(config: TrainConfig, heads: Mapping[str, int], *, pretrained: bool) -> VideoModel:
    """Build the network of a configuration, with the preprocessing that its data section describes.

    Args:
        config: The run's settings; `model.weights` are not loaded.
        heads: Head name to number of classes.
        pretrained: Start from the weights of an image network (`model.pretrained` is not looked at).

    Raises:
        ConfigError: If a setting does not fit the network.
        CheckpointError: If the pretrained weights cannot be had.
    """
    data, settings = config.data, config.model
    preprocessing = Preprocessing(
        modality=data.modality,
        size=data.transform.size,
        resize=data.transform.resize,
        mean=tuple(settings.mean),
        std=tuple(settings.std),
        num_segments=data.num_segments,
        segment_length=data.segment_length,
        sampling=data.sampling,
        interval=data.interval,
        target_fps=data.target_fps,
        antialias=data.transform.antialias,
    )
    return create_model(
        settings.name,
        heads=heads,
        backbone=settings.backbone,
        temporal=settings.temporal,
        num_segments=data.num_segments,
        segment_length=data.segment_length,
        modality=data.modality,
        pretrained=pretrained,
        dropout=settings.dropout,
        partial_bn=settings.partial_bn,
        freeze_norms=settings.freeze_norms,
        preprocessing=preprocessing,
        **settings.args,
    )
