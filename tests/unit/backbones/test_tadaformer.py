"""TAdaFormer's layers against torch's own, and what a frame, a clip and a size have to do with its features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoopraxis.backbones.tadaformer import FrameAttention, FrameMap, TAdaFormer, TAdaFormerLayer

SMALL: dict[str, Any] = {"dim": 16, "depth": 2, "num_heads": 2, "patch_size": 8, "image_size": 32, "route_head_dim": 4}


def _backbone(**more: Any) -> TAdaFormer:
    torch.manual_seed(0)
    return TAdaFormer(**SMALL | more).eval()


def _awake(backbone: TAdaFormer) -> TAdaFormer:
    """TAda blocks that give something."""
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if ".tada_proj." in name:
                parameter.normal_(0, 0.5)
    return backbone


def _clip(num_frames: int = 6, height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(2, num_frames, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_attention_is_that_of_torch_under_its_names() -> None:
    torch.manual_seed(0)
    published = nn.MultiheadAttention(16, 4, batch_first=True)
    nn.init.normal_(published.in_proj_bias)
    ours = FrameAttention(16, 4)
    ours.load_state_dict(published.state_dict())
    tokens = torch.randn(2, 3, 5, 16)
    rows = tokens.flatten(0, 1)
    with torch.no_grad():
        expected = published(rows, rows, rows)[0].unflatten(0, (2, 3))
        torch.testing.assert_close(ours(tokens), expected)


@pytest.mark.parametrize("num_frames", [1, 3])
def test_a_map_over_frames_is_a_convolution(num_frames: int) -> None:
    torch.manual_seed(0)
    ours = FrameMap(6, 4, num_frames=num_frames)
    patches = torch.randn(2, 5, 3, 4, 6)
    with torch.no_grad():
        expected = nn.Conv3d.forward(ours, patches.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        torch.testing.assert_close(ours(patches), expected)


def test_at_birth_tada_adds_nothing() -> None:
    clip = _clip()
    backbone = _backbone(double_tada=True, temporal_enhancement=True)
    with torch.no_grad():
        before = backbone(clip)
        for layer in backbone.layers:
            layer.tada = nn.Module()
            layer.tada.forward = torch.zeros_like
            layer.tada2 = None
        torch.testing.assert_close(backbone(clip), before)


def test_frames_see_each_other_through_tada_only() -> None:
    clip = _clip()
    changed = clip.clone()
    changed[:, -1] += 1
    grid = (4, 4)
    for backbone, is_seen in ((_backbone(), False), (_awake(_backbone()), True)):
        first_frames = []
        layer = backbone.layers[0]
        layer.register_forward_hook(lambda _module, _inputs, tokens, out=first_frames: out.append(tokens[:, 0]))
        with torch.no_grad():
            backbone(clip)
            backbone(changed)
        assert first_frames[0].shape == (2, 1 + grid[0] * grid[1], 16)
        assert (not torch.equal(*first_frames)) == is_seen


def test_drop_path_takes_all_frames_of_a_clip_or_none() -> None:
    torch.manual_seed(0)
    layer = TAdaFormerLayer(16, 2, tada=nn.Identity(), tada2=None, drop_path=0.5)
    nn.init.zeros_(layer.attn.out_proj.weight)
    nn.init.zeros_(layer.mlp.c_proj.weight)
    classes, patches = torch.ones(64, 3, 1, 16), torch.ones(64, 3, 2, 2, 16)
    with torch.no_grad():
        tokens = layer(classes, patches)
    assert (tokens[:, :, 0] == 1).all()
    per_clip = tokens[:, :, 1:].flatten(1)
    assert (per_clip == per_clip[:, :1]).all()
    assert sorted(set(per_clip[:, 0].tolist())) == [1, 3]


@pytest.mark.parametrize("num_frames", [1, 5, 6, 16])
def test_clips_of_any_length_are_taken(num_frames: int) -> None:
    lengths: list[int] = []
    backbone = _backbone()
    backbone.layers[0].register_forward_hook(lambda _module, _inputs, tokens: lengths.append(tokens.shape[1]))
    with torch.no_grad():
        assert backbone(_clip(num_frames)).shape == (2, 16)
    assert lengths == [(num_frames + 1) // 2]


def test_positions_of_frames_of_another_size_are_resized() -> None:
    backbone = _backbone()
    with torch.no_grad():
        backbone.positional_embedding[1:] = 0.5
        large = backbone(_clip(height=48, width=24))
        constant = _backbone(image_size=24)
        constant.load_state_dict(
            {**backbone.state_dict(), "positional_embedding": backbone.positional_embedding[: 1 + 9]}, strict=True
        )
        torch.testing.assert_close(constant(_clip(height=48, width=24)), large)


def test_a_projection_comes_last() -> None:
    plain, projected = _backbone(), _backbone(projection=5)
    projected.load_state_dict(plain.state_dict(), strict=False)
    assert projected.num_features == 5
    assert projected.proj is not None
    with torch.no_grad():
        torch.testing.assert_close(projected(_clip()), plain(_clip()) @ projected.proj)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"image_size": 30}, r"image_size \(30\) must be divisible by patch_size \(8\); try 24 or 32"),
        ({"dim": 18, "num_heads": 4}, r"dim \(18\) must be divisible by num_heads \(4\); try 16 or 20"),
        ({"tubelet_size": 2}, r"tubelet_size \(2\) must be odd; the published value is 3"),
        ({"tubelet_stride": 0}, r"tubelet_stride \(0\) must be at least 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _backbone(**sizes)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 3, 30, 32), r"the height \(30\) must be divisible by patch_size \(8\); try 24 or 32"),
        ((1, 4, 3, 32, 30), r"the width \(30\) must be divisible by patch_size \(8\); try 24 or 32"),
        ((1, 4, 2, 32, 32), r"a clip must have shape \(B, T, 3, H, W\), not \(1, 4, 2, 32, 32\)"),
    ],
)
def test_frames_that_do_not_fit_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _backbone()(torch.zeros(shape))
