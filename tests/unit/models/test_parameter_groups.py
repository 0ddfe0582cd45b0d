"""Optimizer groups: each trainable parameter once, with the multipliers that were meant or those that were used."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.errors import ConfigError
from zoopraxis.models import create_model
from zoopraxis.models.parameter_groups import LayerDecay, Policy, parameter_groups

HEADS = {"label": 3}


class Routing(nn.Module):
    """As a routing function is built: maps with biases, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Conv3d(4, 4, 1)
        self.bn = nn.BatchNorm3d(4)
        self.b = nn.Conv3d(4, 4, 1, bias=False)


class AggregationNorm(nn.BatchNorm2d):
    """A norm with a second one behind it, as TAda2D has it."""

    def __init__(self) -> None:
        super().__init__(4)
        self.temporal = nn.BatchNorm2d(4)


class Block(nn.Module):
    """A network in small: a stem, a convolution that hosts a temporal module, the norm behind it, two heads."""

    def __init__(self, temporal: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.conv2 = nn.Conv2d(4, 4, 3)
        self.conv2.add_module("temporal", temporal)
        self.bn2 = AggregationNorm()
        self.scale = nn.Parameter(self.bn2.weight.detach().clone())
        self.classifiers = nn.ModuleDict({"verb": nn.Linear(4, 2), "noun": nn.Linear(4, 3)})

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.stem(x)))


class AdaptiveModule(nn.Module):
    """The two branches of TAM: linear maps over time, convolutions over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.G = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3, bias=False))
        self.L = nn.Sequential(nn.Conv1d(4, 1, 3, bias=False), nn.BatchNorm1d(1), nn.ReLU(), nn.Conv1d(1, 4, 1, bias=False))


def _clip_network(*names: str, has_pre_logits: bool = False) -> nn.Module:
    """A network over whole clips with parameters of these names: vectors where they end in 1, else matrices."""
    backbone = ClipBackbone(num_features=4, in_channels=3)
    for full_name in names:
        name, _, num_axes = full_name.partition(":")
        *path, last = name.split(".")
        module: nn.Module = backbone
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(last, nn.Parameter(torch.zeros((2,) if num_axes else (2, 2))))
    heads = {"pre_logits": nn.ModuleDict({"perf": nn.Linear(4, 4)})} if has_pre_logits else {}
    return nn.ModuleDict({"backbone": backbone, "classifiers": nn.ModuleDict({"perf": nn.Linear(4, 2)}), **heads})


def _by_name(model: nn.Module, policy: Policy, layer_decay: LayerDecay | None = None) -> dict[str, tuple[float, float]]:
    """Parameter name to (multiple of the rate, multiple of the weight decay)."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, policy=policy, layer_decay=layer_decay)
    return {names[id(p)]: (group["lr_mult"], group["decay_mult"]) for group in groups for p in group["params"]}


@pytest.mark.parametrize("policy", get_args(Policy))
@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("partial_bn", [True, False])
def test_groups_hold_each_trainable_parameter_once(backbone: str, partial_bn: bool, policy: Policy) -> None:
    model = create_model("tsn", heads=HEADS, backbone=backbone, partial_bn=partial_bn)
    grouped = [id(parameter) for group in parameter_groups(model, policy=policy) for parameter in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}


def test_effective_multipliers_are_one() -> None:
    model = create_model("tsm", heads=HEADS, backbone="test_resnet", modality="flow", segment_length=5)
    groups = parameter_groups(model, policy="effective")
    assert {(group["lr_mult"], group["decay_mult"]) for group in groups} == {(1.0, 1.0)}


def test_meant_multipliers_spare_biases_and_norms_from_decay() -> None:
    model = create_model("tsn", heads=HEADS, backbone="test_convnext", modality="flow", segment_length=5)
    groups = {group["name"]: group for group in parameter_groups(model, policy="multipliers")}
    assert {name: (group["lr_mult"], group["decay_mult"]) for name, group in groups.items()} == {
        "first_conv_weight": (5.0, 1.0),
        "first_conv_bias": (10.0, 0.0),
        "normal_weight": (1.0, 1.0),
        "normal_bias": (2.0, 0.0),
        "norm": (1.0, 0.0),
    }
    assert all(parameter.ndim == 1 for name in ("normal_bias", "norm") for parameter in groups[name]["params"])


def test_tsm_speeds_up_every_head_and_no_other_linear_map() -> None:
    found = _by_name(Block(AdaptiveModule()), "tsm")
    assert found == {
        "stem.weight": (1, 1),
        "stem.bias": (2, 0),
        "conv2.weight": (1, 1),
        "conv2.bias": (2, 0),
        "conv2.temporal.G.0.weight": (1, 1),
        "conv2.temporal.G.1.weight": (1, 0),
        "conv2.temporal.G.1.bias": (1, 0),
        "conv2.temporal.G.3.weight": (1, 1),
        "conv2.temporal.L.0.weight": (1, 1),
        "conv2.temporal.L.1.weight": (1, 0),
        "conv2.temporal.L.1.bias": (1, 0),
        "conv2.temporal.L.3.weight": (1, 1),
        "bn2.weight": (1, 0),
        "bn2.bias": (1, 0),
        "bn2.temporal.weight": (1, 0),
        "bn2.temporal.bias": (1, 0),
        "scale": (1, 0),
        "classifiers.verb.weight": (5, 1),
        "classifiers.verb.bias": (10, 0),
        "classifiers.noun.weight": (5, 1),
        "classifiers.noun.bias": (10, 0),
    }


