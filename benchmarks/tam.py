"""How fast the temporal adaptive modules of a TANet-R50 are, against the plain published formulation.

Run as `python benchmarks/tam.py [--quick] [--network]`. It prints one line a claim; above 1 means ours is better by so much:

    ratio tam_forward   time of the plain module / time of ours, evaluating without gradients; promised: at least 2.3
    ratio tam_train     the same, forward and backward in training mode; promised: at least 2

Both are whole modules (descriptor, both branches, aggregation) with the same weights, in the 7 sizes that a ResNet-50 has at
224 px, for 2 clips of 8 frames. They take turns of three calls in one process, with one thread. The time is CPU time; of each
size the median counts as often as the network has the size, and the claim is the ratio of the two sums over all 16 modules.
Each gets the memory format that it is fastest with: ours channels-last, as our networks have it throughout, the plain one
contiguous NCHW. Outputs and all gradients must agree.

With `--network` also a train step of the whole network, with our modules and with plain ones in their place, both
channels-last; most of its time goes into convolutions that are the same, so no ratio is promised.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoopraxis.models import create_model
from zoopraxis.temporal.tam import TemporalAdaptiveModule

NUM_CLIPS, NUM_FRAMES, NUM_CALLS, SEED = 2, 8, 3, 0
SIZES = ((64, 56, 3), (128, 56, 1), (128, 28, 3), (256, 28, 1), (256, 14, 5), (512, 14, 1), (512, 7, 2))
"""Channels, height and width, and how often a ResNet-50 has the size."""

Turn = Callable[[], object]


class PlainModule(nn.Module):
    """The published formulation: features in the order (B, C, T, H, W), scaled, then a grouped convolution over time."""

    def __init__(self, channels: int, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.G = nn.Sequential(
            nn.Linear(num_frames, 2 * num_frames, bias=False),
            nn.BatchNorm1d(2 * num_frames),
            nn.ReLU(inplace=True),
            nn.Linear(2 * num_frames, 3, bias=False),
            nn.Softmax(-1),
        )
        self.L = nn.Sequential(
            nn.Conv1d(channels, channels // 4, 3, padding=1, bias=False),
            nn.BatchNorm1d(channels // 4),
            nn.ReLU(inplace=True),
            nn.Conv1d(channels // 4, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, clips_BTCHW: Tensor) -> Tensor:
        b, t, c, h, w = clips_BTCHW.shape
        maps_BCTHW = clips_BTCHW.permute(0, 2, 1, 3, 4).contiguous()
        means = nn.functional.adaptive_avg_pool2d(maps_BCTHW.view(b * c, t, h, w), 1).view(b * c, t)
        kernel = self.G(means).view(b * c, 1, 3, 1)
        factors = self.L(means.view(b, c, t)).view(b, c, t, 1, 1)
        scaled = (maps_BCTHW * factors).view(1, b * c, t, h * w)
        mixed = nn.functional.conv2d(scaled, kernel, padding=(1, 0), groups=b * c)
        return mixed.view(b, c, t, h, w).permute(0, 2, 1, 3, 4).contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the temporal adaptive module, against the plain formulation.")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--network", action="store_true", help="also a train step of the whole network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    sums = {"plain forward": 0.0, "ours forward": 0.0, "plain train": 0.0, "ours train": 0.0}
    for channels, size, count in SIZES:
        medians = time_turns(module_turns(channels, size), 7 if options.quick else 21, NUM_CALLS)
        print(f"{channels} channels at {size} px, ms: " + ", ".join(f"{name} {1e3 * s:.2f}" for name, s in medians.items()))
        for name, seconds in medians.items():
            sums[name] += count * seconds
    print("16 modules, ms: " + ", ".join(f"{name} {1e3 * seconds:.1f}" for name, seconds in sums.items()))
    if options.network:
        medians = time_turns(network_turns(), 3 if options.quick else 7, 1)
        print(f"whole network, one train step, s: plain {medians['plain']:.2f}, ours {medians['ours']:.2f}", end="")
        print(f"; plain takes {medians['plain'] / medians['ours']:.3f} times as long as ours")
    print(f"ratio tam_forward {sums['plain forward'] / sums['ours forward']:.3f}")
    print(f"ratio tam_train {sums['plain train'] / sums['ours train']:.3f}")


def module_turns(channels: int, size: int) -> dict[str, Turn]:
    """What is timed for one size, after a check that both give the same numbers."""
    clips = torch.randn(NUM_CLIPS, NUM_FRAMES, size, size, channels).permute(0, 1, 4, 2, 3)
    arriving = torch.randn_like(clips)
    ours = TemporalAdaptiveModule(channels=channels, num_frames=NUM_FRAMES)
    plain = PlainModule(channels, NUM_FRAMES)
    plain.load_state_dict(ours.state_dict())
    turns: dict[str, Turn] = {}
    gradients: dict[str, dict[str, Tensor]] = {}
    for name, module, bring in (("plain", plain, Tensor.contiguous), ("ours", ours, Tensor.clone)):
        inputs = bring(clips).requires_grad_()
        turns[f"{name} forward"] = forward_turn(module, inputs)
        turns[f"{name} train"] = train_turn(module, inputs, bring(arriving))
        turns[f"{name} train"]()
        assert inputs.grad is not None
        assert inputs.grad.stride() == inputs.stride(), f"the gradient of {name} has another memory format"
        gradients[name] = {"input": inputs.grad} | {k: p.grad for k, p in module.named_parameters() if p.grad is not None}
    torch.testing.assert_close(turns["ours forward"](), turns["plain forward"](), rtol=1e-4, atol=1e-5)
    for key, gradient in gradients["plain"].items():
        torch.testing.assert_close(gradients["ours"][key], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))
    return turns


def forward_turn(module: nn.Module, clips: Tensor) -> Turn:
    evaluated = copy.deepcopy(module).eval()

    def turn() -> Tensor:
        with torch.no_grad():
            mixed: Tensor = evaluated(clips)
        return mixed

    return turn


def train_turn(module: nn.Module, clips: Tensor, arriving: Tensor) -> Turn:
    learned = [clips, *module.train().parameters()]

    def turn() -> None:
        for tensor in learned:
            tensor.grad = None
        module(clips).backward(arriving)

    return turn


def network_turns() -> dict[str, Turn]:
    """A train step of TANet-R50 with our modules, and with plain ones of the same weights in their place."""
    ours = create_model("tanet", heads={"label": 400}, num_segments=NUM_FRAMES, dropout=0.0).train()
    plain = copy.deepcopy(ours)
    for host in plain.modules():
        module = getattr(host, "temporal", None)
        if isinstance(module, TemporalAdaptiveModule):
            host.temporal = PlainModule(module.L[0].in_channels, NUM_FRAMES)
            host.temporal.load_state_dict(module.state_dict())
    clips = torch.randn(NUM_CLIPS, NUM_FRAMES, 224, 224, 3).permute(0, 1, 4, 2, 3)
    labels = torch.arange(NUM_CLIPS)

    def turn_of(network: nn.Module) -> Turn:
        network.to(memory_format=torch.channels_last)

        def turn() -> None:
            network.zero_grad()
            nn.functional.cross_entropy(network(clips)["label"], labels).backward()

        return turn

    return {"plain": turn_of(plain), "ours": turn_of(ours)}


def time_turns(turns: dict[str, Turn], num_turns: int, num_calls: int) -> dict[str, float]:
    """Median CPU seconds of a call of each, in turns of several calls, after one turn that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(num_turns + 1):
        for name, turn in turns.items():
            begin = time.process_time()
            for _ in range(num_calls):
                turn()
            if number > 0:
                seconds[name].append((time.process_time() - begin) / num_calls)
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
