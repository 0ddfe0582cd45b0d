"""`zoopraxis submit`: a challenge submission from a results file."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Json
from zoopraxis.cli.outputs import check_output

if TYPE_CHECKING:
    from zoopraxis.evaluation.actions import ActionSource

__all__ = ["command"]


class _Challenge(StrEnum):
    RECOGNITION = "recognition"


class _Actions(StrEnum):
    NONE, PRODUCT, VIEWS = "none", "product", "views"


_SOURCES: dict[_Actions, ActionSource | None] = {_Actions.NONE: None, _Actions.PRODUCT: "product", _Actions.VIEWS: "views"}


def command(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Scores of all clips of the test split.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The file to upload.")],
    challenge: Annotated[_Challenge, typer.Option(help="The challenge.")] = _Challenge.RECOGNITION,
    sls_pt: Annotated[
        int,
        typer.Option(
            help="Pretraining, 0 to 5: none, public images, and videos, self-supervised public, and EPIC, private data."
        ),
    ] = 2,
    sls_tl: Annotated[
        int,
        typer.Option(
            help="Training labels, 0 to 5: none, weak of videos, weak in time, full in time, in space and time, and more."
        ),
    ] = 3,
    sls_td: Annotated[
        int,
        typer.Option(help="Training data, 0 to 5: none, few-shot, at most a quarter, train, train and validation, and more."),
    ] = 4,
    annotations: Annotated[
        Path | None, typer.Option(help="The test split (EPIC_100_test_timestamps.csv), to check that all its clips are there.")
    ] = None,
    actions: Annotated[
        _Actions,
        typer.Option(
            help="Also submit the best 100 actions of each clip: by the product of its verbs and nouns, or by the mean of each "
            "view's product, where RESULTS has it. Without, the challenge takes the product."
        ),
    ] = _Actions.NONE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.zip.")] = False,
    json: Json = False,
) -> None:
    """Write a challenge submission, after checking what the challenge would refuse.

    The supervision levels default to those of the published tool: state your own.
    """
    check_output(out, what="a submission", suffixes=(".zip",), force=force)

    from zoopraxis.epic.annotations import class_names_beside, read_table
    from zoopraxis.epic.submission import SupervisionLevels, write_submission
    from zoopraxis.epic.vocabulary import HEADS
    from zoopraxis.evaluation.results import load_results

    levels = SupervisionLevels(sls_pt, sls_tl, sls_td)
    expected_ids, classes = None, HEADS
    if annotations is not None:
        expected_ids = read_table(annotations).index.tolist()
        classes = {head: len(names) for head, names in class_names_beside(annotations).items()}
    scored = load_results(results)
    source = _SOURCES[actions]
    write_submission(scored, out, levels, expected_ids=expected_ids, classes=classes, actions=source)
    if json:
        is_checked = expected_ids is not None
        facts = {"submission": out, "challenge": challenge.value, "num_clips": len(scored), "ids_checked": is_checked}
        console.emit_json(facts | asdict(levels) | {"actions": source})
        return
    stated = ", ".join(f"{name} {level}" for name, level in asdict(levels).items())
    console.say(f"{challenge.value} submission of {len(scored)} clips ({stated}): {out}")
    if source is not None:
        console.say(f"with the best actions of each clip, by {source}")
    elif scored.view_actions is not None:
        console.say("without the actions by views that the results have; submit them with --actions views")
    if expected_ids is None:
        console.say("not checked: whether these are all clips of the test split; name it with --annotations to check")
