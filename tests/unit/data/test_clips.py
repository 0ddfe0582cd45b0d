"""A clip from its key: the right frames, labels and views, the same for the same key, and errors that name the clip."""

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
import pytest
import torch

from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.flips import labels_after_flip
from zoopraxis.data.index import UNLABELLED, Clip, ClipIndex
from zoopraxis.data.transforms import TestTransform, TrainTransform
from zoopraxis.errors import ConfigError, DataError


class CountingStore:
    """Frame t of clip `c<n>` is filled with the value 10 * n + t; remembers what was asked for."""

    def __init__(self, *, num_frames: int = 10, channels: int = 3) -> None:
        self.frames = num_frames
        self.channels = channels
        self.reads: list[list[int]] = []

    def num_frames(self, clip: Clip) -> int:
        return self.frames

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        self.reads.append(frames.tolist())
        values = (10 * int(clip.clip_id[1:]) + frames).astype(np.uint8)
        return np.broadcast_to(values[:, None, None, None], (len(frames), 8, 12, self.channels)).copy()


class RatedStore(CountingStore):
    """Tells its clips' frame rate."""

    def __init__(self, rate: float | None) -> None:
        super().__init__(num_frames=100)
        self.rate = rate

    def frame_rate(self, clip: Clip) -> float | None:
        return self.rate


class BrokenStore(CountingStore):
    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        raise DataError(self.message)


def make_index(num_clips: int = 4) -> ClipIndex:
    return ClipIndex.from_columns(
        clip_id=[f"c{n}" for n in range(num_clips)],
        source=["somewhere"] * num_clips,
        labels={"verb": [n % 3 for n in range(num_clips)], "noun": [UNLABELLED] * num_clips},
        class_names={"verb": ["take", "put", "wash"], "noun": ["pan"]},
    )


def make_training(index: ClipIndex, *, seed: int = 0) -> ClipDataset:
    transform = TrainTransform(size=4)
    return ClipDataset(index, CountingStore(), transform=transform, num_segments=2, seed=seed, training=True)


def test_an_item_is_the_clip_its_row_and_its_labels() -> None:
    dataset = ClipDataset(
        make_index(), CountingStore(), transform=TestTransform(size=4, resize=8), num_segments=2, training=False
    )
    item = dataset[(0, 2)]
    assert len(dataset) == 4
    assert item["index"] == 2
    assert item["labels"] == {"verb": 2, "noun": UNLABELLED}
    assert item["clip"].shape == (2, 3, 4, 4)
    assert item["clip"].dtype == torch.uint8
    assert item["clip"][:, 0, 0, 0].tolist() == [22, 27]


def test_an_item_that_fills_up_has_no_row_and_no_labels() -> None:
    dataset = ClipDataset(
        make_index(), CountingStore(), transform=TestTransform(size=4, resize=8), num_segments=2, training=False
    )
    item = dataset[(0, ~2)]
    assert item["index"] == -1
    assert item["labels"] == {"verb": UNLABELLED, "noun": UNLABELLED}
    assert torch.equal(item["clip"], dataset[(0, 2)]["clip"])


def test_augmentation_is_a_function_of_seed_epoch_and_clip() -> None:
    index = make_index(40)
    dataset = make_training(index)
    in_order = {row: dataset[(3, row)]["clip"] for row in range(40)}
    again = make_training(index)
    assert all(torch.equal(again[(3, row)]["clip"], in_order[row]) for row in reversed(range(40)))

    part = make_training(index.select([30, 7]))
    assert torch.equal(part[(3, 1)]["clip"], in_order[7])

    assert any(not torch.equal(dataset[(4, row)]["clip"], in_order[row]) for row in range(40))
    other_seed = make_training(index, seed=1)
    assert any(not torch.equal(other_seed[(3, row)]["clip"], in_order[row]) for row in range(40))


def test_views_are_read_in_one_go_and_ordered_crop_by_crop() -> None:
    store = CountingStore(num_frames=8)
    transform = TestTransform(size=4, resize=8, num_crops=3)
    dataset = ClipDataset(make_index(), store, transform=transform, num_segments=2, training=False, num_clips=2)
    assert dataset.num_views == 6
    clip = dataset[(0, 0)]["clip"]
    assert clip.shape == (6, 2, 3, 4, 4)
    assert store.reads == [[1, 5, 3, 7]]
    assert clip[:, :, 0, 0, 0].tolist() == [[1, 5], [3, 7]] * 3
    assert clip.movedim(-3, -1).is_contiguous()


def test_temporal_views_alone() -> None:
    transform = TestTransform(size=4, resize=8)
    dataset = ClipDataset(
        make_index(), CountingStore(num_frames=8), transform=transform, num_segments=2, training=False, num_clips=2
    )
    assert dataset[(0, 0)]["clip"].shape == (2, 2, 3, 4, 4)


