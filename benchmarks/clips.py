"""How fast training clips come out of a gulp folder, and how much memory they take.

Run as `python benchmarks/clips.py [--quick]`. It makes its own folder of 340x256 frames and prints one line a claim; above 1
means ours is better by that factor:

    ratio clips_vs_pillow        time of the plain formulation / ours; promised: at least 2.5
    ratio clips_vs_pillow_uint8  the same without the plain one's last step, scaling to float, which ours leaves to the device
    ratio clips_vs_bare_jpeg     time of decoding the same JPEGs and nothing else / ours; promised: at least 1 / 2.2 = 0.455
    ratio gulp_index_bytes       24 / bytes of memory per frame that the index of a gulp folder takes; promised: at least 1
    ratio loader_memory_flat     resident memory of a loader and its workers after the first of 20 epochs / after the last

A clip is 8 frames: sampled, read, decoded, random resized crop to 224x224, flip; uint8. The plain formulation goes frame by
frame: read, Pillow image, then torchvision's resized crop, flip and ToTensor on Pillow images. The bare decoding has its JPEGs
in memory. All are timed on the same 8 clips in turn, in random order, in CPU time of one thread; a number is the median over
many such turns.
"""

from __future__ import annotations

import argparse
import gc
import io
import statistics
import tempfile
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import simplejpeg
import torch
from PIL import Image
from torchvision.transforms import functional as pillow_transforms

from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.crops import RandomResizedCrop
from zoopraxis.data.index import ClipIndex
from zoopraxis.data.loaders import ClipLoader, EpochSampler
from zoopraxis.data.sampling import Segments, clip_generator
from zoopraxis.data.stores.gulp import GulpStore, read_gulp_metadata
from zoopraxis.data.stores.gulp_writer import GulpWriter
from zoopraxis.data.transforms import TrainTransform

HEIGHT, WIDTH, SIZE, NUM_SEGMENTS, SEED = 256, 340, 224, 8, 0
CLIPS_PER_TURN = 8
INDEX_BYTES_PER_FRAME = 24
NUM_EPOCHS = 20

UInt8Array = npt.NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed and memory of training clips from a gulp folder.")
    parser.add_argument("--quick", action="store_true", help="fewer clips")
    quick = parser.parse_args().quick
    num_clips, num_passes = (32, 4) if quick else (128, 8)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root, index_root = Path(folder, "frames"), Path(folder, "index")
        write_gulp(root, num_clips=num_clips, frames_per_clip=32, height=HEIGHT, width=WIDTH)
        write_gulp(index_root, num_clips=200 if quick else 1000, frames_per_clip=100, height=8, width=8)
        seconds = time_clips(root, num_passes=num_passes)
        print("ms per clip: " + ", ".join(f"{name} {value * 1e3:.2f}" for name, value in seconds.items()))
        print(f"ratio clips_vs_pillow {seconds['pillow'] / seconds['ours']:.3f}")
        print(f"ratio clips_vs_pillow_uint8 {seconds['pillow_uint8'] / seconds['ours']:.3f}")
        print(f"ratio clips_vs_bare_jpeg {seconds['bare'] / seconds['ours']:.3f}")
        print(f"ratio gulp_index_bytes {INDEX_BYTES_PER_FRAME / index_bytes_per_frame(index_root):.3f}", flush=True)
        sizes = loader_memory(root)
        print("MB after each epoch: " + " ".join(f"{size / 1e6:.0f}" for size in sizes))
        print(f"ratio loader_memory_flat {sizes[0] / sizes[-1]:.3f}")


def write_gulp(root: Path, *, num_clips: int, frames_per_clip: int, height: int, width: int) -> None:
    """Windows that slide over one large texture; at 340x256 a JPEG takes about 18 KiB, as kitchen footage does."""
    texture = make_texture(height * 2, width * 2)
    generator = np.random.default_rng(SEED)
    with GulpWriter(root).chunk(0) as chunk:
        for number in range(num_clips):
            start, step = generator.integers(0, (height, width)), generator.integers(-3, 4, size=2)

            def frames(start: npt.NDArray[np.int64] = start, step: npt.NDArray[np.int64] = step) -> Iterator[UInt8Array]:
                for t in range(frames_per_clip):
                    top, left = np.clip(start + t * step, 0, (height, width))
                    yield texture[top : top + height, left : left + width]

            chunk.append(clip_name(number), frames(), {})


