"""Writing a toy kitchen to disk: videos and annotations in EPIC-KITCHENS-100's layout."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from zoopraxis.data.encoding import write_video
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.files import write_text
from zoopraxis.toy.annotations import write_annotations
from zoopraxis.toy.config import ToyConfig
from zoopraxis.toy.motions import VERBS
from zoopraxis.toy.render import render_video
from zoopraxis.toy.script import VideoScript, write_scripts
from zoopraxis.toy.things import NOUNS

__all__ = ["ToyKitchen", "generate"]

_RECORD = "toy_kitchen.json"
_GENERATOR = 1
"""Raised when the same config would give other bytes."""


@dataclass(frozen=True)
class ToyKitchen:
    """Where a toy kitchen lies and what is in it."""

    root: Path
    videos: Path
    """Holds `<participant>/videos/<video_id>.MP4`: the root of a store of videos."""
    annotations: Path
    """Holds EPIC_100_*.csv, and `uda/` with those of the adaptation challenge."""
    num_videos: int
    num_frames: int
    num_clips: dict[str, int]
    """Labelled segments of `train`, `validation` and `test`."""
    verbs: tuple[str, ...]
    nouns: tuple[str, ...]

    @property
    def train(self) -> Path:
        """Labelled segments of both domains."""
        return self.annotations / "EPIC_100_train.csv"

    @property
    def validation(self) -> Path:
        """Labelled segments of the source domain, an unseen participant among them."""
        return self.annotations / "EPIC_100_validation.csv"

    @property
    def test(self) -> Path:
        """Segments of the target domain without labels, an unseen participant among them."""
        return self.annotations / "EPIC_100_test_timestamps.csv"

    @property
    def test_labels(self) -> Path:
        """The labels of `test`, which EPIC keeps to itself."""
        return self.annotations / "EPIC_100_test_labels.csv"


def generate(
    out: str | Path,
    config: ToyConfig | None = None,
    *,
    num_workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> ToyKitchen:
    """Write a toy kitchen; the same config gives the same bytes, whatever the number of workers.

    A run that was broken off is taken up where it stopped, and a finished one is left as it is.

    Args:
        out: A folder that is new, empty, or holds a toy kitchen of the same config.
        config: The settings; default: `ToyConfig()`.
        num_workers: Processes; 1 works in this one. More are spawned, so a script that calls this needs a `__main__` guard.
        on_progress: Called as on_progress(videos done, videos in all).

    Raises:
        ConfigError: If `num_workers` is not positive.
        DataError: If `out` holds something else or cannot be written, or a worker is killed.
    """
    config = config or ToyConfig()
    if num_workers < 1:
        raise ConfigError(f"num_workers ({num_workers}) must be at least 1; try num_workers=1")
    root = Path(out)
    _claim(root, config)
    scripts = write_scripts(config)
    kitchen = _describe(root, config, scripts)
    _write_videos(kitchen.videos, config, scripts, num_workers, on_progress)
    write_annotations(kitchen.annotations, config, scripts)
    return kitchen


def _claim(root: Path, config: ToyConfig) -> None:
    """Leave a record of the config in the folder, or see that the one there is the same."""
    record = root / _RECORD
    text = json.dumps({"generator": _GENERATOR, "config": dataclasses.asdict(config)}, indent=1) + "\n"
    if record.exists():
        if record.read_text() != text:
            raise DataError(f"{root} holds a toy kitchen of another config ({record}); choose another folder or delete it")
    elif root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} exists and holds no toy kitchen; choose a new or an empty folder")
    else:
        write_text(record, text)


def _describe(root: Path, config: ToyConfig, scripts: list[VideoScript]) -> ToyKitchen:
    splits = ("train", "validation", "test")
    return ToyKitchen(
        root=root,
        videos=root / "EPIC-KITCHENS",
        annotations=root / "annotations",
        num_videos=len(scripts),
        num_frames=sum(script.num_frames for script in scripts),
        num_clips={split: sum(len(s.actions) for s in scripts if s.split == split) for split in splits},
        verbs=tuple(verb.name for verb in VERBS[: config.num_verbs]),
        nouns=tuple(noun.name for noun in NOUNS[: config.num_nouns]),
    )


def _write_videos(
    videos: Path,
    config: ToyConfig,
    scripts: list[VideoScript],
    num_workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    jobs = [(videos / s.participant_id / "videos" / f"{s.video_id}.MP4", config, s) for s in scripts]
    missing = [job for job in jobs if not job[0].exists()]
    done = len(jobs) - len(missing)

    def tell() -> None:
        if on_progress is not None:
            on_progress(done, len(jobs))

    tell()
    if min(num_workers, len(missing)) <= 1:
        for job in missing:
            _write_video(*job)
            done += 1
            tell()
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(num_workers, len(missing)), mp_context=context) as pool:
        futures = [pool.submit(_write_video, *job) for job in missing]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                tell()
        except BrokenProcessPool as error:
            raise DataError(
                f"a worker was killed while it wrote {videos}; run again, with num_workers=1 if memory is short"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _write_video(path: Path, config: ToyConfig, script: VideoScript) -> None:
    write_video(path, render_video(config, script), fps=config.fps, gop=12, crf=20)
