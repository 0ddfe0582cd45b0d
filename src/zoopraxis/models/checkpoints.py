"""Loading networks: published checkpoints and ours, by file, URL or name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from zoopraxis.backbones.image import ImageBackbone, first_convolution, inflate_kernel
from zoopraxis.errors import CheckpointError, ConfigError, did_you_mean
from zoopraxis.files import write_bytes
from zoopraxis.models.archives import RECORD_KEY, choose_weights, fetch, read_archive, refuse_feature_network
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import MODELS, ModelKind, create_model, load_families
from zoopraxis.models.inference import describe, title
from zoopraxis.models.key_layouts import NETWORK, MappedWeights, PublishedFile, map_keys, split_classifier
from zoopraxis.models.misfits import refuse_length, refuse_misfit, refuse_other_module, refuse_other_places
from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.models.weights import WEIGHTS, PublishedWeights

__all__ = ["initialize", "load_model", "locate", "model_record", "save_model"]

Architecture = str | Mapping[str, Any]


def _is_heads(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, int) for k, v in value.items())


_TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: isinstance(value, str), "a model's name"),
    "backbone": (lambda value: isinstance(value, str), "a network's name, e.g. resnet50"),
    "heads": (_is_heads, "a table of numbers of classes, e.g. {verb: 97, noun: 300}"),
    "num_segments": (lambda value: isinstance(value, int), "a whole number"),
    "segment_length": (lambda value: isinstance(value, int), "a whole number"),
    "dropout": (lambda value: isinstance(value, int | float), "a number"),
}
"""What callers give, often as text: argument of `create_model` to its test and its type in words."""


def load_model(
    source: str | Path,
    *,
    architecture: Architecture | None = None,
    averaged: bool | None = None,
    map_location: str | torch.device = "cpu",
) -> VideoModel:
    """Load a network with its weights and its preprocessing.

    Read are checkpoints of ours and of every layout in `key_layouts.LAYOUTS`: of the EPIC-KITCHENS-100 baselines (Lightning),
    of TSM's and TANet's authors, of mmaction2 and of TAdaConv's authors; tensors only, nothing in the file is run. Every key
    must be used or stand in `key_layouts.IGNORED`. Of a file that has both averaged and last weights, ours give the averaged
    ones, which validation saw, and those of TAdaConv's authors the last; `averaged` chooses otherwise.

    Args:
        source: A file, a URL, or a name in `WEIGHTS` (`zoopraxis models` lists them).
        architecture: What is known of a published file: a name in `MODELS`, the name of published weights, or arguments of
            `create_model`. What is missing is told from keys, shapes and the configuration in the file. Keys do not tell
            `num_segments` (but of TRN and TANet), `shift_div` or how the classes belong to heads (397 are taken as 97 verbs and
            300 nouns).
        averaged: Take the moving average of the weights (true) or the last (false); none: see above.
        map_location: The device of the network.

    Returns:
        The network in evaluation mode, with `preprocessing`, `class_names`, `heads`, `architecture` and `record`: what
        `model_record` gave when the file was written, or gives now for a published file, which has no `config`; `found`, the
        network and its layout in words; and of published weights that are named `evaluation`, how they were tested.

    Raises:
        CheckpointError: If the source is missing, broken or unsafe, has no averaged weights where they are wanted, or is of
            another architecture; the message names what the file holds and the first keys and shapes that do not fit.
        ConfigError: If `architecture` names something unknown.
    """
    load_families()
    path, published = locate(source)
    if isinstance(architecture, str) and "." in architecture:
        published, architecture = WEIGHTS.get(architecture), None
    archive = read_archive(path, map_location=map_location)
    refuse_feature_network(archive, path)
    tensors, which = choose_weights(archive, path, averaged=averaged)
    mapped = map_keys(tensors, is_ours=RECORD_KEY in archive)
    given = _given(architecture, published)
    if RECORD_KEY in archive:
        model, record = _build_recorded(archive[RECORD_KEY], given, path)
    else:
        model = _build_inferred(mapped, archive, given, published, path)
        record = model_record(model)
    _load_strictly(model, mapped, path)
    found = f"{describe(model.architecture)} in the layout of {mapped.layout.publisher}{which}"
    model.record = {**record, "found": found}
    if published is not None:
        model.record["evaluation"] = dataclasses.asdict(published.evaluations[0])
    return model.to(map_location).eval()


def initialize(model: VideoModel, source: str | Path, *, is_backbone_only: bool = False) -> list[str]:
    """Start a network from other weights: its own architecture's or the plain image network's.

    The backbone must fit; of the heads those of the same name and width are taken. A first convolution of 3 channels is widened
    for flow by the mean of its kernel.

    Args:
        model: Changed in place.
        source: As for `load_model`; also weights of the image network alone, in timm's or torchvision's keys, or of the one
            that a network over whole clips is expanded from.
        is_backbone_only: Take nothing but the backbone of an image network's model, whatever stood behind it.

    Returns:
        Names of the model's tensors that kept their values: heads of other widths, parameters of new temporal modules.

    Raises:
        CheckpointError: If the source is missing, broken or unsafe, or its backbone, temporal module or number of frames (where
            a module is tied to it) is another.
    """
    load_families()
    path, _ = locate(source)
    archive = read_archive(path)
    refuse_feature_network(archive, path)
    mapped = map_keys(archive["state_dict"], is_ours=RECORD_KEY in archive)
    if is_backbone_only:
        body = {key: tensor for key, tensor in mapped.tensors.items() if key.startswith(NETWORK)}
        mapped = dataclasses.replace(mapped, tensors=body)
    expected = model.state_dict()
    kind = MODELS.get(model.architecture["name"])
    if kind.variants and mapped.layout.name == "image":
        taken = _expand(model, kind, mapped, path)
        may_stay = expected.keys() - taken.keys()
    else:
        taken = _own_weights(model, kind, mapped, archive, path)
        may_stay = {key for key in expected if not _is_body(key, kind) or ".temporal." in key}
    refuse_misfit(model, taken, mapped, path, may_stay=may_stay)
    model.load_state_dict(taken, strict=False)
    return [key for key in expected if key not in taken]


def _expand(model: VideoModel, kind: ModelKind, mapped: MappedWeights, path: Path) -> dict[str, Tensor]:
    """Initial weights of a network over whole clips from an image network's."""
    if kind.expand is None:
        raise CheckpointError(
            f"{path} holds an image network, from which {kind.title} cannot start; name weights of {kind.title} or none"
        )
    try:
        return kind.expand(model, {key.removeprefix(NETWORK): tensor for key, tensor in mapped.tensors.items()})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _own_weights(
    model: VideoModel, kind: ModelKind, mapped: MappedWeights, archive: Mapping[str, Any], path: Path
) -> dict[str, Tensor]:
    """The tensors of a file of the network's own kind that it can take: its whole body, and the heads that fit."""
    record = archive.get(RECORD_KEY)
    refuse_other_module(model, mapped, record.get("model") if isinstance(record, Mapping) else None, path)
    joint = mapped.tensors.get("classifier.weight")
    fits = joint is not None and joint.shape[0] == sum(model.heads.values())
    tensors = split_classifier(mapped, model.heads) if fits else dict(mapped.tensors)
    if kind.adapt is not None:
        tensors = kind.adapt(model, tensors)
    else:
        refuse_length(model, mapped, path)
    if not kind.variants:
        _widen(model, tensors)
    expected = model.state_dict()
    return {
        key: tensor
        for key, tensor in tensors.items()
        if _is_body(key, kind) or (key in expected and expected[key].shape == tensor.shape)
    }


