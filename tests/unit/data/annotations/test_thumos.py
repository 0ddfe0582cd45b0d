"""THUMOS14's folder of text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoopraxis.data.segments import read_segments
from zoopraxis.errors import AnnotationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "CliffDiving_val.txt").write_text("video_validation_0000051  1.5 3.0\nvideo_validation_0000051 7 8.5\n")
    (tmp_path / "Billiards_val.txt").write_text("video_validation_0000052  2.0 4.0 \n")
    (tmp_path / "Billiards_test.txt").write_text("video_test_0000004  0.2 1.1\n")
    (tmp_path / "Ambiguous_val.txt").write_text("video_validation_0000053  0.2 1.1\n")
    videos = ("validation_0000051", "validation_0000052", "test_0000004")
    (tmp_path / "video_lengths.csv").write_text("video,seconds\n" + "".join(f"video_{name},20\n" for name in videos))
    return tmp_path


def test_networks_learn_from_the_validation_set(folder: Path) -> None:
    for split in ("train", "val"):
        found = read_segments(folder, split=split)
        assert found.video_ids.tolist() == ["video_validation_0000052", "video_validation_0000051"]
        np.testing.assert_array_equal(found.segments(1)[0], [[1.5, 3.0], [7.0, 8.5]])
        assert found.class_names == {"label": ("Billiards", "CliffDiving")}
    assert read_segments(folder, split="test").video_ids.tolist() == ["video_test_0000004"]
    assert len(read_segments(folder)) == 3


def test_segments_that_are_ambiguous_are_left_out(folder: Path) -> None:
    assert "video_validation_0000053" not in read_segments(folder).video_ids


def test_lengths_are_needed(folder: Path) -> None:
    (folder / "video_lengths.csv").unlink()
    with pytest.raises(AnnotationError, match=r"the length of 3 of 3 videos .* is not known \(first: video_test_0000004\)"):
        read_segments(folder)


def test_malformed_lines_are_named(folder: Path) -> None:
    (folder / "Billiards_val.txt").write_text("video_validation_0000052 2.0\n")
    with pytest.raises(AnnotationError, match=r"Billiards_val\.txt line 1: 'video_validation_0000052 2\.0' is not of the form"):
        read_segments(folder)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"has no file of a class and a split, as BaseballPitch_val\.txt"):
        read_segments(tmp_path, format="thumos14")
    with pytest.raises(AnnotationError, match=r"is a folder without annotations that are known by their names"):
        read_segments(tmp_path)
