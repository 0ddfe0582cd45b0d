"""Epochs and batches: every clip once, the same for any number of workers, and exactly resumable in the middle."""

from __future__ import annotations

import gc
import os

import numpy as np
import numpy.typing as npt
import pytest
import torch

from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.index import UNLABELLED, Clip, ClipIndex
from zoopraxis.data.loaders import ClipBatch, ClipLoader, EpochSampler
from zoopraxis.data.transforms import TestTransform, TrainTransform
from zoopraxis.errors import ConfigError, DataError


class NoiseStore:
    """Random frames, the same for the same clip; `c<broken>` cannot be read."""

    def __init__(self, broken: int | None = None) -> None:
        self.broken = broken

    def num_frames(self, clip: Clip) -> int:
        return 12

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        number = int(clip.clip_id[1:])
        if number == self.broken:
            raise DataError(f"frame 3 of clip {clip.clip_id!r} is missing")
        return np.random.default_rng(number).integers(0, 256, (12, 10, 14, 3), dtype=np.uint8)[frames]


class ThreadCountStore(NoiseStore):
    """Frames filled with the number of threads that torch uses where they are read."""

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return np.full((len(frames), 10, 14, 3), torch.get_num_threads(), dtype=np.uint8)


def make_loader(
    num_clips: int = 11,
    *,
    num_workers: int = 0,
    batch_size: int = 3,
    training: bool = True,
    rank: int = 0,
    world_size: int = 1,
    store: NoiseStore | None = None,
    num_folds: int = 1,
    num_repeats: int = 1,
    max_batches: int | None = None,
) -> ClipLoader:
    index = ClipIndex.from_columns(
        clip_id=[f"c{n}" for n in range(num_clips)],
        source=[""] * num_clips,
        labels={"verb": [n % 3 for n in range(num_clips)]},
        class_names={"verb": ["take", "put", "wash"]},
    )
    transform = TrainTransform(size=8) if training else TestTransform(size=8, resize=10)
    dataset = ClipDataset(index, store or NoiseStore(), transform=transform, num_segments=2, seed=5, training=training)
    pad = "repeat" if training else "mark"
    sampler = EpochSampler(
        num_clips,
        seed=5,
        shuffle=training,
        rank=rank,
        world_size=world_size,
        pad=pad,  # type: ignore[arg-type]
        num_folds=num_folds,
        num_repeats=num_repeats,
    )
    return ClipLoader(dataset, sampler, batch_size=batch_size, num_workers=num_workers, max_batches=max_batches)


def assert_same(got: list[ClipBatch], expected: list[ClipBatch]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one["clip"], other["clip"])
        assert torch.equal(one["index"], other["index"])
        assert torch.equal(one["labels"]["verb"], other["labels"]["verb"])


def test_an_epoch_has_every_clip_once_in_an_order_of_its_own() -> None:
    sampler = EpochSampler(20, seed=1, shuffle=True)
    first = list(sampler)
    assert sorted(first) == [(0, row) for row in range(20)]
    assert first == list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(second) == [(1, row) for row in range(20)]
    assert [row for _, row in first] != [row for _, row in second]
    assert first != list(EpochSampler(20, seed=2, shuffle=True))
    assert list(EpochSampler(3, shuffle=False)) == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.parametrize(("num_clips", "world_size"), [(12, 2), (11, 2), (10, 4), (2, 5)])
def test_processes_share_an_epoch_evenly(num_clips: int, world_size: int) -> None:
    whole = [row for _, row in EpochSampler(num_clips, seed=1, shuffle=True)]
    parts = [EpochSampler(num_clips, seed=1, shuffle=True, rank=rank, world_size=world_size) for rank in range(world_size)]
    rows = [[row for _, row in part] for part in parts]
    assert {len(part) for part in rows} == {len(parts[0])}
    interleaved = [row for step in zip(*rows, strict=True) for row in step]
    assert interleaved[:num_clips] == whole
    assert set(interleaved) == set(range(num_clips))

    marked = [
        EpochSampler(num_clips, shuffle=False, rank=rank, world_size=world_size, pad="mark").keys()[:, 1]
        for rank in range(world_size)
    ]
    everything = np.concatenate(marked)
    assert sorted(everything[everything >= 0].tolist()) == list(range(num_clips))
    assert len({len(part) for part in marked}) == 1


def test_folds_are_passes_of_their_own() -> None:
    sampler = EpochSampler(20, seed=1, shuffle=True, num_folds=3)
    assert len(sampler) == 60
    keys = list(sampler)
    assert len(keys) == len(set(keys)) == 60
    for fold in range(3):
        single = EpochSampler(20, seed=1, shuffle=True)
        single.set_epoch(fold)
        assert keys[20 * fold : 20 * (fold + 1)] == list(single)
    sampler.set_epoch(1)
    assert {turn for turn, _ in sampler} == {3, 4, 5}


