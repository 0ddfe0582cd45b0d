"""The settings of a test of localization: those of the network's training, with what a test may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from zoopraxis.config.load import config_from_dict, config_to_dict
from zoopraxis.config.localization import LocalizationConfig, LocalizationDataConfig
from zoopraxis.errors import ConfigError, did_you_mean
from zoopraxis.training.localization.checkpoints import Localizer
from zoopraxis.training.options import TestOptions

__all__ = ["TESTED_SECTIONS", "settings_of_test", "with_settings"]

TESTED_SECTIONS = ("data", "proposals", "classes")
"""Sections of a recipe that have a part in a test."""

_FOR_CLIPS = ("store", "fps", "size", "num_segments", "num_clips", "num_crops", "average", "quarantine", "embeddings")
"""Options of a test that a network of localization does not have."""
_OF_NETWORK = ("num_steps", "max_duration")
"""Settings of data that are the network's own."""


def settings_of_test(localizer: Localizer, options: TestOptions, split: str) -> LocalizationConfig:
    """The settings of the checkpoint's run, with what the options change.

    Args:
        localizer: The network.
        options: What is otherwise.
        split: train, val or test: what the options' annotations are of, where they are a file.

    Raises:
        ConfigError: If an option has no effect, a setting does not fit the network, or nothing says where the features are.
    """
    for name in _FOR_CLIPS:
        if getattr(options, name) is not None:
            raise ConfigError(
                f"{name}={getattr(options, name)} has no effect on a network that finds actions in long videos; leave it out"
            )
    if options.modalities is not None and localizer.modalities:
        raise ConfigError(
            f"modalities={','.join(options.modalities)}, but the checkpoint tells which its network takes: "
            f"{','.join(localizer.modalities)}; leave it out"
        )
    config = localizer.config or LocalizationConfig()
    arguments = localizer.network.arguments
    changes: dict[str, Any] = {
        "root": options.root,
        "modalities": list(localizer.modalities) or options.modalities,
        "batch_size": options.batch_size,
        "num_workers": options.num_workers,
        **{name: arguments[name] for name in _OF_NETWORK},
    }
    data = dataclasses.replace(config.data, **{name: value for name, value in changes.items() if value is not None})
    if options.annotations is not None:
        data = dataclasses.replace(data, **_annotations(data, Path(options.annotations), split))
    config = with_settings(dataclasses.replace(config, data=data), options.settings or ())
    for name in _OF_NETWORK:
        if getattr(config.data, name) != arguments[name]:
            raise ConfigError(
                f"data.{name}={getattr(config.data, name)}, but the network is made for {arguments[name]}; leave it out"
            )
    if config.data.root == "???":
        raise ConfigError("the checkpoint does not say where the features are; name their folder with --root")
    return config


def with_settings(config: LocalizationConfig, settings: Sequence[str]) -> LocalizationConfig:
    """With settings of the sections that have a part in a test.

    Args:
        config: The settings.
        settings: `KEY=VALUE`, as on the command line of training.

    Raises:
        ConfigError: If a setting cannot be read, is unknown, out of range, or of another section.
    """
    table = config_to_dict(config)
    for text in settings:
        key, separator, value = text.partition("=")
        path = key.split(".")
        if not separator or len(path) < 2:
            raise ConfigError(f"cannot read the setting {text!r}; write e.g. proposals.per_second=2")
        if path[0] not in TESTED_SECTIONS:
            raise ConfigError(
                f"{key} has no part in a test, only settings of {', '.join(TESTED_SECTIONS)} have; "
                f"{did_you_mean(path[0], TESTED_SECTIONS)}"
            )
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"cannot read the value of {text!r}; quote it") from error
        place = table
        for part in path[:-1]:
            inner = place.get(part)
            place[part] = inner = inner if isinstance(inner, dict) else {}
            place = inner
        place[path[-1]] = parsed
    changed = config_from_dict(table)
    assert isinstance(changed, LocalizationConfig)
    return changed


def _annotations(data: LocalizationDataConfig, path: Path, split: str) -> dict[str, Any]:
    """What takes the place of the run's annotations: a folder of all splits', or the file of one."""
    if not path.is_dir():
        return {split: str(path.absolute())}
    named = getattr(data, split)
    is_inside = named is not None and not Path(named).is_absolute() and (path / named).exists()
    return {"annotations": str(path), split: named if is_inside else None}
