from __future__ import annotations

from pathlib import Path

import pytest

from tiny_videos import SEGMENTS, VIDEOS
from zoopraxis.config.localization import LocalizationDataConfig
from zoopraxis.errors import AnnotationError, ConfigError
from zoopraxis.training.localization.splits import open_split, truth_of


def _data(root: Path, **more: object) -> LocalizationDataConfig:
    places = {"root": str(root / "features"), "annotations": str(root / "annotations")}
    return LocalizationDataConfig(**{**places, **more})  # type: ignore[arg-type]


def test_splits_are_found_in_a_folder_by_their_usual_names(tiny_videos: Path) -> None:
    train, val = open_split(_data(tiny_videos), "train"), open_split(_data(tiny_videos), "val")
    assert train is not None
    assert val is not None
    assert train.video_ids.tolist() == list(VIDEOS["train"])
    assert val.video_ids.tolist() == list(VIDEOS["validation"])
    assert len(val.index) == len(SEGMENTS) * len(val)
    assert open_split(_data(tiny_videos), "test") is None


def test_files_are_named_in_the_folder_or_by_themselves(tiny_videos: Path) -> None:
    named = open_split(_data(tiny_videos, train="EPIC_100_validation.csv"), "train")
    alone = open_split(_data(tiny_videos, annotations=str(tiny_videos / "annotations/EPIC_100_validation.csv")), "train")
    assert named is not None
    assert alone is not None
    assert named.video_ids.tolist() == alone.video_ids.tolist() == list(VIDEOS["validation"])


def test_one_file_without_splits_is_of_training_alone(tiny_videos: Path) -> None:
    data = _data(tiny_videos, annotations=str(tiny_videos / "annotations/EPIC_100_train.csv"))
    assert open_split(data, "val") is None


def test_heads_are_chosen(tiny_videos: Path) -> None:
    found = open_split(_data(tiny_videos, heads=["noun"]), "train")
    assert found is not None
    assert list(found.heads) == ["noun"]
    with pytest.raises(ConfigError, match=r"have no labels 'nown'; did you mean 'noun'\?"):
        open_split(_data(tiny_videos, heads=["nown"]), "train")


@pytest.mark.parametrize(
    ("more", "split", "line"),
    [
        ({"train": "mine.csv"}, "train", r"data\.train=mine\.csv does not exist; name the file of its segments"),
        ({"annotations": "/nowhere"}, "val", r"data\.annotations=/nowhere does not exist; name the file of the segments, or"),
        ({}, "target", r"split target is not of networks of localization; give train, val, test"),
    ],
)
def test_what_is_not_there_is_told(more: dict[str, str], split: str, line: str, tiny_videos: Path) -> None:
    with pytest.raises(ConfigError, match=line):
        open_split(_data(tiny_videos, **more), split)


def test_broken_segments_are_left_out_where_the_recipe_says_so(tiny_videos: Path, tmp_path: Path) -> None:
    text = (tiny_videos / "annotations/EPIC_100_train.csv").read_text()
    (tmp_path / "EPIC_100_train.csv").write_text(text.replace("00:00:04.50", "00:00:00.50", 1))
    places = {"annotations": str(tmp_path), "videos": str(tiny_videos / "annotations/EPIC_100_video_info.csv")}
    with pytest.raises(AnnotationError, match=r"1 of 15 segments of .* are reversed"):
        open_split(_data(tiny_videos, **places), "train")
    found = open_split(_data(tiny_videos, **places, broken_segments="drop"), "train")
    assert found is not None
    assert len(found.index) == 14
    assert found.notes[0].startswith("1 of 15 segments of ")


def test_heads_that_not_all_segments_have_are_not_judged(tiny_videos: Path, tmp_path: Path) -> None:
    lines = (tiny_videos / "annotations/EPIC_100_validation.csv").read_text().splitlines()
    row, place = lines[1].split(","), lines[0].split(",").index("noun_class")
    row[place] = "-1"
    (tmp_path / "EPIC_100_validation.csv").write_text("\n".join([lines[0], ",".join(row), *lines[2:]]) + "\n")
    places = {"annotations": str(tmp_path), "videos": str(tiny_videos / "annotations/EPIC_100_video_info.csv")}
    found = open_split(_data(tiny_videos, **places), "val")
    assert found is not None
    assert list(truth_of(found).labels) == ["verb"]
    assert len(truth_of(found)) == 2 * len(SEGMENTS)


def test_labels_beyond_the_networks_classes_are_refused(tiny_videos: Path) -> None:
    with pytest.raises(
        AnnotationError, match=r"validation\.csv: P03_01_1 has verb 2, but there are 2 classes; name the annotati"
    ):
        open_split(_data(tiny_videos), "val", class_names={"verb": ["open", "close"], "noun": ["cup"] * 300})
