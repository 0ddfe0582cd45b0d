"""`zoopraxis predict`: the likeliest classes of one video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Json

__all__ = ["command"]


def command(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint file, or the name of published weights.")
    ],
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.")],
    start: Annotated[float | None, typer.Option(help="Where the action begins, seconds.")] = None,
    stop: Annotated[float | None, typer.Option(help="Where it ends, seconds.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes shown of each head.")] = 5,
    json: Json = False,
) -> None:
    """The likeliest verbs, nouns and actions (or labels) of one video, with their probabilities."""
    from zoopraxis.training.inference import predict

    classes = predict(checkpoint, video, start_seconds=start, stop_seconds=stop, top=top)
    if json:
        console.emit_json({head: [{"name": name, "probability": p} for name, p in best] for head, best in classes.items()})
        return
    for head, best in classes.items():
        console.table(head, ["class", "%"], [(name, 100 * probability) for name, probability in best])
