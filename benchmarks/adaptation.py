"""How fast features come to a domain adaptation run out of the published pickles, and how much memory that takes.

Run as `python benchmarks/adaptation.py [--quick]` on Linux. It makes its own pickles of random numbers, 25 features of 3 x 1024
numbers a clip, and prints one line a claim; above 1 means ours is better by that factor:

    ratio adaptation_memory          memory of loading a pickle / of having 5 segments of all its clips; promised: at least 3
    ratio adaptation_memory_batches  the same, where the 5 segments pass by in batches, as they do in training
    ratio adaptation_epoch           time of feeding an epoch, plain loaders / ours; promised: at least 3
    ratio adaptation_epoch_memory    memory that feeding takes, the same
    ratio adaptation_training        time of an epoch of training, plain / ours: feeding and steps

Memory is that of a process of its own, at its peak, above what it took before it opened the file. Pages of mapped files count
like all others, although the system takes them back when it needs them: most of what ours has in an epoch is that. How much
there is without them is printed too. Loading is one `pickle.load`; the published code then joins the modalities, which takes as
much again and is counted in an epoch.

An epoch is that of the EPIC-KITCHENS-100 challenge, 16,115 and 26,115 clips in batches of 128 and 207, so 126 steps; with
`--quick` of a tenth of the clips. Since 25 features of each would take 13 GB, five clips share one clip of the file, and each
takes other 5 of its 25 features: all that is read lies as apart as in the published files, and 2.6 GB are read once an epoch.
The plain loaders are in `plain_ta3n.py`. Both feed from the same pickles in this process, which has one thread, and take turns
of a sixth of an epoch; a step's time is CPU time, an epoch's the median of the turns. Both give the same features.

A step of training is TA3N with all its losses, forward, backward, clipping and update, the plain one against our network and
objective with the same weights; at first both must have the same loss and norm of gradients. Only 16 steps are timed, with
`--quick` 6, and an epoch is told from their median. Most of it is matrix products that are the same, so no ratio is promised.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plain_ta3n import PlainDataset, PlainNetwork, plain_loader, plain_loss, plain_strengths
from zoopraxis.adaptation.network import AdaptationNetwork
from zoopraxis.adaptation.objective import DomainBatch, Objective, Progress
from zoopraxis.adaptation.published import map_published
from zoopraxis.data.features import FeatureStore, open_features, segment_positions
from zoopraxis.data.index import ClipIndex
from zoopraxis.training.adaptation.loaders import DomainLoader, DomainOrder, FeatureReader

NUM_CLIPS, BATCH_SIZES = {"source": 16_115, "target": 26_115}, {"source": 128, "target": 207}
MODALITIES, WIDTH, NUM_FEATURES, NUM_SEGMENTS, SHARES = ("RGB", "Flow", "Audio"), 1024, 25, 5, 5
NUM_VERBS, NUM_NOUNS, NUM_EPOCHS, LR, WEIGHT_DECAY, MAX_NORM, SEED = 97, 300, 30, 3e-3, 1e-4, 20.0, 0
STEPS_PER_TURN, TRAINING_STEPS_PER_TURN = 21, 2

Turn = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed and memory of feeding domain adaptation from features.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the clips, fewer steps")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        compare_memory(root, num_clips=2000)
        num_clips = {name: number // (10 if quick else 1) for name, number in NUM_CLIPS.items()}
        for name, number in num_clips.items():
            write_pickle(root / f"{name}.pkl", num_clips=-(-number // SHARES))
        compare_epochs(root, num_clips, num_passes=8 if quick else 3, num_training_steps=6 if quick else 16)


def write_pickle(path: Path, *, num_clips: int) -> None:
    """A pickle in the published layout."""
    generator = np.random.default_rng(SEED)
    features = {name: generator.random((num_clips, NUM_FEATURES, WIDTH), dtype=np.float32) for name in MODALITIES}
    with path.open("wb") as file:
        pickle.dump({"features": features, "narration_ids": clip_names(num_clips).tolist()}, file, protocol=4)


def clip_names(num_clips: int) -> npt.NDArray[np.str_]:
    return np.array([f"P01_01_{number}" for number in range(num_clips)])


# Memory


def compare_memory(root: Path, *, num_clips: int) -> None:
    """Print what loading a pickle takes, and what 5 segments take."""
    path = root / "memory.pkl"
    write_pickle(path, num_clips=num_clips)
    print(f"a pickle of {num_clips} clips, {path.stat().st_size / 1e6:.0f} MB:")
    loaded = peak_of(load_all, path)
    needed = peak_of(read_needed, path)
    passing = peak_of(read_batches, path)
    path.unlink()
    print(f"ratio adaptation_memory {loaded / needed:.2f}")
    print(f"ratio adaptation_memory_batches {loaded / passing:.2f}", flush=True)


def load_all(path: Path) -> object:
    with path.open("rb") as file:
        return pickle.load(file)


def read_needed(path: Path) -> object:
    store = open_features(path)
    return store.read(np.arange(len(store)), segment_positions(store.num_features, NUM_SEGMENTS))


def read_batches(path: Path) -> object:
    store = open_features(path)
    positions = segment_positions(store.num_features, NUM_SEGMENTS)
    for rows in np.array_split(np.arange(len(store)), -(-len(store) // BATCH_SIZES["source"])):
        store.read(rows, positions[rows])
    return store


def peak_of(function: Callable[..., object], *args: object) -> float:
    """Bytes that a process of its own takes for it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        peak, anonymous, mapped = pool.submit(growth, function, *args).result()
    name = function.__name__
    print(f"  {name}: at its peak {peak / 1e6:.0f} MB; at its end {anonymous / 1e6:.0f} MB, and {mapped / 1e6:.0f} MB of files")
    return peak


