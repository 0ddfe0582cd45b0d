"""Holds `zoopraxis.data.sampling` to the frame indices of mmaction2, TANet and TAdaConv.

A file of mmaction2 or TANet gives for each of its `cases` the options and, by number of frames, the indices; its `index_base`
tells from what they count. A file of TAdaConv is a list of single clips. Training was drawn after one `np.random.seed` for all
numbers of frames in their order, or with Python's `random`, one clip after the other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.sampling import (
    Dense,
    Interval,
    Sampler,
    Segments,
    SegmentsMmaction2,
    SegmentsSlowfast,
    SegmentsTadaconv,
    SegmentsTanet,
    Strided,
)

DRAWN_BEFORE = {"segment_train_next": "interval_train_seed"}
"""A clip drawn without a seed of its own goes on where the one before it in the file stopped."""


def matches(case: Mapping[str, Any]) -> bool:
    is_table = {"lengths", "index_base", "cases"} <= case.keys()
    rows = case.get("rows", [])
    return is_table or (bool(rows) and all(isinstance(row, Mapping) and {"mode", "vid_length"} <= row.keys() for row in rows))


def check(case: Mapping[str, Any], arrays: Mapping[str, Any], context: Any) -> None:
    if "rows" in case:
        _check_tadaconv(case["rows"])
        return
    base = int(str(case["index_base"])[0])
    assert case["cases"]
    for name, options in case["cases"].items():
        sampler, num_clips, seed = _of_mmaction2(name, options) if "kw" in options else _of_tanet(options)
        assert options["by_length"].keys() == {str(length) for length in case["lengths"]}
        is_plain, generator = True, None if seed is None else context.legacy_generator(seed)
        for length, stored in options["by_length"].items():
            indices = np.array(stored["frame_inds"] if "kw" in options else stored) - base
            got = _sample(sampler, int(length), num_clips, generator)
            np.testing.assert_array_equal(got, indices, err_msg=f"{name}, {length} frames")
            is_plain = is_plain and np.array_equal(indices, _plain(sampler, int(length), num_clips))
        assert not is_plain or num_clips == 1, f"{name}: the rule `segments` gives the same views"


class PythonGenerator:
    """Python's `random` behind the interface that samplers draw from."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integers(self, low: int, high: int, size: int | None = None) -> Any:
        assert size is None
        return self._random.randrange(low, high)

    def random(self) -> float:
        return self._random.random()


def _sample(sampler: Sampler, num_frames: int, num_clips: int, generator: Any) -> npt.NDArray[np.int64]:
    return sampler.test(num_frames, num_clips=num_clips) if generator is None else sampler.train(num_frames, generator)


def _plain(sampler: Sampler, num_frames: int, num_clips: int) -> npt.NDArray[np.int64]:
    plain = Segments(num_segments=sampler.num_segments, segment_length=sampler.segment_length)
    return plain.test(num_frames, num_clips=num_clips)


def _of_mmaction2(name: str, options: Mapping[str, Any]) -> tuple[Sampler, int, int | None]:
    """The sampler, its views, and the seed of training."""
    kw = dict(options["kw"])
    kind, length, clips = kw.pop("type"), kw.pop("clip_len", 1), kw.pop("num_clips", 1)
    interval, is_test = kw.pop("frame_interval", 1), kw.pop("test_mode", False)
    seed = None if is_test else int(re.fullmatch(r".*seed(\d+)", name)[1])  # type: ignore[index]
    views = 2 if kw.pop("twice_sample", False) else 1
    sampler: Sampler
    if kind == "DenseSampleFrames":
        assert interval == 1
        views = kw.pop("num_sample_positions", 10)
        sampler = Dense(clips, length, window=kw.pop("sample_range", 64), is_single_view_first=True)
    elif kind in ("UniformSample", "UniformSampleFrames"):
        sampler, views = SegmentsSlowfast(length), clips
    else:
        assert kind == "SampleFrames", f"no rule for {kind!r}"
        is_segments = length == 1 or (interval == 1 and not is_test)
        sampler = SegmentsMmaction2(clips, length) if is_segments else Strided(length, interval=interval)
        views = views if is_segments else views * clips
        assert is_segments or is_test or clips == 1, f"{name}: no rule for several random windows"
    assert not kw, f"{name}: no rule for {kw}"
    return sampler, views, seed


def _of_tanet(options: Mapping[str, Any]) -> tuple[Sampler, int, int | None]:
    """The sampler, its views, and the seed of training."""
    num_segments, mode = options["num_segments"], options["mode"]
    if mode == "test":
        kind, _, views = options["test_sample"].partition("-")
        assert kind in ("dense", "uniform"), f"no rule for {kind!r}"
        return (Dense if kind == "dense" else SegmentsTanet)(num_segments), int(views), None
    assert mode in ("train", "val"), f"no rule for the mode {mode!r}"
    seed = options["np_seed"] if mode == "train" else None
    if options["dense_sample"]:
        return Dense(num_segments), 1, seed
    return SegmentsTanet(num_segments, has_published_validation=mode == "val"), 1, seed


def _check_tadaconv(rows: list[Mapping[str, Any]]) -> None:
    generator, last_mode = PythonGenerator(0), ""
    for row in rows:
        match = re.fullmatch(r"(interval|segment)(_train(?:_seed(\d+)|_next))?", row["mode"])
        assert match, f"no rule for the mode {row['mode']!r}"
        if match[3]:
            generator = PythonGenerator(int(match[3]))
        elif match[2]:
            assert last_mode.startswith(DRAWN_BEFORE[row["mode"]])
        sampler: Sampler = SegmentsTadaconv(row["num_frames"])
        if match[1] == "interval":
            sampler = Interval(
                row["num_frames"],
                interval=row["interval"],
                target_fps=row["target_fps"],
                minus_interval=row.get("minus_interval", False),
            )
        if match[2]:
            got = sampler.train(row["vid_length"], generator, frame_rate=row.get("fps"))
        else:
            views = sampler.test(row["vid_length"], num_clips=row["num_clips"], frame_rate=row.get("fps"))
            got = views.reshape(row["num_clips"], -1)[row["clip_idx"]]
        np.testing.assert_array_equal(got, row["index"], err_msg=str(row))
        last_mode = row["mode"]