def test_tanet_speeds_up_the_linear_maps_of_its_modules_too() -> None:
    model = Block(AdaptiveModule())
    ours, mmaction2 = _by_name(model, "tanet"), _by_name(model, "tsm")
    assert {name for name in ours if ours[name] != mmaction2[name]} == {f"conv2.temporal.G.{layer}.weight" for layer in (0, 3)}
    assert ours["conv2.temporal.G.0.weight"] == (5, 1)


def test_tada2d_spares_biases_and_norms_from_decay_and_has_one_rate() -> None:
    found = _by_name(Block(Routing()), "tada2d")
    assert {rate for rate, _ in found.values()} == {1}
    assert {name for name, (_, decay) in found.items() if decay} == {
        "stem.weight",
        "conv2.weight",
        "conv2.temporal.g.weight",
        "conv2.temporal.b.weight",
        "scale",
        "classifiers.verb.weight",
        "classifiers.noun.weight",
    }


def test_tada2d_finetune_speeds_up_routing_functions_and_heads() -> None:
    found = _by_name(Block(Routing()), "tada2d_finetune")
    fast = {name: multiples for name, multiples in found.items() if multiples[0] != 1}
    assert fast == {
        "conv2.temporal.g.weight": (5, 1),
        "conv2.temporal.g.bias": (10, 0),
        "conv2.temporal.b.weight": (5, 1),
        "classifiers.verb.weight": (5, 1),
        "classifiers.verb.bias": (10, 0),
        "classifiers.noun.weight": (5, 1),
        "classifiers.noun.bias": (10, 0),
    }


def test_the_last_linear_map_of_each_relation_is_a_classifier() -> None:
    model = create_model("trn", heads={"verb": 3, "noun": 4}, backbone="test_resnet", num_segments=3)
    found = _by_name(model, "tsm")
    assert {name for name, (rate, _) in found.items() if rate in (5, 10)} == {
        f"relation.fc_fusion_scales.{scale}.3.{part}" for scale in range(2) for part in ("weight", "bias")
    }


def test_groups_of_a_whole_tanet() -> None:
    model = create_model("tanet", heads={"verb": 3, "noun": 4}, backbone="test_resnet")
    ours, mmaction2 = _by_name(model, "tanet"), _by_name(model, "tsm")
    faster = {name for name in ours if ours[name] != mmaction2[name]}
    assert faster
    assert faster == {name for name in ours if name.endswith((".temporal.G.0.weight", ".temporal.G.3.weight"))}
    assert {mmaction2[f"classifiers.{head}.bias"] for head in model.heads} == {(10, 0)}


def test_groups_of_a_whole_tada2d_network() -> None:
    model = create_model("tada2d", heads={"verb": 3, "noun": 4}, backbone="test_resnet")
    found = _by_name(model, "tada2d_finetune")
    routed = {name.removesuffix(".g.weight") for name in found if name.endswith("conv2.temporal.g.weight")}
    assert routed
    for route in routed:
        parts = ("g.weight", "g.bias", "bn.weight", "bn.bias", "b.weight")
        assert [found[f"{route}.{part}"] for part in parts] == [(5, 1), (10, 0), (1, 0), (1, 0), (5, 1)]
        aggregation = route.replace("conv2", "bn2")
        assert [found[f"{aggregation}.{part}"] for part in ("weight", "bias")] == [(1, 0), (1, 0)]
    assert found["backbone.network.layer1.0.conv2.weight"] == (1, 1)


@pytest.mark.parametrize("suffix", ["", "_finetune"])
def test_tada2d_is_tadaconv_of_an_image_network(suffix: str) -> None:
    model = Block(Routing())
    assert _by_name(model, f"tada2d{suffix}") == _by_name(model, f"tadaconv{suffix}")


