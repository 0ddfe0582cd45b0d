"""Saying in one line why a checkpoint does not fit a network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoopraxis.errors import CheckpointError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.inference import describe, describe_weights, temporal_module, tied_frames, traced_model
from zoopraxis.models.key_layouts import MappedWeights

__all__ = ["refuse_length", "refuse_misfit", "refuse_other_module", "refuse_other_places", "refuse_tensors", "take_fitting"]

_NUM_NAMED = 3


def refuse_misfit(
    model: VideoModel,
    tensors: Mapping[str, Tensor],
    mapped: MappedWeights,
    path: Path,
    *,
    may_stay: Collection[str] = (),
) -> None:
    """Raise if a key is left over, missing or of another shape.

    Counters of batch norms may be missing: old files have none.

    Args:
        model: The network that is to be loaded.
        tensors: What it is to be given, under our keys.
        mapped: Where they come from.
        path: The file.
        may_stay: The network's keys that need not be there.

    Raises:
        CheckpointError: With the first shape that differs, the first keys that are missing or left over, and what the file
            holds.
    """
    expected = model.state_dict()
    foreign = [*mapped.unknown, *(mapped.original.get(key, key) for key in tensors if key not in expected)]
    missing = [
        key for key in expected if key not in tensors and key not in may_stay and not key.endswith("num_batches_tracked")
    ]
    misshapen = [key for key in expected if key in tensors and tensors[key].shape != expected[key].shape]
    complaints = []
    if misshapen:
        first, others = misshapen[0], len(misshapen) - 1
        more = f", and {others} more have another shape" if others else ""
        complaints.append(
            f"{mapped.original.get(first, first)} is {tuple(tensors[first].shape)} where {tuple(expected[first].shape)} "
            f"is needed{more}"
        )
    complaints += [_listed("missing", missing)] if missing else []
    complaints += [_listed("not the network's", foreign)] if foreign else []
    if complaints:
        raise CheckpointError(
            f"{path} is of another architecture than {describe(model.architecture)}: {'; '.join(complaints)}; "
            f"it holds {describe_weights(mapped)}; name the right model and backbone"
        )


def refuse_length(model: VideoModel, mapped: MappedWeights, path: Path) -> None:
    """Raise if a module's shapes depend on the number of frames, and the file has another number than the network.

    Raises:
        CheckpointError: With both numbers and the module.
    """
    theirs, ours = tied_frames(mapped.tensors), tied_frames(model.state_dict())
    if theirs is None or ours is None or theirs == ours:
        return
    (title, num_frames), asked = theirs, ours[1]
    raise CheckpointError(
        f"{path} has {title} for {num_frames} frames, and num_segments is {asked}: its shapes are tied to it; "
        f"use num_segments={num_frames}, or a checkpoint of {asked} frames (TSN, TSM and TAda2D take any number)"
    )


def refuse_other_module(model: VideoModel, mapped: MappedWeights, recorded: Mapping[str, Any] | None, path: Path) -> None:
    """Raise if the file's backbone was trained with a temporal module that the network does not have.

    Args:
        model: The network that is to start from the file.
        mapped: The file's tensors.
        recorded: Arguments of `create_model` in its record, if it has one.
        path: The file.

    Raises:
        CheckpointError: With both modules.
    """
    source = recorded or traced_model(mapped) or {}
    theirs, ours = temporal_module(source), temporal_module(model.architecture)
    if theirs is not None and theirs != ours:
        found = describe(recorded) if recorded else describe_weights(mapped)
        raise CheckpointError(
            f"{path} holds {found}, whose weights were trained with the temporal module {theirs!r}; "
            f"{describe(model.architecture)} has {f'{ours!r}' if ours else 'none'}; "
            "start it from its own kind, from a TSN or from a plain image network"
        )


def refuse_other_places(model: VideoModel, hosts: Collection[str], mapped: MappedWeights, path: Path) -> None:
    """Raise if the published network shifts before other layers than ours.

    Args:
        model: The network.
        hosts: Its layers that host a temporal module.
        mapped: The file's tensors.
        path: The file.

    Raises:
        CheckpointError: With the first layer that differs.
    """
    wrapped = mapped.wrapped - {"layer2"}
    if wrapped != set(hosts):
        raise CheckpointError(
            f"{path} is of another architecture: it shifts before {len(wrapped)} layers, {describe(model.architecture)} before "
            f"{len(hosts)}; they differ at {min(wrapped ^ set(hosts))}"
        )


def _listed(what: str, keys: list[str]) -> str:
    named = f"{', '.join(keys[:_NUM_NAMED])}{', ...' if len(keys) > _NUM_NAMED else ''}"
    return f"{len(keys)} {'key is' if len(keys) == 1 else 'keys are'} {what} ({named})"


def refuse_tensors(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path, *, keys: Collection[str]) -> None:
    """See that tensors of a network on features are those that it expects, in name and shape.

    Args:
        expected: The network's own.
        tensors: What it is to be given, under our keys.
        path: The file.
        keys: Those that count.

    Raises:
        CheckpointError: With the first that are not.
    """
    wrong = []
    for key in sorted(keys):
        if key not in tensors:
            wrong.append(f"{key} is missing")
        elif key not in expected:
            wrong.append(f"{key} has no place")
        elif tensors[key].shape != expected[key].shape:
            wrong.append(f"{key} has shape {tuple(tensors[key].shape)}, not {tuple(expected[key].shape)}")
    if wrong:
        more = f" and {len(wrong) - _NUM_NAMED} more" if len(wrong) > _NUM_NAMED else ""
        raise CheckpointError(
            f"{path} holds another network: {'; '.join(wrong[:_NUM_NAMED])}{more}; name its own settings, or another checkpoint"
        )


def take_fitting(
    network: nn.Module, tensors: Mapping[str, Tensor], path: Path, *, may_stay: Callable[[str], bool]
) -> list[str]:
    """Start a network on features from another's tensors.

    Args:
        network: Changed in place.
        tensors: The other's, under our keys.
        path: Their file.
        may_stay: Whether a tensor that does not fit, or is not there, keeps its value.

    Returns:
        Names of the tensors that kept their values.

    Raises:
        CheckpointError: If others do not fit.
    """
    expected = network.state_dict()
    keys = {key for key in expected.keys() | tensors.keys() if not may_stay(key)}
    refuse_tensors(expected, tensors, path, keys=keys)
    taken = {key: tensor for key, tensor in tensors.items() if key in expected and tensor.shape == expected[key].shape}
    network.load_state_dict(taken, strict=False)
    return [key for key in expected if key not in taken]
