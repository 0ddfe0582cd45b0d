"""ActivityNet's layout, HACS, mmaction2's files and TAdaConv's files of EPIC-KITCHENS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.data.segments import read_segments
from zoopraxis.errors import AnnotationError


def entry(subset: str, *annotations: tuple[float, float, str], duration: float | None = 30.0) -> dict[str, Any]:
    found: dict[str, Any] = {"subset": subset, "url": "somewhere"}
    if duration is not None:
        found["duration"] = duration
    return found | {"annotations": [{"segment": [start, stop], "label": label} for start, stop, label in annotations]}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def activitynet(tmp_path: Path) -> Path:
    database = {
        "aaa": entry("training", (1.0, 5.5, "Drinking coffee"), (6.0, 9.0, "Archery")),
        "bbb": entry("validation", (0.0, 30.2, "Zumba")),
        "ccc": entry("testing"),
    }
    return write(tmp_path / "activity_net.v1-3.min.json", {"version": "1.3", "taxonomy": [], "database": database})


def test_splits_share_their_classes(activitynet: Path) -> None:
    train, val = (read_segments(activitynet, split=split) for split in ("train", "val"))
    assert train.class_names == val.class_names == {"label": ("Archery", "Drinking coffee", "Zumba")}
    assert train.video_ids.tolist() == ["aaa"]
    np.testing.assert_array_equal(train.segments(0)[0], [[1.0, 5.5], [6.0, 9.0]])
    np.testing.assert_array_equal(train.segments(0)[1]["label"], [1, 0])
    assert val.durations.tolist() == [30.0]
    assert set(val.index.column("split")) == {"val"}


def test_all_splits_and_the_test_split(activitynet: Path) -> None:
    assert len(read_segments(activitynet)) == 3
    test = read_segments(activitynet.parent, split="test")
    assert test.video_ids.tolist() == ["ccc"]
    assert len(test.index) == 0
    assert test.heads == {"label": 3}
    with pytest.raises(AnnotationError, match=r"has no videos of split 'zero'; known: test, train, val"):
        read_segments(activitynet, split="zero")


def test_classes_can_be_given(activitynet: Path) -> None:
    names = {"label": ["Zumba", "Archery", "Drinking coffee", "Yoga"]}
    found = read_segments(activitynet, split="train", class_names=names)
    np.testing.assert_array_equal(found.labels["label"], [2, 1])
    with pytest.raises(AnnotationError, match=r"'Drinking coffee' is no class of head 'label'"):
        read_segments(activitynet, class_names={"label": ["Zumba", "Archery"]})


def test_hacs_is_of_the_same_layout(tmp_path: Path) -> None:
    path = write(tmp_path / "HACS_segments_v1.1.1.json", {"database": {"x": entry("training", (1.0, 2.0, "Kneeling"))}})
    for found in (read_segments(path, format="hacs"), read_segments(tmp_path, split="train")):
        assert found.class_names == {"label": ("Kneeling",)}


def test_two_numbers_are_verb_and_noun(tmp_path: Path) -> None:
    database = {"P01_01": entry("validation", (1.0, 2.0, "3,17"), (2.0, 4.0, "0,299"), duration=None)}
    path = write(tmp_path / "ek100_val.json", {"database": database})
    (tmp_path / "epic_videos_len.txt").write_text("P01_01.MP4,12.5\n")
    found = read_segments(path)
    assert found.heads == {"verb": 97, "noun": 300}
    np.testing.assert_array_equal(found.labels["verb"], [3, 0])
    np.testing.assert_array_equal(found.labels["noun"], [17, 299])
    assert found.durations.tolist() == [12.5]


def test_mmactions_features_cover_a_part_of_the_video(tmp_path: Path) -> None:
    video = {"duration_second": 40.0, "duration_frame": 1000, "feature_frame": 960, "fps": 25.0, "rfps": 25.0}
    segments = [{"segment": [1.0, 39.0], "label": "Archery"}]
    found = read_segments(write(tmp_path / "anet_anno_train.json", {"v_aaa": {**video, "annotations": segments}}))
    assert found.video_ids.tolist() == ["v_aaa"]
    np.testing.assert_array_equal(found.durations, [40.0])
    np.testing.assert_allclose(found.covered, [38.4])
    np.testing.assert_array_equal(found.fps, [25.0])
    assert found.class_names == {"label": ("Archery",)}


@pytest.mark.parametrize(
    ("content", "format", "message"),
    [
        ([], "activitynet", r"holds a JSON list, not an object with videos"),
        ({"aaa": {}}, "activitynet", r'has no "database" of videos; is it of the format mmaction\?'),
        ({"database": {}}, "activitynet", r"has no videos; is it the right file\?"),
        ({"aaa": {}}, "mmaction", r"the entry of video 'aaa' is malformed \(KeyError: 'duration_second'\); expected"),
        (
            {"database": {"aaa": {"duration": 3, "annotations": [{"segment": [1], "label": "x"}]}}},
            "auto",
            r"the entry of video 'aaa' is malformed \(ValueError: not enough values",
        ),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, content: Any, format: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        read_segments(write(tmp_path / "file.json", content), format=format)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text('{"database": ')
    with pytest.raises(AnnotationError, match=r"file\.json is no JSON file \(.*\); it may be truncated: get it again"):
        read_segments(tmp_path / "file.json")


def test_segments_of_these_files_are_checked_too(tmp_path: Path) -> None:
    path = write(tmp_path / "file.json", {"database": {"aaa": entry("training", (3.0, 2.0, "x"))}})
    with pytest.raises(AnnotationError, match=r"1 of 1 segments of .* are reversed: .* \(first: aaa_0, 3 to 2 s of aaa"):
        read_segments(path)
