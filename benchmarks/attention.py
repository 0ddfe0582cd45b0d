"""How fast and how large attention and the whole ViViT are, against attention that stores its softmax.

Run as `python benchmarks/attention.py [--quick]`. It prints one line a claim; above 1 means ours is better by so much:

    ratio attention_frame_forward        time of plain attention over frames / time of ours; promised: at least 1.3
    ratio attention_frame_train          likewise, forward and backward; promised: at least 1.1
    ratio attention_frame_train_memory   growth of peak memory in that of the plain form / that in ours; promised: at least 2
    ratio attention_clip_forward         as above, over all tokens of a clip; promised: at least 1.8
    ratio attention_clip_train           promised: at least 1.5
    ratio attention_clip_train_memory    promised: at least 4.5
    ratio vivit_forward                  of a ViViT with plain attention, in evaluation; promised: above 1
    ratio vivit_train                    likewise, a step of training; promised: above 1
    ratio vivit_train_memory             growth of peak memory in that step; promised: at least 1.5

The plain formulation, the published one, multiplies queries by keys, takes the softmax of all products and multiplies it by the
values; everything else is the same, and so are the weights. Frames: 4 of 320 px, 401 tokens each, as in the factorized
encoder for EPIC-KITCHENS-100. Clip: one of 16 frames of 224 px, 1569 tokens, as in the joint network. ViViT: the factorized
encoder on one clip of 8 frames of 320 px. Width 768, 12 heads. Both take turns in one process with one thread; the time is CPU
time, a ratio is the median over turns. Memory is measured in a process for each. Both give the same.
"""

from __future__ import annotations

import argparse
import copy
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoopraxis.backbones.attention import Attention
from zoopraxis.models import create_model

DIM, NUM_HEADS, SEED = 768, 12, 0
NUM_FRAMES, SIZE, NUM_CLASSES = 8, 320, 400
NAMES = ("plain", "ours")

Step = Callable[[], Tensor]


@dataclass(frozen=True)
class Case:
    """What is measured: `create` gives our module and its input."""

    title: str
    create: Callable[[], tuple[nn.Module, Tensor]]
    num_turns: int
    num_quick_turns: int


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed and memory of attention and ViViT, against a stored softmax.")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "NAME"), help="only print the growth of peak memory, KiB")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    if arguments.memory:
        case, name = arguments.memory
        print(measure_memory(CASES[case], name))
        return
    for name, case in CASES.items():  # first: a child's peak begins at its parent's
        plain, ours = (memory_of_a_process(name, form) for form in NAMES)
        print(f"{case.title}, growth of memory in a step of training, MiB: plain {plain // 1024}, ours {ours // 1024}")
        print(f"ratio {name}_train_memory {plain / ours:.3f}", flush=True)
    for name, case in CASES.items():
        num_turns = case.num_quick_turns if arguments.quick else case.num_turns
        for kind, ratio in compare(case, num_turns).items():
            print(f"ratio {name}_{kind} {ratio:.3f}", flush=True)


class PlainAttention(Attention):
    """The published formulation: the softmax over all pairs of tokens is a tensor."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return ((query @ key.transpose(-2, -1)) * query.shape[-1] ** -0.5).softmax(dim=-1) @ value


def with_plain_attention(network: nn.Module) -> nn.Module:
    """A copy with the same weights."""
    plain = copy.deepcopy(network)
    for module in plain.modules():
        if isinstance(module, Attention):
            module.__class__ = PlainAttention
    return plain


def create_frames() -> tuple[nn.Module, Tensor]:
    return Attention(DIM, num_heads=NUM_HEADS), torch.randn(4, 401, DIM)


def create_clip() -> tuple[nn.Module, Tensor]:
    return Attention(DIM, num_heads=NUM_HEADS), torch.randn(1, 1569, DIM)


def create_vivit() -> tuple[nn.Module, Tensor]:
    network = create_model(
        "vivit", heads={"label": NUM_CLASSES}, num_segments=NUM_FRAMES, image_size=SIZE, drop_path=0.0, dropout=0.0
    )
    return network, torch.randn(1, NUM_FRAMES, SIZE, SIZE, 3).permute(0, 1, 4, 2, 3)


CASES = {
    "attention_frame": Case("attention over 4 frames of 401 tokens", create_frames, 25, 7),
    "attention_clip": Case("attention over a clip of 1569 tokens", create_clip, 15, 5),
    "vivit": Case("ViViT-FE on 8 frames of 320 px", create_vivit, 5, 1),
}


def run(module: nn.Module, inputs: Tensor, *, is_training: bool) -> Tensor:
    """One forward pass, or one forward and backward; gives the output."""
    module.train(is_training)
    with torch.set_grad_enabled(is_training):
        out = module(inputs)
        out = out if isinstance(out, Tensor) else out["label"]
        if is_training:
            module.zero_grad()
            out.square().mean().backward()
    return out.detach()


def compare(case: Case, num_turns: int) -> dict[str, float]:
    """How many times as long the plain form takes."""
    ours, inputs = case.create()
    modules = {"plain": with_plain_attention(ours), "ours": ours}
    ratios = {}
    for kind, is_training in (("forward", False), ("train", True)):
        steps: dict[str, Step] = {
            name: (lambda module=module, is_training=is_training: run(module, inputs, is_training=is_training))
            for name, module in modules.items()
        }
        ratios[kind] = time_turns(steps, num_turns, f"{case.title}, {kind}")
    for mine, theirs in zip(ours.parameters(), modules["plain"].parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-2, atol=1e-2 * float(theirs.grad.std()) + 1e-9)
    return ratios


def time_turns(steps: dict[str, Step], num_turns: int, what: str) -> float:
    """The median over turns of the plain step's CPU time over ours; one turn is for warming up, and holds the outputs equal."""
    torch.testing.assert_close(steps["ours"](), steps["plain"](), rtol=1e-3, atol=1e-4)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(num_turns):
        for name in NAMES if turn % 2 else reversed(NAMES):
            begin = time.process_time()
            steps[name]()
            seconds[name].append(time.process_time() - begin)
    medians = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    ratio = statistics.median(plain / ours for plain, ours in zip(seconds["plain"], seconds["ours"], strict=True))
    print(f"{what}, ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in medians.items()) + f", ratio {ratio:.3f}", flush=True)
    return ratio


def measure_memory(case: Case, name: str) -> int:
    """Growth of this process's peak memory in one step of training, KiB."""
    module, inputs = case.create()
    module = with_plain_attention(module) if name == "plain" else copy.deepcopy(module)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(module, inputs, is_training=True)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def memory_of_a_process(case: str, name: str) -> int:
    result = subprocess.run([sys.executable, __file__, "--memory", case, name], check=True, capture_output=True, text=True)
    return int(result.stdout)


if __name__ == "__main__":
    main()
