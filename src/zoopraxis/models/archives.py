"""Reading checkpoint files without running anything that they hold."""

from __future__ import annotations

import json
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from zoopraxis.adaptation.published import is_published
from zoopraxis.errors import CheckpointError, DataError
from zoopraxis.localization import published as published_localization
from zoopraxis.pickles import load_pickle

__all__ = [
    "LOCALIZATION",
    "RECORD_KEY",
    "FeatureNetworkError",
    "LocalizationNetworkError",
    "choose_weights",
    "fetch",
    "read_archive",
    "refuse_feature_network",
]

LOCALIZATION = "localization"
"""What the record of a network that finds actions in long videos has under `task`."""

RECORD_KEY = "zoopraxis"
"""Where a checkpoint of ours keeps the record that `load_model` builds the network from."""

_WEIGHTS = ("state_dict", "model_state", "model")
_OPTIMIZERS = ("optimizer_states", "optimizer_state", "optimizer")
"""Where checkpoints keep the weights, and the optimizer's state, which only a resumed training needs."""
_PUBLISHED_AVERAGE = "model_ema_state"
_OUR_LAST = "current_model_state"
"""Where TAdaConv's checkpoints keep averaged weights beside the last, and ours the last beside averaged ones."""
_INERT_PACKAGES = frozenset(
    {
        "omegaconf",
        "pytorch_lightning",
        "lightning",
        "lightning_fabric",
        "mmengine",
        "mmcv",
        "mmaction",
        "numpy",
        "typing",
        "pathlib",
    }
)
"""Packages whose objects published checkpoints hold beside their tensors; each is replaced by an inert stand-in."""
_CONTAINERS: dict[str, Any] = {
    "builtins.dict": dict,
    "builtins.list": list,
    "builtins.tuple": tuple,
    "builtins.str": str,
    "builtins.int": int,
    "builtins.float": float,
    "builtins.bool": bool,
}


