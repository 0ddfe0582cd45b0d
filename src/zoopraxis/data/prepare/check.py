"""Reading every clip once, before training does: a report of what is broken, and a list of what to leave out."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoopraxis.data.index import ClipIndex
from zoopraxis.data.prepare.pixels import clip_file, iter_clip
from zoopraxis.data.prepare.work import Broken, OnProgress, Outcome, run_tasks, writing_to
from zoopraxis.data.stores import ClipStore
from zoopraxis.errors import DataError
from zoopraxis.files import write_text

__all__ = ["check_clips", "read_quarantine", "write_quarantine"]

_CLIPS_PER_TASK = 25


def check_clips(
    index: ClipIndex,
    store: ClipStore,
    report: str | Path,
    *,
    quarantine: str | Path | None = None,
    num_workers: int = 1,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Decode every frame of every clip of an index, and write down which clips are broken.

    A run that was killed goes on where it was when it is started again: until the report is written, what was found lies
    beside it. Clips that were found broken are read again.

    Args:
        index: The clips.
        store: Where their frames are.
        report: The file to write: JSON, `{"num_clips", "num_broken", "broken": [{"clip_id", "row", "file", "reason"}, ...]}`,
            rows counted from 0.
        quarantine: The list to write for `data.quarantine`: ids of the broken clips, one a line; None writes none.
        num_workers: Processes; see `run_tasks`.
        on_progress: Told the number of clips.

    Returns:
        Clips that were read by this run and are whole, those that an earlier run had read, and the broken ones.

    Raises:
        DataError: If the report cannot be written, or a process was killed.
    """
    report = Path(report)
    parts = report.parent / f".{report.name}.{_fingerprint(index, store)}.parts"
    job = _Job(index, store, parts, _CLIPS_PER_TASK)
    broken: list[Broken] = []
    with writing_to(report):
        parts.mkdir(parents=True, exist_ok=True)
        starts = range(0, len(index), job.clips_per_task)
        unfinished = [start for start in starts if not job.part(start).exists()]
        read = skipped = len(index) - sum(len(job.rows(start)) for start in unfinished)
        tell = on_progress or (lambda done, total: None)
        tell(read, len(index))
        for num_read, found in run_tasks(_check, job, unfinished, num_workers=num_workers):
            broken += found
            read += num_read
            tell(read, len(index))
        broken.sort(key=lambda clip: clip.row or 0)
        if quarantine is not None:
            write_quarantine([clip.item for clip in broken], quarantine)
        write_text(report, _report_text(len(index), broken))
        shutil.rmtree(parts)
    return Outcome(done=len(index) - skipped - len(broken), skipped=skipped, broken=tuple(broken))


def write_quarantine(clip_ids: Iterable[str], path: str | Path) -> None:
    """Write a list of clips to leave out, one id a line, in one step.

    Raises:
        DataError: If an id cannot stand on a line of its own.
    """
    ids = list(clip_ids)
    for clip_id in ids:
        if clip_id != clip_id.strip() or len(clip_id.splitlines()) != 1:
            raise DataError(f"clip id {clip_id!r} cannot be listed in {path}; ids must be one line, without spaces around")
    write_text(path, "".join(f"{clip_id}\n" for clip_id in ids))


def read_quarantine(path: str | Path) -> list[str]:
    """The clip ids of a list that `write_quarantine` wrote, or that a person did; empty lines are passed over.

    Raises:
        DataError: If the file is missing or no text.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the quarantine list {path}: {error}; make it with: zoopraxis prepare check") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


@dataclass(frozen=True)
class _Job:
    index: ClipIndex
    store: ClipStore
    parts: Path
    clips_per_task: int

    def rows(self, start: int) -> range:
        return range(start, min(start + self.clips_per_task, len(self.index)))

    def part(self, start: int) -> Path:
        """The file that tells that the task's clips were read and are all whole."""
        return self.parts / f"{start}.whole"


def _check(job: _Job, start: int) -> tuple[int, list[Broken]]:
    """Number of clips read, and the broken ones."""
    broken: list[Broken] = []
    for row in job.rows(start):
        clip = job.index[row]
        try:
            for _ in iter_clip(job.store, clip):
                pass
        except DataError as error:
            broken.append(Broken(item=clip.clip_id, file=clip_file(job.store, clip), reason=str(error), row=row))
    if not broken:
        job.part(start).touch()
    return len(job.rows(start)), broken


def _fingerprint(index: ClipIndex, store: ClipStore) -> str:
    """Tells apart which clips of which store are checked."""
    place = [type(store).__name__, str(getattr(store, "root", "")), str(getattr(store, "modality", ""))]
    return hashlib.sha256(json.dumps([place, index.table.to_pydict()]).encode()).hexdigest()[:16]


def _report_text(num_clips: int, broken: Sequence[Broken]) -> str:
    rows = [{"clip_id": clip.item, "row": clip.row, "file": clip.file, "reason": clip.reason} for clip in broken]
    return json.dumps({"num_clips": num_clips, "num_broken": len(rows), "broken": rows}, indent=1) + "\n"
