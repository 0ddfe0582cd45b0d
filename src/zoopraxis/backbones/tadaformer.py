"""TAdaFormer: CLIP's vision transformer on every other frame, whose layers see the clip by temporally-adaptive convolutions.

# B clips, T frames, C channels, H height, W width, px; t, h, w tubelets along time, height and width; N = B * t; L tokens;
# D features, M features of a bottleneck

Source: Huang et al., Temporally-Adaptive Models for Efficient Video Understanding, arXiv 2308.05787, 2023; the transformer:
Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from zoopraxis.backbones.attention import drop_path_rates
from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.backbones.feed_forward import quick_gelu_maps
from zoopraxis.backbones.recompute import recompute
from zoopraxis.backbones.tubelets import check_divisible, resize_frame_positions
from zoopraxis.temporal import RouteFuncTransformer, TAdaConv2dV2, quick_gelu

__all__ = ["TAdaFormer"]

_INIT_STD = 0.02
_MLP_RATIO = 4


class TAdaFormer(ClipBackbone):
    """A transformer over the patches of each frame and a class token, with a TAda block before the attention of each layer.

    Nothing but the TAda blocks and the tubelets (patches of a few frames, one beginning every `tubelet_stride` frames) tells
    frames apart: all have the same positions. The feature is the mean of the frames' class tokens.

    Args:
        in_channels: C.
        dim: D.
        depth: Layers.
        num_heads: Heads of their attention.
        patch_size: Height and width of a tubelet, px.
        image_size: Height and width of the frames that positions are kept for, px.
        tubelet_size: Frames of a tubelet, odd; its middle frame is its place.
        tubelet_stride: Frames from one tubelet to the next.
        reduction: D over M.
        double_tada: Also a TAda block behind the attention.
        temporal_enhancement: The first map of a TAda block sees three frames.
        route_ratio: M over the hidden features of the routing functions.
        route_kernels: Temporal sizes of their two convolutions, odd.
        route_head_dim: Features of a head of their attention over time.
        drop_path: Probability that a residual branch of the last layer is dropped for a clip, in training; rising evenly from
            0 in the first.
        projection: Features that the D are mapped to at last; none: they are given as they are.

    Raises:
        ValueError: If a size is out of range or does not divide another.

    Differs: the published network is built for a number of frames, of which half must be a whole one, and for square frames of
    one size. Ours takes any number, and the positions are resized bilinearly for frames of other sizes.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        patch_size: int = 16,
        image_size: int = 224,
        tubelet_size: int = 3,
        tubelet_stride: int = 2,
        reduction: int = 2,
        double_tada: bool = False,
        temporal_enhancement: bool = False,
        route_ratio: int = 2,
        route_kernels: Sequence[int] = (3, 3),
        route_head_dim: int = 64,
        drop_path: float = 0.0,
        projection: int | None = None,
    ) -> None:
        super().__init__(num_features=projection or dim, in_channels=in_channels)
        _check_sizes(dim=dim, depth=depth, num_heads=num_heads, patch_size=patch_size, image_size=image_size)
        _check_sizes(tubelet_size=tubelet_size, tubelet_stride=tubelet_stride, reduction=reduction, route_ratio=route_ratio)
        check_divisible("image_size", image_size, "patch_size", patch_size)
        check_divisible("dim", dim, "num_heads", num_heads)
        if tubelet_size % 2 == 0:
            raise ValueError(f"tubelet_size ({tubelet_size}) must be odd; the published value is 3")
        self.patch_size = patch_size
        self.tubelet_stride = tubelet_stride
        self.conv1 = nn.Conv3d(
            in_channels,
            dim,
            (tubelet_size, patch_size, patch_size),
            stride=(tubelet_stride, patch_size, patch_size),
            padding=(tubelet_size // 2, 0, 0),
            bias=False,
        )
        scale = dim**-0.5
        self.class_embedding = nn.Parameter(scale * torch.randn(dim))
        self.positional_embedding = nn.Parameter(scale * torch.randn((image_size // patch_size) ** 2 + 1, dim))
        self.ln_pre = nn.LayerNorm(dim)

        def tada() -> TAdaBlock:
            return TAdaBlock(
                dim,
                reduction=reduction,
                temporal_enhancement=temporal_enhancement,
                route_ratio=route_ratio,
                route_kernels=route_kernels,
                route_head_dim=route_head_dim,
            )

        self.layers = nn.ModuleList(
            TAdaFormerLayer(dim, num_heads, tada=tada(), tada2=tada() if double_tada else None, drop_path=rate)
            for rate in drop_path_rates(drop_path, depth)
        )
        self.ln_post = nn.LayerNorm(dim)
        self.proj = nn.Parameter(scale * torch.randn(dim, projection)) if projection is not None else None

    def check_view(self, num_frames: int, height: int, width: int) -> None:
        """Refuse frames that cannot be cut into patches."""
        check_divisible("the height", height, "patch_size", self.patch_size)
        check_divisible("the width", width, "patch_size", self.patch_size)

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """Features of clips.

        Args:
            clip_BTCHW: Shape (B, T, C, H, W), normalized; any T, H and W multiples of the patch size.

        Returns:
            Shape (B, D).

        Raises:
            ValueError: If the clip has another number of axes or channels, or frames that cannot be cut into patches.
        """
        self.check_clip(clip_BTCHW)
        patches_BthwD = self.conv1(clip_BTCHW.transpose(1, 2)).permute(0, 2, 3, 4, 1)
        grid = patches_BthwD.shape[2:4]
        classes_Bt1D = self.class_embedding.to(patches_BthwD.dtype).expand(*patches_BthwD.shape[:2], 1, -1)
        positions_LD = resize_frame_positions(self.positional_embedding[None], grid)[0]
        tokens_BtLD = self.ln_pre(torch.cat((classes_Bt1D, patches_BthwD.flatten(2, 3)), dim=2) + positions_LD)
        for layer in self.layers:
            classes_Bt1D, patches_BthwD = _split(tokens_BtLD, grid)
            tokens_BtLD = recompute(layer, classes_Bt1D, patches_BthwD, enable=self.grad_checkpointing)
        features_BD: Tensor = self.ln_post(tokens_BtLD[:, :, 0].mean(dim=1))
        return features_BD if self.proj is None else features_BD @ self.proj


class TAdaFormerLayer(nn.Module):
    """A TAda block, attention among the tokens of a frame, perhaps another TAda block, and a feed-forward network.

    Each is beside a residual connection; layer norms stand before attention and feed-forward network only.

    Args:
        dim: D.
        num_heads: Heads of the attention.
        tada: Maps the patches of all frames, (B, t, h, w, D) to the same; class tokens pass it by.
        tada2: Likewise, behind the attention.
        drop_path: Probability that a branch is dropped for a clip, in training.
    """

    def __init__(self, dim: int, num_heads: int, *, tada: nn.Module, tada2: nn.Module | None, drop_path: float) -> None:
        super().__init__()
        self.tada = tada
        self.tada2 = tada2
        self.attn = FrameAttention(dim, num_heads)
        self.ln_1 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, _MLP_RATIO * dim)
        self.ln_2 = nn.LayerNorm(dim)
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, classes_Bt1D: Tensor, patches_BthwD: Tensor) -> Tensor:
        """Class tokens and patches to tokens (B, t, 1 + h * w, D), a frame's class token before its patches."""
        grid = patches_BthwD.shape[2:4]
        tokens_BtLD = self._calibrated(self.tada, classes_Bt1D, patches_BthwD)
        tokens_BtLD = tokens_BtLD + self.drop_path(self.attn(self.ln_1(tokens_BtLD)))
        if self.tada2 is not None:
            tokens_BtLD = self._calibrated(self.tada2, *_split(tokens_BtLD, grid))
        mixed_BtLD: Tensor = tokens_BtLD + self.drop_path(self.mlp(self.ln_2(tokens_BtLD)))
        return mixed_BtLD

    def _calibrated(self, tada: nn.Module, classes_Bt1D: Tensor, patches_BthwD: Tensor) -> Tensor:
        patches_BthwD = patches_BthwD + self.drop_path(tada(patches_BthwD))
        return torch.cat((classes_Bt1D, patches_BthwD.flatten(2, 3)), dim=2)


class TAdaBlock(nn.Module):
    """A bottleneck around a depthwise temporally-adaptive convolution; at birth it gives zeros.

    Args:
        dim: D.
        reduction: D over M.
        temporal_enhancement: The first map sees three frames.
        route_ratio: M over the hidden features of the routing function.
        route_kernels: Temporal sizes of its convolutions.
        route_head_dim: Features of a head of its attention over time.
    """

    def __init__(
        self,
        dim: int,
        *,
        reduction: int,
        temporal_enhancement: bool,
        route_ratio: int,
        route_kernels: Sequence[int],
        route_head_dim: int,
    ) -> None:
        super().__init__()
        width = dim // reduction
        self.tada_pre_proj = FrameMap(dim, width, num_frames=3) if temporal_enhancement else nn.Linear(dim, width)
        self.tadaconv = TAdaConv2dV2(
            width,
            width,
            (1, 3, 3),
            padding=(0, 1, 1),
            groups=width,
            route=RouteFuncTransformer(
                width, ratio=route_ratio, kernels=route_kernels, head_dim=route_head_dim, is_one_based=False
            ),
            has_temporal_norms=True,
        )
        self.tada_proj = FrameMap(width, dim, num_frames=1) if temporal_enhancement else nn.Linear(width, dim)
        _initialize(self)
        nn.init.zeros_(self.tada_proj.weight)

    def forward(self, patches_BthwD: Tensor) -> Tensor:
        """(B, t, h, w, D) to the same."""
        narrow_BthwM = self.tada_pre_proj(patches_BthwD)
        seen_BthwM = self.tadaconv(narrow_BthwM.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        wide_BthwD: Tensor = self.tada_proj(quick_gelu(seen_BthwM))
        return wide_BthwD


class FrameMap(nn.Conv3d):
    """A linear map of each place in neighboring frames, (B, t, h, w, in) to (B, t, h, w, out), zeros beyond the clip.

    Its weight has the published shape (out, in, frames, 1, 1).
    """

    def __init__(self, in_features: int, out_features: int, *, num_frames: int) -> None:
        super().__init__(in_features, out_features, (num_frames, 1, 1), padding=(num_frames // 2, 0, 0))

    def forward(self, patches_BthwD: Tensor) -> Tensor:
        """As a matrix product, or a convolution over time and one axis of places: faster than a convolution of three axes."""
        if self.kernel_size[0] == 1:
            return functional.linear(patches_BthwD, self.weight.flatten(1), self.bias)
        lines_BDtS = patches_BthwD.flatten(2, 3).permute(0, 3, 1, 2)
        weight = self.weight.squeeze(-1)
        mapped_BDtS = functional.conv2d(lines_BDtS, weight, self.bias, padding=(self.kernel_size[0] // 2, 0))
        return torch.unflatten(mapped_BDtS.permute(0, 2, 3, 1), 2, patches_BthwD.shape[2:4])


class FrameAttention(nn.Module):
    """Self-attention among the tokens of a frame, (..., L, D) to the same.

    Its parameters have the names and shapes of `nn.MultiheadAttention`.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        _initialize(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """Queries, keys and values are one after the other in the one map's result, in each the heads one after the other."""
        qkv = functional.linear(tokens.flatten(0, -3), self.in_proj_weight, self.in_proj_bias)
        query, key, value = torch.unflatten(qkv, -1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        seen_NhLd = functional.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.out_proj(seen_NhLd.transpose(1, 2).reshape(tokens.shape))
        return mixed


class FeedForward(nn.Module):
    """Two linear maps of each token with a QuickGELU between them, (..., D) to the same."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(dim, hidden)
        self.c_proj = nn.Linear(hidden, dim)
        _initialize(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) to the same."""
        return quick_gelu_maps(tokens, self.c_fc, self.c_proj)


def _split(tokens_BtLD: Tensor, grid: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The frames' class tokens and patches, as views: (B, t, 1, D) and (B, t, h, w, D)."""
    return tokens_BtLD[:, :, :1], torch.unflatten(tokens_BtLD[:, :, 1:], 2, tuple(grid))


def _initialize(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv3d):
            nn.init.trunc_normal_(part.weight, std=_INIT_STD)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} ({size}) must be at least 1")