def read_archive(path: str | Path, *, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint: `.safetensors`, what `torch.save` wrote, or a TorchScript archive (OpenAI's CLIP).

    Objects of the configuration and logging libraries of published checkpoints (OmegaConf, Lightning, mmengine, NumPy) become
    plain values where they are tables or lists, and stand-ins without behavior where not; none of those libraries is needed.
    Of a TorchScript archive the tensors of its modules are taken, named as in the module's state; its code is not read.

    Returns:
        At least `state_dict` (name to tensor), under which the weights of TAdaConv's code base (`model_state`) and of
        ConvNeXt's (`model`) stand, too; beside it what else the file holds but the optimizer's state: `hyper_parameters`,
        `meta`, `cfg`, averaged weights (`model_ema_state`) or the record `zoopraxis`.

    Raises:
        CheckpointError: If the file is missing, broken, holds no tensors by name, or names anything that could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    contents = _read_safetensors(path, map_location) if path.suffix == ".safetensors" else _read_torch(path, map_location)
    if not isinstance(contents, dict):
        raise CheckpointError(f"{path} holds a {type(contents).__name__}, not a table; give a file with a state_dict")
    holder = next((key for key in _WEIGHTS if isinstance(contents.get(key), Mapping)), None)
    weights = contents if holder is None else contents[holder]
    tensors = {name: value for name, value in weights.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors by name; give a file with a state_dict")
    extras = {} if holder is None else {k: v for k, v in contents.items() if k not in (holder, *_OPTIMIZERS)}
    return {**{str(key): _plain(value) for key, value in extras.items()}, "state_dict": tensors}


class FeatureNetworkError(CheckpointError):
    """A checkpoint holds a network of domain adaptation on features, which sees no clips."""


class LocalizationNetworkError(CheckpointError):
    """A checkpoint holds a network that finds actions in long videos, from features."""


def refuse_feature_network(archive: Mapping[str, Any], path: str | Path) -> None:
    """See that a checkpoint is of a network on clips.

    Args:
        archive: As `read_archive` gives it.
        path: For the message.

    Raises:
        FeatureNetworkError: If it is of one of adaptation on features, ours or a published TA3N.
        LocalizationNetworkError: If it is of one that finds actions in long videos, ours or a published BMN.
    """
    record, tensors = archive.get(RECORD_KEY), archive["state_dict"]
    ours = record if isinstance(record, Mapping) and "network" in record else {}
    if ours.get("task") == LOCALIZATION or (record is None and published_localization.is_published(tensors)):
        raise LocalizationNetworkError(
            f"{path} holds a network that finds actions in long videos from their features, and sees no frames; run it with "
            "zoopraxis test or zoopraxis localize, or load it with zoopraxis.load_localizer"
        )
    if ours or (record is None and is_published(tensors)):
        raise FeatureNetworkError(
            f"{path} holds a network of domain adaptation on features, which sees no frames; score features with "
            "zoopraxis test, or load it with zoopraxis.load_adaptation"
        )


def choose_weights(
    archive: Mapping[str, Any], path: str | Path, *, averaged: bool | None
) -> tuple[dict[str, torch.Tensor], str]:
    """The averaged or the last weights of a checkpoint.

    Args:
        archive: As `read_archive` gives it.
        path: For messages.
        averaged: None: the weights that the file gives by itself, which in ours are the averaged ones.

    Returns:
        The tensors by name, and words to add to what was found.

    Raises:
        CheckpointError: If averaged weights are wanted and there are none.
    """
    weights: dict[str, torch.Tensor] = archive["state_dict"]
    average, last = (
        {name: value for name, value in table.items() if isinstance(value, torch.Tensor)} if isinstance(table, Mapping) else {}
        for table in (archive.get(_PUBLISHED_AVERAGE), archive.get(_OUR_LAST))
    )
    has_both = any(name.startswith("ema.") for name in weights)
    if averaged and average:
        return average, f", its averaged weights ({_PUBLISHED_AVERAGE})"
    if averaged and not (last or has_both):
        raise CheckpointError(f"{path} holds no averaged weights; leave averaged out, or name a file that has them")
    if averaged is False and last:
        return last, f", its last weights ({_OUR_LAST})"
    if averaged is False and has_both:
        weights = {name: value for name, value in weights.items() if not name.startswith("ema.")}
    return weights, f"; its averaged weights ({_PUBLISHED_AVERAGE}) are left" if average else ""


def fetch(url: str, file_name: str) -> Path:
    """Download a checkpoint into torch's cache of checkpoints, unless it is there.

    A hash at the end of the URL's file name (mmaction2) is checked.

    Raises:
        CheckpointError: If it cannot be had.
    """
    target = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    if target.is_file():
        return target
    published_hash = re.search(r"-([0-9a-f]{8})\.pth$", url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), published_hash and published_hash[1], progress=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"cannot download {url}: {_reason(error)}; download it by other means and give the file, or put it at {target}"
        ) from error
    return target


class _Inert:
    """Stands for an object of a library: it keeps what it was made from and does nothing."""

    def __init__(self, *parts: Any) -> None:
        self.state: Any = parts

    def __new__(cls, *parts: Any) -> _Inert:
        inert = super().__new__(cls)
        inert.state = parts
        return inert

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _empty_table(*_: Any) -> dict[Any, Any]:
    """Stands for `collections.defaultdict`."""
    return {}


def _read_safetensors(path: Path, map_location: str | torch.device) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device=str(map_location)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        record = json.loads(metadata[RECORD_KEY]) if RECORD_KEY in metadata else None
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {_reason(error)}") from error
    return {"state_dict": tensors} | ({RECORD_KEY: record} if record is not None else {})


def _read_torch(path: Path, map_location: str | torch.device) -> Any:
    if _is_torchscript(path):
        return {name: tensor.to(map_location) for name, tensor in _read_modules(path).items()}
    try:
        with torch.serialization.safe_globals(_stand_ins(path)):
            return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(f"cannot read the checkpoint {path} safely: {_reason(error)}; nothing was run") from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {_reason(error)}; is the file whole?") from error


def _is_torchscript(path: Path) -> bool:
    """As torch tells it: such an archive has the constants of its code beside its data."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.rpartition("/")[2] for name in archive.namelist()} >= {"constants.pkl", "data.pkl"}
    except zipfile.BadZipFile:
        return False  # a broken archive, which torch refuses in words


def _read_modules(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a TorchScript archive's modules, by name."""
    try:
        modules = load_pickle(path)
    except DataError as error:
        raise CheckpointError(f"cannot read the TorchScript archive: {error}") from error
    return dict(_named_tensors(modules, "")) if isinstance(modules, Mapping) else {}


def _named_tensors(module: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in module.items():
        if isinstance(value, np.ndarray):
            yield f"{prefix}{name}", torch.from_numpy(value)
        elif isinstance(value, Mapping):
            yield from _named_tensors(value, f"{prefix}{name}.")


def _stand_ins(path: Path) -> list[Any]:
    """A stand-in for each object of a known library that the file names.

    Raises:
        CheckpointError: If it names anything else.
    """
    if not zipfile.is_zipfile(path):
        return []  # the format of torch before 1.6: only tensors and plain values are read
    stand_ins: list[Any] = []
    for name in torch.serialization.get_unsafe_globals_in_checkpoint(path):
        if name in _CONTAINERS:
            stand_ins.append((_CONTAINERS[name], name))
        elif name == "collections.defaultdict":
            stand_ins.append((_empty_table, name))
        elif name.endswith(".AttributeDict"):
            stand_ins.append((OrderedDict, name))
        elif name.partition(".")[0] in _INERT_PACKAGES:
            stand_ins.append((type("_Inert", (_Inert,), {}), name))
        else:
            raise CheckpointError(f"refused to read {path}: it names {name}, which could run code; nothing was run")
    return stand_ins


def _plain(value: Any) -> Any:
    """Tables, lists and single values behind OmegaConf's nodes; everything else as it is."""
    if isinstance(value, _Inert):
        state = value.state
        if isinstance(state, Mapping) and "_content" in state:
            return _plain(state["_content"])
        return _plain(state["_val"]) if isinstance(state, Mapping) and "_val" in state else value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _reason(error: Exception) -> str:
    """The first sentence of a message: torch's own go on with advice that is not ours."""
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0].rstrip(".") if lines else type(error).__name__
