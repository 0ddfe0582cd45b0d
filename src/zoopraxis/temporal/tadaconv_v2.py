"""TAdaConv V2: a kernel and a bias for each frame, calibrated by what attention over the clip's frames sees.

The routing function looks at frame means through temporal convolutions and attention over time; the convolution scales its
output channels and its bias by the two factors. TAdaConvNeXtV2 has both side by side, TAdaFormer the routing function inside
the convolution, with an average over neighboring frames behind it:

>>> import torch
>>> from zoopraxis.temporal import RouteFuncTransformer, TAdaConv2dV2
>>> depthwise = {"kernel_size": [1, 7, 7], "padding": [0, 3, 3], "groups": 96}
>>> route, conv = RouteFuncTransformer(96, head_dim=24), TAdaConv2dV2(96, 96, **depthwise)
>>> x = torch.zeros(2, 96, 8, 14, 14)
>>> conv(x, route(x)).shape
torch.Size([2, 96, 8, 14, 14])
>>> inside = TAdaConv2dV2(96, 96, **depthwise, route=RouteFuncTransformer(96, head_dim=24), has_temporal_norms=True)
>>> inside(x).shape
torch.Size([2, 96, 8, 14, 14])

# B clips, T frames, N = B * T frames, C channels, H height, W width, L = H * W tokens, S any spatial axes, R hidden channels of
# the routing function, D channels of an attention head, h heads, O output channels, I input channels of a group

Source: Huang et al., Temporally-Adaptive Models for Efficient Video Understanding, 2023 (arXiv 2308.05787).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoopraxis.temporal.kinds import TEMPORAL, TemporalKind
from zoopraxis.temporal.means import frame_means
from zoopraxis.temporal.neighbors import normalize_with_neighbors
from zoopraxis.temporal.tadaconv import TimeConv
from zoopraxis.temporal.tadaconv_ops import CalibratedAxis, TAdaConv2d

__all__ = ["ChannelsFirstLayerNorm", "RouteFuncTransformer", "TAdaConv2dV2", "TemporalCalibrationV2", "quick_gelu"]

Factors = tuple[Tensor, Tensor | None]
"""What scales the kernel and what scales the bias, each of shape (B, C, T, 1, 1); none: the bias stays."""

_NORM_EPS = 1e-6
_INIT_STD = 0.02


def quick_gelu(features: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), of any shape: the approximation of a GELU that CLIP was trained with."""
    return features * torch.sigmoid(1.702 * features)


