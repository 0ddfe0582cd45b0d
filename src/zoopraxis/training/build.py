"""The network that a configuration describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoopraxis.config.schema import ClipDataConfig, TrainConfig
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import create_model
from zoopraxis.models.preprocessing import Preprocessing

__all__ = ["build_model", "check_views", "preprocessing_of"]


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
        preprocessing=preprocessing_of(data, mean=settings.mean, std=settings.std),
        **settings.args,
    )


def preprocessing_of(data: ClipDataConfig, *, mean: Sequence[float], std: Sequence[float]) -> Preprocessing:
    """What a network that is trained on such clips expects of its input.

    Args:
        data: How clips are read.
        mean: Of each component of a frame, after scaling to 1.
        std: Likewise.
    """
    return Preprocessing(
        modality=data.modality,
        size=data.transform.size,
        resize=data.transform.resize,
        mean=tuple(mean),
        std=tuple(std),
        num_segments=data.num_segments,
        segment_length=data.segment_length,
        sampling=data.sampling,
        interval=data.interval,
        target_fps=data.target_fps,
        antialias=data.transform.antialias,
    )


def check_views(model: VideoModel, data: ClipDataConfig) -> None:
    """See that the network can take the views of training and validation, and those of the tests that will follow.

    Raises:
        ConfigError: With the value, what it must be and the nearest that is.
    """
    size, num_segments = data.transform.size, data.num_segments
    model.check_view(num_segments, size)
    model.check_view(num_segments, data.transform.test_size or size)
    model.check_view(data.test_num_segments or num_segments, data.transform.test_size or size)