def test_repeats_stand_side_by_side_and_have_turns_of_their_own() -> None:
    sampler = EpochSampler(5, seed=1, shuffle=True, num_folds=2, num_repeats=3)
    assert len(sampler) == 30
    seen: set[tuple[int, int]] = set()
    for epoch in range(2):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        for first in range(0, 30, 3):
            (turn, row), *others = keys[first : first + 3]
            assert turn % 3 == 0
            assert others == [(turn + 1, row), (turn + 2, row)]
        seen |= set(keys)
    assert seen == {(turn, row) for turn in range(12) for row in range(5)}


@pytest.mark.parametrize(("num_clips", "world_size"), [(12, 2), (7, 3), (2, 5)])
def test_processes_share_folds_and_repeats_evenly(num_clips: int, world_size: int) -> None:
    def keys_of(rank: int, world_size: int) -> list[tuple[int, int]]:
        return list(EpochSampler(num_clips, seed=1, shuffle=True, rank=rank, world_size=world_size, num_folds=2, num_repeats=2))

    whole = keys_of(0, 1)
    parts = [keys_of(rank, world_size) for rank in range(world_size)]
    assert {len(part) for part in parts} == {len(parts[0])}
    assert set(whole) == {key for part in parts for key in part}
    steps = [[key for part in parts for key in part[first : first + 2]] for first in range(0, len(parts[0]), 2)]
    assert [key for step in steps for key in step][: len(whole)] == whole


def test_views_of_a_clip_differ_within_a_batch_and_between_folds() -> None:
    batches = list(make_loader(4, batch_size=4, num_folds=2, num_repeats=2))
    assert [len(batch["index"]) for batch in batches] == [4] * 4
    views: dict[int, list[torch.Tensor]] = {}
    for batch in batches:
        assert batch["index"].tolist()[::2] == batch["index"].tolist()[1::2]
        for row, clip in zip(batch["index"].tolist(), batch["clip"], strict=True):
            views.setdefault(row, []).append(clip)
    for clips in views.values():
        assert len(clips) == 4
        assert all(not torch.equal(one, other) for n, one in enumerate(clips) for other in clips[:n])


def test_a_batch_has_uint8_clips_with_channels_last_rows_and_labels() -> None:
    batches = list(make_loader(training=False))
    assert len(batches) == len(make_loader()) == 4
    assert [len(batch["index"]) for batch in batches] == [3, 3, 3, 2]
    assert batches[1]["clip"].shape == (3, 2, 3, 8, 8)
    assert batches[1]["clip"].dtype == torch.uint8
    assert batches[1]["clip"].movedim(-3, -1).is_contiguous()
    assert batches[1]["index"].tolist() == [3, 4, 5]
    assert batches[1]["labels"]["verb"].tolist() == [0, 1, 2]


