"""A few long videos of generated features, in which segments stand out, with EPIC-KITCHENS-100's annotations of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from zoopraxis.data.features import FeatureWriter
from zoopraxis.toy.annotations import COLUMNS

WIDTH, NUM_VERBS, NUM_NOUNS = 8, 97, 300
SPACING = 0.5
"""Seconds from one feature to the next."""
DURATION = 24.3
VIDEOS = {"train": ("P01_01", "P01_02", "P02_01"), "validation": ("P03_01", "P03_02")}
SMALL_RUN = (
    "data.num_steps=16",
    "data.max_duration=8",
    "data.features_per_step=2",
    "data.feature_seconds=null",
    "data.batch_size=2",
    "data.num_workers=0",
    "model.num_samples=4",
    "model.base_dim=8",
    "model.match_dim=8",
    "model.map_dim=8",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "run.loggers=[csv]",
)
"""Settings of a run that is over in a moment."""
SEGMENTS = ((1.0, 4.5, 0, 3), (3.0, 7.0, 2, 1), (9.5, 12.0, 1, 3), (14.0, 20.5, 0, 5), (21.0, 23.5, 2, 4))
"""Of each video: start and stop in seconds, verb and noun."""


def write_videos(root: Path) -> Path:
    """A feature store with class scores of three crops (`features`), and annotations with videos' lengths (`annotations`)."""
    annotations = root / "annotations"
    annotations.mkdir(parents=True)
    for split, videos in VIDEOS.items():
        _write_segments(annotations / f"EPIC_100_{split}.csv", videos)
    with (annotations / "EPIC_100_video_info.csv").open("w", newline="") as file:
        rows = [(video, DURATION, 60.0, "1920x1080") for videos in VIDEOS.values() for video in videos]
        csv.writer(file).writerows([("video_id", "duration", "fps", "resolution"), *rows])
    widths = {"rgb": WIDTH, "score:verb": 3 * NUM_VERBS, "score:noun": 3 * NUM_NOUNS}
    rng = np.random.default_rng(0)
    with FeatureWriter(root / "features", widths) as writer:
        for videos in VIDEOS.values():
            for video in videos:
                seconds = SPACING * (np.arange(int(DURATION / SPACING)) + 0.5)
                writer.add(video, _features(rng, seconds), seconds=seconds)
    return root


def _features(rng: np.random.Generator, seconds: np.ndarray) -> dict[str, np.ndarray]:
    features = rng.normal(scale=0.1, size=(len(seconds), WIDTH))
    verbs = np.zeros((len(seconds), NUM_VERBS))
    nouns = np.zeros((len(seconds), NUM_NOUNS))
    for start, stop, verb, noun in SEGMENTS:
        is_inside = (seconds >= start) & (seconds <= stop)
        features[is_inside, verb] += 1
        verbs[is_inside, verb] += 8
        nouns[is_inside, noun] += 8
    found = {"rgb": features, "score:verb": np.tile(verbs, 3), "score:noun": np.tile(nouns, 3)}
    return {name: values.astype(np.float32) for name, values in found.items()}


def _write_segments(path: Path, videos: tuple[str, ...]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for video in videos:
            for row, (start, stop, verb, noun) in enumerate(SEGMENTS):
                times = tuple(f"00:00:{second:05.2f}" for second in (start, start, stop))
                frames = (int(60 * start) + 1, int(60 * stop))
                labels = ("do it", "take", verb, "cup", noun, "['cup']", f"[{noun}]")
                writer.writerow((f"{video}_{row}", video[:3], video, *times, *frames, *labels))
