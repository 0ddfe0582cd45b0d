"""Why a setting is refused, in one line: its dotted path, its value, and the nearest known name or the bound.

Plain Python: `config.load` hands over what Hydra and pydantic found.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from zoopraxis.config.schema import TrainConfig
from zoopraxis.config.trainer import RESERVED_ARGUMENTS, TrainerArguments
from zoopraxis.errors import ConfigError, did_you_mean

__all__ = [
    "OPEN_TABLES",
    "check_reserved",
    "invalid_value",
    "is_known",
    "known_settings",
    "refuse_disguised",
    "shown",
    "unknown_setting",
]

OPEN_TABLES = ("trainer", "model.args", "model.heads")
"""Tables whose keys are not fields of the schema."""

BASELINE_NAMES = {
    "data._root_gulp_dir": "data.root",
    "data.frame_count": "data.num_segments",
    "data.test_frame_count": "data.test_num_segments",
    "data.worker_count": "data.num_workers",
    "learning.batch_size": "data.batch_size",
    "learning.lr": "optim.lr",
    "learning.optimizer.lr": "optim.lr",
    "trainer.gpus": "trainer.devices",
    "trainer.resume_from_checkpoint": "run.resume",
}
"""Settings of the EPIC baselines that have another name here."""

_KINDS = {
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be finite",
    "bool": "must be true or false",
    "string": "must be text",
    "list": "must be a list such as [a,b]",
    "dict": "must be a table such as {a:b}",
    "dataclass": "must be a table of settings",
}
_BOUNDS = {
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
}


def shown(value: Any) -> str:
    """A value as a person would write it on the command line."""
    return value if isinstance(value, str) else json.dumps(value, default=str, separators=(",", ":"))


def known_settings(schema: Any) -> frozenset[str]:
    """Dotted paths of all settings and tables of a task's schema."""
    known: frozenset[str] = _known(schema)
    return known


def is_known(path: str, schema: Any = TrainConfig) -> bool:
    """Whether a dotted path is a setting or a table of the schema, or lies in an open table that it has."""
    known = _known(schema)
    return path in known or any(path.startswith(f"{table}.") for table in OPEN_TABLES if table in known)


def unknown_setting(path: str, value: Any = None, *, known: Iterable[str] | None = None) -> ConfigError:
    """The refusal of a setting that does not exist.

    Args:
        path: Its dotted path.
        value: What it was to be.
        known: The dotted paths that exist; none: those of recognition.
    """
    names = sorted(_known(TrainConfig) if known is None else known)
    given = path if value is None else f"{path}={shown(value)}"
    return ConfigError(f"unknown setting {given}; {_nearest(path, names)}")


def check_reserved(trainer: Mapping[str, Any]) -> None:
    """Refuse arguments of the Trainer that the run sets itself.

    Raises:
        ConfigError: If one is given; the message names the setting to use.
    """
    for key in trainer:
        if key in RESERVED_ARGUMENTS:
            setting = RESERVED_ARGUMENTS[key]
            cure = f"use {setting}" if setting else "leave it out"
            raise ConfigError(f"trainer.{key}={shown(trainer[key])}: the run sets this itself; {cure}")


def invalid_value(
    errors: Sequence[Mapping[str, Any]],
    table: Mapping[str, Any],
    prefix: str = "",
    *,
    known: Iterable[str] | None = None,
) -> ConfigError:
    """The refusal of the first of pydantic's `errors` about `table`, which stands at `prefix`; `known` as above.

    A value that fits no member of a union has one error a member, told as one.
    """
    path, value = _found(errors[0]["loc"], table)
    dotted = f"{prefix}{path}"
    if errors[0]["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return unknown_setting(dotted, value, known=known)
    if errors[0]["type"] == "literal_error" and len(errors) == 1:
        choices = re.findall(r"[^\s',]+", errors[0]["ctx"]["expected"].replace(" or ", ", "))
        return ConfigError(f"{dotted}={shown(value)} is no choice; {did_you_mean(shown(value), choices)}")
    reasons = dict.fromkeys(_reason(error) for error in errors if _found(error["loc"], table)[0] == path)
    return ConfigError(f"{dotted}={shown(value)}: {' or '.join(reasons).replace(' or must be', ' or')}")


def refuse_disguised(given: Any, judged: Any, path: str) -> None:
    """Refuse what pydantic lets pass: a truth value where a number stands, and an empty text.

    Args:
        given: The tables, lists and values as composed.
        judged: The same after validation.
        path: Where they stand.

    Raises:
        ConfigError: At the first such value.
    """
    if isinstance(given, Mapping):
        for key, value in given.items():
            refuse_disguised(value, judged[key], f"{path}.{key}" if path else str(key))
    elif isinstance(given, list):
        for number, value in enumerate(given):
            refuse_disguised(value, judged[number], f"{path}[{number}]")
    elif isinstance(given, bool) and not isinstance(judged, bool):
        raise ConfigError(f"{path}={shown(given)}: {_KINDS['float']}")
    elif given == "":
        raise ConfigError(f"{path}= is empty; give it a value or leave it out")


def _paths(section: type[Any], prefix: str = "") -> list[str]:
    """Dotted paths of all fields of a dataclass and of the dataclasses in it."""
    hints = get_type_hints(section)
    found = []
    for field in fields(section):
        path = f"{prefix}{field.name}"
        found.append(path)
        if is_dataclass(hints[field.name]):
            found += _paths(hints[field.name], f"{path}.")
    return found


@cache
def _known(schema: Any) -> frozenset[str]:
    return frozenset(_paths(schema)) | frozenset(_paths(TrainerArguments, "trainer."))


def _nearest(path: str, names: Sequence[str]) -> str:
    """The cure for an unknown path: its present name, one spelt alike beside it, its namesake elsewhere, or one spelt alike."""
    if path in BASELINE_NAMES:
        return f"the setting is called {BASELINE_NAMES[path]}"
    parent, _, key = path.rpartition(".")
    siblings = {name.rpartition(".")[2]: name for name in names if name.rpartition(".")[0] == parent}
    if near := difflib.get_close_matches(key, siblings, n=1):
        return f"did you mean {siblings[near[0]]}?"
    if same := [name for name in names if name.rpartition(".")[2] == key]:
        return f"did you mean {same[0]}?"
    if not siblings and (near := difflib.get_close_matches(path, names, n=1)):
        return f"did you mean {near[0]}?"
    known = sorted(siblings.values()) or [name for name in names if "." not in name]
    return f"known: {', '.join(known)}" if known else "none is known"


def _found(location: Sequence[str | int], table: Any) -> tuple[str, Any]:
    """The dotted path and the value at pydantic's location, which may end in the name of a union's member."""
    path = ""
    for part in location:
        if isinstance(table, Mapping) and part in table:
            path = f"{path}.{part}" if path else str(part)
        elif isinstance(table, list) and isinstance(part, int):
            path = f"{path}[{part}]"
        else:
            break
        table = table[part]
    return path, table


def _reason(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**error["ctx"])
    if kind == "literal_error":
        return f"must be {error['ctx']['expected']}"
    return _KINDS.get(kind.partition("_")[0], str(error["msg"]))
