"""What the temporal shift costs: with the 1x1 convolution behind it, against that convolution alone.

Run as `python benchmarks/shift.py [--quick]`. It prints one line a claim: the geometric mean over the four stages of a
ResNet-50 (2 clips of 8 frames at 224, channels-last, float32; a block's input of C channels, convolved to C/4):

    ratio shift_forward             time of shift and convolution / time of the convolution, without gradients
    ratio shift_train               the same, forward and backward
    ratio shift_copy_forward        the same with a plain copy of the features in the shift's place: the bound, see below
    ratio shift_copy_train          the same, forward and backward, with a copy of the gradient as well
    ratio shift_published_forward   time of the published formulation and convolution / time of the convolution
    ratio shift_published_train     the same, forward and backward
    ratio shift_network_forward     time of TSM-ResNet-50 / time of TSN-ResNet-50, without gradients

Measured: 1.54, 1.37, bounds 1.37 and 1.24, published 1.57 and 3.00, network 1.10. The geometric mean is not at 1.1, because the
first two stages cannot be. The shortcut needs the block's input again, so the shift is not done in place: it reads and writes
each of C channels, 8 C bytes a position, beside the convolution's C * C / 2 operations. With F operations and W bytes a second
the two take 1 + 16 F / (C W) times as long as the convolution. With 90e9 and 8e9 from a cache (2.5e9 for the first stage's
51 MB, mapped anew at each call), which roughly fit what was measured: about 3 in the first stage (C = 256), 1.4 in the second,
1.2 in the third and 1.1 in the last. In training the convolution does three times the work and the shift twice.

Past that bound leads only a convolution without a shifted tensor: three matrix products over three groups of channels, the
frames of two moved by slicing. The numbers are the same. With torch's BLAS they take 1.5, 1.5, 1.1 and 1.0 times as long as the
convolution in the four stages, where shift and convolution take 3.1, 1.5, 1.15 and 1.1: a gain in three blocks of a network,
of a few hundredths of its time, for a shift that is tied to one kind of layer. So we do without.

Formulations take turns in one process, with one thread. The time is CPU time, and a stage's ratio is the median over its turns.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoopraxis.models import VideoModel, create_model
from zoopraxis.temporal import temporal_shift

NUM_CLIPS, NUM_FRAMES, SEED = 2, 8, 0
STAGES = ((256, 56), (512, 28), (1024, 14), (2048, 7))
"""Channels of a block's input, and its height and width."""

Shift = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description="What the temporal shift adds to the 1x1 convolution behind it.")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    num_turns = 9 if parser.parse_args().quick else 31
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    shifts: dict[str, Shift] = {"": temporal_shift, "copy_": copied, "published_": published_shift}
    ratios: dict[str, list[float]] = {}
    for channels, size in STAGES:
        features = torch.randn(NUM_CLIPS * NUM_FRAMES, channels, size, size).contiguous(memory_format=torch.channels_last)
        kernel = torch.randn(channels // 4, channels, 1, 1) / math.sqrt(channels)
        features_BTCHW = features.unflatten(0, (NUM_CLIPS, NUM_FRAMES))
        assert torch.equal(temporal_shift(features_BTCHW), published_shift(features_BTCHW))
        for mode in ("forward", "train"):
            seconds = time_turns(features_BTCHW, kernel, shifts, num_turns, is_train=mode == "train")
            alone = seconds.pop("alone")
            for name, values in seconds.items():
                ratio = statistics.median(mine / base for mine, base in zip(values, alone, strict=True))
                ratios.setdefault(f"shift_{name}{mode}", []).append(ratio)
                label = f"{channels} channels, {size}x{size}, {name or 'our_'}{mode}"
                print(f"{label}: {ratio:.3f}, the convolution alone {1e3 * statistics.median(alone):.1f} ms")
    for name, values in ratios.items():
        print(f"ratio {name} {math.exp(statistics.mean(map(math.log, values))):.3f}")
    print(f"ratio shift_network_forward {time_networks(3 if num_turns < 10 else 9):.3f}")


def copied(features_BTCHW: Tensor) -> Tensor:
    """Each channel read and written once, nothing else; so is its gradient."""
    return Copy.apply(features_BTCHW)


class Copy(torch.autograd.Function):
    """A copy forward and a copy backward."""

    @staticmethod
    def forward(ctx: object, features: Tensor) -> Tensor:
        return features.clone()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad.clone()


def published_shift(features_BTCHW: Tensor) -> Tensor:
    """The plain formulation: three assignments into a tensor of zeros."""
    fold = features_BTCHW.shape[2] // 8
    shifted = torch.zeros_like(features_BTCHW)
    shifted[:, :-1, :fold] = features_BTCHW[:, 1:, :fold]
    shifted[:, 1:, fold : 2 * fold] = features_BTCHW[:, :-1, fold : 2 * fold]
    shifted[:, :, 2 * fold :] = features_BTCHW[:, :, 2 * fold :]
    return shifted


def time_turns(
    features_BTCHW: Tensor, kernel: Tensor, shifts: dict[str, Shift], num_turns: int, *, is_train: bool
) -> dict[str, list[float]]:
    """CPU seconds of each turn: of the convolution alone, and of each shift with the convolution."""
    features, weight = features_BTCHW.clone().requires_grad_(is_train), kernel.clone().requires_grad_(is_train)
    formulations: dict[str, Shift] = {"alone": lambda x: x, **shifts}
    grad = torch.randn_like(F.conv2d(features.detach().flatten(0, 1), kernel)) if is_train else None

    def run(shift: Shift) -> None:
        with torch.set_grad_enabled(is_train):
            scores = F.conv2d(shift(features).flatten(0, 1), weight)
        if grad is not None:
            features.grad = weight.grad = None
            scores.backward(grad)

    generator = np.random.default_rng(SEED)
    seconds: dict[str, list[float]] = {name: [] for name in formulations}
    for turn in range(num_turns + 1):
        for name in generator.permutation(list(formulations)):
            begin = time.process_time()
            run(formulations[name])
            if turn:  # the first one warms up
                seconds[name].append(time.process_time() - begin)
    return seconds


def time_networks(num_turns: int) -> float:
    """Median of TSM's CPU time over TSN's, turn by turn."""
    networks: dict[str, VideoModel] = {
        name: create_model(name, heads={"label": 400}).eval().to(memory_format=torch.channels_last) for name in ("tsn", "tsm")
    }
    clip = torch.randn(NUM_CLIPS, NUM_FRAMES, 224, 224, 3).permute(0, 1, 4, 2, 3)
    ratios = []
    with torch.inference_mode():
        for turn in range(num_turns + 1):
            seconds = {}
            for name, network in networks.items():
                begin = time.process_time()
                network(clip)
                seconds[name] = time.process_time() - begin
            if turn:
                ratios.append(seconds["tsm"] / seconds["tsn"])
    return statistics.median(ratios)


if __name__ == "__main__":
    main()
