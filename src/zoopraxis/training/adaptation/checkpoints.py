"""Checkpoints of adaptation on features: ours, and those that TA3N's authors published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoopraxis.adaptation.network import AdaptationNetwork
from zoopraxis.adaptation.published import is_published, map_published
from zoopraxis.config.adaptation import AdaptationConfig
from zoopraxis.errors import CheckpointError
from zoopraxis.models.archives import LOCALIZATION, RECORD_KEY, read_archive
from zoopraxis.models.checkpoints import locate
from zoopraxis.models.misfits import take_fitting
from zoopraxis.training.feature_networks import Described, LoadedNetwork, load_feature_network, own_tensors

__all__ = ["AdaptedNetwork", "initialize_network", "load_adaptation"]


AdaptedNetwork = LoadedNetwork[AdaptationNetwork, AdaptationConfig]
"""A trained network of domain adaptation on features, and what is known of it."""


def load_adaptation(
    source: str | Path, *, architecture: str | Mapping[str, Any] | None = None, map_location: str | torch.device = "cpu"
) -> AdaptedNetwork:
    """Load a network of domain adaptation on features with its weights; tensors only, nothing in the file is run.

    Read are checkpoints of ours and of both published versions of TA3N (`.pth.tar`), told by their keys. What the keys of a
    published one do not tell is as TA3N was published (transferable attention, videos predicted, 5 features a clip), unless
    `architecture` says otherwise.

    Args:
        source: A file, or its URL.
        architecture: Arguments of `AdaptationNetwork` that a published checkpoint does not tell, e.g. `{"attention": "none"}`
            of one that was trained without.
        map_location: The device of the network.

    Raises:
        CheckpointError: If the file is missing, broken or unsafe, holds another network, or tensors that do not fit.
        ConfigError: If `architecture` is a name, of which there is only one.
    """
    return load_feature_network(
        source,
        build=AdaptationNetwork,
        settings=AdaptationConfig,
        describe=_describe,
        architecture=architecture,
        example="attention=none",
        map_location=map_location,
    )


def initialize_network(network: AdaptationNetwork, source: str | Path) -> list[str]:
    """Start a network from another's weights: all but classifiers of other classes must fit.

    Args:
        network: Changed in place.
        source: As for `load_adaptation`.

    Returns:
        Names of the tensors that kept their values.

    Raises:
        CheckpointError: If the file is missing, broken or unsafe, or anything but its classifiers does not fit.
    """
    path, _ = locate(source)
    tensors = _describe(read_archive(path), {}, path).tensors
    return take_fitting(network, tensors, path, may_stay=lambda key: "classifiers." in key)


def _describe(archive: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> Described:
    tensors: dict[str, Tensor] = archive["state_dict"]
    record = archive.get(RECORD_KEY)
    if isinstance(record, Mapping) and isinstance(record.get("network"), Mapping) and record.get("task") != LOCALIZATION:
        arguments = {**record["network"], **given}
        return Described(arguments, own_tensors(archive), f"{_title(arguments)} in the layout of zoopraxis")
    if record is not None or not is_published(tensors):
        raise CheckpointError(
            f"{path} holds no network of domain adaptation on features; name a checkpoint of `zoopraxis train` with "
            "data.store=features, or a published one of TA3N"
        )
    try:
        arguments, mapped, ignored = map_published(tensors, given)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    unused = f" ({len(ignored)} tensors that nothing uses are left)" if ignored else ""
    return Described(arguments, mapped, f"{_title(arguments)} in the layout of TA3N's authors{unused}")


def _title(arguments: Mapping[str, Any]) -> str:
    heads = ", ".join(f"{classes} {head}s" for head, classes in arguments.get("heads", {}).items())
    return f"adaptation network (aggregation {arguments.get('aggregation', 'relations')}, {heads})"