def test_batches_are_the_same_for_any_number_of_workers() -> None:
    alone, workers = make_loader(), make_loader(num_workers=2)
    for epoch in range(2):
        alone.set_epoch(epoch)
        workers.set_epoch(epoch)
        assert_same(list(workers), list(alone))


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    list(make_loader(num_workers=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_nothing_refers_to_ends_before_workers_are_forked() -> None:
    ended_in: list[int] = []

    class Decoder:
        def __init__(self) -> None:
            self.own_circle = self

        def __del__(self) -> None:
            ended_in.append(os.getpid())

    gc.disable()
    try:
        Decoder()
        batches = iter(make_loader(num_workers=1))
        assert not ended_in
        next(batches)
        assert ended_in == [os.getpid()]
    finally:
        gc.enable()


def test_workers_use_one_thread() -> None:
    loader = make_loader(num_workers=1, training=False, store=ThreadCountStore())
    assert {int(batch["clip"].max()) for batch in loader} == {1}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_run_goes_on_where_it_stopped(num_workers: int) -> None:
    unbroken = make_loader()
    unbroken.set_epoch(2)
    expected = list(unbroken)

    stopped = make_loader(num_workers=num_workers)
    stopped.set_epoch(2)
    for number, _ in enumerate(stopped, start=1):
        if number == 2:
            state = stopped.state_dict()
            break

    resumed = make_loader(num_workers=num_workers)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    assert len(resumed) == 4
    assert_same(list(resumed), expected[2:])
    assert_same(list(resumed), expected)
    resumed.set_epoch(3)
    unbroken.set_epoch(3)
    assert_same(list(resumed), list(unbroken))


@pytest.mark.parametrize("num_given", [1, 3, 5])
def test_a_run_with_folds_and_repeats_goes_on_where_it_stopped(num_given: int) -> None:
    def make() -> ClipLoader:
        loader = make_loader(5, batch_size=4, num_folds=2, num_repeats=2)
        loader.set_epoch(1)
        return loader

    expected = list(make())
    stopped = make()
    for _, _ in zip(range(num_given), stopped, strict=False):
        state = stopped.state_dict()
    resumed = make()
    resumed.load_state_dict(state)
    assert_same(list(resumed), expected[num_given:])
    with pytest.raises(ConfigError, match="with num_folds 2, but now it is 1"):
        make_loader(5, batch_size=4, num_repeats=2).load_state_dict(stopped.state_dict() | {"num_batches": 1})


def test_the_epoch_may_be_set_after_iterating_began_but_before_the_first_batch() -> None:
    loader, other = make_loader(), make_loader()
    batches = iter(loader)
    loader.set_epoch(7)
    other.set_epoch(7)
    assert_same(list(batches), list(other))


def test_a_state_at_the_end_of_an_epoch_starts_the_next_in_full() -> None:
    loader = make_loader()
    batches = list(loader)
    resumed = make_loader(batch_size=2)
    resumed.load_state_dict(loader.state_dict())
    assert list(resumed) == []
    resumed.set_epoch(1)
    assert sum(len(batch["index"]) for batch in resumed) == sum(len(batch["index"]) for batch in batches)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_may_end_before_its_last_clips(num_workers: int) -> None:
    whole, short = make_loader(), make_loader(max_batches=2, num_workers=num_workers)
    for epoch in (0, 1):
        for loader in (whole, short):
            loader.set_epoch(epoch)
        assert_same(list(short), list(whole)[:2])
    resumed = make_loader(batch_size=2, max_batches=2)
    resumed.load_state_dict(short.state_dict())
    assert list(resumed) == []
    assert (len(short), len(make_loader(max_batches=9))) == (2, 4)
    short.close()


def test_a_state_fits_another_number_of_processes_with_the_same_clips_per_step() -> None:
    alone = make_loader(8, batch_size=4)
    next(iter(alone))
    rest = list(make_loader(8, batch_size=4))[1]
    halves = [make_loader(8, batch_size=2, rank=rank, world_size=2) for rank in range(2)]
    rows: list[int] = []
    for half in halves:
        half.load_state_dict(alone.state_dict())
        rows += torch.cat([batch["index"] for batch in half]).tolist()
    assert sorted(rows) == sorted(rest["index"].tolist())


def test_a_state_of_another_division_is_refused() -> None:
    loader = make_loader()
    next(iter(loader))
    with pytest.raises(
        ConfigError, match="after batch 1 of epoch 0 with clips_per_step 3, but now it is 4; resume with the same, or from"
    ):
        make_loader(batch_size=4).load_state_dict(loader.state_dict())
    with pytest.raises(ConfigError, match="with num_clips 11, but now it is 12"):
        make_loader(12).load_state_dict(loader.state_dict())


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_broken_clip_stops_the_epoch_with_one_line(num_workers: int) -> None:
    loader = make_loader(training=False, num_workers=num_workers, store=NoiseStore(broken=4))
    batches = iter(loader)
    assert next(batches)["index"].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"^frame 3 of clip 'c4' is missing; list all broken clips[^\n]*prepare check$"):
        next(batches)


def test_clips_that_fill_up_are_marked_in_the_batch() -> None:
    batches = list(make_loader(5, batch_size=2, training=False, rank=1, world_size=2))
    assert [batch["index"].tolist() for batch in batches] == [[1, 3], [-1]]
    assert batches[1]["labels"]["verb"].tolist() == [UNLABELLED]


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_clips \(0\) must be at least 1"):
        EpochSampler(0, shuffle=False)
    with pytest.raises(ValueError, match=r"rank \(2\) must be at least 0 and less than world_size \(2\)"):
        EpochSampler(5, shuffle=False, rank=2, world_size=2)
    with pytest.raises(ValueError, match=r"num_folds \(0\) must be at least 1"):
        EpochSampler(5, shuffle=False, num_folds=0)
    with pytest.raises(ValueError, match=r"num_repeats \(0\) must be at least 1"):
        EpochSampler(5, shuffle=False, num_repeats=0)
    with pytest.raises(ValueError, match=r"batch_size \(0\) must be at least 1"):
        make_loader(batch_size=0)
    reason = r"data\.batch_size is 7, but .* must be divisible by data\.num_repeats=2; try 6"
    with pytest.raises(ConfigError, match=reason):
        make_loader(batch_size=7, num_repeats=2)
    with pytest.raises(ConfigError, match=r"data\.batch_size is 1, but .* try 2"):
        make_loader(batch_size=1, num_repeats=2)


def test_a_closed_loader_has_no_workers_and_starts_anew() -> None:
    loader = make_loader(num_workers=1)
    first = list(loader)
    workers = list(loader._loader._iterator._workers)  # type: ignore[union-attr, attr-defined]
    loader.close()
    assert not any(worker.is_alive() for worker in workers)
    assert_same(list(loader), first)
    loader.close()