def _is_body(key: str, kind: ModelKind) -> bool:
    return key.startswith("backbone." if kind.variants else NETWORK)


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


def save_model(model: VideoModel, path: str | Path) -> Path:
    """Write a network's weights with its record: a file from which `load_model` gives the same scores.

    The file appears whole or not at all. A training can start from it (`model.weights`) but not go on
    with it, for want of the optimizer's state.

    Args:
        model: Made by `create_model` or `load_model`.
        path: A `.safetensors` file; it is overwritten.

    Returns:
        The path.

    Raises:
        CheckpointError: If the suffix is another, or the model does not know its architecture.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: weights are written as .safetensors; try {path.with_suffix('.safetensors')}")
    if not model.architecture:
        raise CheckpointError(
            "the model does not know its architecture, so that nobody could load it; build it by create_model"
        )
    from safetensors.torch import save

    record = model_record(model, config=model.record.get("config"))
    if "evaluation" in model.record:
        record["evaluation"] = model.record["evaluation"]
    tensors = {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for key, tensor in model.state_dict().items()
    }
    write_bytes(path, save(tensors, metadata={RECORD_KEY: json.dumps(record), "format": "pt"}))
    return path


def locate(source: str | Path) -> tuple[Path, PublishedWeights | None]:
    """The file of a checkpoint, fetched if it is a URL or a name of published weights, and what is known of the latter.

    Raises:
        CheckpointError: If there is none, or it cannot be had.
    """
    name = str(source)
    if name in WEIGHTS.names():
        published = WEIGHTS.get(name)
        if not published.url:
            raise CheckpointError(
                f"a program cannot fetch {name}; download it by hand from {published.page} and give the file's path instead"
            )
        return fetch(published.url, f"{name}{Path(urlsplit(published.url).path).suffix}"), published
    if name.startswith(("http://", "https://")):
        return fetch(name, Path(urlsplit(name).path).name), None
    if not Path(source).is_file():
        raise CheckpointError(_missing(Path(source), name))
    return Path(source), None


def _missing(path: Path, name: str) -> str:
    """What to say where neither a file nor published weights have a name."""
    if path.is_dir():
        inside = sorted(path.rglob("*.ckpt"))
        cure = f"name the file, e.g. {inside[-1]}" if inside else "name a checkpoint file"
        return f"{name} is a folder, not a checkpoint; {cure}"
    near = did_you_mean(name, WEIGHTS.names())
    cure = "check the path, or list the names with: zoopraxis models" if near.startswith(("known", "none")) else near
    return f"there is no checkpoint {name}, and no published weights have that name; {cure}"


def _given(architecture: Architecture | None, published: PublishedWeights | None) -> dict[str, Any]:
    """Arguments of `create_model` that are known before the file is read.

    Raises:
        ConfigError: If one is of the wrong type, or the model or the published weights are unknown.
    """
    given = dict(published.model) if published is not None else {}
    given |= {"name": architecture} if isinstance(architecture, str) else dict(architecture or {})
    for name, value in given.items():
        fits, wanted = _TYPES.get(name, (lambda _: True, ""))
        if not fits(value):
            raise ConfigError(f"the architecture's {name} ({value!r}) must be {wanted}")
    if "name" in given:
        MODELS.get(given["name"])
    return given


def _build_recorded(record: Any, given: Mapping[str, Any], path: Path) -> tuple[VideoModel, dict[str, Any]]:
    """The network that a checkpoint of ours describes."""
    if not isinstance(record, Mapping) or not isinstance(record.get("model"), Mapping):
        raise CheckpointError(f"{path} has a record that does not describe a model; was it written by `zoopraxis train`?")
    arguments = {**record["model"], **given}
    if arguments["name"] != record["model"].get("name"):
        raise CheckpointError(
            f"{path} holds {describe(record['model'])}, not a {title(arguments['name'])} network; "
            "name a checkpoint of one, or leave the name out"
        )
    try:
        preprocessing = Preprocessing.from_dict(record["preprocessing"])
        model = create_model(**arguments, preprocessing=_with_length(preprocessing, arguments))
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
    layout = mapped.layout
    file = PublishedFile(path, mapped, layout.settings(archive, path), given)
    arguments = layout.infer(file)
    preprocessing = published.preprocessing if published else layout.preprocess(file, arguments)
    return create_model(**arguments, preprocessing=_with_length(preprocessing, arguments))


def _with_length(preprocessing: Preprocessing, arguments: Mapping[str, Any]) -> Preprocessing:
    """For clips of as many frames as the network's arguments say."""
    return dataclasses.replace(preprocessing, num_segments=arguments.get("num_segments", preprocessing.num_segments))


def _load_strictly(model: VideoModel, mapped: MappedWeights, path: Path) -> None:
    tensors = split_classifier(mapped, model.heads)
    refuse_length(model, mapped, path)
    refuse_misfit(model, tensors, mapped, path)
    if mapped.layout.has_wrappers:
        refuse_other_places(model, _image_backbone(model).hosts, mapped, path)
    model.load_state_dict(tensors, strict=False)


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
