"""Composing a run's settings: Hydra reads and merges, dataclasses are the schema, pydantic judges.

The only file that imports hydra, omegaconf and pydantic. What comes out is a plain dataclass, the schema of the recipe's task;
nothing of Hydra or OmegaConf goes further. Whatever is refused is refused here, in one line, before a model or a data set is
touched.

Differs: from Hydra in three habits. `+key=value` and `key=value` mean the same, for a setting that exists already and for one
that an open table (`trainer`, `model.args`, `model.heads`) lacks so far. A value that Hydra's grammar cannot read, such as a
path with `=`, `~` or letters outside ASCII, is taken as text and not refused. `hydra.*` is refused instead of being ignored.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from zoopraxis.config.adaptation import AdaptationConfig
from zoopraxis.config.localization import LocalizationConfig
from zoopraxis.config.refusals import (
    OPEN_TABLES,
    check_reserved,
    invalid_value,
    is_known,
    known_settings,
    refuse_disguised,
    unknown_setting,
)
from zoopraxis.config.schema import TrainConfig
from zoopraxis.config.trainer import TrainerArguments
from zoopraxis.errors import ConfigError, did_you_mean

__all__ = [
    "Config",
    "config_from_dict",
    "config_to_dict",
    "config_to_yaml",
    "load_config",
    "load_recognition_config",
    "recipe_names",
]

RECIPES = Path(__file__).parent.parent / "recipes"
_SCHEMA, _ROOT = "zoopraxis_schema", "zoopraxis_root"

Config = TrainConfig | AdaptationConfig | LocalizationConfig
"""A run's settings, by its task."""

Schema = type[TrainConfig] | type[AdaptationConfig] | type[LocalizationConfig]

