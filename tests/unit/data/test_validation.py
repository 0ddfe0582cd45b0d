"""Every clip that cannot be used is found and named with its row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.validation import Problem, raise_for, validate
from zoopraxis.errors import AnnotationError, DataError


def index(num_rows: int = 4, **changes: Any) -> ClipIndex:
    columns: dict[str, Any] = {
        "clip_id": [f"clip_{row}" for row in range(num_rows)],
        "source": [f"P01/video_{row}" for row in range(num_rows)],
        "labels": {"verb": np.arange(num_rows), "noun": np.full(num_rows, -1)},
        "class_names": {"verb": ["a", "b", "c", "d"], "noun": ["x"]},
        "start_seconds": np.arange(num_rows) * 1.0,
        "stop_seconds": np.arange(num_rows) + 0.5,
        "start_frame": np.arange(num_rows) * 60,
        "stop_frame": np.arange(num_rows) * 60 + 30,
    }
    return ClipIndex.from_columns(**{**columns, **changes})


class Store:
    """A store in which some clips are missing."""

    def __init__(self, clip_ids: set[str]) -> None:
        self.clip_ids = clip_ids
        self.asked: list[str] = []

    def check(self, clip: Clip) -> None:
        self.asked.append(clip.clip_id)
        if clip.clip_id not in self.clip_ids:
            raise DataError(f"there is no file {clip.source}.mp4; check data.root")


def test_a_sound_index_has_no_problems() -> None:
    assert validate(index()) == []
    assert validate(index(start_seconds=None, stop_seconds=None)) == []
    assert validate(index(num_rows=0, labels={}, class_names={})) == []
    raise_for([])


def test_labels_beyond_the_head_are_found() -> None:
    found = validate(index(), heads={"verb": 3})
    assert found == [Problem(3, "clip_3", "verb label 3 must be 0 to 2, or -1 where not known")]
    found = validate(index(labels={"verb": [0, 4, -2, 1], "noun": [0, 0, 0, 0]}))
    assert [(problem.row, problem.message.split(" must")[0]) for problem in found] == [
        (1, "verb label 4"),
        (2, "verb label -2"),
    ]


def test_a_head_without_labels_is_refused() -> None:
    with pytest.raises(AnnotationError, match="the index has no labels of head 'nouns'; did you mean 'noun'"):
        validate(index(), heads={"verb": 4, "nouns": 3})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stop_seconds": [0.5, 1.0, 2.5, 3.5]}, "the segment is empty: it starts and stops at 1 s"),
        ({"stop_seconds": [0.5, 0.25, 2.5, 3.5]}, "the segment is reversed: it starts at 1 s and stops at 0.25 s"),
        ({"stop_frame": [30, 60, 150, 210]}, "the segment is empty: it starts and stops at frame 60"),
        ({"stop_frame": [30, 1, 150, 210]}, "the segment is reversed: it starts at frame 60 and stops at 1"),
        ({"start_frame": [0, -1, 120, 180]}, "start_frame -1 is negative"),
        ({"start_seconds": [0.0, None, 2.0, 3.0]}, "stop_seconds is given without start_seconds"),
        ({"stop_frame": [30, None, 150, 210]}, "start_frame is given without stop_frame"),
        ({"clip_id": ["a", "", "c", "d"]}, "the clip_id is missing"),
        ({"source": ["a", None, "c", "d"]}, "the source is missing"),
        ({"clip_id": ["a", "a", "c", "d"]}, "the clip_id is that of row 0 already; ids must differ"),
    ],
)
def test_each_unusable_row_is_found(changes: dict[str, Any], message: str) -> None:
    found = validate(index(**changes))
    assert [(problem.row, problem.message) for problem in found] == [(1, message)]


def test_every_repetition_of_an_id_names_the_first() -> None:
    found = validate(index(clip_id=["b", "a", "a", "a"]))
    assert [problem.row for problem in found] == [2, 3]
    assert all("that of row 1 already" in problem.message for problem in found)


def test_clips_that_the_store_does_not_have_are_found() -> None:
    store = Store({"clip_0", "clip_3"})
    progress: list[tuple[int, int]] = []
    found = validate(index(), store=store, on_progress=lambda done, total: progress.append((done, total)))
    assert [str(problem) for problem in found] == [
        "row 1 (clip_1): there is no file P01/video_1.mp4; check data.root",
        "row 2 (clip_2): there is no file P01/video_2.mp4; check data.root",
    ]
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_store_is_not_asked_for_clips_that_are_broken_already() -> None:
    store = Store({f"clip_{row}" for row in range(4)})
    found = validate(index(stop_seconds=[0.5, 1.0, 2.5, 3.5]), store=store)
    assert [problem.row for problem in found] == [1]
    assert store.asked == ["clip_0", "clip_2", "clip_3"]


def test_problems_are_ordered_by_row() -> None:
    found = validate(index(labels={"verb": [9, 0, 0, 0], "noun": [0, 0, 0, 5]}, clip_id=["a", "b", "b", "c"]))
    assert [problem.row for problem in found] == [0, 2, 3]


def test_the_error_is_one_line_with_count_and_rows() -> None:
    problems = [Problem(row, f"clip_{row}", "it is\nbroken") for row in (3, 5, 8, 13)]
    with pytest.raises(AnnotationError) as info:
        raise_for(problems)
    assert str(info.value) == (
        "4 problems in the clip index: row 3 (clip_3): it is broken; row 5 (clip_5): it is broken; row 8 (clip_8): it is"
        " broken; and 1 more; mend or leave out these rows"
    )
    with pytest.raises(AnnotationError, match=r"^1 problem in the clip index: row 3 \(clip_3\): it is broken; mend"):
        raise_for(problems[:1])
