"""Loading networks: published checkpoints and ours, by file, URL or name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from zoopraxis.backbones.image import ImageBackbone, first_convolution, inflate_kernel
from zoopraxis.errors import CheckpointError, ConfigError, did_you_mean
from zoopraxis.models.archives import RECORD_KEY, fetch, read_archive
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import create_model, load_families
from zoopraxis.models.inference import infer_architecture, infer_preprocessing
from zoopraxis.models.key_layouts import NETWORK, MappedWeights, map_keys, split_classifier
from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.models.weights import WEIGHTS, PublishedWeights

__all__ = ["initialize", "load_model", "model_record"]

Architecture = str | Mapping[str, Any]


def load_model(
    source: str | Path, *, architecture: Architecture | None = None, map_location: str | torch.device = "cpu"
) -> VideoModel:
    """Load a network with its weights and its preprocessing.

    Read are checkpoints of ours, of the EPIC-KITCHENS-100 baselines (Lightning) and TSM's authors, and of mmaction2; tensors
    only, nothing in the file is run. Every key must be used or stand in `key_layouts.IGNORED`.

    Args:
        source: A file, a URL, or a name in `WEIGHTS` (`zoopraxis models` lists them).
        architecture: What is known of a published file: a name in `MODELS`, the name of published weights, or arguments of
            `create_model`. What is missing is told from keys, shapes and the configuration in the file. Keys do not tell
            `num_segments`, `shift_div` or how the classes belong to heads (397 are taken as 97 verbs and 300 nouns).
        map_location: The device of the network.

    Returns:
        The network in evaluation mode, with `preprocessing`, `class_names`, `heads`, `architecture` and `record` (what
        `model_record` gave when the file was written, or gives now for a published file, which has no `config`).

    Raises:
        CheckpointError: If the source is missing, broken or unsafe, or is of another architecture.
        ConfigError: If `architecture` names something unknown.
    """
    load_families()
    path, published = _locate(source)
    archive = read_archive(path, map_location=map_location)
    mapped = map_keys(archive["state_dict"])
    given = _given(architecture, published)
    if RECORD_KEY in archive:
        model, record = _build_recorded(archive[RECORD_KEY], given, path)
    else:
        model = _build_inferred(mapped, archive, given, published, path)
        record = model_record(model)
    _load_strictly(model, mapped, path)
    if mapped.layout != "zoopraxis":
        _check_hosts(model, mapped, path)
    model.record = record
    return model.to(map_location).eval()


def initialize(model: VideoModel, source: str | Path) -> list[str]:
    """Start a network from other weights: its own architecture's or the plain image network's.

    The backbone must fit; of the heads those of the same name and width are taken. A first convolution of 3 channels is widened
    for flow by the mean of its kernel.

    Args:
        model: Changed in place.
        source: As for `load_model`; also weights of the image network alone, in timm's or torchvision's keys.

    Returns:
        Names of the model's tensors that kept their values: heads of other widths, parameters of new temporal modules.

    Raises:
        CheckpointError: If the source is missing, broken or unsafe, or its backbone is another.
    """
    load_families()
    path, _ = _locate(source)
    mapped = map_keys(read_archive(path)["state_dict"])
    joint = mapped.tensors.get("classifier.weight")
    fits = joint is not None and joint.shape[0] == sum(model.heads.values())
    tensors = split_classifier(mapped, model.heads) if fits else dict(mapped.tensors)
    expected = model.state_dict()
    _widen(model, tensors)
    taken = {
        key: tensor
        for key, tensor in tensors.items()
        if key.startswith(NETWORK) or (key in expected and expected[key].shape == tensor.shape)
    }
    may_stay = {key for key in expected if not key.startswith(NETWORK) or ".temporal." in key}
    _refuse_misfit(expected, taken, mapped, path, may_stay=may_stay)
    model.load_state_dict(taken, strict=False)
    return [key for key in expected if key not in taken]


def model_record(
    model: VideoModel, *, class_names: Mapping[str, Sequence[str]] | None = None, config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a checkpoint of ours keeps under the key `zoopraxis`, beside `state_dict`: plain values, as JSON has them.

    Args:
        model: Made by `create_model`.
        class_names: For each head the names of its classes; none: the model's own.
        config: The composed configuration of the run.
    """
    names = class_names or model.class_names
    return {
        "model": dict(model.architecture),
        "preprocessing": model.preprocessing.to_dict(),
        "class_names": {head: list(values) for head, values in names.items()},
        "config": dict(config) if config is not None else None,
    }


