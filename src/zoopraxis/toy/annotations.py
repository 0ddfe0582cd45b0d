"""The toy kitchen's annotation files, with EPIC-KITCHENS-100's names, columns and formats."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from zoopraxis.files import write_text
from zoopraxis.toy.config import ToyConfig
from zoopraxis.toy.motions import VERBS
from zoopraxis.toy.script import Action, VideoScript
from zoopraxis.toy.things import NOUNS

__all__ = ["COLUMNS", "write_annotations"]

COLUMNS: tuple[str, ...] = (
    "narration_id",
    "participant_id",
    "video_id",
    "narration_timestamp",
    "start_timestamp",
    "stop_timestamp",
    "start_frame",
    "stop_frame",
    "narration",
    "verb",
    "verb_class",
    "noun",
    "noun_class",
    "all_nouns",
    "all_noun_classes",
)
"""EPIC's columns of a labelled split; the first `_NUM_TIME_COLUMNS` are those of an unlabelled one."""

_NUM_TIME_COLUMNS = 8

Row = Sequence[object]


def write_annotations(folder: Path, config: ToyConfig, scripts: Sequence[VideoScript]) -> None:
    """Write all annotation files of the videos in `scripts`.

    Rows are ordered by narration_id as text, as EPIC's are. Frame numbers count from 1 and both ends belong to the segment, so
    a segment's frames are exactly those whose time t has start_timestamp <= t < stop_timestamp.

    Differs: EPIC's start_frame is floor(start_timestamp * fps), which names the frame before the segment's first one.

    Args:
        folder: Where the files go; `uda/` inside it takes those of the adaptation challenge.
        config: The toy kitchen's settings.
        scripts: All videos.
    """
    splits = {split: [s for s in scripts if s.split == split] for split in ("train", "validation", "test")}
    _write_rows(folder / "EPIC_100_train.csv", config, splits["train"])
    _write_rows(folder / "EPIC_100_validation.csv", config, splits["validation"])
    _write_rows(folder / "EPIC_100_test_timestamps.csv", config, splits["test"], has_labels=False)
    _write_rows(folder / "EPIC_100_test_labels.csv", config, splits["test"])
    _write_adaptation(folder / "uda", config, scripts)
    _write_classes(folder, config)
    for split in ("validation", "test"):
        unseen = sorted({s.participant_id for s in splits[split] if s.role == "unseen"})
        _write_csv(folder / f"EPIC_100_unseen_participant_ids_{split}.csv", ["participant_id"], [[name] for name in unseen])
    height, width = config.resolution
    videos = [[s.video_id, s.num_frames / config.fps, float(config.fps), f"{width}x{height}"] for s in scripts]
    _write_csv(folder / "EPIC_100_video_info.csv", ["video_id", "duration", "fps", "resolution"], videos)


def _write_adaptation(folder: Path, config: ToyConfig, scripts: Sequence[VideoScript]) -> None:
    """The six splits of the adaptation challenge; as in EPIC, no participant is in both a `val` split and the others."""
    for domain in ("source", "target"):
        is_source = domain == "source"
        of_domain = [s for s in scripts if s.domain == domain]
        training = [s for s in of_domain if s.role == "train" and s.split == "train"]
        tuning = [s for s in of_domain if s.role == "tuning" and s.split == "train"]
        testing = [s for s in of_domain if s.role == "train" and s.split != "train"]
        train_name = "source_train" if is_source else "target_train_timestamps"
        _write_rows(folder / f"EPIC_100_uda_{train_name}.csv", config, training, has_labels=is_source)
        _write_rows(folder / f"EPIC_100_uda_{domain}_val.csv", config, tuning)
        _write_rows(folder / f"EPIC_100_uda_{domain}_test_timestamps.csv", config, testing, has_labels=False)


def _write_classes(folder: Path, config: ToyConfig) -> None:
    header = ["id", "key", "instances", "category"]
    verbs, nouns = VERBS[: config.num_verbs], NOUNS[: config.num_nouns]
    _write_csv(folder / "EPIC_100_verb_classes.csv", header, [[i, v.name, [v.name], v.category] for i, v in enumerate(verbs)])
    _write_csv(folder / "EPIC_100_noun_classes.csv", header, [[i, n.name, [n.name], n.category] for i, n in enumerate(nouns)])
    tail_verbs = range(config.num_verbs - config.num_tail_verbs, config.num_verbs)
    tail_nouns = range(config.num_nouns - config.num_tail_nouns, config.num_nouns)
    _write_csv(folder / "EPIC_100_tail_verbs.csv", ["verb"], [[i] for i in tail_verbs])
    _write_csv(folder / "EPIC_100_tail_nouns.csv", ["noun"], [[i] for i in tail_nouns])


def _write_rows(path: Path, config: ToyConfig, scripts: Iterable[VideoScript], *, has_labels: bool = True) -> None:
    num_columns = len(COLUMNS) if has_labels else _NUM_TIME_COLUMNS
    rows = [_row(config, script, number, action) for script in scripts for number, action in enumerate(script.actions)]
    rows.sort(key=lambda row: str(row[0]))
    _write_csv(path, COLUMNS[:num_columns], [row[:num_columns] for row in rows])


def _row(config: ToyConfig, script: VideoScript, number: int, action: Action) -> Row:
    verb, noun = VERBS[action.verb], NOUNS[action.noun]
    thing = " ".join(reversed(noun.name.split(":")))
    return (
        f"{script.video_id}_{number}",
        script.participant_id,
        script.video_id,
        _timestamp(action.narrated_at, decimals=3),
        _timestamp(action.start_frame / config.fps, decimals=2),
        _timestamp(action.stop_frame / config.fps, decimals=2),
        action.start_frame + 1,
        action.stop_frame,
        f"{verb.name.replace('-', ' ')} {thing}",
        verb.name,
        action.verb,
        noun.name,
        action.noun,
        [noun.name],
        [action.noun],
    )


def _timestamp(seconds: float, *, decimals: int) -> str:
    """HH:MM:SS and decimals, rounded down: a frame at or after the given moment is at or after the written one."""
    ticks_per_second = 10**decimals
    ticks = math.floor(seconds * ticks_per_second + 1e-6)
    minutes, ticks = divmod(ticks, 60 * ticks_per_second)
    whole, fraction = divmod(ticks, ticks_per_second)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{whole:02d}.{fraction:0{decimals}d}"


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Row]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
