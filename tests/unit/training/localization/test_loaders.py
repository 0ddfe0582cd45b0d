from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_videos import SPACING, WIDTH
from zoopraxis.config.localization import LocalizationDataConfig
from zoopraxis.data.features import open_features
from zoopraxis.data.index import UNLABELLED
from zoopraxis.data.loaders import EpochSampler
from zoopraxis.errors import ConfigError
from zoopraxis.training.localization.loaders import WindowLoader, WindowReader, windows_to_learn
from zoopraxis.training.localization.splits import open_split
from zoopraxis.training.localization.windows import LongFeatures, cut_windows


@pytest.fixture
def reader(tiny_videos: Path) -> WindowReader:
    return _reader(tiny_videos)


def _reader(root: Path, num_workers: int = 0) -> WindowReader:
    data = LocalizationDataConfig(
        root=str(root / "features"), annotations=str(root / "annotations"), num_steps=16, max_duration=8
    )
    videos = open_split(data, "train")
    assert videos is not None
    table = windows_to_learn(data, videos, cut_windows(data, videos, SPACING))
    features = LongFeatures(open_features(data.root), videos, data, modalities=["rgb"], feature_seconds=SPACING)
    return WindowReader(features, videos, table, num_workers=num_workers)


def _loader(reader: WindowReader, batch_size: int = 2, **more: int) -> WindowLoader:
    return WindowLoader(reader, EpochSampler(len(reader), shuffle=True, seed=1, **more), batch_size=batch_size)


def test_windows_without_a_segment_are_left_out(reader: WindowReader) -> None:
    assert reader.table.bounds[:3].tolist() == [[0, 16], [8, 24], [16, 32]]
    assert len(reader) == 9


def test_a_batch_has_as_many_segments_as_its_fullest_window(reader: WindowReader) -> None:
    batch = reader.read(np.array([0, ~2]))
    assert batch["features"].shape == (2, WIDTH, 16)
    assert batch["index"].tolist() == [0, -1]
    assert batch["present"].tolist() == [[True, True, True], [True, False, False]]
    assert batch["labels"]["verb"].tolist() == [[0, 2, 1], [2, UNLABELLED, UNLABELLED]]
    assert batch["labels"]["noun"].tolist() == [[3, 1, 3], [4, UNLABELLED, UNLABELLED]]
    assert batch["segments"].dtype == torch.float64
    assert batch["segments"][1, 0].tolist() == [5 / 16, 7.5 / 16]


def test_batches_are_the_same_whatever_the_number_of_threads(tiny_videos: Path) -> None:
    alone, threaded = (_loader(_reader(tiny_videos, workers)) for workers in (0, 3))
    for one, other in zip(alone, threaded, strict=True):
        assert torch.equal(one["features"], other["features"])
        assert torch.equal(one["index"], other["index"])
    threaded.close()


def test_each_epoch_has_an_order_of_its_own_and_every_window_once(reader: WindowReader) -> None:
    loader = _loader(reader)
    orders = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        orders.append(torch.cat([batch["index"] for batch in loader]).tolist())
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(len(reader)))
    assert len(loader) == 5


def test_a_loader_goes_on_behind_the_batches_that_were_given(reader: WindowReader) -> None:
    loader = _loader(reader)
    loader.set_epoch(3)
    batches = iter(loader)
    first = [next(batches)["index"].tolist() for _ in range(2)]
    state = loader.state_dict()
    rest = [batch["index"].tolist() for batch in batches]
    resumed = _loader(reader)
    resumed.load_state_dict(state)
    assert [batch["index"].tolist() for batch in resumed] == rest
    assert len(first + rest) == len(loader)


def test_another_division_in_the_middle_of_an_epoch_is_refused(reader: WindowReader) -> None:
    loader = _loader(reader)
    next(iter(loader))
    state = loader.state_dict()
    with pytest.raises(ConfigError, match=r"saved after batch 1 of epoch 0 with windows_per_step 2, but now it is 3; resume"):
        _loader(reader, 3).load_state_dict(state)


def test_processes_share_the_windows(reader: WindowReader) -> None:
    shares = [_loader(reader, 1, rank=rank, world_size=2) for rank in range(2)]
    seen = [int(batch["index"][0]) for loader in shares for batch in loader]
    assert set(seen) == set(range(len(reader)))
    assert len(seen) == len(reader) + 1


def test_a_batch_of_nothing_is_refused(reader: WindowReader) -> None:
    with pytest.raises(ValueError, match=r"batch_size \(0\) must be at least 1"):
        _loader(reader, 0)