def test_flow_frames_are_stacked() -> None:
    transform = TestTransform(size=4, resize=8, modality="flow", segment_length=5)
    store = CountingStore(num_frames=20, channels=2)
    dataset = ClipDataset(make_index(), store, transform=transform, num_segments=2, segment_length=5, training=False)
    clip = dataset[(0, 0)]["clip"]
    assert clip.shape == (2, 10, 4, 4)
    assert clip[:, :, 0, 0].tolist() == [[4, 4, 5, 5, 6, 6, 7, 7, 8, 8], [12, 12, 13, 13, 14, 14, 15, 15, 16, 16]]


def test_it_can_be_pickled_for_worker_processes() -> None:
    dataset = make_training(make_index())
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[(1, 3)]["clip"], dataset[(1, 3)]["clip"])


def test_a_broken_clip_is_named_with_the_cure() -> None:
    def item_of(store: CountingStore) -> object:
        transform = TestTransform(size=4, resize=8)
        return ClipDataset(make_index(), store, transform=transform, num_segments=2, training=False)[(0, 1)]

    with pytest.raises(DataError, match=r"^clip 'c1': a.mp4 is cut off; list all broken clips.*: zoopraxis prepare check$"):
        item_of(BrokenStore("a.mp4 is cut off"))
    with pytest.raises(DataError, match=r"^a.mp4 of clip 'c1' is cut off; run zoopraxis prepare check$"):
        item_of(BrokenStore("a.mp4 of clip 'c1' is cut off; run zoopraxis prepare check"))
    with pytest.raises(DataError, match=r"^clip 'c1': it has no frames; list all broken clips"):
        item_of(CountingStore(num_frames=0))


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_clips \(2\) must be 1 in training"):
        ClipDataset(make_index(), CountingStore(), transform=TrainTransform(), num_segments=2, training=True, num_clips=2)
    with pytest.raises(ValueError, match=r"segment_length \(5\) must be the transform's \(1\)"):
        ClipDataset(make_index(), CountingStore(), transform=TrainTransform(), num_segments=2, segment_length=5, training=True)


def test_the_sampling_is_chosen_by_name() -> None:
    store = CountingStore(num_frames=100)
    dataset = ClipDataset(
        make_index(), store, transform=TestTransform(size=4, resize=8), num_segments=4, sampling="dense", training=False
    )
    dataset[(0, 0)]
    assert store.reads == [[18, 34, 50, 66]]
    with pytest.raises(ConfigError, match="unknown sampling 'dens'; did you mean 'dense'"):
        ClipDataset(make_index(), store, transform=TestTransform(), num_segments=4, sampling="dens", training=False)
    with pytest.raises(ConfigError, match="num_clips is 3, but SegmentsMmaction2 sampling has at most 2 views along time"):
        ClipDataset(
            make_index(),
            store,
            transform=TestTransform(),
            num_segments=4,
            sampling="segments_mmaction2",
            training=False,
            num_clips=3,
        )


@pytest.mark.parametrize(("rate", "fps", "length"), [(60.0, 15.0, 63), (None, 15.0, 15), (None, None, 31)])
def test_an_interval_counts_in_time_where_the_rate_is_known(rate: float | None, fps: float | None, length: int) -> None:
    store = RatedStore(rate)
    dataset = ClipDataset(
        make_index(),
        store,
        transform=TestTransform(size=4, resize=8),
        num_segments=8,
        sampling="interval",
        interval=4,
        fps=fps,
        training=False,
    )
    dataset[(0, 0)]
    assert np.ptp(store.reads[0]) == length


def make_flipping(flip: float, label: int = 1) -> ClipDataset:
    index = ClipIndex.from_columns(
        clip_id=["c0", "c1"],
        source=["somewhere"] * 2,
        labels={"label": [label, 0], "hand": [1, 0]},
        class_names={"label": ["stay", "left", "right"], "hand": ["a", "b"]},
    )
    transform = TrainTransform(size=4, flip=flip)
    swapped = labels_after_flip([[1, 2]], 3)
    return ClipDataset(index, GradientStore(), transform=transform, num_segments=2, flipped_labels=swapped, training=True)


class GradientStore(CountingStore):
    """Frames are darker on the left than on the right."""

    def read(self, clip: Clip, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        row = np.linspace(0, 255, 12).astype(np.uint8)
        return np.broadcast_to(row[None, None, :, None], (len(frames), 8, 12, 3)).copy()


def test_the_label_is_swapped_if_and_only_if_the_clip_is_flipped() -> None:
    dataset = make_flipping(0.5)
    seen = set()
    for epoch in range(30):
        item = dataset[(epoch, 0)]
        is_flipped = bool(item["clip"][0, 0, 0, 0] > item["clip"][0, 0, 0, -1])
        assert item["labels"] == {"label": 2 if is_flipped else 1, "hand": 1}
        assert dataset[(epoch, 1)]["labels"] == {"label": 0, "hand": 0}
        seen.add(is_flipped)
    assert seen == {False, True}


def test_a_label_that_is_not_known_stays_so_when_flipped() -> None:
    assert make_flipping(1.0, UNLABELLED)[(0, 0)]["labels"]["label"] == UNLABELLED
    assert make_flipping(1.0)[(0, ~0)]["labels"]["label"] == UNLABELLED
