"""Two tiny domains of generated features, with annotations of the adaptation challenge or of two data sets."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from zoopraxis.data.features import FeatureWriter
from zoopraxis.data.index import ClipIndex
from zoopraxis.toy.annotations import COLUMNS

WIDTHS = {"rgb": 5, "flow": 3}
NUM_CLIPS = {
    "source_train": 22,
    "target_train": 30,
    "source_val": 9,
    "target_val": 11,
    "source_test": 5,
    "target_test": 7,
}
SMALL_RUN = (
    "model.shared_dim=12",
    "model.relation_dim=8",
    "data.batch_size=6",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "run.loggers=[csv]",
)
"""Settings of a run that is over in a moment."""


def write_challenge(root: Path, *, target_labels: str = "own") -> Path:
    """A feature store and annotations of all six splits, those of the target's training clips with labels.

    Args:
        root: The folder, made anew.
        target_labels: own; or `permuted`, or `none` (the file without labels), of the target's training clips.
    """
    annotations = root / "annotations"
    annotations.mkdir(parents=True)
    for split, num_clips in NUM_CLIPS.items():
        verbs, nouns = labels_of(split)
        if split == "target_train" and target_labels == "permuted":
            verbs, nouns = verbs[::-1].copy(), nouns[::-1].copy()
        has_labels = not (split == "target_train" and target_labels == "none")
        suffix = "" if has_labels else "_timestamps"
        _write_rows(annotations / f"EPIC_100_uda_{split}{suffix}.csv", _ids(split), verbs, nouns, has_labels=has_labels)
        assert len(verbs) == num_clips
    write_features(root, {split: labels_of(split)[0] for split in NUM_CLIPS}, _ids)
    return root


def write_data_sets(root: Path) -> Path:
    """A feature store and indexes `ucf.parquet` and `hmdb.parquet` (and `_val`) of two data sets with shared classes."""
    (root / "annotations").mkdir(parents=True)
    names = {"ucf": ["Archery", "Biking", "Fencing"], "hmdb": ["fencing", "ride_bike", "shoot_bow"]}
    labels = {}
    for data_set, classes in names.items():
        for ending, num_clips in (("", 20), ("_val", 8)):
            split = f"{data_set}{ending}"
            labels[split] = np.arange(num_clips) % 3
            index = ClipIndex.from_columns(
                clip_id=_plain_ids(split, num_clips),
                source=_plain_ids(split, num_clips),
                labels={"label": labels[split]},
                class_names={"label": classes},
            )
            index.save(root / "annotations" / f"{split}.parquet")
    write_features(root, labels, lambda split: _plain_ids(split, len(labels[split])))
    return root


def write_features(root: Path, labels: Mapping[str, np.ndarray], ids: object) -> None:
    """Features that tell the label, shifted in the target."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(8, sum(WIDTHS.values()))).astype(np.float32)
    shift = rng.normal(size=sum(WIDTHS.values())).astype(np.float32)
    with FeatureWriter(root / "features", WIDTHS) as writer:
        for split, own in labels.items():
            for clip_id, label in zip(ids(split), own, strict=True):  # type: ignore[operator]
                noise = rng.normal(scale=0.5, size=(7, sum(WIDTHS.values()))).astype(np.float32)
                values = centers[label] + noise + shift * split.startswith(("target", "hmdb"))
                writer.add(clip_id, dict(zip(WIDTHS, np.split(values, [WIDTHS["rgb"]], axis=1), strict=True)))


def labels_of(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Verbs and nouns of a split's clips, each shape (N,)."""
    rows = np.arange(NUM_CLIPS[split])
    return rows % 3, rows % 2


def _ids(split: str) -> list[str]:
    video = {"source": "P01_01", "target": "P01_101"}[split.partition("_")[0]]
    first = 100 * list(NUM_CLIPS).index(split)
    return [f"{video}_{first + row}" for row in range(NUM_CLIPS[split])]


def _plain_ids(split: str, num_clips: int) -> list[str]:
    return [f"{split}_{row}" for row in range(num_clips)]


def _write_rows(path: Path, ids: Sequence[str], verbs: np.ndarray, nouns: np.ndarray, *, has_labels: bool) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS if has_labels else COLUMNS[:8])
        for row, (clip_id, verb, noun) in enumerate(zip(ids, verbs, nouns, strict=True)):
            video = clip_id.rpartition("_")[0]
            times = (f"00:00:{row % 60:02d}.00", f"00:00:{row % 60:02d}.00", f"00:00:{row % 60:02d}.90")
            frames = (row * 60 + 1, row * 60 + 55)
            labels = ("do it", "take", verb, "cup", noun, "['cup']", f"[{noun}]")
            writer.writerow((clip_id, video[:3], video, *times, *frames, *(labels if has_labels else ())))
