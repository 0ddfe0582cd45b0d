"""`zoopraxis demo`: the whole way of a task on the toy kitchen."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zoopraxis.cli import demo_adaptation, demo_localization, demo_recognition
from zoopraxis.cli.config import Json

__all__ = ["command"]


class _Task(StrEnum):
    RECOGNITION, ADAPTATION, LOCALIZATION = "recognition", "adaptation", "localization"


_RUN = {
    _Task.RECOGNITION: demo_recognition.run,
    _Task.ADAPTATION: demo_adaptation.run,
    _Task.LOCALIZATION: demo_localization.run,
}


def command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for everything that is made.")] = Path("zoopraxis-demo"),
    task: Annotated[_Task, typer.Option(help="What is shown.")] = _Task.RECOGNITION,
    seed: Annotated[int, typer.Option(min=0, help="Of the videos and of training.")] = 0,
    num_workers: Annotated[int, typer.Option(min=1, help="Processes that prepare data.")] = 2,
    also: Annotated[
        list[str] | None,
        typer.Option(metavar="RECIPE", help="Train and evaluate this recipe of the task too (recognition: of RGB); repeat it."),
    ] = None,
    json: Json = False,
) -> None:
    """Generate a small EPIC-KITCHENS-like data set and go the whole way of a task on it: a few minutes on two cores.

    recognition: generate, prepare, train TSN and TSM on RGB and TSM on optical flow, test, fuse, evaluate, write a submission
    and a report. adaptation: train a small backbone on the source domain, extract features of both, compare source only, TA3N
    and target supervised on the target, write a submission and a report. localization: train a small backbone on clips, extract
    its features and class scores along the untrimmed videos, train BMN, find the actions in the test videos, write a submission
    and a report. A demo that was broken off goes on where it was when it is started again.
    """
    _RUN[task](out, seed=seed, num_workers=num_workers, also=tuple(dict.fromkeys(also or ())), json=json)