def growth(function: Callable[..., object], *args: object) -> tuple[float, float, float]:
    """By how much this process grows: all of it at its peak; at the end without mapped files, and those."""
    torch.set_num_threads(1)
    before = memory()
    result = function(*args)
    after = memory()
    del result
    return after["VmHWM"] - before["VmRSS"], after["RssAnon"] - before["RssAnon"], after["RssFile"] - before["RssFile"]


def memory() -> dict[str, float]:
    """Resident bytes of this process."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {
        line[0].rstrip(":"): int(line[1]) * 1024.0 for line in lines if line[0] in ("VmHWM:", "VmRSS:", "RssAnon:", "RssFile:")
    }


# Epochs


class SharedClips:
    """A store of five times the clips: five share one clip, and the k-th takes features that lie k later."""

    def __init__(self, store: FeatureStore, clip_ids: npt.NDArray[np.str_]) -> None:
        self.path, self.modalities, self.clip_ids = store.path, store.modalities, clip_ids
        self.num_features = np.full(len(clip_ids), NUM_FEATURES)
        self.widths, self.seconds = store.widths, store.seconds
        self._store = store

    def __len__(self) -> int:
        return len(self.clip_ids)

    def rows_of(self, clip_ids: Sequence[str] | npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
        assert np.array_equal(clip_ids, self.clip_ids)
        return np.arange(len(self))

    def read(
        self, rows: npt.NDArray[np.int64], positions: npt.NDArray[np.int64], modalities: Sequence[str] = ()
    ) -> npt.NDArray[np.float32]:
        return self._store.read(rows // SHARES, positions + (rows % SHARES - SHARES // 2)[:, None], modalities)


def our_loader(root: Path, num_clips: dict[str, int]) -> DomainLoader:
    """Steps of both domains, read in this thread when they are asked for."""
    readers = []
    for name, number in num_clips.items():
        ids = clip_names(number)
        rows = np.arange(number)
        index = ClipIndex.from_columns(
            clip_id=ids,
            source=ids,
            labels={"verb": rows % NUM_VERBS, "noun": rows % NUM_NOUNS},
            class_names={"verb": [f"v{k}" for k in range(NUM_VERBS)], "noun": [f"n{k}" for k in range(NUM_NOUNS)]},
        )
        readers.append(FeatureReader(index, SharedClips(open_features(root / f"{name}.pkl"), ids), num_segments=NUM_SEGMENTS))
    order = DomainOrder([*num_clips.values()], [*BATCH_SIZES.values()], seed=SEED)
    return DomainLoader(readers, order, read_ahead=0)


def plain_datasets(root: Path, num_clips: dict[str, int]) -> list[PlainDataset]:
    return [
        PlainDataset(
            root / f"{name}.pkl",
            clip_names(number),
            num_segments=NUM_SEGMENTS,
            num_verbs=NUM_VERBS,
            num_nouns=NUM_NOUNS,
            shares=SHARES,
        )
        for name, number in num_clips.items()
    ]


def plain_epoch(datasets: list[PlainDataset], epoch: int) -> Iterator[Any]:
    loaders = [
        plain_loader(dataset, batch_size=BATCH_SIZES[name], seed=epoch)
        for name, dataset in zip(BATCH_SIZES, datasets, strict=True)
    ]
    return zip(*loaders, strict=False)


def our_epoch(loader: DomainLoader, epoch: int) -> Iterator[Any]:
    loader.set_epoch(epoch)
    return iter(loader)


def feed_plainly(root: Path, num_clips: dict[str, int]) -> object:
    datasets = plain_datasets(root, num_clips)
    return datasets, sum(1 for _ in plain_epoch(datasets, 0))


def feed(root: Path, num_clips: dict[str, int]) -> object:
    loader = our_loader(root, num_clips)
    return loader, sum(1 for _ in our_epoch(loader, 0))


def compare_epochs(root: Path, num_clips: dict[str, int], *, num_passes: int, num_training_steps: int) -> None:
    """Print what an epoch takes: fed, its memory, and with training."""
    print(f"an epoch of {' and '.join(map(str, num_clips.values()))} clips:")
    memory_ratio = peak_of(feed_plainly, root, num_clips) / peak_of(feed, root, num_clips)
    loader, datasets = our_loader(root, num_clips), plain_datasets(root, num_clips)
    check_features(loader, datasets)
    seconds = time_feeding(loader, datasets, num_passes=num_passes)
    print_epoch("feeding", seconds, len(loader))
    print(f"ratio adaptation_epoch {seconds['plain'] / seconds['ours']:.2f}")
    print(f"ratio adaptation_epoch_memory {memory_ratio:.1f}", flush=True)
    seconds = time_training(loader, datasets, num_steps=num_training_steps)
    print_epoch("training", seconds, len(loader))
    print(f"ratio adaptation_training {seconds['plain'] / seconds['ours']:.2f}")


def print_epoch(what: str, seconds: dict[str, float], num_steps: int) -> None:
    times = ", ".join(
        f"{name} {1e3 * value:.1f} ms a step, {value * num_steps:.2f} s an epoch" for name, value in seconds.items()
    )
    print(f"{what}: {times}")


def check_features(loader: DomainLoader, datasets: list[PlainDataset]) -> None:
    """Both must give the same for the same clips."""
    step: Any = next(our_epoch(loader, 0))
    for name, dataset in zip(BATCH_SIZES, datasets, strict=True):
        for row, features in zip(step[name]["index"].tolist(), step[name]["features"], strict=True):
            assert torch.equal(dataset[row][0], features)


def time_feeding(loader: DomainLoader, datasets: list[PlainDataset], *, num_passes: int) -> dict[str, float]:
    """Seconds a step."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for epoch in range(num_passes + 1):  # the first pass is to warm up
        ways = {"plain": plain_epoch(datasets, epoch), "ours": our_epoch(loader, epoch)}
        turns: dict[str, Turn] = {name: partial(next, steps) for name, steps in ways.items()}
        take_turns(turns, len(loader) - 1, STEPS_PER_TURN, seconds)
        if epoch == 0:
            seconds.clear()
    return {name: statistics.median(values) for name, values in seconds.items()}


