from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiny_videos import WIDTH
from zoopraxis.config.localization import LocalizationConfig, LocalizationDataConfig
from zoopraxis.data.features import FeatureWriter, open_features
from zoopraxis.errors import AnnotationError, ConfigError, DataError
from zoopraxis.training.localization.data import LocalizationData, check_data_settings, feature_modalities


def _config(tiny: Path, **data: object) -> LocalizationConfig:
    config = LocalizationConfig()
    given = {"root": str(tiny / "features"), "annotations": str(tiny / "annotations"), "num_steps": 16, "max_duration": 8}
    config.data = LocalizationDataConfig(**{**given, **data})  # type: ignore[arg-type]
    return config


def test_features_and_windows_of_both_splits_are_opened(tiny_videos: Path) -> None:
    data = LocalizationData(_config(tiny_videos))
    assert data.val is not None
    assert (len(data.train.table), len(data.val.table)) == (9, 6)
    assert data.modalities == {"rgb": WIDTH}
    assert data.notes[0] == "3 of 12 windows of split train have no segment and are left out"
    assert sum(len(batch["index"]) for batch in data.val_dataloader()) == 6  # type: ignore[union-attr]
    data.teardown("fit")


def test_class_scores_are_no_features(tiny_videos: Path, tmp_path: Path) -> None:
    config = _config(tiny_videos)
    store = open_features(config.data.root)
    assert feature_modalities(config.data, store) == ("rgb",)
    config.data.modalities = ["score:verb", "RGB"]
    assert feature_modalities(config.data, store) == ("score:verb", "rgb")
    with FeatureWriter(tmp_path / "scores", {"score:verb": 2}) as writer:
        writer.add("P01_01", {"score:verb": np.zeros((1, 2), np.float32)})
    config.data.modalities = []
    with pytest.raises(ConfigError, match=r"has class scores only, no features; name a store of features with data\.root"):
        feature_modalities(config.data, open_features(tmp_path / "scores"))


def test_annotations_of_training_are_needed(tiny_videos: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no segments to learn: data\.train is not set, and no annotations of training are fo"
    ):
        LocalizationData(_config(tiny_videos, annotations=str(tiny_videos)))


def test_windows_too_short_for_any_segment_are_told(tiny_videos: Path) -> None:
    line = r"none of the 147 windows of split train has a segment to learn; look at data\.num_steps=2, data\.min_part_inside=0"
    with pytest.raises(DataError, match=line):
        LocalizationData(_config(tiny_videos, num_steps=2, max_duration=1, features_per_step=1))


def test_classes_are_learned_of_labelled_segments_only(tiny_videos: Path, tmp_path: Path) -> None:
    (tmp_path / "EPIC_100_video_info.csv").write_text((tiny_videos / "annotations/EPIC_100_video_info.csv").read_text())
    rows = [line.split(",") for line in (tiny_videos / "annotations/EPIC_100_train.csv").read_text().splitlines()]
    rows[2][rows[0].index("noun_class")] = "-1"
    (tmp_path / "EPIC_100_train.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    config = _config(tiny_videos, annotations=str(tmp_path))
    config.model.class_maps = True
    with pytest.raises(AnnotationError, match=r"1 of 15 segments of split train have no noun \(first: P01_01_1\); leave them"):
        LocalizationData(config)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"window": "video", "stride": 4}, r"data\.stride=4 is for data\.window=sliding; leave it out"),
        ({"window": "video", "feature_seconds": 0.5}, r"data\.feature_seconds=0\.5 is for data\.window=sliding; leave it out"),
        ({"num_steps": 8, "max_duration": 9}, r"data\.max_duration=9 is longer than a window of data\.num_steps=8; give 8 or"),
        ({"num_steps": 8, "max_duration": 4, "stride": 9}, r"data\.stride=9 leaves gaps between windows of data\.num_steps=8"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        check_data_settings(LocalizationDataConfig(root="/x", **settings))  # type: ignore[arg-type]
