"""`zoopraxis config`: print the composed settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoopraxis.cli import console
from zoopraxis.errors import ConfigError

__all__ = ["Architecture", "ConfigDir", "ConfigName", "Json", "Overrides", "command", "parse_architecture"]

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
Architecture = Annotated[
    list[str] | None,
    typer.Option(
        "--architecture",
        metavar="NAME|KEY=VALUE",
        help="What the file does not tell: a model, or one of its arguments, e.g. num_segments=16; may be repeated.",
    ),
]


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


def parse_architecture(texts: list[str] | None) -> str | dict[str, Any] | None:
    """What `--architecture` was given: a name alone as it is (it may be one of published weights), else arguments.

    Raises:
        ConfigError: If a value cannot be read.
    """
    if not texts:
        return None
    if len(texts) == 1 and "=" not in texts[0]:
        return texts[0]

    import yaml

    arguments: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        try:
            arguments[key if sign else "name"] = yaml.safe_load(value) if sign else text
        except yaml.YAMLError as error:
            raise ConfigError(
                f"--architecture {text}: the value is not readable; try --architecture num_segments=16"
            ) from error
    return arguments
