"""The videos that features are made of, by what a person names, and what they are called in a store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zoopraxis.data.encoding import write_video
from zoopraxis.data.index import ClipIndex
from zoopraxis.data.stores import ClipStore, open_store
from zoopraxis.errors import AnnotationError, ConfigError
from zoopraxis.training.extraction_videos import index_videos


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with P01/videos/P01_01.mp4, P01/videos/P01_02.mp4 and other/cooking.mp4, a note and a hidden video."""
    for name in ("P01/videos/P01_01", "P01/videos/P01_02", "other/cooking"):
        write_video(tmp_path / f"{name}.mp4", [np.zeros((32, 32, 3), np.uint8)], fps=10)
    (tmp_path / "other" / "notes.txt").write_text("none")
    (tmp_path / "other" / ".hidden.mp4").write_bytes(b"")
    return tmp_path


def found(path: Path, root: Path, **options: str) -> dict[str, str]:
    """Sources by id."""
    index = index_videos(path, open_store("video", root), root=root, **options)
    return dict(zip(index.clip_ids.tolist(), index.column("source").tolist(), strict=True))


def test_a_folder_gives_the_videos_in_it(root: Path) -> None:
    assert found(root, root) == {
        "P01_01": "P01/videos/P01_01.mp4",
        "P01_02": "P01/videos/P01_02.mp4",
        "cooking": "other/cooking.mp4",
    }
    assert found(root / "other", root) == {"cooking": "other/cooking.mp4"}
    assert found(root / "other", root / "other") == {"cooking": "cooking.mp4"}


def test_a_video_gives_itself(root: Path) -> None:
    video = root / "other" / "cooking.mp4"
    assert found(video, root) == {"cooking": "other/cooking.mp4"}
    assert found(video, video.parent) == {"cooking": "cooking.mp4"}


def test_videos_of_the_same_name_keep_their_folders(root: Path) -> None:
    (root / "more").mkdir()
    (root / "more" / "cooking.mp4").write_bytes((root / "other" / "cooking.mp4").read_bytes())
    assert list(found(root, root)) == ["P01/videos/P01_01", "P01/videos/P01_02", "more/cooking", "other/cooking"]


def test_annotations_of_segments_give_their_videos_once(root: Path) -> None:
    lines = ["narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class"]
    lines += [
        f"{video}_{number},P01,{video},00:00:0{number}.00,00:00:0{number + 1}.00,0,0"
        for number, video in enumerate(("P01_02", "P01_01", "P01_02", "P01_77"))
    ]
    path = root / "EPIC_100_validation.csv"
    path.write_text("\n".join(lines) + "\n")
    assert found(path, root) == {"P01_02": "P01/P01_02", "P01_01": "P01/P01_01", "P01_77": "P01_77"}
    assert found(path, root / "P01" / "videos", format="epic") == {name: name for name in ("P01_02", "P01_01", "P01_77")}


def test_annotations_of_clips_give_their_videos(root: Path) -> None:
    index = ClipIndex.from_columns(
        clip_id=["a", "b", "c"],
        source=["other/cooking.mp4", "P01/P01_01", "other/cooking.mp4"],
        start_seconds=[0.0, 1.0, 2.0],
        stop_seconds=[1.0, 2.0, 3.0],
        labels={},
        class_names={},
        split=["train", "val", "val"],
    )
    index.save(root / "index.parquet")
    assert found(root / "index.parquet", root) == {"cooking": "other/cooking.mp4", "P01_01": "P01/P01_01"}
    assert found(root / "index.parquet", root, split="train") == {"cooking": "other/cooking.mp4"}


def test_videos_of_activitynet_have_a_prefix_or_none(root: Path) -> None:
    for name in ("other/v_abc", "other/def"):
        write_video(root / f"{name}.mp4", [np.zeros((32, 32, 3), np.uint8)], fps=10)
    entry = {"subset": "training", "duration": 9.0, "annotations": [{"label": "x", "segment": [0.0, 1.0]}]}
    path = root / "activity_net.v1-3.min.json"
    path.write_text(json.dumps({"database": {"abc": entry, "def": entry}, "taxonomy": [], "version": "VERSION 1.3"}))
    assert found(path, root / "other") == {"abc": "v_abc", "def": "def"}


def test_frames_of_videos_are_found_by_their_names(root: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    for name in ("P01/videos/P01_01", "cooking"):
        (frames / name).mkdir(parents=True)
    store: ClipStore = open_store("frames", frames)
    index = index_videos(root / "other", store, root=frames)
    assert (index.clip_ids.tolist(), index.column("source").tolist()) == (["cooking"], ["cooking.mp4"])


def test_what_has_no_videos_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"the annotations .*absent.csv do not exist; check the path"):
        found(root / "absent.csv", root)
    with pytest.raises(ConfigError, match=r"unknown .*format.* 'epik'; did you mean 'epic'"):
        found(root / "other" / "notes.txt", root, format="epik")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match=r"empty is a folder without annotations"):
        found(tmp_path / "empty", root)
