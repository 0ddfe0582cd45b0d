"""Checkpoints of TRN, TANet and TAda2D in every published layout: recognized, loaded strictly, refused in one line."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.errors import CheckpointError
from zoopraxis.models import (
    WEIGHTS,
    Preprocessing,
    VideoModel,
    create_model,
    initialize,
    load_model,
    model_record,
    save_model,
)
from zoopraxis.models.key_layouts import LAYOUTS, enter_layout, map_keys

NETWORK = "backbone.network."
LETTERS = {"1": "a", "2": "b", "3": "c"}
NARROW: dict[str, Any] = {"backbone": "resnet26", "backbone_args": {"channels": (8, 16, 32, 64)}}
CFG = {
    "DATA": {
        "NUM_INPUT_FRAMES": 4,
        "SAMPLING_MODE": "interval_based",
        "SAMPLING_RATE": 5,
        "TARGET_FPS": 60,
        "TEST_SCALE": 64,
        "TEST_CROP_SIZE": 48,
        "MEAN": [0.4, 0.5, 0.6],
        "STD": [0.1, 0.2, 0.3],
    },
    "VIDEO": {"HEAD": {"DROPOUT_RATE": 0.25}, "BACKBONE": {"BRANCH": {"POOL_K": [3, 1, 1]}}},
    "BN": {"EPS": 1e-05},
}


def _model(name: str, **settings: Any) -> VideoModel:
    """A model of random weights that no initial value equals; a narrow one, so that keys cannot tell its backbone."""
    torch.manual_seed(0)
    settings = {"heads": {"label": 6}, "num_segments": 4, **({} if "backbone" in settings else NARROW), **settings}
    model = create_model(name, **settings).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.0) if tensor.ndim == 1 else tensor.normal_(0, 0.05)
    return model


def _heads(model: VideoModel, name: str) -> dict[str, Tensor]:
    parts = {part: [c.get_parameter(part) for c in model.classifiers.values()] for part in ("weight", "bias")}
    return {f"{name}.{part}": torch.cat(tensors).detach() for part, tensors in parts.items()}


def _network(model: VideoModel) -> dict[str, Tensor]:
    return dict(model.backbone.network.state_dict())


def _mmaction_layer(key: str) -> str:
    renamed = key.replace("downsample.0", "downsample.conv").replace("downsample.1", "downsample.bn")
    return re.sub(r"bn(\d)\.", r"conv\1.bn.", re.sub(r"conv(\d)\.weight", r"conv\1.conv.weight", renamed))


def _tanet_keys(model: VideoModel) -> dict[str, Tensor]:
    state = {f"module.{key}": tensor for key, tensor in _heads(model, "new_fc").items()}
    for key, tensor in _network(model).items():
        block, _, rest = key.partition(".conv2.temporal.")
        renamed = f"{block}.tam.{rest}" if rest else re.sub(r"^(layer\d\.\d)", r"\1.net", key)
        state[f"module.base_model.{renamed}"] = tensor
    return state


def _mmaction_tanet_keys(model: VideoModel) -> dict[str, Tensor]:
    state = _heads(model, "cls_head.fc_cls")
    for key, tensor in _network(model).items():
        block, _, rest = key.partition(".conv2.temporal.")
        renamed = f"{block}.tam.{rest}" if rest else _mmaction_layer(re.sub(r"^(layer\d\.\d)", r"\1.block", key))
        state[f"backbone.{renamed}"] = tensor
    return state | {"data_preprocessor.mean": torch.zeros(3)}


def _trn_keys(model: VideoModel) -> dict[str, Tensor]:
    state = {f"model.base_model.{key}": tensor for key, tensor in _network(model).items()}
    for key, tensor in model.state_dict().items():
        if not key.startswith(NETWORK):
            renamed = key.replace("projection.", "new_fc.").replace("relation.", "consensus.")
            state[f"model.{renamed}"] = tensor
    return state


def _mmaction_trn_keys(model: VideoModel) -> dict[str, Tensor]:
    state = {f"backbone.{_mmaction_layer(key)}": tensor for key, tensor in _network(model).items()}
    for key, tensor in model.state_dict().items():
        if not key.startswith(NETWORK):
            renamed = key.replace("projection.", "fc_cls.").replace("relation.", "consensus.")
            state[f"cls_head.{renamed}"] = tensor
    return state


def _tada2d_keys(model: VideoModel) -> dict[str, Tensor]:
    heads = list(model.heads)
    names = {heads[0]: "head.out"} if len(heads) == 1 else {"verb": "head.linear1", "noun": "head.linear2"}
    state = {
        f"{name}.{part}": getattr(model.classifiers[head], part).detach()
        for head, name in names.items()
        for part in ("weight", "bias")
    }
    for key, tensor in _network(model).items():
        state[f"backbone.{_tada2d_name(key)}"] = _tada2d_kernel(key, tensor)
    return state


def _tada2d_name(key: str) -> str:
    match = re.fullmatch(r"layer(\d)\.(\d)\.(.+)", key)
    if match is None:
        return re.sub(r"bn1\.", "conv1.a_bn.", re.sub(r"conv1\.weight", "conv1.a.weight", key))
    block, layer = f"conv{int(match[1]) + 1}.res_{int(match[2]) + 1}", match[3]
    layer = layer.replace("downsample.0", "short_cut").replace("downsample.1", "short_cut_bn")
    for pattern, suffix in (
        (r"conv(\d)\.temporal", "_rf"),
        (r"bn(\d)\.temporal", "_avgpool_bn"),
        (r"conv(\d)", ""),
        (r"bn(\d)", "_bn"),
    ):
        layer = re.sub(rf"^{pattern}", lambda m, s=suffix: f"conv_branch.{LETTERS[m[1]]}{s}", layer)
    return f"{block}.{layer}"


def _tada2d_kernel(key: str, tensor: Tensor) -> Tensor:
    if tensor.ndim != 4:
        return tensor
    return tensor[None, None] if key.endswith("conv2.weight") else tensor.unsqueeze(2)


def _save(path: Path, contents: Mapping[str, Any]) -> Path:
    torch.save(dict(contents), path)
    return path


def _assert_same(loaded: VideoModel, model: VideoModel) -> None:
    clip = torch.randn(1, 4, model.preprocessing.in_channels, 32, 32)
    expected = model(clip)
    for head, logits in loaded(clip).items():
        torch.testing.assert_close(logits, expected[head], rtol=1e-4, atol=1e-5)


MMACTION_TANET_MEAN = [123.675 / 255, 116.28 / 255, 103.5 / 255]
TAM_ARGUMENTS = {"kernel_size": 5, "local_kernel_size": 3, "alpha": 3, "beta": 2}


@pytest.mark.parametrize(
    ("rename", "num_classes", "publisher", "sampling"),
    [
        (_tanet_keys, 6, "TANet's authors", {"sampling": "segments_tanet"}),
        (_tanet_keys, 400, "TANet's authors", {"sampling": "dense", "interval": 16}),
        (_mmaction_tanet_keys, 6, "mmaction2", {"sampling": "segments_mmaction2", "mean": MMACTION_TANET_MEAN}),
    ],
)
def test_tanet_tells_its_frames_and_sizes_by_its_shapes(
    tmp_path: Path,
    rename: Callable[[VideoModel], dict[str, Tensor]],
    num_classes: int,
    publisher: str,
    sampling: dict[str, Any],
) -> None:
    model = _model("tanet", backbone="resnet26", heads={"label": num_classes}, **TAM_ARGUMENTS)
    loaded = load_model(_save(tmp_path / "tanet.pth", {"state_dict": rename(model), "epoch": 100}))
    _assert_same(loaded, model)
    assert ({"name": "tanet", "num_segments": 4} | TAM_ARGUMENTS).items() <= loaded.architecture.items()
    assert loaded.preprocessing.to_dict() == model.preprocessing.to_dict() | sampling
    assert loaded.record["found"] == f"a TANet network (resnet26, 4 segments) in the layout of {publisher}"


@pytest.mark.parametrize(
    "settings", [{}, {"relation": "single"}, {"img_feature_dim": 12, "bottleneck": 20, "relation_dropout": 0.6}]
)
@pytest.mark.parametrize("rename", [_trn_keys, _mmaction_trn_keys])
def test_trn_tells_its_relations_by_its_shapes(
    tmp_path: Path, rename: Callable[[VideoModel], dict[str, Tensor]], settings: dict[str, Any]
) -> None:
    model = _model("trn", heads={"verb": 97, "noun": 300}, **settings)
    loaded = load_model(_save(tmp_path / "trn.ckpt", {"state_dict": rename(model)}), architecture=NARROW)
    _assert_same(loaded, model)
    assert ({"name": "trn", "num_segments": 4} | settings).items() <= loaded.architecture.items()
    assert loaded.heads == {"verb": 97, "noun": 300}


def test_the_configuration_of_the_epic_baselines_is_read_for_trn(tmp_path: Path) -> None:
    model = _model("trn", backbone="resnet18", num_segments=3)
    settings = {
        "modality": "RGB",
        "data": {"frame_count": 3, "test_augmentation": {"rescale_size": 128}},
        "model": {"type": "MTRN", "dropout": 0.25, "backbone_dim": 256},
    }
    path = _save(tmp_path / "trn.ckpt", {"state_dict": _trn_keys(model), "hyper_parameters": settings})
    loaded = load_model(path)
    assert (loaded.architecture["dropout"], loaded.preprocessing.resize) == (0.25, 128)
    assert (loaded.preprocessing.num_segments, loaded.preprocessing.std) == (3, Preprocessing.imagenet().std)


def test_tada2d_reads_the_configuration_that_its_file_carries(tmp_path: Path) -> None:
    model = _model("tada2d", backbone="resnet26", ratio=3, kernels=(1, 3))
    contents = {"model_state": _tada2d_keys(model), "cfg": json.dumps(CFG), "epoch": 99, "optimizer_state": {}}
    loaded = load_model(_save(tmp_path / "tada.pyth", contents))
    _assert_same(loaded, model)
    assert {"name": "tada2d", "ratio": 3, "dropout": 0.25, "num_segments": 4}.items() <= loaded.architecture.items()
    assert list(loaded.architecture["kernels"]) == [1, 3]
    assert loaded.preprocessing.to_dict() == create_model("tada2d", heads={"a": 1}).preprocessing.to_dict() | {
        "num_segments": 4,
        "sampling": "interval",
        "interval": 5,
        "target_fps": 60,
        "resize": 64,
        "size": 48,
        "mean": [0.4, 0.5, 0.6],
        "std": [0.1, 0.2, 0.3],
    }
    assert loaded.record["found"] == "a TAda2D network (resnet26, 4 segments) in the layout of TAdaConv's authors"


def test_tada2d_of_epic_has_a_linear_map_for_each_head_and_samples_segments(tmp_path: Path) -> None:
    model = _model("tada2d", heads={"verb": 5, "noun": 7})
    cfg = CFG | {"DATA": {"SAMPLING_MODE": "segment_based", "SAMPLING_RATE": 4}}
    state = _tada2d_keys(model)
    averaged = {key: tensor + 1 for key, tensor in state.items()}
    path = _save(tmp_path / "tada.pyth", {"model_state": state, "model_ema_state": averaged, "cfg": json.dumps(cfg)})
    loaded = load_model(path, architecture=NARROW)
    _assert_same(loaded, model)
    assert loaded.heads == {"verb": 5, "noun": 7}
    assert (loaded.preprocessing.sampling, loaded.preprocessing.interval) == ("segments_tadaconv", 1)
    assert loaded.record["found"].endswith("; its averaged weights (model_ema_state) are left")


def test_bare_tada2d_is_told_by_its_classes(tmp_path: Path) -> None:
    for num_classes, sampling in ((174, "segments_tadaconv"), (400, "interval")):
        model = _model("tada2d", heads={"label": num_classes})
        loaded = load_model(_save(tmp_path / "bare.pyth", _tada2d_keys(model)), architecture=NARROW)
        _assert_same(loaded, model)
        assert loaded.preprocessing.sampling == sampling


def test_the_name_of_published_weights_says_what_no_key_tells(tmp_path: Path) -> None:
    model = _model("tada2d", heads={"label": 400}, backbone="resnet50", num_segments=16)
    path = _save(tmp_path / "bare.pyth", _tada2d_keys(model))
    loaded = load_model(path, architecture="tada2d_resnet50.kinetics_16x5")
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in loaded.state_dict().items())
    assert loaded.preprocessing == WEIGHTS.get("tada2d_resnet50.kinetics_16x5").preprocessing
    assert (loaded.preprocessing.interval, loaded.preprocessing.num_segments) == (5, 16)
    again = load_model(save_model(loaded, tmp_path / "own.safetensors"))
    tested = again.record["evaluation"]
    assert (tested["num_clips"], tested["num_crops"], tested["average"], tested["size"]) == (10, 3, "prob", 256)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ('{"VIDEO": {"BACKBONE": {"BRANCH": {"POOL_K": [1, 1, 1]}}}}', r"a temporal pool of \[1, 1, 1\]; only .* \[3, 1, 1\]"),
        ("{", r"the configuration \(cfg\) in .*tada.pyth is no JSON"),
    ],
)
def test_tada2d_of_other_constants_is_refused(tmp_path: Path, cfg: str, message: str) -> None:
    path = _save(tmp_path / "tada.pyth", {"model_state": _tada2d_keys(_model("tada2d")), "cfg": cfg})
    with pytest.raises(CheckpointError, match=message):
        load_model(path)


def test_tada2d_has_the_eps_that_its_configuration_tells(tmp_path: Path) -> None:
    published = {"model_state": _tada2d_keys(_model("tada2d")), "cfg": '{"BN": {"EPS": 0.001}}'}
    loaded = load_model(_save(tmp_path / "tada.pyth", published), architecture=NARROW)
    again = load_model(save_model(loaded, tmp_path / "own.safetensors"))
    for model in (loaded, again):
        assert {norm.eps for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)} == {1e-3}
        assert {norm.eps for norm in model.modules() if isinstance(norm, nn.BatchNorm1d)} == {1e-5}


def test_a_left_over_key_of_a_new_family_is_refused(tmp_path: Path) -> None:
    state = _tanet_keys(_model("tanet")) | {"module.base_model.layer1.0.tam.W.weight": torch.zeros(1)}
    message = r"1 key is not the network's \(base_model.layer1.0.tam.W.weight\); it holds a TANet network \(.*4 segments\)"
    with pytest.raises(CheckpointError, match=message):
        load_model(_save(tmp_path / "tanet.pth", {"state_dict": state}), architecture=NARROW)


@pytest.mark.parametrize(("name", "module"), [("tanet", "TAM's global branch"), ("trn", "TRN's relations")])
def test_modules_tied_to_the_number_of_frames_say_so(tmp_path: Path, name: str, module: str) -> None:
    model = _model(name)
    rename = {"tanet": _tanet_keys, "trn": _trn_keys}[name]
    published = _save(tmp_path / "published.pth", {"state_dict": rename(model)})
    ours = save_model(model, tmp_path / "ours.safetensors")
    message = (
        rf"has {module} for 4 frames, and num_segments is 8: its shapes are tied to it; use num_segments=4, "
        r"or a checkpoint of 8 frames \(TSN, TSM and TAda2D take any number\)"
    )
    for path in (published, ours):
        with pytest.raises(CheckpointError, match=message) as caught:
            load_model(path, architecture=NARROW | {"num_segments": 8})
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match=message):
        initialize(_model(name, num_segments=8), published)


@pytest.mark.parametrize("name", ["tsm", "tada2d"])
def test_other_networks_take_any_number_of_frames(tmp_path: Path, name: str) -> None:
    model = _model(name)
    loaded = load_model(save_model(model, tmp_path / "ours.safetensors"), architecture={"num_segments": 8})
    _assert_same(loaded, model)
    assert (loaded.architecture["num_segments"], loaded.preprocessing.num_segments) == (8, 8)


def _tsm_keys(model: VideoModel) -> dict[str, Tensor]:
    state = _heads(model, "new_fc")
    for key, tensor in _network(model).items():
        renamed = re.sub(r"^(layer\d\.\d\.conv1)", r"\1.net", key)
        state[f"base_model.{renamed}"] = tensor
    return state


def test_a_checkpoint_of_tsm_is_not_given_to_tanet(tmp_path: Path) -> None:
    tsm = _model("tsm")
    published = _save(tmp_path / "tsm.pth", _tsm_keys(tsm))
    ours = save_model(tsm, tmp_path / "tsm.safetensors")
    with pytest.raises(
        CheckpointError, match=r"holds a TSM network \(unknown backbone\) in the layout of .*, not a TANet network"
    ):
        load_model(published, architecture="tanet")
    with pytest.raises(CheckpointError, match=r"holds a TSM network \(resnet26, 4 segments\), not a TANet network"):
        load_model(ours, architecture="tanet")
    for path in (published, ours):
        message = (
            r"holds a TSM network \(.*\), whose weights were trained with the temporal module 'shift'; "
            r"a TANet network \(resnet26, 4 segments\) has 'tam'; start it from its own kind, from a TSN or from a plain"
        )
        with pytest.raises(CheckpointError, match=message) as caught:
            initialize(_model("tanet"), path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["trn", "tanet", "tada2d"])
def test_a_new_family_starts_from_an_image_network(tmp_path: Path, name: str) -> None:
    image = _network(_model("tsn"))
    path = _save(tmp_path / "resnet26.pth", image | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)})
    model = _model(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    kept = initialize(model, path)
    state = model.state_dict()
    assert all(torch.equal(state[f"{NETWORK}{key}"], tensor) for key, tensor in image.items())
    assert kept == [key for key in before if not key.startswith(NETWORK) or ".temporal." in key]
    assert all(torch.equal(state[key], before[key]) for key in kept)


def test_a_bare_state_of_ours_is_told_by_its_parts(tmp_path: Path) -> None:
    model = _model("tanet", **TAM_ARGUMENTS)
    loaded = load_model(_save(tmp_path / "bare.pth", model.state_dict()), architecture=NARROW)
    _assert_same(loaded, model)
    assert loaded.record["found"] == "a TANet network (resnet26, 4 segments) in the layout of Zoopraxis"


@pytest.mark.parametrize("temporal", ["tam", "tadaconv"])
def test_a_bare_state_of_ours_loads_with_any_temporal_module(tmp_path: Path, temporal: str) -> None:
    model = _model("tsn", temporal=temporal)
    path = _save(tmp_path / "bare.pth", model.state_dict())
    _assert_same(load_model(path, architecture=NARROW | {"name": "tsn", "temporal": temporal}), model)
    assert initialize(_model("tsn", temporal=temporal), path) == []


@pytest.mark.parametrize("name", ["tsm", "trn", "tanet", "tada2d"])
def test_saved_models_give_the_same_scores_and_keep_their_record(tmp_path: Path, name: str) -> None:
    model = _model(name)
    model.class_names = {"label": tuple("abcdef")}
    model.record = {"config": {"seed": 3}}
    loaded = load_model(save_model(model, tmp_path / "deep" / "model.safetensors"))
    _assert_same(loaded, model)
    assert loaded.preprocessing == model.preprocessing
    assert loaded.class_names == model.class_names
    assert loaded.record["config"] == {"seed": 3}
    assert loaded.architecture == json.loads(json.dumps(model_record(model)))["model"]


def test_only_models_that_can_be_built_again_are_saved_and_as_safetensors(tmp_path: Path) -> None:
    model = _model("tsn", backbone="test_resnet")
    with pytest.raises(CheckpointError, match=r"weights are written as .safetensors; try .*model.safetensors"):
        save_model(model, tmp_path / "model.pt")
    model.architecture = {}
    with pytest.raises(CheckpointError, match="the model does not know its architecture"):
        save_model(model, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_keys_of_two_publishers_are_refused() -> None:
    state = {"base_model.conv1.weight": torch.zeros(1), "backbone.layer1.0.conv1.conv.weight": torch.zeros(1)}
    with pytest.raises(
        CheckpointError, match="has keys in the layout of the EPIC baselines and of mmaction2; give the weights"
    ):
        map_keys(state)


def test_a_layout_of_ones_own_is_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LAYOUTS, "_entries", dict(LAYOUTS._entries))
    own = dataclasses.replace(
        LAYOUTS.get("tanet"),
        name="own",
        publisher="me",
        recognizes=lambda keys: any(key.startswith("net/") for key in keys),
        rules=((re.compile(r"net/(.+)"), lambda match: f"{NETWORK}{match[1].replace('/', '.')}"),),
        transform=lambda _, tensor: tensor.squeeze(0),
    )
    enter_layout(own)
    mapped = map_keys({"module.net/conv1/weight": torch.zeros(1, 2), "module.other": torch.zeros(1)})
    assert mapped.layout is own
    assert mapped.tensors[f"{NETWORK}conv1.weight"].shape == (2,)
    assert (mapped.original, mapped.unknown) == ({f"{NETWORK}conv1.weight": "net/conv1/weight"}, ("other",))
