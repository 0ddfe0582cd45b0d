from __future__ import annotations

import pytest
import torch
from torch import nn

from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.backbones.image import create_image_backbone
from zoopraxis.backbones.layers import number_layers
from zoopraxis.errors import ConfigError


class _Network(ClipBackbone):
    """A network over whole clips with parameters of these names."""

    def __init__(self, *names: str) -> None:
        super().__init__(num_features=4, in_channels=3)
        for name in names:
            *path, last = name.split(".")
            module: nn.Module = self
            for part in path:
                if not hasattr(module, part):
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.register_parameter(last, nn.Parameter(torch.zeros(1)))


class _Ordered(_Network):
    """A user's own, which tells its order as timm's do."""

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        return {"stem": r"first", "blocks": r"part(\d+)"}


def _numbered(*names: str, kind: type[_Network] = _Network) -> tuple[list[int], int]:
    numbers, last = number_layers(kind(*names))
    return [numbers[name] for name in names], last


def test_tadaformer_is_numbered_as_published() -> None:
    names = (
        "class_embedding",
        "positional_embedding",
        "conv1.weight",
        "ln_pre.bias",
        "layers.0.tada.tadaconv.rf_func.a.weight",
    )
    assert _numbered(*names, "layers.1.ln_1.weight", "ln_post.weight") == ([0, 0, 0, 0, 1, 2, 3], 3)


def test_layers_are_counted_as_numbers() -> None:
    names = [f"layers.{number}.attn.weight" for number in range(11)]
    assert _numbered("stem.conv1.weight", *names) == (list(range(12)), 12)


def test_the_second_encoder_of_vivit_comes_behind_the_first() -> None:
    names = ("pos_embd", "cls_token", "stem.conv1.weight", "layers.0.norm.weight", "layers.1.norm_ffn.weight", "norm.weight")
    temporal = ("cls_token_out", "temp_embd", "layers_temporal.0.norm.weight", "layers_temporal.1.norm.weight")
    assert _numbered(*names, *temporal, "norm_out.weight") == ([0, 0, 0, 1, 2, 3, 3, 3, 3, 4, 5], 5)


def test_the_norm_behind_the_only_encoder_belongs_to_the_last_layer() -> None:
    names = ("pos_embd", "stem.conv1.weight", "layers.0.attn_temporal.proj.weight", "norm.weight")
    assert _numbered(*names) == ([0, 0, 1, 2], 2)


def test_convnext_counts_blocks_and_puts_a_downsampling_with_the_first_block_behind_it() -> None:
    names = ("downsample_layers.0.0.weight", "stages.0.0.gamma", "stages.0.1.dwconv_rf.a.weight")
    behind = ("downsample_layers.1.1.weight", "stages.1.0.norm.weight", "norm.weight")
    assert _numbered(*names, *behind) == ([0, 1, 2, 3, 3, 4], 4)


def test_a_network_may_tell_its_order_itself() -> None:
    assert _numbered("first.weight", "part0.weight", "part1.weight", "other", kind=_Ordered) == ([0, 1, 2, 3], 3)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_image_networks_are_numbered_by_their_own_tables(name: str) -> None:
    backbone = create_image_backbone(name)
    numbers, last = number_layers(backbone)
    assert numbers.keys() == dict(backbone.named_parameters()).keys()
    assert min(numbers.values()) == 0
    assert last > 1
    assert all(number <= last for number in numbers.values())


def test_a_network_without_an_order_is_refused() -> None:
    wanted = (
        r"optim\.groups=layer_decay needs to know the order of the layers, and _Network does not tell it; set "
        r"optim\.groups=tadaconv, or choose a transformer or a ConvNeXt"
    )
    with pytest.raises(ConfigError, match=wanted):
        number_layers(_Network("conv1.a.weight", "conv2.res_1.conv_branch.a.weight"))