def _locate(source: str | Path) -> tuple[Path, PublishedWeights | None]:
    name = str(source)
    if name in WEIGHTS.names():
        published = WEIGHTS.get(name)
        return fetch(published.url, f"{name}{Path(urlsplit(published.url).path).suffix}"), published
    if name.startswith(("http://", "https://")):
        return fetch(name, Path(urlsplit(name).path).name), None
    if not Path(source).is_file():
        raise CheckpointError(
            f"there is no checkpoint {name}, and no published weights have that name; {did_you_mean(name, WEIGHTS.names())}"
        )
    return Path(source), None


def _given(architecture: Architecture | None, published: PublishedWeights | None) -> dict[str, Any]:
    """Arguments of `create_model` that are known before the file is read."""
    given = dict(published.model) if published is not None else {}
    if isinstance(architecture, str):
        return given | (dict(WEIGHTS.get(architecture).model) if "." in architecture else {"name": architecture})
    return given | dict(architecture or {})


def _build_recorded(record: Any, given: Mapping[str, Any], path: Path) -> tuple[VideoModel, dict[str, Any]]:
    """The network that a checkpoint of ours describes."""
    if not isinstance(record, Mapping) or not isinstance(record.get("model"), Mapping):
        raise CheckpointError(f"{path} has a record that does not describe a model; was it written by `zoopraxis train`?")
    try:
        preprocessing = Preprocessing.from_dict(record["preprocessing"])
        model = create_model(**{**record["model"], **given}, preprocessing=preprocessing)
    except (ConfigError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} describes a model that cannot be built: {error}") from error
    names = record.get("class_names")
    if names:
        model.class_names = {head: tuple(values) for head, values in names.items()}
    return model, dict(record)


def _build_inferred(
    mapped: MappedWeights, archive: Mapping[str, Any], given: Mapping[str, Any], published: PublishedWeights | None, path: Path
) -> VideoModel:
    """The network of a published checkpoint."""
    settings = archive.get("hyper_parameters")
    settings = settings if isinstance(settings, Mapping) else {}
    arguments = infer_architecture(mapped, given=given, settings=settings, path=path)
    preprocessing = published.preprocessing if published else infer_preprocessing(mapped, arguments, settings)
    return create_model(**arguments, preprocessing=preprocessing)


def _load_strictly(model: VideoModel, mapped: MappedWeights, path: Path) -> None:
    tensors = split_classifier(mapped, model.heads)
    _refuse_misfit(model.state_dict(), tensors, mapped, path, may_stay=set())
    model.load_state_dict(tensors, strict=False)


def _check_hosts(model: VideoModel, mapped: MappedWeights, path: Path) -> None:
    """Raise if the published network shifts before other layers than ours."""
    wrapped = mapped.wrapped - {"layer2"}
    hosts = set(_image_backbone(model).hosts)
    if wrapped != hosts:
        raise CheckpointError(
            f"{path} is of another architecture: it shifts before {len(wrapped)} layers, {model.architecture['name']} on "
            f"{model.architecture['backbone']} before {len(hosts)}; they differ at {min(wrapped ^ hosts)}"
        )


def _refuse_misfit(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], mapped: MappedWeights, path: Path, *, may_stay: set[str]
) -> None:
    """Raise if a key is left over, missing or of another shape. Counters of batch norms may be missing (old files)."""
    foreign = [*mapped.unknown, *(mapped.original.get(key, key) for key in tensors if key not in expected)]
    missing = [
        key for key in expected if key not in tensors and key not in may_stay and not key.endswith("num_batches_tracked")
    ]
    misshapen = [
        f"{mapped.original.get(key, key)} is {tuple(tensor.shape)} where {tuple(expected[key].shape)} is needed"
        for key, tensor in tensors.items()
        if key in expected and tensor.shape != expected[key].shape
    ]
    complaints = [
        f"{len(keys)} keys {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (("are not the network's", foreign), ("are missing", missing), ("have another shape", misshapen))
        if keys
    ]
    if complaints:
        raise CheckpointError(f"{path} is of another architecture: {'; '.join(complaints)}; name the right model and backbone")


def _widen(model: VideoModel, tensors: dict[str, Tensor]) -> None:
    """Bring the first convolution's kernel to the network's number of input channels."""
    name, convolution = first_convolution(_image_backbone(model).network)
    key = f"{NETWORK}{name}.weight"
    kernel = tensors.get(key)
    if kernel is not None and kernel.ndim == 4 and kernel.shape[1] == 3 != convolution.in_channels:
        tensors[key] = inflate_kernel(kernel, convolution.in_channels)


def _image_backbone(model: VideoModel) -> ImageBackbone:
    backbone = model.backbone
    assert isinstance(backbone, ImageBackbone)
    return backbone