def test_tadaconv_sorts_clip_networks_by_published_names() -> None:
    block = "stages.0.0."
    model = _clip_network(
        "downsample_layers.0.1.weight:1",
        "conv2.res_1.conv_branch.a_bn.weight:1",
        "pos_embd",
        "cls_token",
        f"{block}gamma:1",
        f"{block}norm.weight:1",
        f"{block}pwconv1.bias:1",
        f"{block}dwconv_rf.a.weight",
        f"{block}dwconv_rf.norm.weight:1",
        f"{block}dwconv_rf.b_bias.weight",
        f"{block}dwconv_rf.bn.bias:1",
    )
    found = _by_name(model, "tadaconv_finetune")
    assert {name.removeprefix("backbone."): multiples for name, multiples in found.items()} == {
        "downsample_layers.0.1.weight": (1, 1),
        "conv2.res_1.conv_branch.a_bn.weight": (1, 0),
        "pos_embd": (1, 0),
        "cls_token": (1, 0),
        f"{block}gamma": (1, 1),
        f"{block}norm.weight": (1, 0),
        f"{block}pwconv1.bias": (1, 0),
        f"{block}dwconv_rf.a.weight": (5, 1),
        f"{block}dwconv_rf.norm.weight": (5, 1),
        f"{block}dwconv_rf.b_bias.weight": (10, 0),
        f"{block}dwconv_rf.bn.bias": (1, 0),
        "classifiers.perf.weight": (5, 1),
        "classifiers.perf.bias": (10, 0),
    }
    assert {rate for rate, _ in _by_name(model, "tadaconv").values()} == {1}


def test_maps_before_the_heads_count_as_heads() -> None:
    found = _by_name(_clip_network("conv1.weight", has_pre_logits=True), "tadaconv_finetune")
    assert (found["pre_logits.perf.weight"], found["pre_logits.perf.bias"]) == ((5, 1), (10, 0))


def test_layer_decay_slows_what_is_far_from_the_heads() -> None:
    model = _clip_network(
        "conv1.weight",
        "positional_embedding",
        "layers.0.tada.tadaconv.weight",
        "layers.0.ln_1.weight:1",
        "layers.1.mlp.c_fc.weight",
        "layers.1.tada.tadaconv.bias",
        "ln_post.weight:1",
        has_pre_logits=True,
    )
    rates = LayerDecay(factor=0.5, new_parts=("tada",), new_parts_lr=10, head_lr=4)
    found = _by_name(model, "layer_decay", rates)
    assert {name.removeprefix("backbone."): multiples for name, multiples in found.items()} == {
        "conv1.weight": (0.125, 1),
        "positional_embedding": (0.125, 1),
        "layers.0.tada.tadaconv.weight": (2.5, 1),
        "layers.0.ln_1.weight": (0.25, 0),
        "layers.1.mlp.c_fc.weight": (0.5, 1),
        "layers.1.tada.tadaconv.bias": (5, 0),
        "ln_post.weight": (1, 0),
        "classifiers.perf.weight": (4, 1),
        "classifiers.perf.bias": (4, 0),
        "pre_logits.perf.weight": (4, 1),
        "pre_logits.perf.bias": (4, 0),
    }


def test_layer_decay_names_its_groups_from_the_input_on() -> None:
    model = _clip_network("conv1.weight", "layers.0.tada.weight", "layers.0.ln_1.weight:1", "ln_post.weight:1")
    groups = parameter_groups(model, policy="layer_decay", layer_decay=LayerDecay(new_parts=("tada",)))
    names = ["layer0_weight", "layer1_bias", "layer1_new_weight", "layer2_bias", "head_weight", "head_bias"]
    assert [group["name"] for group in groups] == names


def test_layer_decay_leaves_frozen_parameters_out() -> None:
    model = _clip_network("conv1.weight", "layers.0.weight")
    model.get_parameter("backbone.conv1.weight").requires_grad_(False)
    assert "backbone.conv1.weight" not in _by_name(model, "layer_decay", LayerDecay(factor=0.7))


def test_a_new_part_that_no_parameter_has_is_refused() -> None:
    model = _clip_network("conv1.weight", "layers.0.tada.weight")
    wanted = (
        r"optim\.new_parts has 'tdaa', which is in no parameter's name \(one is 'layers\.0\.tada\.weight'\); name a part of "
        r"some, or set optim\.new_parts=\[\]"
    )
    with pytest.raises(ConfigError, match=wanted):
        parameter_groups(model, policy="layer_decay", layer_decay=LayerDecay(new_parts=("tdaa",)))


def test_layer_decay_of_an_image_network_with_temporal_modules() -> None:
    model = create_model("tada2d", heads=HEADS, backbone="test_resnet")
    found = _by_name(model, "layer_decay", LayerDecay(factor=0.5, new_parts=("temporal",), new_parts_lr=3))
    host = next(name for name in found if name.endswith(".conv2.temporal.a.weight")).removesuffix(".temporal.a.weight")
    rate, decay = found[f"{host}.weight"]
    assert found[f"{host}.temporal.a.weight"] == (3 * rate, decay)
    rates = [found[name][0] for name in found if name.endswith("conv1.weight")]
    assert rates == sorted(rates)
    assert (rates[-1], decay) == (0.5, 1)
    assert found["classifiers.label.weight"] == (1, 1)


def test_an_unknown_policy_is_refused() -> None:
    model = create_model("tsn", heads=HEADS, backbone="test_resnet")
    known = "effective, multipliers, tsm, tanet, tada2d, tada2d_finetune, tadaconv, tadaconv_finetune, layer_decay"
    with pytest.raises(ConfigError, match=f"unknown policy 'real' of parameter groups; known: {known}"):
        parameter_groups(model, policy="real")
