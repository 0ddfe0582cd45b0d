"""How fast the calibrated depthwise convolution of TAdaConv V2 and TAdaConvNeXtV2 are, against the published formulation.

Run as `python benchmarks/tadaconv_v2.py [--quick]`. It prints one line a claim; above 1 means ours is faster by so much:

    ratio tadaconv_v2_forward      time of the plain operator / time of ours; promised: at least 1.2
    ratio tadaconv_v2_train        likewise, forward and backward; promised: at least 1.2
    ratio tadaconvnextv2_forward   time of the plain TAdaConvNeXtV2-T in evaluation / time of ours; promised: at least 1.3
    ratio tadaconvnextv2_train     likewise, forward and backward; promised: at least 1.3

The plain formulation makes a kernel and a bias for each frame of each clip, runs them as groups of one convolution, and keeps
clips as (B, C, T, H, W). Ours keeps them as channels-last frames; each has its input in its own layout. B=2 clips of T=8
frames, 7x7 kernels at the four stages' shapes of TAdaConvNeXtV2-T on 224 px and 3x3 kernels as TAdaFormer has them; the
networks on one clip of 16 frames of 224 px. Both take turns in one process with one thread; the time is CPU time, a ratio is
the median over turns, and that of the operator the geometric mean over the shapes (none of which may be below 1). Both give
the same numbers.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoopraxis.backbones.tadaconvnext import TAdaConvNeXtV2Block
from zoopraxis.models import create_model
from zoopraxis.temporal import ChannelsFirstLayerNorm, RouteFuncTransformer, TAdaConv2dV2

NUM_CLIPS, NUM_FRAMES, SIZE, SEED = 2, 8, 224, 0
SHAPES = ((96, 56, 7), (192, 28, 7), (384, 14, 7), (768, 7, 7), (384, 14, 3), (512, 16, 3))
"""Channels, height and kernel."""

Step = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of TAdaConv V2 and TAdaConvNeXtV2, against the published formulation.")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    is_quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    for name, is_training in (("tadaconv_v2_forward", False), ("tadaconv_v2_train", True)):
        ratios = [compare_shape(*shape, is_training=is_training, num_turns=5 if is_quick else 25) for shape in SHAPES]
        print(f"ratio {name} {math.exp(statistics.mean(map(math.log, ratios))):.3f}", flush=True)
    compare_networks(2 if is_quick else 7)


def plain_tadaconv(conv: TAdaConv2dV2, x_BCTHW: Tensor, factors: tuple[Tensor, Tensor]) -> Tensor:
    """The published operator: a kernel and a bias for each frame."""
    w_alpha, b_alpha = factors
    clips, _, frames, height, width = x_BCTHW.shape
    kernels = (w_alpha.permute(0, 2, 1, 3, 4).unsqueeze(3) * conv.weight).flatten(0, 2)
    biases = (b_alpha.squeeze((3, 4)).permute(0, 2, 1) * conv.bias).flatten()
    images = x_BCTHW.permute(0, 2, 1, 3, 4).reshape(1, -1, height, width)
    out = functional.conv2d(images, kernels, biases, padding=conv.padding[1:], groups=images.shape[1])
    return out.reshape(clips, frames, -1, *out.shape[2:]).permute(0, 2, 1, 3, 4)


class PlainBlock(nn.Module):
    """A block as it is published, with the weights of one of ours."""

    def __init__(self, block: TAdaConvNeXtV2Block) -> None:
        super().__init__()
        self.block = block
        self.avgpool = nn.AvgPool3d((3, 1, 1), stride=1, padding=(1, 0, 0))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        block = self.block
        inner = plain_tadaconv(block.dwconv, x_BCTHW, plain_route(block.dwconv_rf, x_BCTHW))
        pooled = self.avgpool(inner)
        inner = block.norm(inner.permute(0, 2, 3, 4, 1)) + block.norm_avgpool(pooled.permute(0, 2, 3, 4, 1))
        inner = block.pwconv1(inner)
        inner = block.pwconv2(inner * torch.sigmoid(1.702 * inner))
        return x_BCTHW + (block.gamma * inner).permute(0, 4, 1, 2, 3)


class PlainLayerNorm(nn.Module):
    """The published norm over channels: means written out."""

    def __init__(self, norm: ChannelsFirstLayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        mean = x_BCTHW.mean(1, keepdim=True)
        variance = (x_BCTHW - mean).pow(2).mean(1, keepdim=True)
        normal = (x_BCTHW - mean) / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None, None] * normal + self.bias[:, None, None, None]


class PlainNetwork(nn.Module):
    """TAdaConvNeXtV2 as it is published, with the weights of ours; both give features (B, D)."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for downsample, stage in zip(backbone.downsample_layers, backbone.stages, strict=True):
            layers += [PlainLayerNorm(m) if isinstance(m, ChannelsFirstLayerNorm) else m for m in downsample]
            layers += [PlainBlock(block) for block in stage]
        self.layers, self.norm = nn.Sequential(*layers), backbone.norm

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        return self.norm(self.layers(clip_BTCHW.transpose(1, 2).contiguous()).mean((2, 3, 4)))


