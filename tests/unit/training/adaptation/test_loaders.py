"""Steps of two domains: their order, their division among processes, and exact resuming in the middle of an epoch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.adaptation.loaders import DomainLoader, DomainOrder, DomainStep, FeatureLoader, FeatureReader

IntArray = npt.NDArray[np.int64]


class NumberedFeatures:
    """Features that tell where they are from: row + position / 100 of the store, times the modality's number."""

    path = Path("numbered")

    def __init__(self, clip_ids: Sequence[str], *, num_features: int = 25, broken: int | None = None) -> None:
        self.modalities = {"RGB": 2, "Flow": 3}
        self.clip_ids = np.asarray(clip_ids, dtype=np.str_)
        self.num_features = np.full(len(clip_ids), num_features)
        self.broken = broken
        self.num_read = 0

    def __len__(self) -> int:
        return len(self.clip_ids)

    def rows_of(self, clip_ids: Any) -> IntArray:
        return np.asarray([self.clip_ids.tolist().index(name) for name in clip_ids])

    def widths(self, modalities: Sequence[str] = ()) -> dict[str, int]:
        return {name: self.modalities[name] for name in modalities or self.modalities}

    def read(self, rows: IntArray, positions: IntArray, modalities: Sequence[str] = ()) -> npt.NDArray[np.float32]:
        if self.broken is not None and self.broken in rows:
            raise DataError(f"clip {self.clip_ids[self.broken]} cannot be read")
        self.num_read += positions.size
        names = list(self.modalities)
        values = rows[:, None] + positions / 100
        parts = [values[..., None].repeat(width, -1) * (names.index(m) + 1) for m, width in self.widths(modalities).items()]
        return np.concatenate(parts, -1).astype(np.float32)

    def seconds(self, row: int) -> None:
        return None


def make_index(num_clips: int, domain: str) -> ClipIndex:
    ids = [f"{domain}{number}" for number in range(num_clips)]
    return ClipIndex.from_columns(
        clip_id=ids, source=ids, labels={"verb": np.arange(num_clips) % 3}, class_names={"verb": ["take", "put", "wash"]}
    )


def make_reader(num_clips: int, domain: str = "s", **options: Any) -> FeatureReader:
    index = make_index(num_clips, domain)
    return FeatureReader(index, NumberedFeatures(index.clip_ids[::-1].tolist(), **options), num_segments=5)


def make_loader(
    sizes: tuple[int, int] = (11, 23),
    batch_sizes: tuple[int, int] = (3, 6),
    *,
    read_ahead: int = 2,
    broken: int | None = None,
    **options: Any,
) -> DomainLoader:
    order = DomainOrder(sizes, batch_sizes, **{"seed": 7, **options})
    readers = [make_reader(size, domain, broken=broken) for size, domain in zip(sizes, "st", strict=True)]
    return DomainLoader(readers, order, read_ahead=read_ahead)


