"""How fast temporally-adaptive convolution and the whole TAda2D are, against the published formulation.

Run as `python benchmarks/tadaconv.py [--quick]`. It prints one line a claim; above 1 means ours is better by so much:

    ratio tadaconv_forward      time of the plain operator / time of ours; promised: at least 3.4
    ratio tadaconv_train        likewise, forward and backward; promised: at least 3
    ratio tada2d_forward        time of the plain TAda2D-R50 in evaluation / time of ours; promised: at least 1.8
    ratio tada2d_train          likewise, a step of training; promised: at least 1.5
    ratio tada2d_train_memory   growth of peak memory in a step of the plain network / that in ours; promised: above 1

The plain formulation makes a kernel for each frame of each clip, runs them as groups of one convolution, and keeps clips as
(B, C, T, H, W). Ours keeps them as a batch of channels-last frames; each has its input in its own layout. B=2 clips of T=8
frames, 3x3 kernels with calibrated input channels at the four stages' shapes of a ResNet-50, the networks on 224 px. Both take
turns in one process with one thread; the time is CPU time, a ratio is the median over turns, and that of the operator the
geometric mean over the stages (none of which may be below 1). Memory is measured in a process for each. Both give the same.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoopraxis.models import create_model
from zoopraxis.temporal import RouteFuncMLP, TAdaConv2d

NUM_CLIPS, NUM_FRAMES, SIZE, NUM_CLASSES, SEED = 2, 8, 224, 400, 0
STAGES = ((64, 56), (128, 28), (256, 14), (512, 7))
"""Channels and height of what enters the 3x3 convolutions of a ResNet-50."""

Step = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of TAdaConv and TAda2D, against the published formulation.")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--memory", choices=("plain", "ours"), help="only print the growth of peak memory in one step, KiB")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    if arguments.memory:
        print(measure_memory(arguments.memory))
        return
    plain, ours = (memory_of_a_process(name) for name in ("plain", "ours"))  # first: a child's peak begins at its parent's
    print(f"TAda2D-R50, growth of memory in a step of training, MiB: plain {plain // 1024}, ours {ours // 1024}")
    print(f"ratio tada2d_train_memory {plain / ours:.3f}", flush=True)
    num_turns = 5 if arguments.quick else 25
    for name, is_training in (("tadaconv_forward", False), ("tadaconv_train", True)):
        ratios = [compare_stage(channels, height, is_training, num_turns) for channels, height in STAGES]
        print(f"ratio {name} {math.exp(statistics.mean(map(math.log, ratios))):.3f}", flush=True)
    compare_networks(2 if arguments.quick else 7)


class PlainTAdaConv2d(nn.Module):
    """The published operator: weight (1, 1, O, I, k, k), a kernel for each frame."""

    def __init__(self, weight_OIhw: Tensor, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight_OIhw.detach().clone()[None, None])
        self.stride = stride

    def forward(self, x_BCTHW: Tensor, alpha_BCT11: Tensor) -> Tensor:
        clips, _, frames, height, width = x_BCTHW.shape
        kernels = (alpha_BCT11.permute(0, 2, 1, 3, 4).unsqueeze(2) * self.weight).flatten(0, 2)
        images = x_BCTHW.permute(0, 2, 1, 3, 4).reshape(1, -1, height, width)
        out = functional.conv2d(images, kernels, stride=self.stride, padding=1, groups=clips * frames)
        return out.reshape(clips, frames, -1, *out.shape[2:]).permute(0, 2, 1, 3, 4)


class PlainBlock(nn.Module):
    """A residual block of TAda2D as it is published, with the weights of one of ours."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.a, self.a_bn = plain_conv(block.conv1), plain_norm(block.bn1)
        self.b_rf, self.b = block.conv2.temporal, PlainTAdaConv2d(block.conv2.weight, block.conv2.stride[0])
        self.b_bn, self.b_avgpool_bn = plain_norm(block.bn2), plain_norm(block.bn2.temporal)
        self.b_avgpool = nn.AvgPool3d((3, 1, 1), stride=1, padding=(1, 0, 0))
        self.c, self.c_bn = plain_conv(block.conv3), plain_norm(block.bn3)
        shortcut = block.downsample
        self.shortcut = nn.Identity() if shortcut is None else nn.Sequential(plain_conv(shortcut[0]), plain_norm(shortcut[1]))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        inner = functional.relu(self.a_bn(self.a(x_BCTHW)), inplace=True)
        inner = self.b(inner, plain_route(self.b_rf, inner))
        inner = functional.relu(self.b_bn(inner) + self.b_avgpool_bn(self.b_avgpool(inner)), inplace=True)
        return functional.relu(self.shortcut(x_BCTHW) + self.c_bn(self.c(inner)), inplace=True)