def take_turns(ways: dict[str, Turn], num_steps: int, steps_per_turn: int, seconds: dict[str, list[float]]) -> None:
    """Run all ways for some steps, in turns; note what each turn took a step."""
    order = np.random.default_rng(SEED)
    for first in range(0, num_steps, steps_per_turn):
        num = min(steps_per_turn, num_steps - first)
        for name in order.permutation(list(ways)).tolist():
            start = time.process_time()
            for _ in range(num):
                ways[name]()
            seconds[name].append((time.process_time() - start) / num)


def time_training(loader: DomainLoader, datasets: list[PlainDataset], *, num_steps: int) -> dict[str, float]:
    """Seconds a step of feeding and training."""
    check_losses(loader)
    plain, ours = make_networks(dropout=0.5)
    num_steps_per_epoch = len(loader)
    plain_steps, our_steps = enumerate(plain_epoch(datasets, 0)), enumerate(our_epoch(loader, 0))
    plain_optimizer, our_optimizer, objective = make_optimizer(plain), make_optimizer(ours), Objective()

    def train_plain() -> None:
        step, ((source, labels, _), (target, _, _)) = next(plain_steps)
        strengths = plain_strengths(step, num_steps_per_epoch, NUM_EPOCHS)
        update(plain, plain_optimizer, plain_loss(plain, source, labels, target, strengths))

    def train_ours() -> None:
        step, batch = next(our_steps)
        update(ours, our_optimizer, our_loss(ours, objective, batch, step, num_steps_per_epoch))

    ways: dict[str, Turn] = {"plain": train_plain, "ours": train_ours}
    take_turns(ways, 2, TRAINING_STEPS_PER_TURN, defaultdict(list))
    seconds: dict[str, list[float]] = defaultdict(list)
    take_turns(ways, num_steps, TRAINING_STEPS_PER_TURN, seconds)
    return {name: statistics.median(values) for name, values in seconds.items()}