def assert_same(got: Sequence[DomainStep], expected: Sequence[DomainStep]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.keys() == other.keys()
        for domain in ("source", "target"):
            assert torch.equal(one[domain]["features"], other[domain]["features"])
            assert torch.equal(one[domain]["index"], other[domain]["index"])
            assert torch.equal(one[domain]["labels"]["verb"], other[domain]["labels"]["verb"])


def rows(steps: Sequence[DomainStep], domain: str) -> list[int]:
    return [row for step in steps for row in step[domain]["index"].tolist()]  # type: ignore[literal-required]


def test_a_batch_is_what_its_clips_have() -> None:
    reader = make_reader(6)
    batch = reader.read(np.asarray([4, 0]))
    assert batch["features"].shape == (2, 5, 5)
    assert batch["features"].dtype == torch.float32
    stored = torch.tensor([1.0, 5.0])[:, None] + torch.tensor([2, 7, 12, 17, 22]) / 100
    assert torch.allclose(batch["features"][..., 0], stored)
    assert torch.allclose(batch["features"][..., 4], 2 * stored)
    assert batch["index"].tolist() == [4, 0]
    assert batch["labels"]["verb"].tolist() == [1, 0]


def test_only_the_segments_of_the_batch_are_read() -> None:
    reader = make_reader(100)
    reader.read(np.arange(8))
    assert reader.store.num_read == 8 * 5  # type: ignore[attr-defined]


def test_the_order_of_modalities_is_the_one_asked_for() -> None:
    index = make_index(3, "s")
    store = NumberedFeatures(index.clip_ids.tolist())
    batch = FeatureReader(index, store, num_segments=1, modalities=("Flow", "RGB")).read(np.asarray([1]))
    assert torch.allclose(batch["features"][0, 0], 1.12 * torch.tensor([2.0, 2, 2, 1, 1]))


def test_an_epoch_has_every_clip_at_most_once_in_orders_of_each_domains_own() -> None:
    loader = make_loader((12, 12), (3, 3))
    first = list(loader)
    assert len(first) == len(loader) == 4
    for domain in ("source", "target"):
        assert sorted(rows(first, domain)) == list(range(12))
    assert rows(first, "source") != rows(first, "target")
    assert_same(list(loader), first)
    loader.set_epoch(1)
    assert rows(list(loader), "source") != rows(first, "source")
    assert rows(list(make_loader((12, 12), (3, 3), seed=8)), "source") != rows(first, "source")


@pytest.mark.parametrize("read_ahead", [0, 1, 5])
def test_reading_ahead_changes_nothing(read_ahead: int) -> None:
    assert_same(list(make_loader(read_ahead=read_ahead)), list(make_loader(read_ahead=2)))


def test_the_shorter_epoch_ends_with_the_domain_of_fewer_batches() -> None:
    steps = list(make_loader((11, 23), (3, 4)))
    assert [len(step["source"]["index"]) for step in steps] == [3, 3, 3, 2]
    assert [len(step["target"]["index"]) for step in steps] == [4, 4, 4, 4]
    assert sorted(rows(steps, "source")) == list(range(11))


def test_in_the_longer_epoch_the_other_domain_begins_anew_in_another_order() -> None:
    steps = list(make_loader((11, 23), (3, 4), epoch="longer"))
    assert [len(step["source"]["index"]) for step in steps] == [3, 3, 3, 2, 3, 3]
    assert sorted(rows(steps, "target")) == list(range(23))
    assert sorted(rows(steps[:4], "source")) == list(range(11))
    assert rows(steps[:2], "source") != rows(steps[4:], "source")


def test_the_source_alone() -> None:
    loader = DomainLoader([make_reader(11)], DomainOrder([11], [3], seed=7))
    steps = list(loader)
    assert [set(step) for step in steps] == [{"source"}] * 4
    assert rows(steps, "source") == rows(list(make_loader((11, 23), (3, 4))), "source")


@pytest.mark.parametrize("mode", ["shorter", "longer"])
@pytest.mark.parametrize("num_given", [0, 1, 3, 4])
def test_a_resumed_epoch_goes_on_bit_for_bit(mode: str, num_given: int) -> None:
    whole = make_loader((11, 23), (3, 4), epoch=mode)
    whole.set_epoch(2)
    expected = list(whole)
    broken_off = make_loader((11, 23), (3, 4), epoch=mode)
    broken_off.set_epoch(2)
    steps = iter(broken_off)
    given = list(islice(steps, num_given))
    state = broken_off.state_dict()
    broken_off.close()
    resumed = make_loader((11, 23), (3, 4), epoch=mode)
    resumed.load_state_dict(state)
    resumed.set_epoch(2)
    assert_same(given + list(resumed), expected)
    resumed.set_epoch(3)
    whole.set_epoch(3)
    assert_same(list(resumed), list(whole))


def test_steps_read_ahead_do_not_count_as_given() -> None:
    loader = make_loader(read_ahead=3)
    steps = iter(loader)
    next(steps)
    assert loader.state_dict()["num_given"] == 1
    loader.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 8}, r"with seed 7, but now it is 8; resume with the same"),
        ({"batch_sizes": (3, 5)}, r"with target_clips_per_step 6, but now it is 5"),
        ({"sizes": (11, 22)}, r"with target_clips 23, but now it is 22"),
        ({"epoch": "longer", "sizes": (11, 40), "batch_sizes": (3, 4)}, r"num_steps 4, but now it is 10"),
    ],
)
def test_an_epoch_of_another_order_cannot_be_gone_on_with(options: dict[str, Any], message: str) -> None:
    loader = make_loader()
    steps = iter(loader)
    next(steps)
    with pytest.raises(ConfigError, match=message):
        make_loader(**options).load_state_dict(loader.state_dict())
    loader.close()


