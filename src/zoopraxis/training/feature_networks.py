"""What checkpoints of networks on features have in common, whatever their task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from zoopraxis.config.load import Config, config_from_dict
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models.archives import RECORD_KEY, read_archive
from zoopraxis.models.checkpoints import locate
from zoopraxis.models.misfits import refuse_tensors

__all__ = ["Described", "LoadedNetwork", "load_feature_network", "own_tensors"]

Network = TypeVar("Network", bound=nn.Module)
Settings = TypeVar("Settings", bound=Config)

_PREFIX = "model."


class Described(NamedTuple):
    """What a checkpoint holds: the network's arguments, its tensors under our names, and both in words."""

    arguments: dict[str, Any]
    tensors: dict[str, Tensor]
    found: str


@dataclass(frozen=True)
class LoadedNetwork(Generic[Network, Settings]):
    """A network on features, and what its checkpoint tells beside it.

    Attributes:
        network: In evaluation mode.
        class_names: For each head its classes in label order; empty for a published checkpoint, which does not have them.
        modalities: The features that stand side by side in its input, with their widths; empty for a published checkpoint.
        config: The settings that it was trained with; none for a published checkpoint.
        found: The network in words.
        extractor: How its features were made, as their store tells; none where it is not known.
    """

    network: Network
    class_names: dict[str, tuple[str, ...]]
    modalities: dict[str, int]
    config: Settings | None
    found: str
    extractor: dict[str, Any] | None = None


def load_feature_network(
    source: str | Path,
    *,
    build: Callable[..., Network],
    settings: type[Settings],
    describe: Callable[[Mapping[str, Any], Mapping[str, Any], Path], Described],
    architecture: str | Mapping[str, Any] | None,
    example: str,
    map_location: str | torch.device,
) -> LoadedNetwork[Network, Settings]:
    """Load a network on features, strictly; tensors only, nothing in the file is run.

    Args:
        source: A file, or its URL.
        build: From arguments to the network.
        settings: The schema of its task.
        describe: What an archive holds, given arguments that it does not tell.
        architecture: Such arguments.
        example: One of them, for the message to a person who gives a name instead.
        map_location: The device of the network.

    Raises:
        CheckpointError: If the file is missing, broken or unsafe, holds another network, or tensors that do not fit.
        ConfigError: If `architecture` is a name.
    """
    path, _ = locate(source)
    if isinstance(architecture, str):
        raise ConfigError(f"the architecture {architecture!r} is no argument of a network on features; give e.g. {example}")
    archive = read_archive(path, map_location=map_location)
    arguments, tensors, found = describe(archive, architecture or {}, path)
    try:
        network = build(**arguments)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} describes a network that cannot be built: {error}") from error
    expected = network.state_dict()
    refuse_tensors(expected, tensors, path, keys=expected.keys() | tensors.keys())
    network.load_state_dict(tensors)
    record = archive.get(RECORD_KEY) or {}
    features, stored = record.get("features", {}), record.get("config")
    config = config_from_dict(stored) if stored is not None else None
    assert config is None or isinstance(config, settings)
    return LoadedNetwork(
        network=network.to(map_location).eval(),
        class_names={head: tuple(names) for head, names in record.get("class_names", {}).items()},
        modalities=dict(features.get("modalities", {})),
        config=config,
        found=found,
        extractor=features.get("meta"),
    )


def own_tensors(archive: Mapping[str, Any]) -> dict[str, Tensor]:
    """The network's tensors in a checkpoint of ours."""
    return {key.removeprefix(_PREFIX): tensor for key, tensor in archive["state_dict"].items()}
