"""Image backbones: features, flow input, sites of every family, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from zoopraxis.backbones import ClipLength, create_image_backbone, inject
from zoopraxis.errors import CheckpointError, ConfigError
from zoopraxis.temporal import TEMPORAL, TemporalKind


def test_features_are_those_of_the_plain_network_on_each_frame() -> None:
    backbone = create_image_backbone("test_resnet").eval()
    plain = timm.create_model("test_resnet", num_classes=0).eval()
    plain.load_state_dict({key.removeprefix("network."): value for key, value in backbone.state_dict().items()})
    clips = torch.randn(2, 3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips)[1, 2], plain(clips[1, 2:3])[0])
        assert backbone.forward_maps(clips).shape[:3] == (2, 3, backbone.num_features)


@pytest.fixture
def spatial(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a temporal module whose site is the spatial convolution."""
    kind = TemporalKind(build=lambda channels, num_frames: nn.Identity(), site="spatial_conv")
    monkeypatch.setitem(TEMPORAL._entries, "spatial", kind)
    return "spatial"


@pytest.mark.parametrize(
    ("name", "num_inputs", "num_spatial"),
    [
        ("resnet34", 16, 16),
        ("resnet50", 16, 16),
        ("resnet101", 18, 33),  # the shift stands in every second block of a stage of deep ResNets
        ("resnet152", 26, 50),
        ("resnet50d", 16, 16),
        ("seresnet50", 16, 16),
        ("seresnext50_32x4d", 16, 16),
        ("resnext50_32x4d", 16, 16),
        ("resnetv2_18", 8, 8),
        ("resnetv2_50", 16, 16),
        ("regnetx_002", 13, 13),
        ("regnety_004", 16, 16),
        ("regnetv_040", 22, 22),
        ("convnext_atto", 12, 12),
        ("convnext_small", 36, 36),
        ("convnextv2_atto", 12, 12),
        ("mobilenetv1_100", 0, 13),  # no block has a shortcut
        ("mobilenetv2_100", 10, 17),
        ("mnasnet_100", 10, 17),
        ("mobilenetv3_small_100", 6, 11),
        ("mobilenetv3_large_100", 10, 15),
        ("tf_mobilenetv3_large_100", 10, 15),
        ("mobilenetv4_conv_small", 10, 12),
        ("mobilenetv4_conv_medium", 18, 18),  # some blocks have no spatial convolution, others no shortcut
        ("mobilenetv4_hybrid_medium", 27, 27),
        ("efficientnet_b0", 9, 16),
        ("tf_efficientnet_b0", 9, 16),
        ("tf_efficientnetv2_s", 35, 40),
        ("efficientnet_es", 12, 18),
        ("efficientnet_cc_b0_4e", 9, 16),
        ("vit_tiny_patch16_224", 12, 12),
        ("deit_tiny_distilled_patch16_224", 12, 12),
        ("vit_small_r26_s32_224", 20, 20),
    ],
)
def test_networks_have_their_sites(name: str, num_inputs: int, num_spatial: int, spatial: str) -> None:
    with torch.device("meta"):
        assert len(create_image_backbone(name, temporal=spatial).hosts) == num_spatial
        if num_inputs:
            assert len(create_image_backbone(name, temporal="shift").hosts) == num_inputs
        else:
            with pytest.raises(ConfigError, match=f"no block of backbone '{name}' has a shortcut, .* 'shift' belongs; choose"):
                create_image_backbone(name, temporal="shift")


def test_mobile_blocks_host_at_their_first_and_at_their_depthwise_layer(spatial: str) -> None:
    with torch.device("meta"):
        shift = create_image_backbone("mobilenetv2_100", temporal="shift").hosts
        depthwise = create_image_backbone("mobilenetv2_100", temporal=spatial).hosts
        universal = create_image_backbone("mobilenetv4_conv_medium", temporal=spatial).hosts
    assert shift[:2] == ("blocks.1.1.conv_pw", "blocks.2.1.conv_pw")
    assert depthwise[:2] == ("blocks.0.0.conv_dw", "blocks.1.0.conv_dw")
    assert {host.split(".", 3)[3] for host in universal} == {"conv_exp", "dw_mid.conv", "dw_start.conv"}


def test_deep_resnets_shift_in_every_second_block_of_a_stage() -> None:
    with torch.device("meta"):
        hosts = create_image_backbone("resnet101", temporal="shift").hosts
        every = create_image_backbone("resnet101", temporal="shift", place="block").hosts
    assert [host for host in hosts if host.startswith("layer1")] == ["layer1.0.conv1", "layer1.2.conv1"]
    assert len(every) == 33
    assert every[0] == "layer1.0"


