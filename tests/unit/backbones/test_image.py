"""Image backbones: features, flow input, sites of every family, and what is refused."""

from __future__ import annotations

import pytest
import timm
import torch

from zoopraxis.backbones import create_image_backbone
from zoopraxis.errors import CheckpointError, ConfigError


def test_features_are_those_of_the_plain_network_on_each_frame() -> None:
    backbone = create_image_backbone("test_resnet").eval()
    plain = timm.create_model("test_resnet", num_classes=0).eval()
    plain.load_state_dict({key.removeprefix("network."): value for key, value in backbone.state_dict().items()})
    clips = torch.randn(2, 3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(clips)[1, 2], plain(clips[1, 2:3])[0])
        assert backbone.forward_maps(clips).shape[:3] == (2, 3, backbone.num_features)


@pytest.mark.parametrize(
    ("name", "num_hosts"),
    [
        ("resnet34", 16),
        ("resnet50", 16),
        ("resnet101", 18),
        ("resnet152", 26),
        ("resnext50_32x4d", 16),
        ("resnetv2_50", 16),
        ("regnety_004", 16),
        ("convnext_atto", 12),
        ("convnext_small", 36),
        ("vit_tiny_patch16_224", 12),
    ],
)
def test_the_shift_has_its_published_sites(name: str, num_hosts: int) -> None:
    with torch.device("meta"):
        assert len(create_image_backbone(name, temporal="shift").hosts) == num_hosts


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


def test_a_network_of_unknown_blocks_is_refused_with_those_known() -> None:
    message = (
        "'mobilenetv3_small_050' has no block that can host a temporal module; .*resnet.Bottleneck.*convnext.ConvNeXtBlock"
    )
    with pytest.raises(ConfigError, match=message):
        create_image_backbone("mobilenetv3_small_050", temporal="shift")
    assert create_image_backbone("mobilenetv3_small_050").num_features == 1024


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