def test_processes_take_parts_of_the_same_steps_and_equally_many() -> None:
    whole = list(make_loader((10, 20), (4, 8)))
    parts = [list(make_loader((10, 20), (2, 4), rank=rank, world_size=2)) for rank in range(2)]
    assert len(parts[0]) == len(parts[1]) == len(whole)
    for step, one, other in zip(whole, *parts, strict=True):
        for domain in ("source", "target"):
            both = torch.stack([one[domain]["index"], other[domain]["index"]], 1).flatten()  # type: ignore[literal-required]
            assert both.tolist() == step[domain]["index"].tolist()  # type: ignore[literal-required]
    odd = [make_loader((11, 20), (2, 4), rank=rank, world_size=2) for rank in range(2)]
    assert len(odd[0]) == len(odd[1])
    assert [len(step["source"]["index"]) for step in odd[0]] == [len(step["source"]["index"]) for step in odd[1]]


def test_a_run_goes_on_with_another_number_of_processes() -> None:
    whole = make_loader((10, 20), (4, 8))
    steps = iter(whole)
    next(steps)
    state, rest = whole.state_dict(), list(steps)
    parts = []
    for rank in range(2):
        part = make_loader((10, 20), (2, 4), rank=rank, world_size=2)
        part.load_state_dict(state)
        parts.append(list(part))
    joined = [torch.stack([a["source"]["index"], b["source"]["index"]], 1).flatten() for a, b in zip(*parts, strict=True)]
    assert torch.cat(joined).tolist() == rows(rest, "source")


def test_a_clip_that_cannot_be_read_ends_the_epoch_with_its_error_and_no_thread() -> None:
    loader = make_loader(broken=4)
    with pytest.raises(DataError, match=r"^clip [st]\d+ cannot be read$"):
        list(loader)
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())


def test_the_global_random_state_is_not_touched() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    list(make_loader())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # noqa: NPY002


def test_validation_has_each_clip_once_in_order() -> None:
    batches = list(FeatureLoader(make_reader(7), batch_size=3))
    assert [batch["index"].tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    shares = [FeatureLoader(make_reader(7), batch_size=3, rank=rank, world_size=2) for rank in range(2)]
    assert len(shares[0]) == len(shares[1]) == 2
    found = [list(share) for share in shares]
    assert [batch["index"].tolist() for batch in found[1]] == [[1, 3, 5], [-1]]
    assert found[1][-1]["labels"]["verb"].tolist() == [UNLABELLED]
    everything = [row for share in found for batch in share for row in batch["index"].tolist() if row >= 0]
    assert sorted(everything) == list(range(7))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureLoader(make_reader(3), batch_size=0), r"batch_size \(0\) must be at least 1"),
        (lambda: DomainOrder([3, 3], [1, 0]), r"batch_sizes \(\[1, 0\]\) must be at least 1"),
        (lambda: DomainOrder([3, 3], [1]), r"there must be one or two domains, each with a batch size"),
        (lambda: DomainOrder([3, 0], [1, 1]), r"num_clips \(0\) must be at least 1"),
    ],
)
def test_numbers_that_are_not_positive_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
