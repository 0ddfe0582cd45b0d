"""The official splits of UCF101 and HMDB51."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoopraxis.data.annotations import read_annotations
from zoopraxis.data.annotations.official import is_hmdb51, is_ucf101, read_hmdb51, read_ucf101
from zoopraxis.data.index import Clip
from zoopraxis.errors import AnnotationError

CLASSES = ["1 HandstandPushups", "2 Archery"]


def write(folder: Path, name: str, lines: list[str], newline: str = "\n") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes("".join(line + newline for line in lines).encode())
    return path


def make_ucf(tmp_path: Path) -> Path:
    """The folder of UCF101's lists, as it is published: some with the line ends of Windows."""
    folder = tmp_path / "ucfTrainTestlist"
    write(folder, "classInd.txt", CLASSES, "\r\n")
    for split in (1, 2, 3):
        train = [f"Archery/v_Archery_g0{split}_c01.avi 2", f"HandstandPushups/v_HandStandPushups_g0{split}_c01.avi 1"]
        write(folder, f"trainlist0{split}.txt", train)
        write(folder, f"testlist0{split}.txt", [f"Archery/v_Archery_g1{split}_c01.avi"], "\r\n")
    return folder


def make_hmdb(tmp_path: Path) -> Path:
    """The folder of HMDB51's lists, as it is published: with a space at the end of a line."""
    folder = tmp_path / "testTrainMulti_7030_splits"
    for split in (1, 2, 3):
        write(folder, f"wave_test_split{split}.txt", [f"#1 (wave)_{split}.avi 1 ", "b.avi 2 ", "c.avi 0 "])
        write(folder, f"brush_hair_test_split{split}.txt", ["d.avi 2 ", f"e{split}.avi 1 "])
    return folder


def test_a_list_of_ucf101_has_numbers_from_1(tmp_path: Path) -> None:
    index = read_ucf101(make_ucf(tmp_path) / "trainlist01.txt")
    assert index[0] == Clip("Archery/v_Archery_g01_c01", "Archery/v_Archery_g01_c01.avi")
    assert index.labels()["label"].tolist() == [1, 0]
    assert index.class_names == {"label": ("HandstandPushups", "Archery")}
    assert index.column("split").tolist() == ["train", "train"]


@pytest.mark.parametrize(("split", "tag"), [(None, "test"), ("val", "val"), ("test", "test"), ("validation", "val")])
def test_a_test_list_of_ucf101_is_labelled_by_its_folders(split: str | None, tag: str, tmp_path: Path) -> None:
    index = read_ucf101(make_ucf(tmp_path) / "testlist02.txt", split=split)
    assert index.column("source").tolist() == ["Archery/v_Archery_g12_c01.avi"]
    assert index.labels()["label"].tolist() == [1]
    assert index.column("split").tolist() == [tag]


@pytest.mark.parametrize("official_split", [1, 2, 3])
def test_the_folder_of_ucf101_has_all_divisions(official_split: int, tmp_path: Path) -> None:
    folder = make_ucf(tmp_path)
    assert is_ucf101(folder)
    assert not is_hmdb51(folder)
    train = read_ucf101(folder, split="train", official_split=official_split)
    assert train.column("source").tolist()[0] == f"Archery/v_Archery_g0{official_split}_c01.avi"
    assert train.column("split").tolist() == ["train", "train"]
    for split in ("val", "test"):
        index = read_ucf101(folder, split=split, official_split=official_split, class_names=train.class_names)
        assert index.clip_ids.tolist() == [f"Archery/v_Archery_g1{official_split}_c01"]
        assert index.column("split").tolist() == [split]
    both = read_ucf101(folder, official_split=official_split)
    assert both.column("split").tolist() == ["train", "train", "test"]


def test_other_class_names_number_the_labels(tmp_path: Path) -> None:
    names = {"label": ["Archery", "Biking", "HandstandPushups"]}
    assert read_ucf101(make_ucf(tmp_path), split="train", class_names=names).labels()["label"].tolist() == [0, 2]
    with pytest.raises(AnnotationError, match="row 0: 'brush_hair' is no class of head 'label'"):
        read_hmdb51(make_hmdb(tmp_path), class_names=names)


