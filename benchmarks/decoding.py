"""How fast 8 frames spread over a video clip are decoded, against TorchCodec.

Run as `python benchmarks/decoding.py [--quick]`. It makes its own clips (10 s, 340x256, 30 frames a second, H.264 at crf 23
with B-frames, a keyframe every 12 and every 250 frames) and prints one line a claim; above 1 means ours is better by so much:

    ratio decoding_vs_torchcodec   time of TorchCodec (exact seeking) / time of ours; promised: at least 1.1

Both open the file and read one frame from each eighth of it, as a loader does for every clip; ours has the file's packet index
in memory. They take turns in one process, with one thread each. The time is CPU time; a clip's ratio is the median over its
turns, and the claim is the geometric mean over the two clips. Our frames must equal those of decoding the file from the start.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from zoopraxis.data.decoding import VideoReader
from zoopraxis.data.encoding import write_video

HEIGHT, WIDTH, FPS, NUM_FRAMES, NUM_SEGMENTS, SEED = 256, 340, 30, 300, 8, 0
GOPS = (12, 250)

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Read = Callable[[Path, IntArray], UInt8Array]


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of decoding frames spread over a clip, against TorchCodec.")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    num_turns = 15 if parser.parse_args().quick else 60
    torch.set_num_threads(1)
    torchcodec = import_torchcodec()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for gop in GOPS:
            path = Path(folder) / f"gop{gop}.mp4"
            write_video(path, moving_scene(), fps=FPS, gop=gop)
            expected = check_frames(path)
            readers = {"ours": read_ours, "in order": read_in_order, **({"TorchCodec": torchcodec} if torchcodec else {})}
            seconds = time_turns(readers, path, expected, num_turns)
            medians = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
            print(
                f"gop {gop}, {path.stat().st_size // 1024} KiB, ms: " + ", ".join(f"{n} {ms:.1f}" for n, ms in medians.items())
            )
            if torchcodec:
                theirs_per_ours = [theirs / ours for theirs, ours in zip(seconds["TorchCodec"], seconds["ours"], strict=True)]
                ratios.append(statistics.median(theirs_per_ours))
                print(f"gop {gop}: TorchCodec takes {ratios[-1]:.3f} times as long as ours")
    if ratios:
        print(f"ratio decoding_vs_torchcodec {math.exp(statistics.mean(map(math.log, ratios))):.3f}")


def moving_scene() -> Iterator[UInt8Array]:
    """A camera that sways over a textured ground on which four patches move and turn, with film grain; the same every time.

    At crf 23 a keyframe takes about 11 KiB and another frame 2 to 5 KiB, as in a clip of Kinetics of this size.
    """
    generator = np.random.default_rng(SEED)
    ground = np.stack(
        [128 + 30 * noise(generator, 64) + 22 * noise(generator, 16) + 14 * noise(generator, 4) for _ in range(3)], 2
    )
    patches = [np.stack([128 + 40 * noise(generator, 20) + 25 * noise(generator, 5) for _ in range(3)], 2) for _ in range(4)]
    grains = [8 * noise(generator, 2) for _ in range(16)]
    for number in range(NUM_FRAMES):
        frame = shifted(ground, 64 + 50 * math.sin(number / 37), 64 + 50 * math.cos(number / 29))
        for k, patch in enumerate(patches):
            y = int((HEIGHT - 80) * (0.5 + 0.5 * math.sin(number / (11 + 3 * k) + k)))
            x = int((WIDTH - 80) * (0.5 + 0.5 * math.cos(number / (17 - 2 * k) + 2 * k)))
            frame[y : y + 80, x : x + 80] = np.rot90(patch[:80, :80], number // 20 + k)
        dy, dx = generator.integers(0, 64, 2)
        grain = grains[number % len(grains)][dy : dy + HEIGHT, dx : dx + WIDTH, None]
        yield np.clip(frame + grain, 0, 255).astype(np.uint8)


def noise(generator: np.random.Generator, cell: int) -> FloatArray:
    """Smooth noise of unit variance at its knots, which lie `cell` px apart; shape (HEIGHT + 128, WIDTH + 128)."""
    height, width = HEIGHT + 128, WIDTH + 128
    knots = generator.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
    rows, columns = np.arange(height) / cell, np.arange(width) / cell
    along = np.stack([np.interp(rows, np.arange(len(knots)), column) for column in knots.T], axis=1)
    return np.stack([np.interp(columns, np.arange(along.shape[1]), row) for row in along]).astype(np.float32)


def shifted(ground: FloatArray, y: float, x: float) -> FloatArray:
    """The window of HEIGHT by WIDTH px at a place between pixels, interpolated."""
    top, left = int(y), int(x)
    down, right = y - top, x - left
    window = ground[top : top + HEIGHT + 1, left : left + WIDTH + 1]
    rows = window[:-1] * (1 - down) + window[1:] * down
    return np.asarray(rows[:, :-1] * (1 - right) + rows[:, 1:] * right, dtype=np.float32)


def check_frames(path: Path) -> UInt8Array:
    """All frames by decoding from the start; random reads must give the same."""
    expected = read_in_order(path, np.arange(NUM_FRAMES))
    generator = np.random.default_rng(SEED)
    for _ in range(10):
        frames = generator.integers(0, NUM_FRAMES, NUM_SEGMENTS)
        assert np.array_equal(read_ours(path, frames), expected[frames]), f"wrong frames among {frames.tolist()}"
    return expected


def read_ours(path: Path, frames: IntArray) -> UInt8Array:
    with VideoReader(path) as reader:
        return reader.read(frames)


def read_in_order(path: Path, frames: IntArray) -> UInt8Array:
    """The plain formulation: decode from the start, keep what is wanted."""
    last, wanted = int(frames.max()), set(frames.tolist())
    kept = {}
    for number, frame in enumerate(VideoReader(path).iter_frames()):
        if number in wanted:
            kept[number] = frame
        if number == last:
            break
    return np.stack([kept[number] for number in frames.tolist()])


def import_torchcodec() -> Read | None:
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        print(f"TorchCodec cannot be imported ({reason}): decoding_vs_torchcodec is not measured; ", end="")
        print("install torchcodec, and FFmpeg's shared libraries (on Debian: apt-get install ffmpeg)")
        return None

    def read(path: Path, frames: IntArray) -> UInt8Array:
        decoder = VideoDecoder(str(path), dimension_order="NHWC", seek_mode="exact", num_ffmpeg_threads=1)
        decoded: UInt8Array = decoder.get_frames_at(frames.tolist()).data.numpy()
        return decoded

    return read


def time_turns(readers: dict[str, Read], path: Path, expected: UInt8Array, num_turns: int) -> dict[str, list[float]]:
    """CPU seconds of each reader's turns, all on the same frames: one drawn from each eighth of the clip, anew each turn."""
    generator = np.random.default_rng(SEED)
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    starts = np.linspace(0, NUM_FRAMES, NUM_SEGMENTS + 1)[:-1]
    for _ in range(num_turns):
        frames = (starts + generator.random(NUM_SEGMENTS) * NUM_FRAMES / NUM_SEGMENTS).astype(np.int64)
        for name in generator.permutation(list(readers)):
            begin = time.process_time()
            decoded = readers[name](path, frames)
            seconds[name].append(time.process_time() - begin)
            assert decoded.shape == (NUM_SEGMENTS, HEIGHT, WIDTH, 3)
            if name == "ours":
                assert np.array_equal(decoded, expected[frames]), f"wrong frames among {frames.tolist()}"
    return seconds


if __name__ == "__main__":
    main()
