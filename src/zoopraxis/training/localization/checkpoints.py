"""Checkpoints of networks that find actions in long videos: ours, and the three published layouts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoopraxis.config.localization import LocalizationConfig
from zoopraxis.errors import CheckpointError
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.localization.published import is_published, map_published
from zoopraxis.models.archives import LOCALIZATION, RECORD_KEY, read_archive
from zoopraxis.models.checkpoints import locate
from zoopraxis.models.misfits import take_fitting
from zoopraxis.training.feature_networks import Described, LoadedNetwork, load_feature_network, own_tensors

__all__ = ["Localizer", "initialize_localizer", "load_localizer"]

_OPTIONAL = ("classes.", "shift.")
"""Parts that a network may have without another's."""


Localizer = LoadedNetwork[BoundaryMatchingNetwork, LocalizationConfig]
"""A trained network that finds actions in long videos, and what is known of it."""


def load_localizer(
    source: str | Path, *, architecture: str | Mapping[str, Any] | None = None, map_location: str | torch.device = "cpu"
) -> Localizer:
    """Load a boundary-matching network with its weights; tensors only, nothing in the file is run.

    Read are checkpoints of ours, of TAdaConv's authors, of MMAction2 and of the EPIC-KITCHENS-100 detection baseline, told by
    their keys. The sampling mask that published ones hold is left; it tells the length of the window.

    Args:
        source: A file, or its URL.
        architecture: Arguments of `BoundaryMatchingNetwork` that a published checkpoint does not tell; see
            `localization.published.map_published`.
        map_location: The device of the network.

    Raises:
        CheckpointError: If the file is missing, broken or unsafe, holds another network, or tensors that do not fit.
        ConfigError: If `architecture` is a name, of which there is only one.
    """
    return load_feature_network(
        source,
        build=BoundaryMatchingNetwork,
        settings=LocalizationConfig,
        describe=_describe,
        architecture=architecture,
        example="num_steps=200",
        map_location=map_location,
    )


def initialize_localizer(network: BoundaryMatchingNetwork, source: str | Path) -> list[str]:
    """Start a network from another's weights: all must fit but maps of shifts and of other classes.

    The window may be another, for no weight depends on its length or on the longest proposal's.

    Args:
        network: Changed in place.
        source: As for `load_localizer`.

    Returns:
        Names of the tensors that kept their values.

    Raises:
        CheckpointError: If the file is missing, broken or unsafe, or anything but those maps does not fit.
    """
    path, _ = locate(source)
    geometry = {name: network.arguments[name] for name in ("num_steps", "max_duration", "samples_per_bin", "boundary_ratio")}
    tensors = _describe(read_archive(path), geometry, path).tensors
    return take_fitting(network, tensors, path, may_stay=lambda key: key.startswith(_OPTIONAL))


def _describe(archive: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> Described:
    tensors: dict[str, Tensor] = archive["state_dict"]
    record = archive.get(RECORD_KEY)
    if isinstance(record, Mapping) and record.get("task") == LOCALIZATION and isinstance(record.get("network"), Mapping):
        arguments = {**record["network"], **given}
        return Described(arguments, own_tensors(archive), f"{_title(arguments)} in the layout of zoopraxis")
    if record is not None or not is_published(tensors):
        raise CheckpointError(
            f"{path} holds no network that finds actions in long videos; name a checkpoint of `zoopraxis train` with a recipe "
            "of localization, such as bmn_epic, or a published one of BMN"
        )
    try:
        arguments, mapped, ignored = map_published(tensors, given)
    except (CheckpointError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    publisher = "TAdaConv's authors" if any("head." in key for key in tensors) else "MMAction2 and the EPIC-KITCHENS baseline"
    left = f" ({', '.join(ignored)} left)" if ignored else ""
    return Described(arguments, mapped, f"{_title(arguments)} in the layout of {publisher}{left}")


def _title(arguments: Mapping[str, Any]) -> str:
    parts = [f"{arguments['num_steps']} steps", f"proposals of up to {arguments['max_duration']}"]
    parts += ["shifts"] if arguments.get("regression") else []
    parts += [f"{classes} {head}s" for head, classes in arguments.get("heads", {}).items()]
    return f"boundary-matching network ({', '.join(parts)})"
