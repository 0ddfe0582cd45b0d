"""`zoopraxis convert`: any checkpoint that can be read, as safetensors with its record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Architecture, Json, parse_architecture
from zoopraxis.cli.outputs import check_output

__all__ = ["command"]


def command(
    checkpoint: Annotated[
        str,
        typer.Argument(metavar="CHECKPOINT", help="A checkpoint file, published or ours, or the name of published weights."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")],
    architecture: Architecture = None,
    averaged: Annotated[
        bool | None,
        typer.Option("--averaged/--last", help="Of a file with both: the moving average of the weights, or the last."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
    json: Json = False,
) -> None:
    """Write a checkpoint's weights under our keys, with the network, its preprocessing and its class names beside them.

    OUT can stand wherever a checkpoint is asked for. Of a training checkpoint of ours the averaged weights are taken, if any,
    of a published file with averaged weights the last.
    """
    check_output(out, what="converted weights", suffixes=(".safetensors",), force=force)

    from zoopraxis.models import load_model, save_model

    model = load_model(checkpoint, architecture=parse_architecture(architecture), averaged=averaged)
    save_model(model, out)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    if json:
        console.emit_json(
            {
                "weights": out,
                "found": model.record["found"],
                "model": model.architecture,
                "parameters": num_parameters,
                "preprocessing": model.preprocessing.to_dict(),
            }
        )
        return
    heads = ", ".join(f"{width} of {head}" for head, width in model.heads.items())
    console.say(f"found {model.record['found']}; {num_parameters / 1e6:.2f}M parameters, classes: {heads}")
    console.say(f"weights with their record: {out}")
