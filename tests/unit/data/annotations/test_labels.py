"""What the readers share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoopraxis.data.annotations.labels import encode_labels, normalize_split, split_of_name
from zoopraxis.errors import AnnotationError


@pytest.mark.parametrize(
    ("values", "names", "labels", "classes"),
    [
        (["b", "a", "b"], None, [1, 0, 1], ("a", "b")),
        (["b", None, "", float("nan")], None, [0, -1, -1, -1], ("b",)),
        (["2", "0"], None, [2, 0], ("0", "1", "2")),
        ([2, 0, None], None, [2, 0, -1], ("0", "1", "2")),
        ([2.0, np.nan], None, [2, -1], ("0", "1", "2")),
        (["-1", "1"], None, [-1, 1], ("0", "1")),
        (["1", "0"], ["x", "y"], [1, 0], ("x", "y")),
        (["7", "3"], ["3", "7"], [1, 0], ("3", "7")),
        (["5"], ["x", "y"], [5], ("x", "y")),
        ([None], ["x"], [-1], ("x",)),
        ([None], None, [-1], ()),
        ([], None, [], ()),
    ],
)
def test_labels_become_numbers(values: list[Any], names: list[str] | None, labels: list[int], classes: tuple[str, ...]) -> None:
    numbers, found = encode_labels(values, "label", "a.csv", names)
    assert numbers.dtype == np.int64
    assert numbers.tolist() == labels
    assert found == classes


def test_the_row_of_an_unknown_name_is_told() -> None:
    with pytest.raises(AnnotationError, match=r"a\.csv row 2: 'spoons' is no class of head 'noun'; did you mean 'spoon'"):
        encode_labels(["tap", None, "spoons"], "noun", "a.csv", ["tap", "spoon"])


def test_usual_names_of_splits_are_one() -> None:
    assert [normalize_split(name) for name in ("Training", "validate", "testing", "dev")] == ["train", "val", "test", "dev"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("kinetics400_val_list_videos.txt", "val"),
        ("something-something-v2-validation.json", "val"),
        ("EPIC_100_test_timestamps.csv", "test"),
        ("train.csv", "train"),
        ("train_val.csv", None),
        ("training_data/contrast.csv", None),
        ("trainer.csv", None),
    ],
)
def test_a_files_name_may_tell_its_split(name: str, split: str | None) -> None:
    assert split_of_name(name) == split
