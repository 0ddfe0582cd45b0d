"""`zoopraxis config`: print the composed settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoopraxis.cli import console

__all__ = ["ConfigDir", "ConfigName", "Json", "Overrides", "command"]

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Settings, e.g. data.root=/data/gulp optim.lr=0.02 +trainer.max_time=00:12:00:00 ~trainer.devices",
    ),
]
ConfigName = Annotated[
    str | None, typer.Option("--config-name", metavar="RECIPE", help="A recipe's name, or the path of a YAML file of your own.")
]
ConfigDir = Annotated[
    Path | None, typer.Option("--config-dir", metavar="FOLDER", help="A folder of recipes of your own, looked at first.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON line for programs.")]


def command(
    overrides: Overrides = None, config_name: ConfigName = None, config_dir: ConfigDir = None, json: Json = False
) -> None:
    """Print the composed settings of a recipe and overrides, as YAML that --config-name takes.

    Without --config-name the defaults are printed. A mandatory setting that is not given stands as ???.
    """
    from zoopraxis.config.load import config_to_dict, config_to_yaml, load_config

    config = load_config(config_name, overrides or (), config_dir=config_dir, allow_missing=True)
    if json:
        console.emit_json(config_to_dict(config))
    else:
        console.say(config_to_yaml(config).rstrip())
