"""List files with one clip a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoopraxis.data.annotations.lists import read_list
from zoopraxis.data.index import Clip
from zoopraxis.errors import AnnotationError


def write(tmp_path: Path, *lines: str, name: str = "k400_train_list.txt") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_path_and_label(tmp_path: Path) -> None:
    index = read_list(write(tmp_path, "abseiling rope/a b.mp4 3", "", "zumba/c.mp4 0"))
    assert index[0] == Clip("abseiling rope/a b", "abseiling rope/a b.mp4")
    assert index.labels()["label"].tolist() == [3, 0]
    assert index.heads == {"label": 4}
    assert index.column("split").tolist() == ["train", "train"]


def test_path_and_label_with_a_comma_between_them(tmp_path: Path) -> None:
    index = read_list(write(tmp_path, "eating, fast/a b.mp4,3", "zumba/c.mp4, 0"))
    assert index[0] == Clip("eating, fast/a b", "eating, fast/a b.mp4")
    assert index.clip_ids.tolist() == ["eating, fast/a b", "zumba/c"]
    assert index.labels()["label"].tolist() == [3, 0]
    spaced = read_list(write(tmp_path, "eating, fast/a b.mp4 3", "zumba/c.mp4 0"))
    assert spaced.table.equals(index.table)


def test_path_frames_and_label_with_commas_between_them(tmp_path: Path) -> None:
    assert read_list(write(tmp_path, "20bn/24413,36,173"))[0] == Clip("20bn/24413", "20bn/24413", None, None, 0, 36)


def test_path_frames_and_label(tmp_path: Path) -> None:
    path = write(tmp_path, "some folder/1001 48 2", "1002 50 0")
    index = read_list(path, class_names={"label": ["x", "y", "z"]}, split="val")
    assert index[0] == Clip("some folder/1001", "some folder/1001", None, None, 0, 48)
    assert index.class_names == {"label": ("x", "y", "z")}
    assert index.column("split").tolist() == ["val", "val"]


def test_the_number_of_frames_is_of_rgb_folders_only(tmp_path: Path) -> None:
    path = write(tmp_path, "1001 48 2", "1002.mp4 50 0")
    assert [read_list(path)[row].stop_frame for row in range(2)] == [48, None]
    assert read_list(path, modality="flow")[0].stop_frame is None


def test_folders_with_dots_in_their_names_keep_them(tmp_path: Path) -> None:
    index = read_list(write(tmp_path, "v1.0/clip.1 48 2", "v1.0/clip.2 50 0", "v1.0/clip.3.mp4 50 0"))
    assert index.clip_ids.tolist() == ["v1.0/clip.1", "v1.0/clip.2", "v1.0/clip.3"]


def test_paths_alone_are_unlabelled(tmp_path: Path) -> None:
    assert read_list(write(tmp_path, "1001", "1002")).heads == {}
    index = read_list(write(tmp_path, "1001"), class_names={"label": ["x", "y"]})
    assert index.labels()["label"].tolist() == [-1]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["1001 48 2", "1002 2"], "row 1: '1002 2' is not of the form 'PATH NUM_FRAMES LABEL' of the first row"),
        (["a.mp4 2", "b.mp4"], "row 1: 'b.mp4' is not of the form 'PATH LABEL' of the first row"),
        (["a.mp4,2", "b.mp4 2"], "row 1: 'b.mp4 2' is not of the form 'PATH,LABEL' of the first row"),
        ([""], "is empty; it should have one clip a line"),
    ],
)
def test_malformed_lists_are_refused_with_the_row(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        read_list(write(tmp_path, *lines))


def test_missing_and_binary_lists_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"cannot read the annotations .*none\.txt: No such file"):
        read_list(tmp_path / "none.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(AnnotationError, match="is no text file"):
        read_list(tmp_path / "binary.txt")
