"""Loading checkpoints: every layout, nothing run, nothing passed over, nothing guessed wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.models import Preprocessing, VideoModel, create_model, initialize, load_model, model_record

NUM_EPIC_CLASSES = 397
HYPER_PARAMETERS = {
    "modality": "RGB",
    "data": {
        "frame_count": 16,
        "segment_length": 1,
        "preprocessing": {"input_size": 112, "mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "bgr": False},
        "test_augmentation": {"rescale_size": 128},
    },
    "model": {"type": "TSM", "backbone": "resnet18", "dropout": 0.25, "partial_bn": False, "shift_div": 4},
}


class Malicious:
    """Would run a command when it is unpickled by an unrestricted reader."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, ("touch was_run",)


def _model(name: str = "tsm", **settings: Any) -> VideoModel:
    torch.manual_seed(0)
    model = create_model(name, **{"heads": {"label": 6}, "backbone": "resnet18", **settings}).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if tensor.ndim == 1 else tensor.normal_(0, 0.05)
    return model


def _epic_keys(model: VideoModel, *, prefix: str = "model.") -> dict[str, Tensor]:
    """The model's tensors as the EPIC baselines and TSM's authors name them."""
    hosts = model.backbone.hosts
    heads = {part: [c.get_parameter(part) for c in model.classifiers.values()] for part in ("weight", "bias")}
    state = {f"{prefix}new_fc.{part}": torch.cat(values).detach() for part, values in heads.items()}
    for key, tensor in model.backbone.network.state_dict().items():
        host = next((host for host in hosts if key.startswith(f"{host}.")), None)
        state[f"{prefix}base_model.{key if host is None else key.replace(host, f'{host}.net', 1)}"] = tensor
    return state


def _mmaction_keys(model: VideoModel) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for key, tensor in _epic_keys(model, prefix="").items():
        renamed = key.replace("base_model.", "backbone.").replace("new_fc", "cls_head.fc_cls")
        renamed = renamed.replace("downsample.0", "downsample.conv").replace("downsample.1", "downsample.bn")
        renamed = re.sub(r"\.conv(\d)(\.net)?\.weight", r".conv\1.conv\2.weight", renamed)
        state[re.sub(r"\.bn(\d)\.", r".conv\1.bn.", renamed)] = tensor
    return state


def _save(path: Path, state: Mapping[str, Tensor], **others: Any) -> Path:
    torch.save({"state_dict": dict(state), **others}, path)
    return path


def _assert_same(loaded: VideoModel, model: VideoModel) -> None:
    clip = torch.randn(1, 3, model.preprocessing.in_channels, 32, 32)
    assert not loaded.training
    for head, logits in model(clip).items():
        torch.testing.assert_close(loaded(clip)[head], logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["tsn", "tsm"])
def test_epic_checkpoints_tell_their_architecture(tmp_path: Path, name: str) -> None:
    model = _model(name, heads={"verb": 97, "noun": 300}, modality="flow", segment_length=5)
    loaded = load_model(_save(tmp_path / "epic.ckpt", _epic_keys(model), epoch=79))
    _assert_same(loaded, model)
    assert loaded.architecture["name"] == name
    assert loaded.heads == {"verb": 97, "noun": 300}
    assert loaded.preprocessing == Preprocessing.epic("flow", segment_length=5)


@pytest.mark.parametrize("as_omegaconf", [False, True])
def test_a_lightning_configuration_is_read_without_its_libraries(tmp_path: Path, as_omegaconf: bool) -> None:
    model = _model(heads={"verb": 97, "noun": 300}, shift_div=4)
    settings = OmegaConf.create(HYPER_PARAMETERS) if as_omegaconf else HYPER_PARAMETERS
    loaded = load_model(_save(tmp_path / "epic.ckpt", _epic_keys(model), hyper_parameters=settings))
    _assert_same(loaded, model)
    assert {"dropout": 0.25, "partial_bn": False, "shift_div": 4, "num_segments": 16}.items() <= loaded.architecture.items()
    assert loaded.preprocessing == Preprocessing(
        size=112, resize=128, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3), num_segments=16
    )


def test_weights_of_tsms_authors_load_by_module_prefix_and_have_imagenet_statistics(tmp_path: Path) -> None:
    model = _model(heads={"label": 400})
    loaded = load_model(_save(tmp_path / "tsm.pth", _epic_keys(model, prefix="module."), arch="resnet18", best_prec1=71.2))
    _assert_same(loaded, model)
    assert loaded.preprocessing == Preprocessing.imagenet()
    legacy = tmp_path / "legacy.pth"
    torch.save({"state_dict": _epic_keys(model, prefix="module.")}, legacy, _use_new_zipfile_serialization=False)
    _assert_same(load_model(legacy), model)