def plain_route(route: RouteFuncTransformer, x_BCTHW: Tensor) -> tuple[Tensor, Tensor]:
    """The published routing function has its own reduction; its other tensors are too small to count."""
    return route(functional.adaptive_avg_pool3d(x_BCTHW, (None, 1, 1)))


def compare_shape(channels: int, height: int, kernel: int, *, is_training: bool, num_turns: int) -> float:
    """How many times as long the plain operator takes."""
    padding = kernel // 2
    conv = TAdaConv2dV2(channels, channels, [1, kernel, kernel], padding=[0, padding, padding], groups=channels)
    nn.init.normal_(conv.bias)
    x = torch.randn(NUM_CLIPS, channels, NUM_FRAMES, height, height)
    factors = [1 + 0.1 * torch.randn(NUM_CLIPS, channels, NUM_FRAMES, 1, 1) for _ in range(2)]
    inputs = {
        "plain": (lambda *given: plain_tadaconv(conv, given[0], given[1:]), x),
        "ours": (lambda *given: conv(given[0], given[1:]), x.contiguous(memory_format=torch.channels_last_3d)),
    }
    outputs, gradients, steps = {}, {}, {}
    for name, (operator, features) in inputs.items():
        leaves = [tensor.detach().requires_grad_(is_training) for tensor in (features, *factors)]
        incoming = torch.ones_like(operator(*leaves).detach())

        def step(name: str = name, operator: Step = operator, leaves: list[Tensor] = leaves, grad: Tensor = incoming) -> None:
            with torch.set_grad_enabled(is_training):
                outputs[name] = operator(*leaves)
                if is_training:
                    gradients[name] = torch.autograd.grad(outputs[name], [*leaves, *conv.parameters()], grad)

        steps[name] = step
    what = f"{kernel}x{kernel}, {channels} channels, {height}x{height}, {'train' if is_training else 'forward'}"
    ratio = time_turns(steps, num_turns, what)
    torch.testing.assert_close(outputs["ours"], outputs["plain"], rtol=1e-3, atol=1e-4)
    for mine, theirs in zip(gradients.get("ours", ()), gradients.get("plain", ()), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3 * float(theirs.std()))
    return ratio


def compare_networks(num_turns: int) -> None:
    ours = create_model("tadaconvnextv2", heads={"label": 1}).backbone
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if name.endswith(("rf.b.weight", "rf.b_bias.weight")):
                parameter.normal_(0, 0.05)
            elif name.endswith(("gamma", "norm_avgpool.weight")):
                parameter.fill_(0.25)
    plain = PlainNetwork(copy.deepcopy(ours))
    clips = torch.randn(1, 2 * NUM_FRAMES, SIZE, SIZE, 3).permute(0, 1, 4, 2, 3)
    with torch.inference_mode():
        torch.testing.assert_close(ours(clips), plain(clips), rtol=1e-3, atol=1e-4)
        ratio = time_turns({"plain": lambda: plain(clips), "ours": lambda: ours(clips)}, num_turns, "TAdaConvNeXtV2-T, forward")
    print(f"ratio tadaconvnextv2_forward {ratio:.3f}", flush=True)
    steps = {name: lambda net=net: net(clips).square().sum().backward() for name, net in (("plain", plain), ("ours", ours))}
    print(f"ratio tadaconvnextv2_train {time_turns(steps, num_turns, 'TAdaConvNeXtV2-T, train'):.3f}", flush=True)


def time_turns(steps: dict[str, Step], num_turns: int, what: str) -> float:
    """The median over turns of the plain step's CPU time over ours; one turn is for warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(num_turns + 1):
        for name in steps if turn % 2 else reversed(steps):
            begin = time.process_time()
            steps[name]()
            seconds[name].append(time.process_time() - begin)
    medians = {name: 1e3 * statistics.median(values[1:]) for name, values in seconds.items()}
    ratio = statistics.median(plain / ours for plain, ours in zip(seconds["plain"][1:], seconds["ours"][1:], strict=True))
    print(f"{what}, ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in medians.items()) + f", ratio {ratio:.3f}", flush=True)
    return ratio


if __name__ == "__main__":
    main()