class RouteFuncTransformer(nn.Module):
    """What calibrates each frame's kernel and bias: frame means through temporal convolutions and attention over frames.

    s is the mean of each frame over its positions, h = quick_gelu(norm(a(s))), h = h + attention(norm_transformer(h)); the
    factors are b(h) and b_bias(h), each plus one if `is_one_based`. The attention scales its scores by R ** -0.5, not by the
    width of a head, and the heads are the fastest axis of its queries, keys and values but the slowest of its result: trained
    weights hold for just that.

    Its parameters have the published names and shapes: `a` (R, C, K, 1, 1), `norm` and `norm_transformer` (R), `qkv_proj`
    (3 R, R, 1, 1, 1), `attn_out` (R, R, 1, 1, 1), `b` and `b_bias` (C, R, K, 1, 1) with R = C // ratio. An initialization of a
    whole network must leave modules with a true attribute `skip_init` as they are: `b` and `b_bias` where they start at zero.

    Args:
        channels: C.
        ratio: C over the hidden channels.
        kernels: Temporal sizes of `a`, and of `b` and `b_bias`, both odd.
        head_dim: D; it divides R.
        has_bias: Whether there are factors for the bias.
        is_one_based: The factors start at one, `b` and `b_bias` at zero (TAdaConvNeXtV2); otherwise the factors are what `b`
            and `b_bias` give (TAdaFormer).

    Raises:
        ValueError: If no hidden channel is left, a kernel is not odd or `head_dim` does not divide R.
    """

    def __init__(
        self,
        channels: int,
        *,
        ratio: int = 2,
        kernels: Sequence[int] = (3, 3),
        head_dim: int = 64,
        has_bias: bool = True,
        is_one_based: bool = True,
    ) -> None:
        super().__init__()
        if not 1 <= ratio <= channels:
            raise ValueError(f"ratio ({ratio}) must be at least 1 and at most the {channels} channels; as published: 2")
        if len(kernels) != 2 or any(kernel < 1 or kernel % 2 == 0 for kernel in kernels):
            raise ValueError(f"kernels ({list(kernels)}) must be two odd positive sizes; as published: [3, 3]")
        hidden = channels // ratio
        if head_dim < 1 or hidden % head_dim:
            raise ValueError(
                f"head_dim ({head_dim}) must divide the {hidden} hidden channels of the routing function "
                f"({channels} channels over ratio {ratio}); try head_dim={math.gcd(hidden, max(head_dim, 1))}"
            )
        self.head_dim, self.is_one_based = head_dim, is_one_based
        first, second = kernels
        self.a = TimeConv(channels, hidden, first)
        self.norm = nn.LayerNorm(hidden, eps=_NORM_EPS)
        self.norm_transformer = nn.LayerNorm(hidden, eps=_NORM_EPS)
        self.qkv_proj = TimeConv(hidden, 3 * hidden, 1)
        self.attn_out = TimeConv(hidden, hidden, 1)
        self.b = TimeConv(hidden, channels, second, bias=False)
        self.b_bias = TimeConv(hidden, channels, second, bias=False) if has_bias else None
        for layer in (self.b, self.b_bias):
            if is_one_based and layer is not None:
                nn.init.zeros_(layer.weight)
                layer.skip_init = True  # type: ignore[assignment]

    def forward(self, features_BCTHW: Tensor) -> Factors:
        """The factors that `TAdaConv2dV2` takes.

        Args:
            features_BCTHW: Shape (B, C, T, H, W), any memory format.

        Returns:
            Factors of the kernel and of the bias (none without `has_bias`), each of shape (B, C, T, 1, 1), in the dtype of the
            features: one for each channel of each frame.
        """
        means_BCT = frame_means(features_BCTHW.transpose(1, 2)).transpose(1, 2)
        hidden_BTR = self.norm(self.a(means_BCT).transpose(1, 2))
        hidden_BTR = quick_gelu(hidden_BTR)
        hidden_BRT = (hidden_BTR + self._attend(self.norm_transformer(hidden_BTR))).transpose(1, 2)
        dtype = features_BCTHW.dtype
        bias = None if self.b_bias is None else self._factors(self.b_bias, hidden_BRT, dtype)
        return self._factors(self.b, hidden_BRT, dtype), bias

    def _factors(self, layer: TimeConv, hidden_BRT: Tensor, dtype: torch.dtype) -> Tensor:
        factors_BCT: Tensor = layer(hidden_BRT)
        return (factors_BCT + 1 if self.is_one_based else factors_BCT).to(dtype)[..., None, None]

    def _attend(self, hidden_BTR: Tensor) -> Tensor:
        """Attention of each frame to all, (B, T, R) to the same."""
        width = hidden_BTR.shape[-1]
        qkv = functional.linear(hidden_BTR, self.qkv_proj.weight.flatten(1), self.qkv_proj.bias)
        qkv_BT3Dh = torch.unflatten(qkv, -1, (3, self.head_dim, width // self.head_dim))
        queries, keys, values = qkv_BT3Dh.permute(2, 0, 4, 1, 3).unbind()
        attended = functional.scaled_dot_product_attention(queries, keys, values, scale=width**-0.5)
        merged_BTR = attended.transpose(1, 2).flatten(2)
        return functional.linear(merged_BTR, self.attn_out.weight.flatten(1), self.attn_out.bias)


class TemporalCalibrationV2(nn.Module):
    """V2's routing in an image network: what enters a spatial convolution times its factors, (B, T, C, *spatial) to the same.

    Before a depthwise convolution, where output channel c sees input channel c alone, this is the calibrated kernel of V2,
    exactly; before a dense one its input channels are calibrated in place of its output channels, as in the first version.
    The convolution's own bias, which V2 calibrates as well, stays as it is. At birth it is the identity.

    Args:
        channels: C.
        ratio: C over the hidden channels.
        kernels: Temporal sizes of the routing function's convolutions.
        head_dim: Channels of a head of its attention; none: the most that divide the hidden channels, up to 64.
    """

    def __init__(self, *, channels: int, ratio: int = 2, kernels: Sequence[int] = (3, 3), head_dim: int | None = None) -> None:
        if head_dim is None:
            hidden = max(1, channels // max(1, ratio))
            head_dim = next(width for width in range(64, 0, -1) if hidden % width == 0)
        super().__init__()
        self.route = RouteFuncTransformer(channels, ratio=ratio, kernels=kernels, head_dim=head_dim, has_bias=False)

    def forward(self, features_BTCS: Tensor) -> Tensor:
        """Scale each channel of each frame.

        Args:
            features_BTCS: Shape (B, T, C, *spatial), any memory format, which is kept.

        Returns:
            A new tensor of the same shape and dtype.
        """
        factors_BCT11, _ = self.route(features_BTCS.transpose(1, 2))
        factors_BTC = factors_BCT11.flatten(2).transpose(1, 2)
        scaled_BTCS: Tensor = features_BTCS * factors_BTC.reshape(*factors_BTC.shape, *[1] * (features_BTCS.ndim - 3))
        return scaled_BTCS


class TAdaConv2dV2(TAdaConv2d):
    """A convolution over the positions of each frame: kernel and bias of frame t are alpha_t and beta_t times the common ones.

    With `route` it finds the factors by itself; with `has_temporal_norms` its result is bn_a(y) + bn_b(mean of each frame of y
    and its two neighbors), where the weight and bias of bn_b start at zero.

    Keys: `weight` (1, 1, O, I, kh, kw), `bias` (1, 1, O), `rf_func.*`, `bn_a.*` and `bn_b.*`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, O.
        kernel_size: One number for height and width, or three that begin with 1.
        stride: Likewise.
        padding: Likewise, beginning with 0.
        dilation: Likewise, beginning with 1.
        groups: As `nn.Conv2d` has it; more than one only with `cal_dim="cout"`.
        bias: Whether there is a bias.
        cal_dim: Which channels of the kernel alpha scales.
        route: Finds the factors of the input.
        has_temporal_norms: Whether the two batch norms stand behind the convolution.
        bn_eps: Added to the variance in them.
        bn_mmt: Momentum of their running statistics.

    Raises:
        ValueError: If an argument is out of range.

    Differs: the published code makes a kernel for each frame of each clip and runs them as groups of one convolution; that is
    done here for a depthwise kernel and a contiguous input alone, where it is the fastest. Otherwise there is one kernel, and
    its output is scaled and shifted. Any stride works; with another than 1 the published one fails.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        cal_dim: CalibratedAxis = "cout",
        *,
        route: RouteFuncTransformer | None = None,
        has_temporal_norms: bool = False,
        bn_eps: float = 1e-5,
        bn_mmt: float = 0.1,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, cal_dim)
        nn.init.trunc_normal_(self.weight, std=_INIT_STD)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.rf_func = route
        self.bn_a = nn.BatchNorm2d(out_channels, eps=bn_eps, momentum=bn_mmt) if has_temporal_norms else None
        self.bn_b = nn.BatchNorm2d(out_channels, eps=bn_eps, momentum=bn_mmt) if has_temporal_norms else None
        if self.bn_b is not None:
            nn.init.zeros_(self.bn_b.weight)

    def forward(self, x: Tensor, alpha: Tensor | Factors | None = None, *, num_frames: int | None = None) -> Tensor:
        """Convolve.

        Args:
            x: Shape (B, in_channels, T, H, W), any memory format, of which channels last (3-D) is the fastest; or tokens
                (L, N, in_channels) of square frames.
            alpha: Factors of the kernel and of the bias, or of the kernel alone, shape (B, C, T, 1, 1) with C the channels of
                the calibrated axis, for the bias O; not with a `route` of its own.
            num_frames: T, needed for tokens.

        Returns:
            Shape (B, O, T, H', W'), or tokens (L', N, O).

        Raises:
            ValueError: If factors are missing or of another shape, or tokens are of no square frames or of no whole clips.
        """
        if x.ndim == 3:
            return self._convolve_tokens(x, alpha, num_frames)
        kernel_factors, bias_factors = self._check(x, alpha)
        y_BTOHW = self._calibrate(x, kernel_factors, bias_factors).transpose(1, 2)
        if self.bn_a is not None and self.bn_b is not None:
            y_BTOHW = normalize_with_neighbors(y_BTOHW, self.bn_a, self.bn_b)
        return y_BTOHW.transpose(1, 2)

    def _check(self, x_BCTHW: Tensor, alpha: Tensor | Factors | None) -> Factors:
        if alpha is None:
            if self.rf_func is None:
                raise ValueError("alpha is missing, and the convolution has no route of its own; give one of them")
            found: Factors = self.rf_func(x_BCTHW)
            return found
        if self.rf_func is not None:
            raise ValueError("alpha is given, but the convolution has a route of its own; leave alpha out")
        kernel_factors, bias_factors = (alpha, None) if isinstance(alpha, Tensor) else alpha
        num_frames = x_BCTHW.shape[2]
        self._check_factors(kernel_factors, num_frames)
        if bias_factors is not None and tuple(bias_factors.shape[1:]) != (self.out_channels, num_frames, 1, 1):
            raise ValueError(
                f"factors of the bias must have shape (B, {self.out_channels}, {num_frames}, 1, 1), "
                f"not {tuple(bias_factors.shape)}"
            )
        return kernel_factors, bias_factors

    def _calibrate(self, x_BCTHW: Tensor, kernel_factors: Tensor, bias_factors: Tensor | None) -> Tensor:
        """The convolution itself."""
        bias_BTO = self._biases(x_BCTHW, bias_factors)
        if self.cal_dim == "cin":
            out_BOTHW = self._convolve(x_BCTHW * kernel_factors, self._kernel(x_BCTHW), None)
            return out_BOTHW if bias_BTO is None else out_BOTHW + bias_BTO.transpose(1, 2)[..., None, None]
        if self.groups == self.in_channels and x_BCTHW.is_contiguous():
            return self._convolve_kernels(x_BCTHW, kernel_factors, bias_BTO)
        out_BTOHW = self._convolve(x_BCTHW, self._kernel(x_BCTHW), None).transpose(1, 2)
        scale_BTO11 = kernel_factors.transpose(1, 2).to(out_BTOHW.dtype)
        if bias_BTO is None:
            return (out_BTOHW * scale_BTO11).transpose(1, 2)
        return torch.addcmul(bias_BTO[..., None, None].to(out_BTOHW.dtype), out_BTOHW, scale_BTO11).transpose(1, 2)

    def _kernel(self, x_BCTHW: Tensor) -> Tensor:
        """Shape (O, I, 1, kh, kw), contiguous if the input is: torch would turn the features into the kernel's format."""
        kernel_OIKhw = self.weight.reshape(self.out_channels, -1, *self.kernel_size)
        return kernel_OIKhw.contiguous() if x_BCTHW.is_contiguous() else kernel_OIKhw

    def _biases(self, x_BCTHW: Tensor, bias_factors: Tensor | None) -> Tensor | None:
        """The bias of each frame, shape (B, T, O)."""
        if self.bias is None:
            return None
        if bias_factors is None:
            return self.bias.expand(x_BCTHW.shape[0], x_BCTHW.shape[2], -1)
        return bias_factors.flatten(2).transpose(1, 2) * self.bias

    def _convolve_kernels(self, x_BCTHW: Tensor, kernel_factors: Tensor, bias_BTO: Tensor | None) -> Tensor:
        """A depthwise kernel for each frame, as groups of one convolution over one image."""
        num_clips, _, num_frames, height, width = x_BCTHW.shape
        scale_BTO1hw = kernel_factors.transpose(1, 2)[..., None]
        kernels_GIhw = (scale_BTO1hw * self.weight).flatten(0, 2)
        frames_1Ghw = x_BCTHW.transpose(1, 2).reshape(1, -1, height, width)
        bias_G = None if bias_BTO is None else bias_BTO.flatten().to(kernels_GIhw.dtype)
        stride, padding, dilation = self.stride[1:], self.padding[1:], self.dilation[1:]
        out_1Ghw = functional.conv2d(frames_1Ghw, kernels_GIhw, bias_G, stride, padding, dilation, frames_1Ghw.shape[1])
        out_BTOhw = out_1Ghw.reshape(num_clips, num_frames, self.out_channels, *out_1Ghw.shape[2:])
        return out_BTOhw.transpose(1, 2)

    def _convolve_tokens(self, x_LNC: Tensor, alpha: Tensor | Factors | None, num_frames: int | None) -> Tensor:
        num_tokens, num_images, channels = x_LNC.shape
        side = math.isqrt(num_tokens)
        if side**2 != num_tokens:
            raise ValueError(f"tokens must be of square frames, not {num_tokens} a frame; give maps (B, C, T, H, W)")
        if num_frames is None or num_frames < 1 or num_images % num_frames:
            raise ValueError(f"num_frames ({num_frames}) must divide the {num_images} frames of the tokens")
        maps_BTLC = x_LNC.transpose(0, 1).reshape(-1, num_frames, num_tokens, channels)
        maps_BCTHW = torch.unflatten(maps_BTLC, 2, (side, side)).permute(0, 4, 1, 2, 3)
        out_BOTHW = self.forward(maps_BCTHW, alpha)
        return out_BOTHW.permute(0, 2, 3, 4, 1).flatten(2, 3).flatten(0, 1).transpose(0, 1)


class ChannelsFirstLayerNorm(nn.LayerNorm):
    """Normalizes over the channels at each position: (B, C, *spatial), any memory format, to the same shape, channels last.

    Args:
        num_channels: C.
        eps: Added to the variance, which is that of the population.
    """

    def __init__(self, num_channels: int, eps: float = _NORM_EPS) -> None:
        super().__init__(num_channels, eps=eps)

    def forward(self, features_BCS: Tensor) -> Tensor:
        return super().forward(features_BCS.movedim(1, -1)).movedim(-1, 1)


def _build_calibration(
    *, channels: int, num_frames: int, ratio: int = 2, kernels: Sequence[int] = (3, 3), head_dim: int | None = None
) -> TemporalCalibrationV2:
    return TemporalCalibrationV2(channels=channels, ratio=ratio, kernels=kernels, head_dim=head_dim)


TEMPORAL.register("tadaconv_v2")(TemporalKind(build=_build_calibration, site="spatial_conv", layouts=("map",)))