@pytest.mark.parametrize("name", ["tsn", "tsm"])
def test_mmaction2_checkpoints_load_and_ignore_normalization_constants(tmp_path: Path, name: str) -> None:
    model = _model(name, heads={"label": 174})
    state = _mmaction_keys(model) | {"data_preprocessor.mean": torch.zeros(3)}
    _assert_same(load_model(_save(tmp_path / "mm.pth", state, meta={"epoch": 50})), model)


@pytest.mark.parametrize("settings", [{"shift_place": "block"}, {"temporal_pool": True}])
def test_place_and_pool_are_told_from_the_wrappers(tmp_path: Path, settings: dict[str, Any]) -> None:
    model = _model(**settings)
    state = _epic_keys(model)
    if "temporal_pool" in settings:
        state = {key.replace("base_model.layer2.", "base_model.layer2.net."): tensor for key, tensor in state.items()}
    loaded = load_model(_save(tmp_path / "tsm.ckpt", state))
    _assert_same(loaded, model)
    assert settings.items() <= loaded.architecture.items()


def test_a_classifier_in_the_backbone_is_found(tmp_path: Path) -> None:
    model = _model("tsn")
    state = {key.replace("new_fc", "base_model.fc"): tensor for key, tensor in _epic_keys(model).items()}
    _assert_same(load_model(_save(tmp_path / "tsn.ckpt", state)), model)


def test_classes_are_cut_into_given_heads(tmp_path: Path) -> None:
    model = _model(heads={"a": 2, "b": 4})
    path = _save(tmp_path / "tsm.ckpt", _epic_keys(model))
    _assert_same(load_model(path, architecture={"heads": {"a": 2, "b": 4}}), model)
    with pytest.raises(CheckpointError, match=r"has 6 classes, but the heads \{'a': 2\} add up to another number"):
        load_model(path, architecture={"heads": {"a": 2}})


@pytest.mark.parametrize("has_average", [False, True])
def test_our_checkpoints_build_what_their_record_says(tmp_path: Path, has_average: bool) -> None:
    preprocessing = Preprocessing(mean=(0.5,), std=(0.5,), size=32, num_segments=4)
    model = _model("tsm", backbone="test_resnet", num_segments=4, preprocessing=preprocessing, shift_div=4)
    names = {"label": ["one", "two", "three", "four", "five", "six"]}
    record = json.loads(json.dumps(model_record(model, class_names=names, config={"seed": 1})))
    state = {f"model.{key}": tensor for key, tensor in model.state_dict().items()}
    if has_average:
        state = {key: tensor + 1 for key, tensor in state.items()} | {
            key.replace("model.", "ema.", 1): tensor for key, tensor in state.items()
        }
    loaded = load_model(_save(tmp_path / "last.ckpt", state, zoopraxis=record, optimizer_states=[{}]))
    _assert_same(loaded, model)
    assert loaded.preprocessing == preprocessing
    assert loaded.class_names["label"][1] == "two"
    assert loaded.architecture == model.architecture
    assert loaded.record["config"] == {"seed": 1}


def _biases(model: VideoModel) -> list[Tensor]:
    return [parameter for name, parameter in model.named_parameters() if name.startswith("classifiers.")]


