"""Non-local block: every place of a clip looks at all places of all frames.

# B clips, T frames, C channels, S any spatial axes, N = T * H * W places, M channels inside the block

Source: Wang et al., Non-local Neural Networks, CVPR 2018 (the embedded Gaussian form), and the published code of TAdaConv's
authors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from zoopraxis.temporal.kinds import TEMPORAL, TemporalKind
from zoopraxis.temporal.layouts import on_flat_weights

__all__ = ["NonLocalBlock", "TemporalNonLocal"]


class NonLocalBlock(nn.Module):
    """x + out_bn(out_conv(softmax(q k^T / sqrt(M)) v)) over all N places of a clip, M = C // 2.

    Its parameters have the published names and shapes: `qconv`, `kconv`, `vconv` (M, C, 1, 1, 1), `out_conv` (C, M, 1, 1, 1),
    all with bias, and `out_bn` (C). As published, its output norm starts at one: a new block is not the identity.

    Time grows with the square of N. So does the memory of the published code, which keeps all N * N weights; here it grows with
    N where `scaled_dot_product_attention` has a fused kernel.

    Args:
        channels: C, at least 2.

    Raises:
        ValueError: If there are fewer channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 2:
            raise ValueError(f"channels ({channels}) must be at least 2: the block halves them")
        hidden = channels // 2
        self.qconv = _PlaceConv(channels, hidden)
        self.kconv = _PlaceConv(channels, hidden)
        self.vconv = _PlaceConv(channels, hidden)
        self.out_conv = _PlaceConv(hidden, channels)
        self.out_bn = nn.BatchNorm1d(channels)

    def forward(self, features_BCTHW: Tensor) -> Tensor:
        """Let all places of each clip look at each other.

        Args:
            features_BCTHW: Shape (B, C, T, H, W), any memory format.

        Returns:
            A new tensor of the same shape.
        """
        seen_BNC = self._look(features_BCTHW.flatten(2).transpose(1, 2))
        return features_BCTHW + seen_BNC.transpose(1, 2).reshape(features_BCTHW.shape)

    def _look(self, features_BNC: Tensor) -> Tensor:
        """What the block adds, (B, N, C)."""
        query_B1NM, key_B1NM, value_B1NM = (
            convolution(features_BNC).unsqueeze(1) for convolution in (self.qconv, self.kconv, self.vconv)
        )
        seen_BNM = scaled_dot_product_attention(query_B1NM, key_B1NM, value_B1NM).squeeze(1)
        seen_BNC: Tensor = self.out_bn(self.out_conv(seen_BNM).transpose(1, 2)).transpose(1, 2)
        return seen_BNC


class TemporalNonLocal(NonLocalBlock):
    """A non-local block for the frames of an image network, (B, T, C, *spatial) to the same shape; the identity at birth.

    Args:
        channels: C, at least 2.

    Differs: its output norm starts at zero, as the paper has it for blocks put into a trained network; in the published code it
    starts at one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        nn.init.zeros_(self.out_bn.weight)

    def forward(self, features_BTCS: Tensor) -> Tensor:
        """Let all places of all frames of each clip look at each other.

        Args:
            features_BTCS: Shape (B, T, C, *spatial) with at least one spatial axis; any memory format.

        Returns:
            A new tensor of the same shape.
        """
        features_BTSC = features_BTCS.flatten(3).transpose(2, 3)
        seen_BNC = self._look(features_BTSC.flatten(1, 2))
        seen_BTCS = seen_BNC.reshape(features_BTSC.shape).transpose(2, 3)
        return features_BTCS + seen_BTCS.reshape(features_BTCS.shape)


class _PlaceConv(nn.Conv3d):
    """A 1x1x1 convolution on places, (B, N, in) to (B, N, out), whose weight has the published shape (out, in, 1, 1, 1)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, features_BNC: Tensor) -> Tensor:
        return linear(features_BNC, self.weight.flatten(1), self.bias)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Hide two of the axes of size one: no tensor of five axes can follow a network `.to(memory_format=channels_last)`."""
        super()._apply(on_flat_weights(fn), recurse)  # type: ignore[no-untyped-call]
        return self


def _build_nonlocal(*, channels: int, num_frames: int) -> TemporalNonLocal:
    return TemporalNonLocal(channels)


TEMPORAL.register("nonlocal")(TemporalKind(build=_build_nonlocal, site="branch_input"))
