"""TA3N's lists: clips are named by the ends of their paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoopraxis.data.annotations import read_annotations
from zoopraxis.errors import AnnotationError


def write(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "list_ucf101_train_hmdb_ucf-feature.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_clips_are_named_by_the_last_part_of_their_paths(tmp_path: Path) -> None:
    path = write(tmp_path, "/data/ucf101/RGB-feature/v_Archery_g01_c01 164 10", "/data/ucf101/RGB-feature/v_Punch_g02_c03 99 5")
    index = read_annotations(path, format="list")
    assert index.clip_ids.tolist() == ["v_Archery_g01_c01", "v_Punch_g02_c03"]
    assert index.labels()["label"].tolist() == [10, 5]
    assert index.column("stop_frame").tolist() == [164, 99]
    assert index.column("split").tolist() == ["train", "train"]


def test_by_as_many_parts_as_tell_them_apart(tmp_path: Path) -> None:
    path = write(tmp_path, "/data/golf/a 10 0", "/data/walk/a 10 1", "/data/walk/b 10 1")
    assert read_annotations(path, format="list").clip_ids.tolist() == ["golf/a", "walk/a", "walk/b"]


def test_a_clip_that_comes_twice_does_not_lengthen_the_names(tmp_path: Path) -> None:
    path = write(tmp_path, "/data/a 10 0", "/data/a 10 0", "/data/b 10 1")
    assert read_annotations(path, format="list").clip_ids.tolist() == ["a", "a", "b"]


def test_a_line_of_another_form_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(
        AnnotationError, match=r"row 1: '/data/b 10' is not of the form 'PATH NUM_FRAMES LABEL' of the first row"
    ):
        read_annotations(write(tmp_path, "/data/a 10 0", "/data/b 10"), format="list")