def test_before_the_block_the_shortcut_is_shifted_too() -> None:
    torch.manual_seed(0)
    inside = create_image_backbone("test_resnet", temporal="shift").eval()
    before = create_image_backbone("test_resnet", temporal="shift", place="block").eval()
    before.load_state_dict(inside.state_dict())
    clips = torch.randn(1, 4, 3, 32, 32)
    assert not torch.allclose(inside(clips), before(clips))
    block = before.network.layer1[0]
    maps = torch.randn(4, block.conv1.in_channels, 8, 8)
    before._length.num_frames = 4
    shifted = block.temporal(maps.unflatten(0, (1, 4))).flatten(0, 1)
    plain = inside.network.layer1[0]
    plain._forward_pre_hooks.clear()
    plain.conv1._forward_pre_hooks.clear()
    assert torch.equal(block(maps), plain(shifted))


def test_class_tokens_pass_by_the_shift() -> None:
    backbone = create_image_backbone("test_vit", temporal="shift", backbone_args={"img_size": 32}).eval()
    attention = backbone.network.blocks[0].attn
    seen: list[torch.Tensor] = []
    attention.qkv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tokens = torch.randn(4, 5, 64)
    backbone._length.num_frames = 4
    attention(tokens)
    assert torch.equal(seen[0][:, 0], tokens[:, 0])
    assert torch.equal(seen[0][:-1, 1:, :8], tokens[1:, 1:, :8])
    assert torch.equal(seen[0][:, 1:, 16:], tokens[:, 1:, 16:])


def test_a_temporal_pool_halves_the_frames_behind_it() -> None:
    backbone = create_image_backbone("resnet18", temporal="shift", temporal_pool=True).eval()
    assert backbone(torch.randn(2, 5, 3, 32, 32)).shape == (2, 3, 512)
    with pytest.raises(ConfigError, match="'test_vit' has no stage 'layer2' for the temporal pool; its stages: blocks"):
        create_image_backbone("test_vit", temporal_pool=True)


def test_flow_input_takes_the_mean_kernel() -> None:
    torch.manual_seed(0)
    rgb = create_image_backbone("test_resnet")
    torch.manual_seed(0)
    flow = create_image_backbone("test_resnet", in_channels=10)
    kernel = flow.network.conv1[0].weight
    assert kernel.shape[1] == 10
    torch.testing.assert_close(kernel[:, 7], rgb.network.conv1[0].weight.mean(1))
    assert flow(torch.randn(1, 2, 10, 32, 32)).shape == (1, 2, flow.num_features)


def test_a_clip_of_other_channels_is_refused() -> None:
    backbone = create_image_backbone("test_resnet")
    with pytest.raises(ValueError, match=r"must have shape \(B, T, 3, H, W\), not \(1, 2, 10, 32, 32\)"):
        backbone(torch.zeros(1, 2, 10, 32, 32))


@pytest.mark.parametrize("name", ["test_nfnet", "res2net50_26w_4s", "mobilevit_xs", "pit_ti_224", "ghostnet_050"])
def test_a_network_of_unknown_blocks_is_refused_with_those_known(name: str) -> None:
    """Also one that holds known blocks beside others, or passes them something else than frames."""
    message = f"'{name}' has no block that can host .*resnet.Bottleneck.*convnext.ConvNeXtBlock.*blocks.InvertedResidual.*Block"
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        create_image_backbone(name, temporal="shift")


def test_a_layer_that_runs_all_its_children_hosts_none(spatial: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match=r"layer MixedConv2d runs all its children .* choose another"):
        create_image_backbone("mixnet_s", temporal=spatial)


def test_a_module_of_feature_maps_cannot_stand_before_tokens() -> None:
    message = "'test_vit' works on tokens, which temporal module 'tadaconv' cannot; choose one that can: .*shift.*tam"
    with pytest.raises(ConfigError, match=message):
        create_image_backbone("test_vit", temporal="tadaconv")


def test_a_module_with_a_norm_needs_a_plain_batch_norm() -> None:
    for name in ("regnetx_002", "resnetv2_18", "resnet50_gn"):
        message = f"block '.*' of backbone '{name}' has no plain one; .* built of resnet.BasicBlock, resnet.Bottleneck .*, tam"
        with torch.device("meta"), pytest.raises(ConfigError, match=message):
            create_image_backbone(name, temporal="tada2d")
    with pytest.raises(ConfigError, match="'tada2d' has a norm inside the block; its place must be 'blockres'"):
        create_image_backbone("test_resnet", temporal="tada2d", place="block")


