from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiny_videos import DURATION, SEGMENTS, SPACING, WIDTH
from zoopraxis.config.localization import LocalizationDataConfig
from zoopraxis.data.features import FeatureWriter, open_features
from zoopraxis.data.segments import VideoSegments
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.localization.splits import open_split
from zoopraxis.training.localization.windows import LongFeatures, cut_windows, parts_of, seconds_per_feature, with_features


def _data(tiny: Path, **more: object) -> LocalizationDataConfig:
    given = {
        "root": str(tiny / "features"),
        "annotations": str(tiny / "annotations"),
        "num_steps": 16,
        "max_duration": 8,
        **more,
    }
    return LocalizationDataConfig(**given)  # type: ignore[arg-type]


def _videos(data: LocalizationDataConfig) -> VideoSegments:
    found = open_split(data, "train")
    assert found is not None
    return found


def _features(data: LocalizationDataConfig, spacing: float | None = SPACING) -> LongFeatures:
    return LongFeatures(open_features(data.root), _videos(data), data, modalities=["rgb"], feature_seconds=spacing)


def test_windows_slide_over_each_video(tiny_videos: Path) -> None:
    data = _data(tiny_videos)
    table = cut_windows(data, _videos(data), SPACING)
    rows = table.of_video(1)
    assert table.bounds[rows].tolist() == [[0, 16], [8, 24], [16, 32], [24, 40]]
    assert table.video.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert table.take(rows).video.tolist() == [1] * 4


def test_a_window_has_the_features_in_it_and_zeros_behind_the_video(tiny_videos: Path) -> None:
    data = _data(tiny_videos, features_per_step=1)
    features = _features(data)
    window = features.read(0, np.array([20.0, 28.0]))
    assert window.shape == (WIDTH, 16)
    stored = features.store.read(np.array([0]), np.arange(40, 48)[None], ("rgb",))[0]
    np.testing.assert_array_equal(window[:, :8], stored.T)
    assert not window[:, 8:].any()
    (steps,), num_grid_steps = features.grid(0, np.array([[20.0, 28.0]]))
    assert steps.tolist() == list(range(40, 48))
    assert num_grid_steps == 48


def test_a_whole_video_is_brought_to_the_steps(tiny_videos: Path) -> None:
    data = _data(tiny_videos, window="video", num_steps=5)
    features = _features(data, None)
    table = cut_windows(data, _videos(data), 0.0)
    assert table.bounds.tolist() == [[0.0, DURATION]] * 3
    window = features.read(2, table.bounds[2])
    stored = features.store.read(np.array([2]), np.array([[0, 47]]), ("rgb",))[0]
    np.testing.assert_array_equal(window[:, [0, 4]], stored.T)
    steps, num_grid_steps = features.grid(2, table.bounds[2:])
    assert [own.tolist() for own in steps] == [[0, 1, 2, 3, 4]]
    assert num_grid_steps == 5


def test_segments_are_learned_where_they_lie_inside(tiny_videos: Path) -> None:
    segments = np.array([segment[:2] for segment in SEGMENTS])
    window = np.array([0.0, 16.0])
    parts, is_learned = parts_of(_data(tiny_videos), segments, window)
    assert is_learned.tolist() == [True, True, True, False, False]
    np.testing.assert_allclose(parts[0], [1 / 16, 4.5 / 16])
    _, is_learned = parts_of(_data(tiny_videos, min_part_inside=0.25), segments, window)
    assert is_learned.tolist() == [True, True, True, True, False]
    _, is_learned = parts_of(_data(tiny_videos, min_seconds=3), segments, window)
    assert is_learned.tolist() == [True, True, False, False, False]
    _, is_learned = parts_of(_data(tiny_videos, window="video"), segments, window)
    assert is_learned.all()


def test_the_store_tells_how_far_features_are_apart(tiny_videos: Path, tmp_path: Path) -> None:
    data = _data(tiny_videos)
    assert seconds_per_feature(data, open_features(data.root)) == SPACING
    assert seconds_per_feature(_data(tiny_videos, feature_seconds=0.5004), open_features(data.root)) == 0.5004
    with pytest.raises(
        ConfigError, match=r"data\.feature_seconds=0\.25, but the features .* are 0\.5 s apart; set data\.feature_s"
    ):
        seconds_per_feature(_data(tiny_videos, feature_seconds=0.25), open_features(data.root))
    with FeatureWriter(tmp_path / "bare", {"rgb": WIDTH}) as writer:
        writer.add("P01_01", {"rgb": np.zeros((4, WIDTH), np.float32)})
    with pytest.raises(
        ConfigError, match=r"bare do not tell how far apart they are; give data\.feature_seconds, or set data\.w"
    ):
        seconds_per_feature(data, open_features(tmp_path / "bare"))


def _write(out: Path, videos: dict[str, int]) -> str:
    with FeatureWriter(out, {"rgb": WIDTH}) as writer:
        for video, count in videos.items():
            seconds = SPACING * (np.arange(count) + 0.5)
            writer.add(video, {"rgb": np.zeros((count, WIDTH), np.float32)}, seconds=seconds)
    return str(out)


def test_a_video_without_features_is_told(tiny_videos: Path, tmp_path: Path) -> None:
    data = _data(tiny_videos, root=_write(tmp_path / "some", {"P01_01": 48}))
    with pytest.raises(DataError, match=r"2 of 3 clips have no features in .*some \(first: P01_02\); make them by"):
        _features(data)


def test_videos_without_features_are_refused_or_left_out(tiny_videos: Path, tmp_path: Path) -> None:
    data = _data(tiny_videos, root=_write(tmp_path / "some", {"P01_01": 48}))
    store, videos = open_features(data.root), _videos(data)
    line = r"2 of 3 videos have no features in .*some \(first: P01_02\); make them by .* data\.missing_features=drop"
    with pytest.raises(DataError, match=line):
        with_features(videos, store, data)
    data.missing_features = "drop"
    kept = with_features(videos, store, data)
    assert kept.video_ids.tolist() == ["P01_01"]
    assert set(kept.index.column("source")) == {"P01_01"}
    assert kept.notes == (f"2 of 3 videos have no features in {store.path} (first: P01_02) and are left out",)
    assert with_features(kept, store, data) is kept
    with pytest.raises(DataError, match=r"2 of 2 videos have no features in"):
        with_features(videos.select([1, 2]), store, data)


def test_features_that_end_long_before_their_video_are_told(tiny_videos: Path, tmp_path: Path) -> None:
    counts = {"P01_01": 48, "P01_02": 20, "P02_01": 48}
    data = _data(tiny_videos, root=_write(tmp_path / "short", counts))
    line = (
        r"features of 1 of 3 videos do not fit their lengths \(first: P01_02, whose 20 features in .* reach to 10\.0 s, while "
    )
    with pytest.raises(DataError, match=line):
        _features(data)