def _plus(state: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    return {key: tensor + number for key, tensor in state.items()}


@pytest.mark.parametrize(("averaged", "number"), [(None, 1), (True, 1), (False, 2)])
@pytest.mark.parametrize("layout", ["ema", "current_model_state"])
def test_averaged_or_last_weights_are_taken_from_checkpoints_of_ours(
    tmp_path: Path, layout: str, averaged: bool | None, number: int
) -> None:
    model = _model(backbone="test_resnet")
    state = {f"model.{key}": tensor for key, tensor in model.state_dict().items()}
    average, last, record = _plus(state, 1), _plus(state, 2), model_record(model)
    if layout == "ema":
        both = {**last, **{key.replace("model.", "ema.", 1): tensor for key, tensor in average.items()}}
        path = _save(tmp_path / "last.ckpt", both, zoopraxis=record)
    else:
        path = _save(tmp_path / "last.ckpt", average, zoopraxis=record, current_model_state=last)
    loaded = load_model(path, averaged=averaged)
    for found, plain in zip(_biases(loaded), _biases(model), strict=True):
        assert torch.equal(found, plain + number)


@pytest.mark.parametrize(
    ("averaged", "number", "words"),
    [
        (None, 0, "; its averaged weights (model_ema_state) are left"),
        (False, 0, "; its averaged weights (model_ema_state) are left"),
        (True, 1, ", its averaged weights (model_ema_state)"),
    ],
)
def test_averaged_or_last_weights_are_taken_from_published_checkpoints(
    tmp_path: Path, averaged: bool | None, number: int, words: str
) -> None:
    model = _model(backbone="test_resnet")
    record = model_record(model)
    path = tmp_path / "published.pyth"
    state = dict(model.state_dict())
    torch.save({"model_state": state, "model_ema_state": _plus(state, 1), "zoopraxis": record}, path)
    loaded = load_model(path, averaged=averaged)
    for found, plain in zip(_biases(loaded), _biases(model), strict=True):
        assert torch.equal(found, plain + number)
    assert loaded.record["found"].endswith(words)


def test_averaged_weights_that_are_not_there_are_missed(tmp_path: Path) -> None:
    model = _model(backbone="test_resnet")
    path = _save(tmp_path / "last.ckpt", dict(model.state_dict()), zoopraxis=model_record(model))
    wanted = r"last\.ckpt holds no averaged weights; leave averaged out, or name a file that has them"
    with pytest.raises(CheckpointError, match=wanted):
        load_model(path, averaged=True)
    _assert_same(load_model(path, averaged=False), model)


def test_safetensors_files_load_with_their_record(tmp_path: Path) -> None:
    model = _model(backbone="test_resnet")
    path = tmp_path / "model.safetensors"
    save_file(model.state_dict(), path, metadata={"zoopraxis": json.dumps(model_record(model))})
    _assert_same(load_model(path), model)
    path.write_bytes(b"no header")
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*model.safetensors"):
        load_model(path)


def test_a_checkpoint_that_would_run_code_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = _epic_keys(_model())
    with pytest.raises(CheckpointError, match=r"refused to read .*: it names \w+.system, which could run code"):
        load_model(_save(tmp_path / "bad.ckpt", state, callbacks=Malicious()))
    torch.save({"state_dict": state, "x": Malicious()}, "bad.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint bad.pth safely: .*; nothing was run"):
        load_model("bad.pth")
    assert not (tmp_path / "was_run").exists()


def test_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"there is no checkpoint nowhere.ckpt, and no published weights have that name; check the path, or list",
    ):
        load_model("nowhere.ckpt")
    with pytest.raises(CheckpointError, match=r"did you mean 'tsm_resnet50.epic100_rgb'"):
        load_model("tsm_resnet50.epic100_rbg")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"run is a folder, not a checkpoint; name a checkpoint file"):
        load_model(tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(
        CheckpointError, match=r"run is a folder, not a checkpoint; name the file, e.g. .*checkpoints/last.ckpt"
    ):
        load_model(tmp_path / "run")
    whole = _save(tmp_path / "whole.ckpt", _epic_keys(_model())).read_bytes()
    for name, content in (("cut.ckpt", whole[: len(whole) // 2]), ("empty.ckpt", b""), ("text.ckpt", b"no checkpoint at all")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"cannot read the checkpoint .*{name}"):
            load_model(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match=r"list.ckpt holds a list, not a table"):
        load_model(tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="holds no tensors by name"):
        load_model(_save(tmp_path / "none.ckpt", {}))


def _remove(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    del state[f"model.base_model.{key}"]
    return state


FOUND = r"it holds a TSM network \(resnet18\); name the right model and backbone"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s | {"model.extra.weight": torch.zeros(1)},
            rf"of another architecture than a TSM network \(resnet18, 8 segments\): "
            rf"1 key is not the network's \(extra.weight\); {FOUND}",
        ),
        (
            lambda s: s | {"model.base_model.layer1.0.tam.G.0.weight": torch.zeros(1)},
            r"1 key is not the network's \(base_model.layer1.0.tam.G.0.weight\)",
        ),
        (lambda s: _remove(s, "bn1.bias"), rf"1 key is missing \(backbone.network.bn1.bias\); {FOUND}"),
        (
            lambda s: s | {"model.base_model.bn1.bias": torch.zeros(3), "model.base_model.bn1.weight": torch.zeros(3)},
            rf"base_model.bn1.weight is \(3,\) where \(64,\) is needed, and 1 more have another shape; {FOUND}",
        ),
        (
            lambda s: {key.replace("layer1.0.conv1.net", "layer1.0.conv1"): tensor for key, tensor in s.items()},
            r"shifts before 7 layers, a TSM network \(resnet18, 8 segments\) before 8; they differ at layer1.0.conv1",
        ),
        (lambda s: {k.replace("layer3", "layer9"): v for k, v in s.items()}, "cannot tell the backbone of .*no known ResNet"),
        (
            lambda s: {k: v for k, v in s.items() if "new_fc" not in k} | {"model.consensus.fc.weight": torch.zeros(2)},
            "has no classifier that a model of ours could use, but has consensus.fc.weight",
        ),
    ],
)
def test_another_architecture_is_refused_with_the_keys_that_disagree(tmp_path: Path, change: Any, message: str) -> None:
    path = _save(tmp_path / "other.ckpt", change(_epic_keys(_model())))
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_given_architecture_must_be_the_files(tmp_path: Path) -> None:
    path = _save(tmp_path / "tsm.ckpt", _epic_keys(_model()))
    with pytest.raises(
        CheckpointError, match=r"holds a TSM network \(resnet18\) in the layout of the EPIC baselines, not a TSN network"
    ):
        load_model(path, architecture="tsn")
    with pytest.raises(CheckpointError, match=r"is of another architecture than .* keys are missing"):
        load_model(path, architecture={"backbone": "resnet34"})
    with pytest.raises(ConfigError, match="unknown model 'tsx'"):
        load_model(_save(tmp_path / "ours.ckpt", _model().state_dict()), architecture="tsx")
    with pytest.raises(CheckpointError, match=r"ours.ckpt has no record of its architecture; give it"):
        load_model(tmp_path / "ours.ckpt")
    record = {"model": {"name": "nope", "heads": {"a": 1}}, "preprocessing": {}}
    path = _save(tmp_path / "bad.ckpt", _model().state_dict(), zoopraxis=record)
    with pytest.raises(CheckpointError, match="describes a model that cannot be built: unknown model 'nope'"):
        load_model(path)
    with pytest.raises(CheckpointError, match="has a record that does not describe a model"):
        load_model(_save(tmp_path / "bad.ckpt", _model().state_dict(), zoopraxis=["tsm"]))


def test_training_starts_from_weights_whose_heads_differ(tmp_path: Path) -> None:
    source = _model(heads={"label": 400})
    path = _save(tmp_path / "kinetics.pth", _epic_keys(source, prefix="module."))
    model = create_model("tsm", heads={"verb": 97, "noun": 300}, backbone="resnet18")
    kept = initialize(model, path)
    assert kept == [f"classifiers.{head}.{part}" for head in ("verb", "noun") for part in ("weight", "bias")]
    network = model.backbone.network.state_dict()
    assert all(torch.equal(network[key], tensor) for key, tensor in source.backbone.network.state_dict().items())
    same = create_model("tsm", heads={"label": 400}, backbone="resnet18")
    assert initialize(same, path) == []


def test_training_starts_from_an_image_network_widened_for_flow(tmp_path: Path) -> None:
    image = _model("tsn").backbone.network.state_dict()
    path = tmp_path / "resnet18.pth"
    torch.save(image | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, path)
    model = create_model("tsm", heads={"label": 6}, backbone="resnet18", modality="flow", segment_length=5)
    assert initialize(model, path) == ["classifiers.label.weight", "classifiers.label.bias"]
    torch.testing.assert_close(model.backbone.network.conv1.weight[:, 9], image["conv1.weight"].mean(1))
    with pytest.raises(CheckpointError, match="holds an image network or is of another architecture"):
        load_model(path)
    other = create_model("tsm", heads={"label": 6}, backbone="resnet34")
    with pytest.raises(CheckpointError, match=r"is of another architecture than .* keys are missing"):
        initialize(other, path)


def test_published_names_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    model = _model(backbone="resnet50", heads={"verb": 97, "noun": 300})
    fetched: list[str] = []

    def download(url: str, target: str, *_: Any, **__: Any) -> None:
        fetched.append(url)
        _save(Path(target), _epic_keys(model))

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        loaded = load_model("tsm_resnet50.epic100_rgb")
    _assert_same(loaded, model)
    assert fetched == ["https://www.dropbox.com/s/5yxnzubch7b6niu/tsm_rgb.ckpt?dl=1"]
    assert loaded.preprocessing == Preprocessing.epic("rgb")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(CheckpointError, match=r"cannot download https://x.org/a.pth: no route to host; download it by"):
        load_model("https://x.org/a.pth")
