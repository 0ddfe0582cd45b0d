"""`zoopraxis models`: the published networks, their sizes and results."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Json
from zoopraxis.errors import ConfigError, did_you_mean

__all__ = ["command"]


def command(
    pattern: Annotated[str, typer.Argument(metavar="[PATTERN]", help="Part of a name, or a pattern such as 'tsm_*flow'.")] = "",
    json: Json = False,
) -> None:
    """Published weights by name, with their number of parameters, published top-1 accuracy and address.

    A name can stand wherever a checkpoint is asked for: test, predict, model.weights=NAME.
    """
    from zoopraxis.models import WEIGHTS, load_families

    load_families()
    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    records = [WEIGHTS.get(name) for name in WEIGHTS.names() if fnmatchcase(name, wanted)]
    if not records:
        raise ConfigError(f"no published weights match {pattern!r}; {did_you_mean(pattern, WEIGHTS.names())}")
    if json:
        console.emit_json([_entry(record) for record in records])
        return
    rows = [(r.name, f"{r.num_parameters / 1e6:.2f}M", _accuracy(r), r.sampling, r.url) for r in records]
    console.table("Published weights", ["name", "parameters", "top-1, %", "frames and views", "address"], rows)


def _accuracy(record: Any) -> str:
    return ", ".join(f"{metric} {value:.2f}" for metric, value in record.accuracy.items() if metric.endswith("@1"))


def _entry(record: Any) -> dict[str, Any]:
    return {
        "name": record.name,
        "model": dict(record.model),
        "parameters": record.num_parameters,
        "accuracy": dict(record.accuracy),
        "sampling": record.sampling,
        "preprocessing": record.preprocessing.to_dict(),
        "url": record.url,
        "source": record.source,
    }