def test_a_norm_of_clips_takes_over_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    plain = create_image_backbone("test_resnet").eval()
    plain.network.layer3[0].bn2.requires_grad_(False)
    seen: list[torch.Size] = []

    class Norm(nn.BatchNorm2d):
        def forward(self, clips_BTCHW: torch.Tensor) -> torch.Tensor:
            seen.append(clips_BTCHW.shape)
            return torch.unflatten(super().forward(clips_BTCHW.flatten(0, 1)), 0, clips_BTCHW.shape[:2])

    kind = TemporalKind(
        build=lambda channels, num_frames: nn.Identity(),
        site="spatial_conv",
        norm=lambda batch_norm: Norm(batch_norm.num_features),
    )
    monkeypatch.setitem(TEMPORAL._entries, "norm", kind)
    network = copy.deepcopy(plain.network)
    inject(network, "norm", network_name="test_resnet", length=ClipLength(3), num_frames=3)
    norm = network.layer3[0].bn2
    assert isinstance(norm, Norm)
    assert not norm.training
    assert [parameter.requires_grad for parameter in norm.parameters()] == [False, False]
    assert network.state_dict().keys() == plain.network.state_dict().keys()
    frames = torch.randn(6, 3, 32, 32)
    assert torch.equal(network(frames), plain.network(frames))
    assert [shape[:2] for shape in seen] == [(2, 3)] * 4


def test_behind_a_temporal_pool_modules_are_built_for_half_the_frames() -> None:
    backbone = create_image_backbone("resnet18", temporal="tam", num_frames=5, temporal_pool=True).eval()
    assert backbone.network.layer1[0].conv1.temporal.num_frames == 5
    assert backbone.network.layer2[0].conv1.temporal.num_frames == 3
    assert backbone(torch.randn(2, 5, 3, 32, 32)).shape == (2, 3, 512)


@pytest.mark.parametrize("name", ["resnet26", "resnet26d", "seresnet18"])
def test_a_resnet_without_its_stem_pool_halves_the_resolution_in_its_first_block(name: str) -> None:
    plain = create_image_backbone(name).eval()
    free = create_image_backbone(name, is_stem_pool_free=True).eval()
    added = free.state_dict().keys() - plain.state_dict().keys()
    assert plain.state_dict().keys() <= free.state_dict().keys()
    assert all(".layer1.0.downsample." in key for key in added)
    assert bool(added) == (name == "seresnet18"), "identity shortcuts become convolutions"
    clips = torch.randn(1, 2, 3, 64, 64)
    stages, plain_stages = free.forward_stages(clips), plain.forward_stages(clips)
    assert [stage.shape for stage in stages] == [stage.shape for stage in plain_stages]
    inputs: list[torch.Tensor] = []
    free.network.layer1.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    free(clips)
    assert torch.equal(inputs[0], stages[0].flatten(0, 1))


def test_other_networks_have_no_stem_pool_to_remove() -> None:
    with pytest.raises(ConfigError, match="'test_convnext' is no ResNet whose stem pool could go; choose one of timm's"):
        create_image_backbone("test_convnext", is_stem_pool_free=True)
    with pytest.raises(ConfigError, match="'resnet18' has no plain max pool in its stem; choose another ResNet"):
        create_image_backbone("resnet18", is_stem_pool_free=True, backbone_args={"replace_stem_pool": True})


def test_pretrained_weights_load_before_temporal_modules_are_put_in(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained = timm.create_model("test_resnet")
    file = tmp_path / "trained.pth"
    torch.save(trained.state_dict(), file)
    backbone = create_image_backbone(
        "test_resnet",
        pretrained=True,
        in_channels=10,
        temporal="tada2d",
        is_stem_pool_free=True,
        backbone_args={"pretrained_cfg_overlay": {"file": str(file)}},
    )
    loaded = {key.removeprefix("network."): tensor for key, tensor in backbone.state_dict().items()}
    first = "conv1.0.weight"
    expected = {key: tensor for key, tensor in trained.state_dict().items() if not key.startswith(("fc.", first))}
    assert expected.keys() <= loaded.keys()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in expected.items())
    torch.testing.assert_close(loaded[first][:, 0], trained.state_dict()[first].mean(1))


def test_unknown_names_and_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown backbone 'resnet5O'; did you mean 'resnet50'"):
        create_image_backbone("resnet5O")
    with pytest.raises(ConfigError, match=r"backbone 'test_resnet' cannot be built: .*no_such_argument"):
        create_image_backbone("test_resnet", backbone_args={"no_such_argument": 1})
    with pytest.raises(ConfigError, match=r"temporal module 'shift' cannot be built: .*shift_dvi"):
        create_image_backbone("test_resnet", temporal="shift", temporal_args={"shift_dvi": 8})
    with pytest.raises(ConfigError, match="unknown place 'blockers' of a temporal module; known: blockres, block"):
        create_image_backbone("test_resnet", temporal="shift", place="blockers")


def test_pretrained_weights_that_cannot_be_had_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError("no connection")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(CheckpointError, match="timm's weights of backbone 'test_resnet' cannot be had: no connection; connect"):
        create_image_backbone("test_resnet", pretrained=True)
