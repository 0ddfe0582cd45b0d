"""`zoopraxis train`: train a network by a recipe."""

from __future__ import annotations

from collections.abc import Mapping

from zoopraxis.cli import console
from zoopraxis.cli.config import ConfigDir, ConfigName, Json, Overrides
from zoopraxis.errors import ConfigError

__all__ = ["command"]


def command(
    overrides: Overrides = None, config_name: ConfigName = None, config_dir: ConfigDir = None, json: Json = False
) -> None:
    """Train a network by a recipe, with settings of your own as KEY=VALUE.

    All settings, with their defaults: zoopraxis config --config-name RECIPE. The run's folder is run.dir (runs/RECIPE);
    where it holds an unfinished run with the same settings, training goes on from its last checkpoint.
    """
    from zoopraxis.config.load import load_config, recipe_names

    if config_name is None:
        raise ConfigError(
            f"no recipe is named; add --config-name with one of {', '.join(recipe_names())}, or a YAML file's path"
        )
    config = load_config(config_name, overrides or (), config_dir=config_dir)

    from zoopraxis.training.run import train

    outcome = train(config, show_progress=console.shows_progress(), tell=console.say)
    if json:
        console.emit_json(outcome)
        return
    verb = "went on with" if outcome.resumed else "trained"
    console.say(f"{verb} {config.run.name} in {outcome.run_dir}")
    for title, rows in _by_domain(outcome.metrics):
        console.table(title, ["metric", "value"], rows)
    console.say(f"best checkpoint: {outcome.best_checkpoint}")
    console.say(f"last checkpoint: {outcome.last_checkpoint}")


def _by_domain(metrics: Mapping[str, float]) -> list[tuple[str, list[tuple[str, float]]]]:
    """Tables of metrics, a title and rows each: of adaptation one a domain (`val/source/verb_acc@1`), else one of all."""
    tables: dict[str, list[tuple[str, float]]] = {}
    for name, value in sorted(metrics.items()):
        _, domain, *metric = name.split("/")
        title, shown = (f"validation, {domain}", metric[0]) if metric else ("validation", name)
        tables.setdefault(title, []).append((shown, value))
    return list(tables.items())
