"""Holding a clip index against its heads and its store, before anything is computed from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from zoopraxis.data.index import UNLABELLED, Clip, ClipIndex
from zoopraxis.errors import AnnotationError, DataError, did_you_mean

__all__ = ["Problem", "raise_for", "validate"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one clip of an index."""

    row: int
    """Row of the index, from 0; of annotations that were read whole, also the row of the file, its header not counted."""
    clip_id: str
    message: str

    def __str__(self) -> str:
        return f"row {self.row} ({self.clip_id}): {self.message}"


class _Store(Protocol):
    def check(self, clip: Clip) -> None: ...


def validate(
    index: ClipIndex,
    *,
    heads: Mapping[str, int] | None = None,
    store: _Store | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Problem]:
    """Find clips that cannot be used.

    These are: labels outside their head, empty, reversed, negative or half-given segments, missing or repeated ids, missing
    sources; with `store` also clips that are not there, as far as its `check` tells.

    Args:
        index: The clips.
        heads: Classes a head, as the network has them; default: as the index has them. Unlabelled clips fit any head.
        store: Where the frames are; it is asked for each clip.
        on_progress: Called with (clips asked for, all clips).

    Returns:
        The problems, in the order of the rows.

    Raises:
        AnnotationError: If `heads` names a head that the index has no labels for.
    """
    finder = _Finder(index)
    for head, num_classes in (index.heads if heads is None else heads).items():
        _check_labels(finder, head, num_classes)
    _check_span(finder, "seconds", " s")
    _check_span(finder, "frame", "")
    _check_ids(finder)
    if store is not None:
        _check_store(finder, store, on_progress)
    return sorted(finder.problems, key=lambda problem: problem.row)


def raise_for(problems: Sequence[Problem], *, limit: int = 3) -> None:
    """Raise an error that tells how many problems there are and the first `limit` of them, with their rows.

    Raises:
        AnnotationError: If there are problems; one line.
    """
    if not problems:
        return
    first = "; ".join(" ".join(str(problem).split()) for problem in problems[:limit])
    rest = f"; and {len(problems) - limit} more" if len(problems) > limit else ""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise AnnotationError(f"{count} in the clip index: {first}{rest}; mend or leave out these rows")


class _Finder:
    """Collects problems of an index."""

    def __init__(self, index: ClipIndex) -> None:
        self.index = index
        self.clip_ids = index.column("clip_id")
        self.problems: list[Problem] = []

    def add(self, rows: npt.NDArray[np.bool_], message: Callable[[int], str]) -> None:
        """A problem for each row of a mask of shape (N,)."""
        self.problems += [Problem(row, str(self.clip_ids[row]), message(row)) for row in np.flatnonzero(rows).tolist()]


def _check_labels(finder: _Finder, head: str, num_classes: int) -> None:
    labels = finder.index.labels().get(head)
    if labels is None:
        raise AnnotationError(f"the index has no labels of head {head!r}; {did_you_mean(head, finder.index.heads)}")
    fitting = f"must be 0 to {num_classes - 1}, or {UNLABELLED} where not known"
    finder.add((labels < UNLABELLED) | (labels >= num_classes), lambda row: f"{head} label {labels[row]} {fitting}")


def _check_span(finder: _Finder, kind: str, unit: str) -> None:
    start, stop = (_numbers(finder.index, f"{end}_{kind}") for end in ("start", "stop"))
    has_start, has_stop = ~np.isnan(start), ~np.isnan(stop)
    finder.add(has_start & ~has_stop, lambda row: f"start_{kind} is given without stop_{kind}")
    finder.add(has_stop & ~has_start, lambda row: f"stop_{kind} is given without start_{kind}")
    finder.add(start < 0, lambda row: f"start_{kind} {start[row]:g} is negative")
    finder.add(start == stop, lambda row: f"the segment is empty: it starts and stops at {_place(start[row], kind, unit)}")
    finder.add(
        start > stop,
        lambda row: (
            f"the segment is reversed: it starts at {_place(start[row], kind, unit)} and stops at {stop[row]:.12g}{unit}"
        ),
    )


def _place(value: float, kind: str, unit: str) -> str:
    return f"{'frame ' if kind == 'frame' else ''}{value:.12g}{unit}"


def _numbers(index: ClipIndex, name: str) -> npt.NDArray[np.float64]:
    """A column as floats, shape (N,), NaN where it is empty."""
    column: Any = index.table.column(name).cast(pa.float64())
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _check_ids(finder: _Finder) -> None:
    for name in ("clip_id", "source"):
        is_empty = pc.fill_null(pc.equal(finder.index.table.column(name), ""), True).to_numpy()
        finder.add(is_empty, lambda row, name=name: f"the {name} is missing")  # type: ignore[misc]
    codes, _ = pd.factorize(finder.clip_ids)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    first_row = first[inverse]
    is_repeated = (codes >= 0) & (first_row != np.arange(len(codes)))
    finder.add(is_repeated, lambda row: f"the clip_id is that of row {first_row[row]} already; ids must differ")


def _check_store(finder: _Finder, store: _Store, on_progress: Callable[[int, int], None] | None) -> None:
    fields = ("clip_id", "source", "start_seconds", "stop_seconds", "start_frame", "stop_frame")
    columns = [finder.index.table.column(name).to_pylist() for name in fields]
    num_clips = len(finder.index)
    bad = {problem.row for problem in finder.problems}
    for row, values in enumerate(zip(*columns, strict=True)):
        if row not in bad:
            clip = Clip(*values)
            try:
                store.check(clip)
            except DataError as error:
                finder.problems.append(Problem(row, clip.clip_id, str(error)))
        if on_progress is not None:
            on_progress(row + 1, num_clips)
