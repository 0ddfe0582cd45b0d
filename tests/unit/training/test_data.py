"""From a data section to loaders: settings that do not go together are refused, and those that do arrive."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.config.adaptation import AdaptationConfig
from zoopraxis.config.load import load_config, recipe_names
from zoopraxis.config.localization import LocalizationConfig
from zoopraxis.config.schema import ColorConfig, DataConfig, RandAugmentConfig, TransformConfig
from zoopraxis.data.colors import ColorJitter
from zoopraxis.data.crops import MultiScaleCrop, RandomResizedCrop, RandomShortSideCrop
from zoopraxis.data.encoding import write_video
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.rand_augment import RandAugment
from zoopraxis.data.stores.frames import FrameFolderStore
from zoopraxis.data.stores.video import VideoStore
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.adaptation.clips import check_clip_settings
from zoopraxis.training.data import JoinedStore, RecognitionData, Split, open_split
from zoopraxis.training.localization.data import check_data_settings
from zoopraxis.training.localization.run import build_loss


def make(tmp_path: Path, *, heads: dict[str, int] | None = None, **settings: Any) -> RecognitionData:
    """Data of one video, of 40 frames at 20 a second."""
    write_video(tmp_path / "a.mp4", [np.full((32, 40, 3), 5 * n, dtype=np.uint8) for n in range(40)], fps=20)
    index = ClipIndex.from_columns(
        clip_id=["a"], source=["a.mp4"], labels={"label": [1]}, class_names={"label": ["x", "y", "z"]}
    )
    config = DataConfig(root=str(tmp_path), store="video", num_workers=0, batch_size=1, pin_memory=False, **settings)
    split = Split(index, VideoStore(tmp_path))
    return RecognitionData(config, heads=heads or {"label": 3}, train=split, val=split, seed=0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"sampling": "densee"}, "unknown sampling 'densee'; did you mean 'dense'"),
        ({"sampling": "dense", "num_segments": 65}, "num_segments is 65, but a window of dense sampling has 64 frames"),
        ({"interval": 2}, "interval is 2, but Segments sampling has none"),
    ],
)
def test_sampling_is_judged_before_anything_is_read(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        open_split(DataConfig(root="nowhere", train="nothing.csv", **settings), "train")


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_recipes_settings_go_together(recipe: str, tmp_path: Path) -> None:
    settings = load_config(recipe, [f"data.root={tmp_path / 'nowhere'}"])
    if isinstance(settings, AdaptationConfig):
        check_clip_settings(settings)
        return
    if isinstance(settings, LocalizationConfig):
        check_data_settings(settings.data)
        build_loss(settings.loss)
        return
    config = settings.data
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        open_split(config, "train")
    RecognitionData(
        dataclasses.replace(config, modality="rgb", segment_length=1),
        heads={"label": 400},
        train=make(tmp_path).train,
        val=None,
        seed=0,
    ).check()


@pytest.mark.parametrize(
    ("transform", "crop"),
    [
        (TransformConfig(size=16), MultiScaleCrop(16)),
        (TransformConfig(size=16, crop="random_resized", area=[0.2, 0.9]), RandomResizedCrop((0.2, 0.9))),
        (TransformConfig(size=16, crop="random_resized", aspect=[0.9, 1.1]), RandomResizedCrop((0.08, 1.0), (0.9, 1.1))),
        (TransformConfig(size=16, crop="random_short_side", short_side=[16, 24]), RandomShortSideCrop(16, (16, 24))),
    ],
)
def test_the_crop_of_training_is_the_recipes(transform: TransformConfig, crop: object, tmp_path: Path) -> None:
    data = make(tmp_path, num_segments=2, transform=transform)
    data.check()
    assert data.train_dataloader().dataset.transform.crop == crop
    (batch,) = data.train_dataloader()
    assert batch["clip"].shape == (1, 2, 3, 16, 16)


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        (TransformConfig(crop="random_short_side", short_side=[200, 340]), r"short_side is \[200, 340\].*try \[224, 340\]"),
        (TransformConfig(crop="random_short_side", short_side=[340]), r"short_side is \[340\], but it must be two numbers"),
        (TransformConfig(crop="random_resized", area=[0.9, 0.1]), r"area is \[0.9, 0.1\], but .* the lower one first"),
        (TransformConfig(crop="random_resized", area=[0.1, 1.5]), r"area is \[0.1, 1.5\], but a crop has at most all"),
        (TransformConfig(crop="random_resized", aspect=[1.1]), r"aspect is \[1.1\], but it must be two numbers"),
        (TransformConfig(flip_pairs=[[1, 3]]), r"flip_pairs has class 3, but the head has classes 0 to 2"),
    ],
)
def test_transforms_that_cannot_be_are_refused_before_training(transform: TransformConfig, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        make(tmp_path, transform=transform).check()


def test_augmentations_are_the_recipes(tmp_path: Path) -> None:
    color = ColorConfig(probability=0.8, brightness=0.5, contrast=0.4, saturation=0.3, hue=0.25, grayscale=0.2)
    both = TransformConfig(size=16, resize=16, rand_augment=RandAugmentConfig(num_ops=4, magnitude=7), color=color)
    data = make(tmp_path, num_segments=2, transform=both)
    data.check()
    expected = (RandAugment(4, 7, 0.5, 0.5), ColorJitter(0.8, 0.5, 0.4, 0.3, 0.25, 0.2))
    assert data.train_dataloader().dataset.transform.augmentations == expected
    (batch,) = data.train_dataloader()
    assert batch["clip"].shape == (1, 2, 3, 16, 16)
    for transform in (TransformConfig(), TransformConfig(color=ColorConfig(probability=1))):
        assert make(tmp_path, transform=transform).train_dataloader().dataset.transform.augmentations == ()


def test_augmentations_are_refused_for_flow(tmp_path: Path) -> None:
    transform = TransformConfig(rand_augment=RandAugmentConfig(num_ops=2), color=ColorConfig(grayscale=0.2))
    reason = r"data\.transform\.rand_augment and data\.transform\.color cannot be used with data\.modality=flow, only with rgb"
    with pytest.raises(ConfigError, match=reason):
        make(tmp_path, modality="flow", segment_length=5, transform=transform).check()


def test_folds_and_repeats_are_for_training(tmp_path: Path) -> None:
    settings = {"num_folds": 3, "num_repeats": 2, "num_segments": 2, "transform": TransformConfig(size=16, resize=16)}
    data = make(tmp_path, **settings)
    with pytest.raises(ConfigError, match=r"data\.batch_size is 1, but .* divisible by data\.num_repeats=2; try 2"):
        data.check()
    data.config.batch_size = 4
    data.check()
    train, val = data.train_dataloader(), data.val_dataloader()
    assert [batch["index"].tolist() for batch in train] == [[0] * 4, [0] * 2]
    assert [batch["index"].tolist() for batch in val] == [[0]]


def test_the_official_split_is_the_recipes(tmp_path: Path) -> None:
    lists = tmp_path / "splits"
    lists.mkdir()
    for number in (1, 2):
        (lists / f"wave_test_split{number}.txt").write_text(f"train{number}.avi 1\ntest{number}.avi 2\n")
    config = DataConfig(root=str(tmp_path), store="video", train=str(lists), val=str(lists), official_split=2)
    for split, clip_id in (("train", "wave/train2"), ("val", "wave/test2")):
        opened = open_split(config, split)
        assert opened is not None
        assert opened.index.clip_ids.tolist() == [clip_id]


def test_flip_pairs_need_the_head_label(tmp_path: Path) -> None:
    data = make(tmp_path, heads={"verb": 3}, transform=TransformConfig(flip_pairs=[[0, 1]]))
    with pytest.raises(ConfigError, match=r"flip_pairs is for the head 'label', but there are verb; set data\.transform"):
        data.train_dataloader()


def test_labels_are_swapped_in_training_only(tmp_path: Path) -> None:
    data = make(tmp_path, num_segments=2, transform=TransformConfig(size=16, resize=16, flip=1.0, flip_pairs=[[1, 2]]))
    (trained,), (validated,) = data.train_dataloader(), data.val_dataloader()
    assert trained["labels"]["label"].tolist() == [2]
    assert validated["labels"]["label"].tolist() == [1]


def test_the_rate_of_a_video_goes_before_the_recipes(tmp_path: Path) -> None:
    settings = {"sampling": "interval", "interval": 3, "target_fps": 30.0, "fps": 60.0, "num_segments": 4}
    dataset = make(tmp_path, transform=TransformConfig(size=16, resize=16), **settings).val_dataloader().dataset  # type: ignore[union-attr]
    levels = dataset[(0, 0)]["clip"].float().mean((1, 2, 3)) / 5
    assert levels.round().tolist() == [16, 18, 20, 23]


def test_a_joined_store_asks_the_store_that_has_the_clip(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [np.zeros((32, 32, 3), dtype=np.uint8)] * 5, fps=20)
    joined = JoinedStore([FrameFolderStore(tmp_path), VideoStore(tmp_path)])
    assert joined.frame_rate(Clip("a", "a.mp4")) == pytest.approx(20)
    assert joined.num_frames(Clip("a", "a.mp4")) == 5
    with pytest.raises(DataError, match="no rgb frames in"):
        joined.frame_rate(Clip("b", "b.mp4"))