class PlainTAda2D(nn.Module):
    """TAda2D-R50 as it is published, with the weights of ours; both give logits (B, classes)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        network = model.backbone.network
        self.stem, self.stem_bn = plain_conv(network.conv1), plain_norm(network.bn1)
        stages = (network.layer1, network.layer2, network.layer3, network.layer4)
        self.blocks = nn.Sequential(*[PlainBlock(block) for stage in stages for block in stage])
        self.head = model.classifiers["label"]

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        stem = functional.relu(self.stem_bn(self.stem(clip_BTCHW.transpose(1, 2).contiguous())), inplace=True)
        return self.head(self.blocks(stem).mean(dim=(2, 3, 4)))


def plain_route(route: RouteFuncMLP, x_BCTHW: Tensor) -> Tensor:
    """The published routing function, which reduces its input twice."""
    frames = functional.adaptive_avg_pool3d(x_BCTHW, (None, 1, 1))
    context = functional.conv3d(functional.adaptive_avg_pool3d(x_BCTHW, 1), route.g.weight, route.g.bias)
    hidden = route.bn(functional.conv3d(frames + context, route.a.weight, route.a.bias, padding=(1, 0, 0)).flatten(2))
    return 1 + functional.conv3d(functional.relu(hidden)[..., None, None], route.b.weight, padding=(1, 0, 0))


def plain_conv(conv: nn.Conv2d) -> nn.Conv3d:
    """The same convolution over (B, C, T, H, W)."""
    over_time = {"kernel_size": 1, "stride": 1, "padding": 0}
    sizes = {name: (first, *getattr(conv, name)) for name, first in over_time.items()}
    plain = nn.Conv3d(conv.in_channels, conv.out_channels, **sizes, bias=False)
    plain.weight = nn.Parameter(conv.weight.detach().clone().unsqueeze(2).contiguous())
    return plain


def plain_norm(norm: nn.BatchNorm2d) -> nn.BatchNorm3d:
    """The same norm over (B, C, T, H, W)."""
    plain = nn.BatchNorm3d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    plain.load_state_dict({name: value for name, value in norm.state_dict().items() if "temporal" not in name})
    return plain


def create_networks() -> tuple[nn.Module, nn.Module]:
    """Ours and the plain one with the same weights, away from their values at birth; dropout off, to compare them."""
    ours = create_model(
        "tada2d", heads={"label": NUM_CLASSES}, num_segments=NUM_FRAMES, dropout=0.0, backbone_args={"zero_init_last": False}
    )
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if name.endswith("temporal.b.weight"):
                parameter.normal_(0, 0.05)
            elif name.endswith(("bn2.temporal.weight", "bn3.weight")):
                parameter.fill_(0.25)
    return ours.to(memory_format=torch.channels_last), PlainTAda2D(ours)


def create_clips() -> Tensor:
    """A batch as loaders give it: channels-last frames."""
    return torch.randn(NUM_CLIPS, NUM_FRAMES, SIZE, SIZE, 3).permute(0, 1, 4, 2, 3)


def train_step(network: nn.Module, clips: Tensor, optimizer: torch.optim.Optimizer) -> None:
    logits = network(clips)
    loss = functional.cross_entropy(logits if isinstance(logits, Tensor) else logits["label"], torch.arange(NUM_CLIPS))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def compare_stage(channels: int, height: int, is_training: bool, num_turns: int) -> float:
    """How many times as long the plain operator takes."""
    ours = TAdaConv2d(channels, channels, [1, 3, 3], padding=[0, 1, 1], bias=False)
    plain = PlainTAdaConv2d(ours.weight[0, 0])
    x = torch.randn(NUM_CLIPS, channels, NUM_FRAMES, height, height)
    alpha = 1 + 0.1 * torch.randn(NUM_CLIPS, channels, NUM_FRAMES, 1, 1)
    inputs = {"plain": (plain, x), "ours": (ours, x.contiguous(memory_format=torch.channels_last_3d))}
    outputs, incoming, gradients = {}, {}, {}
    steps: dict[str, Step] = {}
    for name, (operator, features) in inputs.items():
        leaves = [features.requires_grad_(is_training), alpha.clone().requires_grad_(is_training), operator.weight]

        def step(name: str = name, operator: nn.Module = operator, leaves: list[Tensor] = leaves) -> None:
            with torch.set_grad_enabled(is_training):
                outputs[name] = operator(*leaves[:2])
                if is_training:
                    gradients[name] = torch.autograd.grad(outputs[name], leaves, incoming[name])

        incoming[name] = torch.ones_like(operator(features, alpha).detach())
        steps[name] = step
    ratio = time_turns(steps, num_turns, f"{channels} channels, {height}x{height}, {'train' if is_training else 'forward'}")
    torch.testing.assert_close(outputs["ours"], outputs["plain"], rtol=1e-3, atol=1e-4)
    for mine, theirs in zip(gradients.get("ours", ()), gradients.get("plain", ()), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3 * float(theirs.std()))
    return ratio


def compare_networks(num_turns: int) -> None:
    ours, plain = create_networks()
    clips = create_clips()
    for network in (ours, plain):
        network.eval()
    with torch.inference_mode():
        torch.testing.assert_close(ours(clips)["label"], plain(clips), rtol=1e-3, atol=1e-4)
        ratio = time_turns({"plain": lambda: plain(clips), "ours": lambda: ours(clips)}, num_turns, "TAda2D-R50, forward")
    print(f"ratio tada2d_forward {ratio:.3f}", flush=True)
    steps: dict[str, Step] = {}
    for name, network in (("plain", plain), ("ours", ours)):
        network.train()
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, nesterov=True)
        steps[name] = lambda network=network, optimizer=optimizer: train_step(network, clips, optimizer)
    print(f"ratio tada2d_train {time_turns(steps, num_turns, 'TAda2D-R50, train'):.3f}", flush=True)


def time_turns(steps: dict[str, Step], num_turns: int, what: str) -> float:
    """The median over turns of the plain step's CPU time over ours; one turn is for warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(num_turns + 1):
        for name in alternating(list(steps), turn):
            begin = time.process_time()
            steps[name]()
            seconds[name].append(time.process_time() - begin)
    medians = {name: 1e3 * statistics.median(values[1:]) for name, values in seconds.items()}
    ratio = statistics.median(plain / ours for plain, ours in zip(seconds["plain"][1:], seconds["ours"][1:], strict=True))
    print(f"{what}, ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in medians.items()) + f", ratio {ratio:.3f}", flush=True)
    return ratio


def alternating(names: list[str], turn: int) -> Iterator[str]:
    return iter(names if turn % 2 else reversed(names))


def measure_memory(name: str) -> int:
    """Growth of this process's peak memory in one step of training, KiB."""
    networks = dict(zip(("ours", "plain"), create_networks(), strict=True))
    network = networks.pop(name).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
    clips = create_clips()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train_step(network, clips, optimizer)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def memory_of_a_process(name: str) -> int:
    result = subprocess.run([sys.executable, __file__, "--memory", name], check=True, capture_output=True, text=True)
    return int(result.stdout)


if __name__ == "__main__":
    main()
