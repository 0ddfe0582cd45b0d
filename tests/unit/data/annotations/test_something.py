"""Something-Something's files, versions 1 and 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoopraxis.data.annotations.something import read_something
from zoopraxis.data.index import Clip
from zoopraxis.errors import AnnotationError

ENTRIES = [
    {
        "id": "78687",
        "label": "holding potato next to oil",
        "template": "Holding [something] next to [something]",
        "placeholders": [],
    },
    {"id": "42326", "label": "closing door", "template": "Closing [something]", "placeholders": ["door"]},
]


def write(tmp_path: Path, content: Any, name: str) -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_version_2_labels_are_the_templates_without_brackets(tmp_path: Path) -> None:
    index = read_something(write(tmp_path, ENTRIES, "something-something-v2-train.json"))
    assert index[0] == Clip("78687", "78687")
    assert index.class_names == {"label": ("Closing something", "Holding something next to something")}
    assert index.labels()["label"].tolist() == [1, 0]
    assert index.column("split").tolist() == ["train", "train"]


def test_the_labels_file_beside_gives_the_numbers(tmp_path: Path) -> None:
    numbers = {"Holding something next to something": "0", "Closing something": "2", "Opening something": "1"}
    write(tmp_path, numbers, "something-something-v2-labels.json")
    index = read_something(write(tmp_path, ENTRIES, "something-something-v2-validation.json"))
    assert index.class_names["label"] == ("Holding something next to something", "Opening something", "Closing something")
    assert index.labels()["label"].tolist() == [0, 2]
    assert index.column("split").tolist() == ["val", "val"]


def test_the_test_split_is_unlabelled(tmp_path: Path) -> None:
    write(tmp_path, {"Closing something": "0"}, "labels.json")
    index = read_something(write(tmp_path, [{"id": "1420"}, {"id": 3}], "test.json"))
    assert index.clip_ids.tolist() == ["1420", "3"]
    assert index.labels()["label"].tolist() == [-1, -1]


def test_version_1_is_lines_of_id_and_label(tmp_path: Path) -> None:
    write(tmp_path, "Closing something\nMoving something, then stopping\n", "something-something-v1-labels.csv")
    path = write(
        tmp_path, "24413;Moving something, then stopping\n42326;Closing something\n", "something-something-v1-train.csv"
    )
    index = read_something(path)
    assert index.clip_ids.tolist() == ["24413", "42326"]
    assert index.labels()["label"].tolist() == [1, 0]
    assert read_something(write(tmp_path, "1420\n", "something-something-v1-test.csv")).labels()["label"].tolist() == [-1]


def test_lists_are_read_too(tmp_path: Path) -> None:
    index = read_something(write(tmp_path, "20bn/24413 36 173\n", "train_videofolder.txt"))
    assert index[0] == Clip("20bn/24413", "20bn/24413", None, None, 0, 36)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[{"id": 1', "is no JSON file .* it may be truncated: get it again"),
        ([], "is no list of clips but a JSON list"),
        ({"Closing something": "0"}, "is no list of clips but a JSON dict; give the file of a split"),
        ([{"id": 1}, {"template": "x"}], "row 1: .* has no 'id'; expected an object with id and template"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, content: Any, reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        read_something(write(tmp_path, content, "train.json"))


NUMBERED = [
    {"id": "74225", "template": "Spinning [something] that quickly stops spinning", "label_idx": 2},
    {"id": "116154", "template": "Pushing [something] so that it slightly moves", "label_idx": 0},
    {"id": "198186", "label_idx": 2},
]


def test_a_label_that_is_numbered_keeps_its_number(tmp_path: Path) -> None:
    index = read_something(write(tmp_path, NUMBERED, "something-something-v2-validation-with-label.json"))
    assert index.clip_ids.tolist() == ["74225", "116154", "198186"]
    assert index.labels()["label"].tolist() == [2, 0, 2]
    assert index.class_names["label"] == (
        "Pushing something so that it slightly moves",
        "1",
        "Spinning something that quickly stops spinning",
    )
    assert index.column("split").tolist() == ["val"] * 3
    again = write(tmp_path, [{"id": "1", "template": "Closing [something]", "label_idx": 1}], "train.json")
    assert read_something(again, class_names=index.class_names).class_names == index.class_names


def test_numbers_that_disagree_with_the_names_are_refused(tmp_path: Path) -> None:
    names = {"label": ["Closing something", "Opening something"]}
    path = write(tmp_path, [{"id": "1", "template": "Opening [something]", "label_idx": 0}], "train.json")
    with pytest.raises(AnnotationError, match="row 0: label_idx 0 is 'Closing something', but the template is 'Opening some"):
        read_something(path, class_names=names)
    path = write(tmp_path, [{"id": "1", "label_idx": 2}], "train.json")
    with pytest.raises(AnnotationError, match="row 0: label_idx 2 must be a number from 0 to 1"):
        read_something(path, class_names=names)
    path = write(tmp_path, [*NUMBERED, {"id": "1", "label_idx": None}], "train.json")
    with pytest.raises(AnnotationError, match="row 3: label_idx None must be a number from 0"):
        read_something(path)


def test_a_labels_file_with_gaps_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a": "0", "b": "2"}, "labels.json")
    with pytest.raises(AnnotationError, match=r"labels\.json does not give each label a number from 0 without a gap"):
        read_something(write(tmp_path, ENTRIES, "train.json"))
