"""What all `zoopraxis prepare` commands share: their common arguments, and telling what came of a run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoopraxis.cli import console
from zoopraxis.errors import DataError

if TYPE_CHECKING:
    from zoopraxis.data.index import ClipIndex
    from zoopraxis.data.prepare.work import Outcome

__all__ = [
    "SHOWN_ROWS",
    "Annotations",
    "Format",
    "FormatName",
    "Modality",
    "ModalityName",
    "OfficialSplit",
    "Out",
    "Split",
    "StoreName",
    "Workers",
    "count_workers",
    "read_clips",
    "tell_broken",
    "tell_outcome",
]

SHOWN_ROWS = 20


class ModalityName(StrEnum):
    """What frames are."""

    RGB, FLOW = "rgb", "flow"


class StoreName(StrEnum):
    """What frames lie in."""

    GULP, FRAMES, VIDEO = "gulp", "frames", "video"


class FormatName(StrEnum):
    """Of annotations."""

    AUTO, EPIC, CSV, FOLDER, KINETICS = "auto", "epic", "csv", "folder", "kinetics"
    SOMETHING, UCF101, HMDB51, INDEX, GULP = "something", "ucf101", "hmdb51", "index", "gulp"


Annotations = Annotated[
    Path,
    typer.Argument(metavar="ANNOTATIONS", help="A file of annotations, an index, or a folder of videos by class or of lists."),
]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; new, or begun by the same command.")]
Format = Annotated[FormatName, typer.Option(help="Format of the annotations; auto tells it from the file.")]
Modality = Annotated[ModalityName, typer.Option(help="RGB frames or optical flow.")]
Split = Annotated[str | None, typer.Option(help="Keep the clips of this split; annotations without splits become it.")]
OfficialSplit = Annotated[int, typer.Option(min=1, max=3, help="Of HMDB51's or UCF101's folder of lists: which division.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core.")]


def read_clips(
    annotations: Path, format: FormatName, modality: ModalityName, split: str | None, official_split: int
) -> ClipIndex:
    """The index of annotations.

    Raises:
        AnnotationError: If they are missing or malformed.
    """
    from zoopraxis.data.annotations import read_annotations

    return read_annotations(
        annotations, format=format.value, modality=modality.value, split=split, official_split=official_split
    )


def count_workers(given: int | None) -> int:
    """As many processes as are given, or one a core."""
    if given is not None:
        return given
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tell_outcome(outcome: Outcome, out: Path, items: str, *, json: bool) -> None:
    """Tell what came of it.

    Raises:
        DataError: If everything was broken.
    """
    if outcome.broken and not outcome.done + outcome.skipped:
        raise DataError(f"none of {len(outcome.broken)} {items} can be read; the first: {outcome.broken[0].reason}")
    if json:
        broken: list[Mapping[str, Any]] = [dataclasses.asdict(one) for one in outcome.broken]
        console.emit_json({"out": out, "done": outcome.done, "skipped": outcome.skipped, "broken": broken})
        return
    tell_broken(outcome, items)
    before = f" ({outcome.skipped} were there)" if outcome.skipped else ""
    left_out = f", {len(outcome.broken)} left out" if outcome.broken else ""
    console.say(f"{outcome.done} {items} written{before}{left_out}: {out}")


def tell_broken(outcome: Outcome, items: str) -> None:
    """Show the first of what was set aside."""
    if not outcome.broken:
        return
    shown = outcome.broken[:SHOWN_ROWS]
    title = f"{len(outcome.broken)} broken {items}" + (f", the first {len(shown)}" if len(shown) < len(outcome.broken) else "")
    console.table(title, ["row", items, "reason"], [(one.row, one.item, one.reason) for one in shown])
