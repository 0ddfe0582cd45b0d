"""From the settings of clips to transforms and data sets, whatever is learned from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoopraxis.config.schema import ClipDataConfig, TransformConfig
from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.colors import ColorJitter
from zoopraxis.data.crops import Cropper, MultiScaleCrop, RandomResizedCrop, RandomShortSideCrop
from zoopraxis.data.flips import labels_after_flip
from zoopraxis.data.index import ClipIndex
from zoopraxis.data.rand_augment import RandAugment
from zoopraxis.data.stores import ClipStore, IntArray
from zoopraxis.data.transforms import FrameAugmentation, TestTransform, TrainTransform
from zoopraxis.errors import ConfigError

__all__ = ["check_sizes", "clip_dataset", "train_transform", "validation_transform"]


def clip_dataset(
    config: ClipDataConfig, index: ClipIndex, store: ClipStore, *, heads: Mapping[str, int], seed: int, training: bool
) -> ClipDataset:
    """The clips of an index as training or validation sees them.

    Args:
        config: Which frames of a clip are taken, and what is done to them.
        index: The clips.
        store: Where their frames are.
        heads: Classes a head.
        seed: Of the augmentation.
        training: Whether frames and crops are drawn at random.

    Raises:
        ConfigError: If the settings do not go together, or not with the heads.
    """
    return ClipDataset(
        index,
        store,
        transform=train_transform(config) if training else validation_transform(config),
        num_segments=config.num_segments,
        segment_length=config.segment_length,
        sampling=config.sampling,
        interval=config.interval,
        target_fps=config.target_fps,
        fps=config.fps,
        flipped_labels=_flipped_labels(config, heads) if training else None,
        seed=seed,
        training=training,
    )


def train_transform(config: ClipDataConfig) -> TrainTransform:
    """What training does to frames.

    Raises:
        ConfigError: If settings of the crop or the augmentations do not go together.
    """
    return TrainTransform(
        size=config.transform.size,
        crop=_cropper(config.transform),
        flip=config.transform.flip,
        modality=config.modality,
        segment_length=config.segment_length,
        antialias=config.transform.antialias,
        augmentations=_augmentations(config),
    )


def validation_transform(config: ClipDataConfig) -> TestTransform:
    """The one view of validation: the center of the frames."""
    return TestTransform(
        size=config.transform.size,
        resize=config.transform.resize,
        modality=config.modality,
        segment_length=config.segment_length,
        antialias=config.transform.antialias,
    )


def check_sizes(transform: TransformConfig) -> None:
    """See that the crops of validation and test lie in the frames that they are cut from.

    Raises:
        ConfigError: With the size and the frames' shorter side.
    """
    for name, size in (("size", transform.size), ("test_size", transform.test_size)):
        if size is not None and size > transform.resize:
            raise ConfigError(
                f"data.transform.{name}={size} is larger than the frames that it is cut from, data.transform.resize="
                f"{transform.resize}; give {transform.resize} or less, or a larger data.transform.resize"
            )


def _flipped_labels(config: ClipDataConfig, heads: Mapping[str, int]) -> IntArray | None:
    pairs = config.transform.flip_pairs
    if not pairs:
        return None
    if "label" not in heads:
        raise ConfigError(
            f"data.transform.flip_pairs is for the head 'label', but there are {', '.join(heads)}; "
            "set data.transform.flip_pairs=[]"
        )
    return labels_after_flip(pairs, heads["label"])


def _augmentations(config: ClipDataConfig) -> list[FrameAugmentation]:
    """What training does to cropped and flipped frames, in the published order.

    Raises:
        ConfigError: If there is any for flow.
    """
    ops, color = config.transform.rand_augment, config.transform.color
    is_jittered = bool(color.probability and (color.brightness or color.contrast or color.saturation or color.hue))
    used: dict[str, FrameAugmentation] = {}
    if ops.num_ops:
        used["rand_augment"] = RandAugment(ops.num_ops, ops.magnitude, ops.magnitude_std, ops.probability)
    if is_jittered or color.grayscale:
        used["color"] = ColorJitter(
            color.probability, color.brightness, color.contrast, color.saturation, color.hue, color.grayscale
        )
    if used and config.modality != "rgb":
        names = " and ".join(f"data.transform.{name}" for name in used)
        raise ConfigError(f"{names} cannot be used with data.modality={config.modality}, only with rgb; leave them out")
    return list(used.values())


def _cropper(config: TransformConfig) -> Cropper:
    """The crop of training.

    Raises:
        ConfigError: If its bounds are not two numbers in order, or the crop does not fit.
    """
    if config.crop == "multi_scale":
        return MultiScaleCrop(config.size, tuple(config.scales))
    if config.crop == "random_resized":
        _check_bounds("area", config.area)
        _check_bounds("aspect", config.aspect)
        if config.area[1] > 1:
            raise ConfigError(f"data.transform.area is {config.area}, but a crop has at most all of the frame; try [0.08, 1.0]")
        return RandomResizedCrop((config.area[0], config.area[1]), (config.aspect[0], config.aspect[1]))
    _check_bounds("short_side", config.short_side)
    low, high = config.short_side
    if low < config.size:
        raise ConfigError(
            f"data.transform.short_side is {config.short_side}, but a crop of data.transform.size={config.size} does not fit "
            f"into less than {config.size} px; try [{config.size}, {max(high, config.size)}]"
        )
    return RandomShortSideCrop(config.size, (low, high))


def _check_bounds(name: str, bounds: Sequence[float]) -> None:
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        raise ConfigError(f"data.transform.{name} is {bounds}, but it must be two numbers, the lower one first")
