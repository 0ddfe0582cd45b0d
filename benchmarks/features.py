"""How fast the windows along a long video are read, against reading each of them as a clip of its own.

Run as `python benchmarks/features.py [--quick]`. It makes its own video (456x256, 60 frames a second, H.264 with a keyframe a
second; 40 s, with `--quick` 16 s) and prints one line a claim; above 1 means ours is better by so much:

    ratio features_one_pass   time of reading clip after clip / time of ours; promised: at least 3
    ratio features_memory     memory of all transformed frames / memory of those that ours holds, growing with the video

A window is 32 frames spread over 64/60 s, and one begins every 8/60 s, as the published features of EPIC-KITCHENS-100 have it.
Both decode, resize to 256 px and crop 3 times 224 px, to the bit the same windows; what the network then does is the same for
both and left out. They take turns in one process, with one thread. The time is CPU time, and the claim is the median over the
turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.encoding import write_video
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.stores.video import VideoStore
from zoopraxis.models import Preprocessing, create_model
from zoopraxis.training.extraction_frames import FrameRing, Windows
from zoopraxis.training.extraction_reading import WindowReader

HEIGHT, WIDTH, FPS, GOP, SEED = 256, 456, 60, 60, 0
PREPROCESSING = Preprocessing(num_segments=32, sampling="interval", interval=2, target_fps=60.0)
WINDOWS = Windows(stride=8 / 60, num_crops=3)
CLIP = Clip("video", "video.mp4")


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of reading windows along a video, against clips of their own.")
    parser.add_argument("--quick", action="store_true", help="a shorter video, fewer turns")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        num_frames = (16 if quick else 40) * FPS
        write_video(Path(folder, CLIP.source), moving_scene(num_frames), fps=FPS, gop=GOP)
        made = {"num_segments": PREPROCESSING.num_segments, "preprocessing": PREPROCESSING}
        model = create_model("tsn", heads={"label": 1}, backbone="test_resnet", **made)
        reader = WindowReader(model, VideoStore(folder), WINDOWS, None)
        plan = reader.plan(CLIP)
        clips = clips_of_their_own(reader, plan.centers)
        check_windows(reader, clips)
        seconds: dict[str, list[float]] = {"ours": [], "clips": []}
        for _ in range(2 if quick else 5):
            seconds["ours"].append(cpu_seconds(iter_windows(reader)))
            seconds["clips"].append(cpu_seconds(clips[0, row]["clip"] for row in range(len(clips))))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{len(plan.centers)} windows, s: " + ", ".join(f"{name} {value:.2f}" for name, value in medians.items()))
    print(f"ratio features_one_pass {statistics.median(np.divide(seconds['clips'], seconds['ours'])):.3f}")
    print(f"ratio features_memory {len(plan.frames) / FrameRing(plan).capacity:.3f}")


def moving_scene(num_frames: int) -> Iterator[npt.NDArray[np.uint8]]:
    """A texture that slides."""
    coarse = np.random.default_rng(SEED).integers(0, 256, (HEIGHT // 8 + 40, WIDTH // 8 + 40, 3))
    texture = np.kron(coarse, np.ones((16, 16, 1))).astype(np.uint8)
    for number in range(num_frames):
        top, left = int(100 + 90 * np.sin(number / 40)), int(100 + 90 * np.cos(number / 55))
        yield texture[top : top + HEIGHT, left : left + WIDTH]


def iter_windows(reader: WindowReader) -> Iterator[Tensor]:
    """Ours, each of shape (3, T, C, H, W)."""
    plan = reader.plan(CLIP)
    ring = FrameRing(plan)
    for block in reader.read(CLIP, plan):
        yield from ring.add(block)


def clips_of_their_own(reader: WindowReader, centers: npt.NDArray[np.float64]) -> ClipDataset:
    """The same windows as clips; those that reach beyond the video end with it."""
    half = reader.sampler.span(FPS) / FPS / 2
    end = reader.store.num_frames(CLIP) / FPS
    ids = [str(number) for number in range(len(centers))]
    spans = {"start_seconds": (centers - half).clip(0), "stop_seconds": (centers + half).clip(None, end)}
    index = ClipIndex.from_columns(clip_id=ids, source=[CLIP.source] * len(ids), labels={}, class_names={}, **spans)
    return ClipDataset(
        index,
        reader.store,
        transform=reader.transform,
        num_segments=PREPROCESSING.num_segments,
        sampling=PREPROCESSING.sampling,
        interval=PREPROCESSING.interval,
        target_fps=PREPROCESSING.target_fps,
        training=False,
    )


def check_windows(reader: WindowReader, clips: ClipDataset) -> None:
    """See that windows inside the video are the same, to the bit, wherever a clip has as many frames as a window."""
    num_inside = round(reader.sampler.span(FPS))
    num_equal = 0
    for row, window in enumerate(iter_windows(reader)):
        if reader.store.num_frames(clips.index[row]) == num_inside:
            assert torch.equal(window, clips[0, row]["clip"]), row
            num_equal += 1
    assert num_equal > len(clips) // 4, num_equal


def cpu_seconds(windows: Iterator[Tensor]) -> float:
    start = time.process_time()
    for _ in windows:
        pass
    return time.process_time() - start


if __name__ == "__main__":
    main()
