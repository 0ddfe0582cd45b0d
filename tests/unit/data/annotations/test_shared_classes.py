"""Clips of the classes that two data sets share, in one numbering."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoopraxis.data.annotations import read_annotations
from zoopraxis.data.annotations.shared_classes import SHARED_CLASSES, share_classes
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.errors import AnnotationError, ConfigError


def make(names: list[str], labels: list[int], head: str = "label") -> ClipIndex:
    ids = [f"c{number}" for number in range(len(labels))]
    return ClipIndex.from_columns(clip_id=ids, source=ids, labels={head: labels}, class_names={head: names})


@pytest.mark.parametrize(("mapping", "num_classes"), [("ucf_hmdb", 12), ("ucf_hmdb_small", 5), ("ucf_olympic", 6)])
def test_each_data_set_has_clips_of_every_shared_class(mapping: str, num_classes: int) -> None:
    shared = SHARED_CLASSES[mapping]
    assert len(shared.names) == len(set(shared.names)) == num_classes
    for members in shared.members.values():
        assert set(members.values()) == set(shared.names)


def test_clips_of_shared_classes_are_kept_and_numbered_alike() -> None:
    ucf = make(["Archery", "BoxingSpeedBag", "Drumming", "Punch", "RopeClimbing"], [0, 1, 2, 3, 4, 1])
    found = share_classes(ucf, "ucf_hmdb", "ucf101")
    assert found.clip_ids.tolist() == ["c0", "c1", "c3", "c4", "c5"]
    assert [found.class_names["label"][number] for number in found.labels()["label"]] == [
        "shoot_bow",
        "punch",
        "punch",
        "climb",
        "punch",
    ]
    hmdb = share_classes(make(["brush_hair", "climb", "shoot_bow"], [0, 1, 2]), "ucf_hmdb", "hmdb51")
    assert hmdb.class_names == found.class_names
    assert hmdb.labels()["label"].tolist() == [0, 10]


def test_the_data_set_need_not_be_named() -> None:
    olympic = make(["discus_throw", "long_jump", "tennis_serve"], [0, 1, 2])
    assert share_classes(olympic, "ucf_olympic").table.equals(share_classes(olympic, "ucf_olympic", "olympic").table)
    assert share_classes(olympic, "ucf_olympic").labels()["label"].tolist() == [2, 5]


def test_unlabelled_clips_are_kept() -> None:
    found = share_classes(make(["golf", "sit"], [0, UNLABELLED, 1]), "ucf_hmdb_small")
    assert found.labels()["label"].tolist() == [0, UNLABELLED]
    bare = make(["golf"], [0]).with_labels({}, {})
    assert share_classes(bare, "ucf_hmdb") is bare


def test_numbers_within_the_shared_classes_are_taken_as_theirs() -> None:
    found = share_classes(make(["0", "1", "2"], [2, 0]), "ucf_olympic")
    assert found.labels()["label"].tolist() == [2, 0]
    assert found.class_names["label"] == SHARED_CLASSES["ucf_olympic"].names


def test_hmdb51_has_70_training_and_30_test_clips_a_class(tmp_path: Path) -> None:
    """As the official lists: 840 and 360 clips of 12 classes, 350 and 150 of 5."""
    for name in (*SHARED_CLASSES["ucf_hmdb"].names, "sit", "wave"):
        kinds = [1] * 70 + [2] * 30 + [0] * 5
        lines = [f"{name}_{number}.avi {kind} " for number, kind in enumerate(kinds)]
        (tmp_path / f"{name}_test_split1.txt").write_text("\n".join(lines) + "\n")
    counts = {
        (mapping, split): len(share_classes(read_annotations(tmp_path, split=split), mapping, "hmdb51"))
        for mapping in ("ucf_hmdb", "ucf_hmdb_small")
        for split in ("train", "test")
    }
    assert list(counts.values()) == [840, 360, 350, 150]


@pytest.mark.parametrize(
    ("index", "mapping", "dataset", "message"),
    [
        (make(["golf"], [0]), "ucf_hmbd", None, r"unknown mapping of classes 'ucf_hmbd'; did you mean 'ucf_hmdb'\?"),
        (make(["golf"], [0]), "ucf_hmdb", "olympic", r"ucf_hmdb is not of the data set 'olympic'; known: hmdb51, ucf101"),
    ],
)
def test_unknown_names_are_refused(index: ClipIndex, mapping: str, dataset: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        share_classes(index, mapping, dataset)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (make(["take"], [0], head="verb"), r"ucf_hmdb is for the head 'label', but the annotations have verb; leave out"),
        (make(["sit", "wave"], [0, 1]), r"no clip is of a class of the mapping ucf_hmdb: the annotations have sit, wave, the"),
        (make(["golf"], [3]), r"labels outside their 1 classes; make them anew"),
        (make([str(n) for n in range(101)], [100]), r"no clip is of a class .* labels must be the names of the classes"),
    ],
)
def test_annotations_that_the_mapping_does_not_fit_are_refused(index: ClipIndex, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        share_classes(index, "ucf_hmdb")


def test_all_clips_dropped_leaves_no_error_for_none() -> None:
    empty = make(["golf"], [0]).select(np.zeros(1, dtype=bool))
    assert len(share_classes(empty, "ucf_hmdb")) == 0