def make_networks(*, dropout: float) -> tuple[PlainNetwork, AdaptationNetwork]:
    """Both with the same weights."""
    torch.manual_seed(SEED)
    dim = WIDTH * len(MODALITIES)
    plain = PlainNetwork(feature_dim=dim, num_segments=NUM_SEGMENTS, num_verbs=NUM_VERBS, num_nouns=NUM_NOUNS, dropout=dropout)
    arguments, tensors, _ = map_published(plain.state_dict(), {"dropout": dropout, "video_dropout": dropout})
    ours = AdaptationNetwork(**arguments)
    ours.load_state_dict(tensors)
    return plain, ours


def make_optimizer(network: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(network.parameters(), LR, momentum=0.9, weight_decay=WEIGHT_DECAY, nesterov=True)


def update(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
    optimizer.step()


def our_loss(network: AdaptationNetwork, objective: Objective, batch: Any, step: int, num_steps: int) -> Tensor:
    progress = Progress(epoch=0, step=step, steps_per_epoch=num_steps, num_epochs=NUM_EPOCHS)
    source = DomainBatch(batch["source"]["features"], batch["source"]["labels"])
    target = DomainBatch(batch["target"]["features"], {})
    return objective(network, source, target, progress=progress)[0]


def check_losses(loader: DomainLoader) -> None:
    """Without dropout both must have the same loss, and the same gradient."""
    plain, ours = make_networks(dropout=0)
    batch: Any = next(our_epoch(loader, 0))
    labels = batch["source"]["labels"]
    strengths = plain_strengths(0, len(loader), NUM_EPOCHS)
    features = [batch[name]["features"] for name in ("source", "target")]
    losses = [
        plain_loss(plain, features[0], (labels["verb"], labels["noun"]), features[1], strengths),
        our_loss(ours, Objective(), batch, 0, len(loader)),
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0)
    for network, loss in zip((plain, ours), losses, strict=True):
        loss.backward()
        assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in network.parameters())
    norms = [nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None]) for network in (plain, ours)]
    torch.testing.assert_close(norms[0], norms[1], rtol=1e-4, atol=0)


if __name__ == "__main__":
    main()
