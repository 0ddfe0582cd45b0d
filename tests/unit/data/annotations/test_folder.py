"""A folder of videos by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from zoopraxis.data.annotations.folder import read_folder
from zoopraxis.data.index import Clip
from zoopraxis.errors import AnnotationError


def make(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_each_video_is_a_clip_of_its_folders_class(tmp_path: Path) -> None:
    root = make(
        tmp_path, ["walk/b.mp4", "walk/a.AVI", "bend over/c.webm", "walk/notes.txt", "walk/.hidden.mp4", ".cache/x/d.mp4"]
    )
    index = read_folder(root)
    assert index.column("source").tolist() == ["bend over/c.webm", "walk/a.AVI", "walk/b.mp4"]
    assert index[1] == Clip("walk/a", "walk/a.AVI")
    assert index.class_names == {"label": ("bend over", "walk")}
    assert index.labels()["label"].tolist() == [0, 1, 1]


def test_splits_above_the_classes_are_told_and_chosen(tmp_path: Path) -> None:
    root = make(tmp_path, ["train/walk/a.mp4", "train/run/b.mp4", "validation/walk/c.mp4"])
    index = read_folder(root)
    assert index.column("split").tolist() == ["train", "train", "val"]
    chosen = read_folder(root, split="val")
    assert chosen.column("source").tolist() == ["validation/walk/c.mp4"]
    assert chosen.class_names == {"label": ("run", "walk")}
    with pytest.raises(AnnotationError, match="has no clips of split 'test'; known: train, val"):
        read_folder(root, split="test")


def test_without_splits_all_clips_are_of_the_split_asked_for(tmp_path: Path) -> None:
    root = make(tmp_path, ["walk/a.mp4", "run/b.mp4"])
    assert read_folder(root, split="test").column("split").tolist() == ["test", "test"]


def test_given_class_names_set_the_order(tmp_path: Path) -> None:
    root = make(tmp_path, ["walk/a.mp4", "run/b.mp4"])
    index = read_folder(root, class_names={"label": ["walk", "run", "jump"]})
    assert index.labels()["label"].tolist() == [1, 0]
    with pytest.raises(AnnotationError, match="row 0: 'run' is no class of head 'label'; did you mean 'runs'"):
        read_folder(root, class_names={"label": ["walk", "runs"]})


def test_folders_without_classes_of_videos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"has no videos in folders of classes; expected .*/CLASS/VIDEO\.mp4"):
        read_folder(make(tmp_path, ["a.mp4", "walk/notes.txt"]))
    with pytest.raises(AnnotationError, match=r"train/walk/b\.mp4 lies at another depth than CLASS/VIDEO or SPLIT/CLASS/VIDEO"):
        read_folder(make(tmp_path, ["run/a.mp4", "train/walk/b.mp4"]))
