"""TAdaConvNeXtV2: a ConvNeXt whose depthwise kernels each frame calibrates, with an average over neighboring frames.

# B clips, T frames (t of them behind the stem), C channels, H height, W width, D features

Source: Huang et al., Temporally-Adaptive Models for Efficient Video Understanding, 2023 (arXiv 2308.05787), on Liu et al., A
ConvNet for the 2020s, CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from zoopraxis.backbones.attention import drop_path_rates
from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.backbones.feed_forward import quick_gelu_maps
from zoopraxis.backbones.recompute import recompute
from zoopraxis.temporal import ChannelsFirstLayerNorm, RouteFuncTransformer, TAdaConv2dV2, neighbor_mean

__all__ = ["TAdaConvNeXtV2", "TAdaConvNeXtV2Block"]

_NORM_EPS = 1e-6
_INIT_STD = 0.02
_KERNEL = 7
_PATCH = 4


class TAdaConvNeXtV2Block(nn.Module):
    """Calibrated depthwise convolution, norms of it and of its average over neighboring frames, two linear maps, a shortcut.

    Args:
        dim: C.
        head_dim: Channels of a head in the routing function's attention.
        ratio: C over its hidden channels.
        kernels: Temporal sizes of its convolutions.
        drop_path: Probability that a clip's residual branch is dropped, in training.
        layer_scale: What the residual branch is multiplied by at birth; 0: there is no such factor.
        has_temporal_pool: Whether the norm of the average is added, whose weight and bias start at zero.
    """

    def __init__(
        self,
        dim: int,
        *,
        head_dim: int,
        ratio: int = 2,
        kernels: Sequence[int] = (3, 3),
        drop_path: float = 0.0,
        layer_scale: float = 1e-6,
        has_temporal_pool: bool = True,
    ) -> None:
        super().__init__()
        padding = _KERNEL // 2
        self.dwconv = TAdaConv2dV2(dim, dim, [1, _KERNEL, _KERNEL], padding=[0, padding, padding], groups=dim)
        self.dwconv_rf = RouteFuncTransformer(dim, ratio=ratio, kernels=kernels, head_dim=head_dim)
        self.norm = nn.LayerNorm(dim, eps=_NORM_EPS)
        self.norm_avgpool = nn.LayerNorm(dim, eps=_NORM_EPS) if has_temporal_pool else None
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), float(layer_scale))) if layer_scale else None
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, features_BCtHW: Tensor) -> Tensor:
        """(B, C, t, H, W) to the same shape; channels last in memory is the fastest, and what it gives."""
        y_BCtHW: Tensor = self.dwconv(features_BCtHW, self.dwconv_rf(features_BCtHW))
        y_BtHWC = y_BCtHW.permute(0, 2, 3, 4, 1)
        h_BtHWC = self.norm(y_BtHWC)
        if self.norm_avgpool is not None:
            h_BtHWC = h_BtHWC + self.norm_avgpool(neighbor_mean(y_BtHWC))
        h_BtHWC = quick_gelu_maps(h_BtHWC, self.pwconv1, self.pwconv2)
        if self.gamma is not None:
            h_BtHWC = self.gamma * h_BtHWC
        out_BCtHW: Tensor = features_BCtHW + self.drop_path(h_BtHWC).permute(0, 4, 1, 2, 3)
        return out_BCtHW


class TAdaConvNeXtV2(ClipBackbone):
    """Stages of blocks on patches of 4 x 4 pixels; each but the first halves height and width.

    Args:
        dims: C of each stage.
        depths: Blocks of each stage.
        head_dim: Channels of a head in the routing functions' attention.
        in_channels: Channels of a frame.
        stem_kernel: Frames that a patch of the stem spans, odd.
        stem_stride: Frames from one patch to the next.
        ratio: Channels over hidden channels of the routing functions.
        kernels: Temporal sizes of their convolutions.
        drop_path: Of the last block; rising evenly from 0 at the first.
        layer_scale: As for `TAdaConvNeXtV2Block`.
        has_temporal_pool: Likewise.

    Raises:
        ValueError: If there is no width and depth for each stage, the stem's kernel is not odd, or an argument of the routing
            functions is out of range.

    Differs: the published code fails for a stem that spans other than 3 frames.
    """

    def __init__(
        self,
        *,
        dims: Sequence[int],
        depths: Sequence[int],
        head_dim: int,
        in_channels: int = 3,
        stem_kernel: int = 3,
        stem_stride: int = 2,
        ratio: int = 2,
        kernels: Sequence[int] = (3, 3),
        drop_path: float = 0.0,
        layer_scale: float = 1e-6,
        has_temporal_pool: bool = True,
    ) -> None:
        if len(dims) != len(depths) or not dims or min(*dims, *depths) < 1:
            raise ValueError(f"dims {list(dims)} and depths {list(depths)} must be positive and as many, one for each stage")
        if stem_kernel < 1 or stem_kernel % 2 == 0 or stem_stride < 1:
            raise ValueError(
                f"stem_kernel ({stem_kernel}) must be odd and stem_stride ({stem_stride}) positive; published are 3 and 2"
            )
        super().__init__(num_features=dims[-1], in_channels=in_channels)
        self.downsample_layers = nn.ModuleList([_stem(in_channels, dims[0], stem_kernel, stem_stride)])
        for narrow, wide in pairwise(dims):
            halving = nn.Conv3d(narrow, wide, (1, 2, 2), stride=(1, 2, 2))
            self.downsample_layers.append(nn.Sequential(ChannelsFirstLayerNorm(narrow, eps=_NORM_EPS), halving))
        rates = iter(drop_path_rates(drop_path, sum(depths)))
        self.stages = nn.ModuleList()
        for dim, depth in zip(dims, depths, strict=True):
            blocks = [
                TAdaConvNeXtV2Block(
                    dim,
                    head_dim=head_dim,
                    ratio=ratio,
                    kernels=kernels,
                    drop_path=next(rates),
                    layer_scale=layer_scale,
                    has_temporal_pool=has_temporal_pool,
                )
                for _ in range(depth)
            ]
            self.stages.append(nn.Sequential(*blocks))
        self.norm = nn.LayerNorm(dims[-1], eps=_NORM_EPS)
        self.apply(_initialize)

    def check_view(self, num_frames: int, height: int, width: int) -> None:
        """Refuse frames that are too small."""
        least = _PATCH * 2 ** (len(self.stages) - 1)
        if min(height, width) < least:
            raise ValueError(f"frames of {height} x {width} px are too small for {len(self.stages)} stages; give {least} px")

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """Features (B, D) of clips (B, T, C, H, W) of any length and of at least as many pixels as the stages halve away.

        Raises:
            ValueError: If the tensor is no clip, or its frames are too small.
        """
        self.check_clip(clip_BTCHW)
        features = clip_BTCHW.transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            features = downsample(features)
            assert isinstance(stage, nn.Sequential)
            for block in stage:
                features = recompute(block, features, enable=self.grad_checkpointing)
        features_BD: Tensor = self.norm(features.mean((2, 3, 4)))
        return features_BD


def _stem(in_channels: int, dim: int, kernel: int, stride: int) -> nn.Sequential:
    patches = nn.Conv3d(
        in_channels, dim, (kernel, _PATCH, _PATCH), stride=(stride, _PATCH, _PATCH), padding=(kernel // 2, 0, 0)
    )
    return nn.Sequential(patches, ChannelsFirstLayerNorm(dim, eps=_NORM_EPS))


def _initialize(module: nn.Module) -> None:
    """As published: narrow weights, zero biases; the routing functions' last layers stay, the averages' norms start at zero."""
    if isinstance(module, nn.Conv3d | nn.Linear) and not getattr(module, "skip_init", False):
        nn.init.trunc_normal_(module.weight, std=_INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, TAdaConvNeXtV2Block) and module.norm_avgpool is not None:
        nn.init.zeros_(module.norm_avgpool.weight)
        nn.init.zeros_(module.norm_avgpool.bias)
