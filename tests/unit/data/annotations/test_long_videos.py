"""Files that tell how long videos are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoopraxis.data.annotations.long_videos import find_lengths, read_lengths
from zoopraxis.errors import AnnotationError


@pytest.mark.parametrize(
    "content",
    [
        "video_id,duration,fps,resolution\nP01_01,12.5,60,1920x1080\nP01_02,3,,\n",
        "P01_01.MP4,12.5\nP01_02.MP4,3\n",
        "video,frames\nP01_01,375\nP01_02,90\n",
        "name,seconds\nP01_01,12.5\nP01_02,3.0\n",
    ],
)
def test_lengths_of_every_form(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    found = read_lengths(tmp_path / "file")
    assert found.index.tolist() == ["P01_01", "P01_02"]
    np.testing.assert_allclose(found["duration"], [12.5, 3.0])


def test_features_of_activitynet_cover_whole_snippets(tmp_path: Path) -> None:
    header = "video,numFrame,seconds,fps,rfps,subset,featureFrame\n"
    (tmp_path / "video_info_new.csv").write_text(header + "v_aaa,1000,40.0,25,25.0,training,960\n")
    found = read_lengths(tmp_path / "video_info_new.csv")
    assert found.loc["v_aaa", "covered"] == pytest.approx(38.4)
    assert found.loc["v_aaa", "fps"] == 25


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("P01_01\n", r"does not tell how long videos are; it needs a header with video_id and duration"),
        ("video_id,fps\nP01_01,60\n", r"does not tell how long videos are"),
        ("video_id,duration\nP01_01,long\n", r"row 0: duration 'long' is no positive number; mend or remove the row"),
        ("video_id,duration\nP01_01,-2\n", r"row 0: duration '-2' is no positive number"),
        ("video_id,duration\nP01_01,2\nP01_01,2\n", r"names the video P01_01 twice; remove a row"),
        ("video_id,duration\nP01_01\n", r"row 0: 1 fields, not 2; mend or remove the row"),
        ("", r"is empty"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "file").write_text(content)
    with pytest.raises(AnnotationError, match=message):
        read_lengths(tmp_path / "file")


def test_lengths_are_looked_for_beside_and_above(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "EPIC_100_train.csv"
    assert find_lengths(path) is None
    (tmp_path / "EPIC_100_video_info.csv").touch()
    assert find_lengths(path) == tmp_path / "EPIC_100_video_info.csv"
    (tmp_path / "sub" / "epic_videos_len.txt").touch()
    assert find_lengths(path) == tmp_path / "sub" / "epic_videos_len.txt"
    (tmp_path / "sub" / "video_lengths_30fps.csv").touch()
    assert find_lengths(path, first="video_lengths_30fps.csv") == tmp_path / "sub" / "video_lengths_30fps.csv"
