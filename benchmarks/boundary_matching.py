"""How fast and how large boundary matching and the whole BMN are, against the published dense mask.

Run as `python benchmarks/boundary_matching.py [--quick]`. It prints one line a claim; above 1 means ours is better by so much:

    ratio boundary_matching_train        time of the dense form / time of ours, forward and backward; promised: at least 8
    ratio boundary_matching_train_memory growth of peak memory in that of the dense form / that in ours; promised: at least 10
    ratio bmn_forward                    time of the whole network with the dense form / with ours, without gradients;
                                         promised: at least 4

The dense form, the published one, multiplies features of 256 channels by the sampling mask and convolves the 32 samples of
each proposal into 512. It is measured at 100 and at 200 steps, with proposals of up to 100; a claim is the lower of the two
ratios. The whole network is that for EPIC-KITCHENS-100: 200 steps of 6912 features. One window, one thread. Both forms take
turns in one process; the time is CPU time, a ratio is the median over turns. Memory is measured in a process for each: of the
mask or the sparse weights, of making them, and of a step after a tiny one, beside features, kernel and the gradient that
arrives. Outputs and all gradients agree to 1e-5 of their largest.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoopraxis.localization.matching import BoundaryMatching
from zoopraxis.localization.network import BoundaryMatchingNetwork

WINDOWS, TINY = (100, 200), 8
MAX_DURATION, NUM_SAMPLES, BASE_DIM, MATCH_DIM, IN_DIM, SEED = 100, 32, 256, 512, 6912, 0
NAMES = ("dense", "ours")
TOLERANCE = 1e-5

Step = Callable[[], Sequence[Tensor]]


class DenseMatching(nn.Module):
    """The published formulation: all samples of all proposals, then a convolution over each proposal's samples."""

    mask: Tensor

    def __init__(self, **geometry: Any) -> None:
        super().__init__()
        self.sizes = geometry["num_samples"], geometry["max_duration"], geometry["num_steps"]
        self.register_buffer("mask", BoundaryMatching.dense_mask(**geometry))

    def forward(self, features_BCT: Tensor, weight_OCN: Tensor, bias_O: Tensor) -> Tensor:
        sampled = torch.matmul(features_BCT, self.mask).unflatten(2, self.sizes)
        return nn.functional.conv3d(sampled, weight_OCN[..., None, None], bias_O).squeeze(2)


FORMS: dict[str, type[nn.Module]] = {"dense": DenseMatching, "ours": BoundaryMatching}


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed and memory of boundary matching and BMN, against the dense mask.")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--memory", nargs=2, metavar=("STEPS", "NAME"), help="only print the growth of peak memory, KiB")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    if arguments.memory:
        print(measure_memory(int(arguments.memory[0]), arguments.memory[1]))
        return
    num_turns = 1 if arguments.quick else 5
    memory, train = [], []
    for num_steps in WINDOWS:  # first: a child's peak begins at its parent's
        dense, ours = (memory_of_a_process(num_steps, name) for name in NAMES)
        print(f"{num_steps} steps, growth of memory, MiB: dense {dense // 1024}, ours {ours // 1024}, ratio {dense / ours:.3f}")
        memory.append(dense / ours)
    for num_steps in WINDOWS:
        steps = {name: train_step(name, num_steps) for name in NAMES}
        train.append(time_turns(steps, num_turns, f"{num_steps} steps, forward and backward"))
    forward = time_turns({name: network_step(name) for name in NAMES}, num_turns, "the whole network")
    print(f"ratio boundary_matching_train {min(train):.3f}")
    print(f"ratio boundary_matching_train_memory {min(memory):.3f}")
    print(f"ratio bmn_forward {forward:.3f}")


def create(name: str, num_steps: int) -> nn.Module:
    geometry = {"num_steps": num_steps, "max_duration": MAX_DURATION, "num_samples": NUM_SAMPLES}
    return FORMS[name](**geometry, samples_per_bin=3, boundary_ratio=0.5)


def create_operands(name: str, num_steps: int) -> tuple[list[Tensor], Tensor]:
    """Features, kernel and bias, and the gradient that arrives: the same for both forms, in memory as is best for each."""
    generator = torch.Generator().manual_seed(SEED)
    features_BCT = torch.randn(1, BASE_DIM, num_steps, generator=generator).relu()
    weight_OCN = torch.randn(MATCH_DIM, BASE_DIM, NUM_SAMPLES, generator=generator) / (BASE_DIM * NUM_SAMPLES) ** 0.5
    if name == "ours":
        weight_OCN = weight_OCN.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    bias_O = torch.randn(MATCH_DIM, generator=generator)
    arriving = torch.randn(1, MATCH_DIM, MAX_DURATION, num_steps, generator=generator)
    if name == "ours":
        arriving = arriving.contiguous(memory_format=torch.channels_last)
    return [operand.requires_grad_() for operand in (features_BCT, weight_OCN, bias_O)], arriving


def train_step(name: str, num_steps: int) -> Step:
    """One forward and backward pass; gives the output and the gradients."""
    return step_of(create(name, num_steps), *create_operands(name, num_steps))


def step_of(matching: nn.Module, operands: Sequence[Tensor], arriving: Tensor) -> Step:
    def step() -> list[Tensor]:
        for operand in operands:
            operand.grad = None
        matched = matching(*operands)
        matched.backward(arriving)
        return [matched.detach(), *(operand.grad for operand in operands if operand.grad is not None)]

    return step


def network_step(name: str) -> Step:
    """A forward pass of the whole network, with our matching or the dense one in its place."""
    torch.manual_seed(SEED)
    network = BoundaryMatchingNetwork(in_dim=IN_DIM, num_steps=WINDOWS[-1], max_duration=MAX_DURATION).eval()
    network.matching = create(name, WINDOWS[-1])
    features_BCT = torch.randn(1, IN_DIM, WINDOWS[-1], generator=torch.Generator().manual_seed(SEED))

    def step() -> list[Tensor]:
        with torch.no_grad():
            return list(network(features_BCT)[:3])

    return step


def time_turns(steps: dict[str, Step], num_turns: int, what: str) -> float:
    """The median over turns of the dense step's CPU time over ours; one turn is for warming up, and holds both equal."""
    for ours, dense in zip(steps["ours"](), steps["dense"](), strict=True):
        torch.testing.assert_close(ours, dense, rtol=0, atol=TOLERANCE * float(dense.abs().max()))
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(num_turns):
        for name in NAMES if turn % 2 else reversed(NAMES):
            begin = time.process_time()
            steps[name]()
            seconds[name].append(time.process_time() - begin)
    medians = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    ratio = statistics.median(dense / ours for dense, ours in zip(seconds["dense"], seconds["ours"], strict=True))
    print(f"{what}, ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in medians.items()) + f", ratio {ratio:.3f}", flush=True)
    return ratio


def measure_memory(num_steps: int, name: str) -> int:
    """Growth of this process's peak memory in making a form and one step of training, KiB."""
    train_step(name, TINY)()
    operands, arriving = create_operands(name, num_steps)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step_of(create(name, num_steps), operands, arriving)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def memory_of_a_process(num_steps: int, name: str) -> int:
    arguments = [sys.executable, __file__, "--memory", str(num_steps), name]
    return int(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
