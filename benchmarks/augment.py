"""How fast the augmentations of training clips are, against the same frame by frame.

Run as `python benchmarks/augment.py [--quick]`. It prints one line a claim; above 1 means ours is better by that factor:

    ratio rand_augment_vs_pillow  time of timm's rand-m9-n4-mstd0.5-inc1 on Pillow images / ours; promised: at least 1.5
    ratio hue_vs_torchvision      time of torchvision's shift of the hue of the whole clip / ours; promised: at least 2

A clip is 16 frames of 224x224, uint8. Both do the same to it: what is drawn for a clip is carried out by ours on the clip, and
by timm's operations, bicubic, on one Pillow image after the other, with one way to Pillow and back for each frame. They take
turns clip by clip in one process, with one thread; the time is CPU time. Clips for which nothing is drawn cost ours nothing;
they count for both, as they come. A claim on RandAugment is the ratio of the two sums over all clips, which are many, since
operations differ in cost; one on a single operation is the ratio of medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from timm.data import auto_augment
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from zoopraxis.data.colors import adjust_hue
from zoopraxis.data.rand_augment import OPERATIONS, RandAugment
from zoopraxis.data.sampling import clip_generator

NUM_FRAMES, SIZE, SEED = 16, 224, 0
WITHOUT_STRENGTH = {"AutoContrast", "Equalize", "Invert"}
WHOLE_STRENGTH = {"PosterizeIncreasing", "SolarizeIncreasing", "SolarizeAdd"}

Drawn = list[tuple[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the augmentations of clips, against the same frame by frame.")
    parser.add_argument("--quick", action="store_true", help="fewer clips")
    num_clips = 60 if parser.parse_args().quick else 300
    torch.set_num_threads(1)
    clip = make_clip()
    for name, operation in OPERATIONS.items():
        print_operation(clip, name, operation.strength(0.9))
    sums = time_rand_augment(clip, num_clips)
    print("RandAugment, ms per clip: " + ", ".join(f"{name} {1e3 * value / num_clips:.1f}" for name, value in sums.items()))
    hue = time_turns({"torchvision": lambda: vision.adjust_hue(clip, 0.2), "ours": lambda: adjust_hue(clip, 0.2)}, 9)
    print("hue, ms per clip: " + ", ".join(f"{name} {1e3 * value:.1f}" for name, value in hue.items()))
    print(f"ratio rand_augment_vs_pillow {sums['pillow'] / sums['ours']:.3f}")
    print(f"ratio hue_vs_torchvision {hue['torchvision'] / hue['ours']:.3f}")


def make_clip() -> Tensor:
    """Soft blobs with some noise, channels-last, as a decoded and cropped clip is."""
    generator = torch.Generator().manual_seed(SEED)
    blobs = torch.randn(NUM_FRAMES, 3, 14, 14, generator=generator)
    smooth = torch.nn.functional.interpolate(blobs, (SIZE, SIZE), mode="bicubic")
    noise = torch.randn(NUM_FRAMES, 3, SIZE, SIZE, generator=generator)
    return (115 + 50 * smooth + 5 * noise).clamp(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def by_pillow(clip: Tensor, drawn: Drawn) -> Tensor:
    """The plain formulation."""
    if not drawn:
        return clip
    frames = []
    for frame in clip.permute(0, 2, 3, 1).numpy():
        image = Image.fromarray(frame)
        for name, strength in drawn:
            arguments = [] if name in WITHOUT_STRENGTH else [int(strength) if name in WHOLE_STRENGTH else strength]
            image = auto_augment.NAME_TO_OP[name](
                image, *arguments, resample=Image.Resampling.BICUBIC, fillcolor=(128, 128, 128)
            )
        frames.append(np.asarray(image))
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)


def print_operation(clip: Tensor, name: str, strength: float) -> None:
    """One operation alone, and that both give nearly the same."""
    drawn = [(name, strength)]
    seconds = time_turns({"pillow": lambda: by_pillow(clip, drawn), "ours": lambda: RandAugment.apply(clip, drawn)}, 5)
    difference = (RandAugment.apply(clip, drawn).int() - by_pillow(clip, drawn).int()).abs().float()
    assert difference.mean() < 2, f"{name} differs by {difference.mean():.2f} levels on average"
    print(
        f"{name}, ms per clip: pillow {1e3 * seconds['pillow']:.1f}, ours {1e3 * seconds['ours']:.1f}; "
        f"{seconds['pillow'] / seconds['ours']:.2f} times as fast"
    )


def time_rand_augment(clip: Tensor, num_clips: int) -> dict[str, float]:
    """CPU seconds of both in all, over clips of which each has operations of its own."""
    augment = RandAugment(num_ops=4, magnitude=9, magnitude_std=0.5, probability=0.5)
    sums: dict[str, float] = defaultdict(float)
    for number in range(num_clips):
        drawn = augment.draw(clip_generator(SEED, number, "clip"))
        for name, run in (("pillow", by_pillow), ("ours", RandAugment.apply)):
            begin = time.process_time()
            run(clip, drawn)
            sums[name] += time.process_time() - begin
    return sums


def time_turns(turns: dict[str, Callable[[], object]], num_turns: int) -> dict[str, float]:
    """Median CPU seconds of each, in turns, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(num_turns + 1):
        for name, turn in turns.items():
            begin = time.process_time()
            turn()
            if number > 0:
                seconds[name].append(time.process_time() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