def make_texture(height: int, width: int) -> UInt8Array:
    """Smooth noise of three scales, (height, width, 3)."""
    generator = np.random.default_rng(SEED)
    total = np.full((height, width, 3), 128.0)
    for cell, amplitude in ((64, 40.0), (16, 20.0), (4, 4.0)):
        grid = generator.normal(scale=amplitude, size=(height // cell + 2, width // cell + 2, 3))
        y, x = np.arange(height) / cell, np.arange(width) / cell
        rows = interpolate_rows(grid, y)
        total += interpolate_rows(rows.transpose(1, 0, 2), x).transpose(1, 0, 2)
    return total.clip(0, 255).astype(np.uint8)


def interpolate_rows(grid: npt.NDArray[np.float64], at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    below = at.astype(np.int64)
    fraction = (at - below)[:, None, None]
    return np.asarray(grid[below] * (1 - fraction) + grid[below + 1] * fraction)


def clip_name(number: int) -> str:
    return f"clip_{number:05d}"


def make_dataset(root: Path) -> ClipDataset:
    store = GulpStore(root, "rgb")
    ids = store.clip_ids
    index = ClipIndex.from_columns(
        clip_id=ids, source=ids, labels={"label": np.arange(len(ids)) % 2}, class_names={"label": ["even", "odd"]}
    )
    transform = TrainTransform(size=SIZE, crop=RandomResizedCrop())
    return ClipDataset(index, store, transform=transform, num_segments=NUM_SEGMENTS, seed=SEED, training=True)


def time_clips(root: Path, *, num_passes: int) -> dict[str, float]:
    """Seconds per clip: ours, pillow, pillow_uint8, and bare."""
    dataset, places = make_dataset(root), frame_places(root)
    order = np.random.default_rng(SEED)
    seconds: dict[str, list[float]] = defaultdict(list)
    with (root / "data_0.gulp").open("rb", buffering=0) as file:
        for epoch in range(num_passes + 1):  # the first pass is to warm up
            for first in range(0, len(dataset), CLIPS_PER_TURN):
                rows = range(first, min(first + CLIPS_PER_TURN, len(dataset)))
                ways = clip_makers(dataset, file, places, epoch, rows)
                for name in order.permutation(list(ways)).tolist():
                    start = time.process_time()
                    for row in rows:
                        ways[name](row)
                    if epoch > 0:
                        seconds[name].append((time.process_time() - start) / len(rows))
    return {name: statistics.median(values) for name, values in seconds.items()}


def clip_makers(
    dataset: ClipDataset, file: BinaryIO, places: list[list[list[int]]], epoch: int, rows: range
) -> dict[str, Callable[[int], object]]:
    """What is timed: functions of the row."""
    jpegs = {row: [read_jpeg(file, place) for place in choose_frames(places[row], epoch, row)[0]] for row in rows}

    def pillow(row: int, to_tensor: Callable[[Image.Image], torch.Tensor]) -> torch.Tensor:
        return pillow_clip(file, *choose_frames(places[row], epoch, row), to_tensor)

    return {
        "ours": lambda row: dataset[(epoch, row)],
        "pillow": lambda row: pillow(row, pillow_transforms.to_tensor),
        "pillow_uint8": lambda row: pillow(row, pillow_transforms.pil_to_tensor),
        "bare": lambda row: [decode(jpeg) for jpeg in jpegs[row]],
    }


def frame_places(root: Path) -> list[list[list[int]]]:
    """For each clip, for each frame: offset, padding and padded length in the data file."""
    return [item["frame_info"] for item in read_gulp_metadata(root / "meta_0.gmeta").values()]


def choose_frames(places: list[list[int]], epoch: int, row: int) -> tuple[list[list[int]], np.random.Generator]:
    """The frames that ours takes too, and the generator as it stands after that."""
    generator = clip_generator(SEED, epoch, clip_name(row))
    return [places[i] for i in Segments(NUM_SEGMENTS).train(len(places), generator)], generator


def read_jpeg(file: BinaryIO, place: list[int]) -> bytes:
    offset, padding, length = place
    file.seek(offset)
    return file.read(length)[: length - padding]


def decode(jpeg: bytes) -> UInt8Array:
    return np.asarray(simplejpeg.decode_jpeg(jpeg, colorspace="RGB", fastdct=True, fastupsample=True))


def pillow_clip(
    file: BinaryIO,
    places: list[list[int]],
    generator: np.random.Generator,
    to_tensor: Callable[[Image.Image], torch.Tensor],
) -> torch.Tensor:
    """The plain formulation: Pillow images, one by one."""
    frames = []
    crop = RandomResizedCrop()(HEIGHT, WIDTH, generator)
    is_flipped = generator.random() < 0.5
    for place in places:
        image = Image.open(io.BytesIO(read_jpeg(file, place))).convert("RGB")
        image = pillow_transforms.resized_crop(image, *crop, [SIZE, SIZE])
        if is_flipped:
            image = pillow_transforms.hflip(image)
        frames.append(to_tensor(image))
    return torch.stack(frames)


def index_bytes_per_frame(root: Path) -> float:
    """What Python, NumPy and Arrow hold for an open store, per frame."""
    gc.collect()
    arrow_before = pa.total_allocated_bytes()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    store = GulpStore(root, "rgb")
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before + pa.total_allocated_bytes() - arrow_before
    tracemalloc.stop()
    print(f"index of {store.num_images} frames: {held / store.num_images:.1f} bytes a frame")
    return float(held / store.num_images)


def loader_memory(root: Path) -> list[int]:
    """Resident memory of this process and its workers after each epoch, bytes."""
    dataset = make_dataset(root)
    loader = ClipLoader(dataset, EpochSampler(len(dataset), seed=SEED, shuffle=True), batch_size=4, num_workers=2)
    sizes = []
    for epoch in range(NUM_EPOCHS):
        loader.set_epoch(epoch)
        for batch in loader:
            assert batch["clip"].dtype == torch.uint8
        del batch
        gc.collect()
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        sizes.append(sum(process.memory_info().rss for process in processes))
    return sizes


if __name__ == "__main__":
    main()
