"""`zoopraxis fuse`: average results files, or join a head of each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Json
from zoopraxis.cli.outputs import check_output
from zoopraxis.errors import ConfigError

__all__ = ["command"]


class _Average(StrEnum):
    SCORE, PROB = "score", "prob"


def command(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS", help="Results files of the same clips, two or more.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: .npz, .safetensors, .pkl or .pt.")],
    average: Annotated[_Average, typer.Option(help="Average scores (as published) or probabilities.")] = _Average.SCORE,
    weights: Annotated[str | None, typer.Option(metavar="W,W,...", help="A weight for each file, e.g. 2,1.")] = None,
    heads: Annotated[
        str | None,
        typer.Option(metavar="HEAD,HEAD,...", help="Join instead of averaging: a head of each file in their order, verb,noun."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
    json: Json = False,
) -> None:
    """Average results files of the same clips, e.g. of RGB and flow, clip by clip; or take one head of each."""
    from zoopraxis.evaluation.fusion import fuse, join_heads
    from zoopraxis.evaluation.results import RESULTS_SUFFIXES, load_results, save_results

    check_output(out, what="a results file", suffixes=RESULTS_SUFFIXES, force=force)
    shares = _parse_weights(weights)
    loaded = [load_results(path) for path in results]
    names = [str(path) for path in results]
    if heads is None:
        fused = fuse(loaded, weights=shares, average=average.value, names=names)
        how, facts = f"mean {average.value}s", {"average": average.value, "weights": fused.meta["weights"]}
    elif shares is not None or average is not _Average.SCORE:
        raise ConfigError("--heads takes scores as they are; leave out --weights and --average, or --heads")
    else:
        taken = heads.split(",")
        fused = join_heads(loaded, taken, names=names)
        how, facts = f"heads {', '.join(taken)}", {"heads": taken}
    save_results(fused, out)
    num_left_out = sum(one.view_actions is not None for one in loaded)
    if json:
        console.emit_json({"results": out, "num_clips": len(fused), **facts, "view_actions_left_out": num_left_out})
        return
    console.say(f"{how} of {len(loaded)} files, {len(fused)} clips: {out}")
    if num_left_out:
        console.say(
            f"left out: the actions by views of {num_left_out} files, whose best ones of each clip cannot be averaged; "
            "the fused file has the product of its verbs and nouns"
        )


def _parse_weights(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--weights {text}: must be numbers with commas between them; try --weights 2,1") from error