_SCHEMAS: dict[str, Schema] = {
    "recognition": TrainConfig,
    "adaptation": AdaptationConfig,
    "localization": LocalizationConfig,
}


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, sorted; a leading underscore marks a shared part, which is no recipe."""
    return sorted(path.stem for path in RECIPES.glob("[!_]*.yaml"))


def load_config(
    config_name: str | None = None,
    overrides: Sequence[str] = (),
    *,
    config_dir: Path | None = None,
    allow_missing: bool = False,
) -> Config:
    """Compose a recipe and overrides into a validated config: of the schema that the recipe's `task` names.

    Args:
        config_name: A recipe's name, or the path of a YAML file of one's own, whose defaults list may name recipes and files
            beside it; none: the defaults alone. Also the default of `run.name`.
        overrides: `key=value`, `+key=value` or `~key`, as on Hydra's command line; later ones win.
        config_dir: A folder of one's own recipes (and config groups), looked at before the package's.
        allow_missing: Leave mandatory settings that are not given as `???` instead of refusing.

    Raises:
        ConfigError: If a name is unknown, a file unreadable, a value of the wrong type or out of range, or a mandatory setting
            is not given; one line with the setting's path, its value, and the nearest name or the bound.
    """
    folder, name = _locate(config_name, config_dir)
    try:
        schema = _schema_of(folder, name)
        composed = _compose(folder, name, [_checked_override(text, folder, schema) for text in overrides], schema)
        missing = sorted(OmegaConf.missing_keys(composed))
        table = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _composition_error(error, name) from error
    config = config_from_dict(table)
    if missing and not allow_missing:
        raise ConfigError(f"{missing[0]} is not given; add it, e.g. {missing[0]}=/path/to/the/data")
    return config


def load_recognition_config(
    config_name: str | None = None,
    overrides: Sequence[str] = (),
    *,
    config_dir: Path | None = None,
    allow_missing: bool = False,
) -> TrainConfig:
    """`load_config` where only a recipe of recognition will do.

    Raises:
        ConfigError: As `load_config`, and if the recipe is of another task.
    """
    config = load_config(config_name, overrides, config_dir=config_dir, allow_missing=allow_missing)
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"{config_name} is a recipe of {config.task}, but one of recognition is needed here; name another")
    return config


def config_from_dict(table: Mapping[str, Any]) -> Config:
    """The config in a plain table, such as a checkpoint holds; settings that it lacks have their defaults.

    A table without a `task` is of recognition.

    Raises:
        ConfigError: If a setting is unknown, of the wrong type or out of range.
    """
    schema = _schema(table)
    config: Config = _judged(schema, table, "", known=known_settings(schema))
    check_reserved(config.trainer)
    arguments = _judged(TrainerArguments, config.trainer, "trainer.", known=known_settings(schema))
    config.trainer = {name: getattr(arguments, name) for name in config.trainer}
    return config


def config_to_dict(config: Config) -> dict[str, Any]:
    """The config as tables, lists and plain values; `config_from_dict` reads it back."""
    return dataclasses.asdict(config)


def config_to_yaml(config: Config) -> str:
    """The config as YAML, in the schema's order; `load_config` reads it back from a file."""
    text: str = yaml.safe_dump(config_to_dict(config), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return text


def _locate(config_name: str | None, config_dir: Path | None) -> tuple[Path, str | None]:
    """The folder to look in first, and the name to look for there.

    Raises:
        ConfigError: If neither a recipe nor a file has the name.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError(f"the config folder {config_dir} does not exist")
    folder = config_dir.resolve() if config_dir is not None else RECIPES
    if config_name is None:
        return folder, None
    path = Path(config_name).expanduser()
    name = path.stem if path.suffix in (".yaml", ".yml") else path.name
    is_plain = path.name == config_name
    if is_plain and any((place / f"{name}.yaml").is_file() for place in (folder, RECIPES)):
        return folder, name
    if path.suffix == ".yaml" and path.is_file():
        return path.resolve().parent, name
    if is_plain and path.suffix == "":
        names = {*recipe_names(), *(file.stem for file in folder.glob("[!_]*.yaml"))}
        raise ConfigError(f"unknown recipe {config_name!r}; {did_you_mean(config_name, names)}")
    raise ConfigError(f"there is no config file {config_name!r}; give a recipe's name or the path of a .yaml file")


def _schema_of(folder: Path, name: str | None) -> Schema:
    """The schema of a recipe's task, which its file or one in its defaults names; none: recognition."""
    if name is None:
        return TrainConfig
    ConfigStore.instance().store(name=_ROOT, node=_root([name]))
    with _hydra_in(folder):
        table = OmegaConf.to_container(compose(_ROOT), resolve=False)
    return _schema(table if isinstance(table, dict) else {})


def _schema(table: Mapping[Any, Any]) -> Schema:
    task = table.get("task", "recognition")
    if not isinstance(task, str) or task not in _SCHEMAS:
        raise ConfigError(f"task={task} is unknown; {did_you_mean(str(task), _SCHEMAS)}")
    return _SCHEMAS[task]


def _root(defaults: list[str]) -> dict[str, Any]:
    return {"defaults": [*defaults, "_self_"], "hydra": {"searchpath": [f"file://{RECIPES}"]}}


def _checked_override(text: str, folder: Path, schema: type[Any]) -> str:
    """An override in the form in which Hydra takes it.

    Raises:
        ConfigError: If it cannot be read, names an unknown setting, or would be ignored.
    """
    override = _parsed(text)
    key = override.key_or_group
    if key.split(".")[0] == "hydra":
        raise ConfigError(f"{text}: Hydra's own settings have no effect here; the run's folder is run.dir=PATH")
    if override.is_sweep_override():
        raise ConfigError(f"{text}: a run takes one value; write a list as [a,b], or text with a comma as \"'a,b'\"")
    if override.package is not None or (isinstance(override.value(), (str, list)) and (folder / key).is_dir()):
        return text  # a choice from one of the user's own config groups
    if key == "task":
        raise ConfigError(f"{text}: the recipe decides the task; choose another recipe with --config-name")
    if not is_known(key, schema):
        raise unknown_setting(key, None if override.is_delete() else override.value(), known=known_settings(schema))
    if override.is_delete():
        return text
    return f"++{key}={(override.input_line or text).partition('=')[2]}"


def _parsed(text: str) -> Override:
    """Read an override by Hydra's grammar, or, where that fails, its value as plain text."""
    key, _, value = text.partition("=")
    forms = [text]
    if value[:1] not in ("", "[", "{", "'", '"'):
        quoted = QuotedString(text=os.path.expanduser(value), quote=Quote.single).with_quotes()
        forms.append(f"{key}={quoted}")
    for form in forms if key else ():
        with suppress(HydraException):
            return OverridesParser.create().parse_override(form)
    raise ConfigError(f"cannot read the override {text!r}; write key=value, +key=value or ~key")


def _compose(folder: Path, name: str | None, overrides: list[str], kind: Schema) -> Any:
    """Merge schema, recipe and overrides; interpolations are not resolved yet."""
    schema = config_to_dict(kind())
    schema["run"]["name"] = name or schema["run"]["name"]
    store = ConfigStore.instance()
    store.store(name=_SCHEMA, node=schema)
    store.store(name=_ROOT, node=_root([_SCHEMA, *([name] if name else [])]))
    with _hydra_in(folder):
        composed = compose(_ROOT, overrides)
    closed = copy.deepcopy(schema)
    for table in OPEN_TABLES:
        parent, _, key = table.rpartition(".")
        (closed[parent] if parent else closed).pop(key, None)
    return OmegaConf.merge(closed, composed)  # what ~key deleted has its default again, but for entries of open tables


@contextmanager
def _hydra_in(folder: Path) -> Iterator[None]:
    """Hydra with `folder` first in its search path; an application's own Hydra is left as it was."""
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(folder), job_name="zoopraxis", version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


def _composition_error(error: Exception, name: str | None) -> ConfigError:
    """One line for what Hydra, OmegaConf or the YAML reader has to say."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        missing = error.missing_cfg_file
        return ConfigError(f"unknown recipe {missing!r} in the defaults of {name!r}; {did_you_mean(missing, recipe_names())}")
    if isinstance(error, RecursionError):
        return ConfigError(f"the config {name!r} has itself in its defaults; rename the file or the entry")
    lines = str(error).splitlines()
    if isinstance(error, InterpolationToMissingValueError):
        return ConfigError(f"{error.full_key} refers to a setting that is not given: {lines[0].rpartition(': ')[2]}")
    if isinstance(error, OmegaConfBaseException):
        return ConfigError(f"{error.full_key or name}: {lines[0]}")
    if isinstance(error, (yaml.YAMLError, UnicodeDecodeError)):
        return ConfigError(f"cannot read the YAML of {name!r}: {' '.join(' '.join(lines).split())}")
    return ConfigError(" ".join(" ".join(line for line in lines if "hydra.cc" not in line).split()))


def _judged(kind: type[Any], table: Mapping[str, Any], prefix: str, *, known: frozenset[str]) -> Any:
    """A table as an instance of one of our dataclasses."""
    try:
        judged = TypeAdapter(kind).validate_python(dict(table))
    except ValidationError as error:
        raise invalid_value([dict(found) for found in error.errors(include_url=False)], table, prefix, known=known) from None
    refuse_disguised(table, dataclasses.asdict(judged), prefix.rstrip("."))
    return judged