@pytest.mark.parametrize(
    ("name", "lines", "reason"),
    [
        (
            "trainlist01.txt",
            ["", "Archery/a.avi 2", "a.avi 2"],
            r"trainlist01\.txt line 3: 'a\.avi 2' is not of the form 'CLASS/",
        ),
        ("trainlist01.txt", ["Archery/a.avi 1"], r"line 1: 'Archery' is class 2 of classInd\.txt, but 1 here; for TAdaConv's"),
        ("trainlist01.txt", ["Diving/a.avi 1"], r"line 1: 'Diving' is no class of classInd\.txt; name the folder as it does"),
        ("trainlist01.txt", [], r"trainlist01\.txt is empty"),
        ("classInd.txt", ["1 Archery", "3 Biking"], r"classInd\.txt line 2: '3 Biking' is not of the form '2 CLASS'"),
        ("classInd.txt", ["1 Archery", "2 Archery"], r"line 2: '2 Archery' is not of the form '2 CLASS', with a new class"),
        ("classInd.txt", ["1"], r"line 1: '1' is not of the form '1 CLASS'"),
    ],
)
def test_broken_lists_of_ucf101_are_refused(name: str, lines: list[str], reason: str, tmp_path: Path) -> None:
    folder = make_ucf(tmp_path)
    write(folder, name, lines)
    with pytest.raises(AnnotationError, match=reason) as info:
        read_ucf101(folder, split="train")
    assert "\n" not in str(info.value)


def test_missing_lists_of_ucf101_are_named(tmp_path: Path) -> None:
    folder = make_ucf(tmp_path)
    (folder / "testlist03.txt").unlink()
    with pytest.raises(AnnotationError, match=r"cannot read the annotations .*testlist03\.txt: No such file"):
        read_ucf101(folder, split="val", official_split=3)
    (folder / "classInd.txt").unlink()
    with pytest.raises(AnnotationError, match=r"there is no .*classInd\.txt.* it belongs beside the lists; .* format kinetics"):
        read_annotations(folder / "trainlist01.txt")


def test_the_folder_of_hmdb51_leaves_out_what_a_division_does_not_use(tmp_path: Path) -> None:
    folder = make_hmdb(tmp_path)
    assert is_hmdb51(folder)
    assert not is_ucf101(folder)
    train = read_hmdb51(folder, split="train", official_split=2)
    assert train.column("source").tolist() == ["brush_hair/e2.avi", "wave/#1 (wave)_2.avi"]
    assert train.labels()["label"].tolist() == [0, 1]
    assert train.class_names == {"label": ("brush_hair", "wave")}
    for split in ("val", "test"):
        index = read_hmdb51(folder, split=split, official_split=2)
        assert index.clip_ids.tolist() == ["brush_hair/d", "wave/b"]
        assert index.column("split").tolist() == [split, split]
    assert read_hmdb51(folder).column("split").tolist() == ["test", "train", "train", "test"]


@pytest.mark.parametrize("line", ["a.avi 3", "a.avi", "1"])
def test_broken_lists_of_hmdb51_are_refused(line: str, tmp_path: Path) -> None:
    folder = make_hmdb(tmp_path)
    write(folder, "wave_test_split1.txt", ["b.avi 1", line])
    with pytest.raises(
        AnnotationError, match=rf"wave_test_split1\.txt line 2: '{line}' is not of the form 'VIDEO\.avi 0\|1\|2'"
    ):
        read_hmdb51(folder, split="train")


def test_what_is_no_folder_of_hmdb51_is_refused(tmp_path: Path) -> None:
    reason = r"has no files CLASS_test_split3\.txt; give HMDB51's folder testTrainMulti_7030_splits; for TAdaConv's lists"
    with pytest.raises(AnnotationError, match=reason):
        read_hmdb51(write(tmp_path, "hmdb51_train_list.txt", ["wave/a.avi 1"]), official_split=3)


def test_a_division_without_videos_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "wave_test_split1.txt", ["a.avi 1", "b.avi 0"])
    with pytest.raises(AnnotationError, match=r"has no videos of val in division 1: in each line a 1 means training, 2 test"):
        read_hmdb51(tmp_path, split="validation")
    write(tmp_path, "wave_test_split1.txt", ["a.avi 0"])
    with pytest.raises(AnnotationError, match=r"has no videos of training and test in division 1"):
        read_hmdb51(tmp_path)


def test_a_split_that_is_none_of_theirs_is_refused(tmp_path: Path) -> None:
    for folder, read in ((make_ucf(tmp_path), read_ucf101), (make_hmdb(tmp_path), read_hmdb51)):
        with pytest.raises(AnnotationError, match=r"has no split 'trian'; known: train, test, and val, which is test"):
            read(folder, split="trian")
