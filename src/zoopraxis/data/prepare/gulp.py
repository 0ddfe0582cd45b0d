"""From an index and a store of frames or videos to a gulp folder."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoopraxis.data.annotations.gulp import gulp_metadata
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.prepare.pixels import clip_file, iter_clip, resize_shorter_side
from zoopraxis.data.prepare.work import (
    Broken,
    OnProgress,
    Outcome,
    claim_folder,
    remove_leftovers,
    run_tasks,
    writing_to,
)
from zoopraxis.data.stores import ClipStore, UInt8Array
from zoopraxis.data.stores.gulp_writer import GulpWriter
from zoopraxis.errors import AnnotationError, DataError

__all__ = ["write_gulp"]


def write_gulp(
    index: ClipIndex,
    store: ClipStore,
    out: str | Path,
    *,
    modality: str = "rgb",
    resize: int | None = None,
    quality: int = 90,
    clips_per_chunk: int = 100,
    num_workers: int = 1,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Write a gulp folder of all clips of an index, one item a clip, in the index's order.

    Chunk n holds the clips of rows n * clips_per_chunk onwards, whoever writes it; so a run that was killed and started again
    gives the same bytes as one that was not. A finished chunk is kept; one that lacks clips, because they were broken, is
    tried again.

    Args:
        index: The clips, their ids unique.
        store: Where their frames are; RGB, or u and v for flow.
        out: The folder; new, empty, or begun by an earlier run with the same index and settings.
        modality: Of the store.
        resize: Shorter side, px; None keeps the size.
        quality: Of the JPEGs (chroma is not subsampled).
        clips_per_chunk: Clips in one data file.
        num_workers: Processes; see `run_tasks`.
        on_progress: Told the number of clips.

    Returns:
        Clips written, clips of chunks that were finished already, and those left out because they could not be read.

    Raises:
        AnnotationError: If ids repeat.
        DataError: If `out` holds something else, cannot be written, or a process was killed.

    Source: the published data preparation (all frames of a segment, JPEG quality 90, 4:4:4, 100 segments a chunk).
    Differs: it reads a whole segment into memory, and a broken frame or a crash ends it and leaves an unreadable folder.
    """
    out = Path(out)
    repeated = [clip_id for clip_id, count in Counter(index.clip_ids.tolist()).items() if count > 1]
    if repeated:
        raise AnnotationError(f"clip id {repeated[0]!r} occurs more than once in the index; a gulp folder needs unique ids")
    job = _Job(index, store, out, modality, resize, quality, clips_per_chunk)
    done = skipped = 0
    broken: list[Broken] = []
    with writing_to(out):
        job.begin()
        unfinished = [number for number in range(job.num_chunks) if not job.is_finished(number)]
        skipped = len(index) - sum(len(job.rows(number)) for number in unfinished)
        tell = on_progress or (lambda done, total: None)
        tell(skipped, len(index))
        for result in run_tasks(_write_chunk, job, unfinished, num_workers=num_workers):
            done += result.num_written
            broken += result.broken
            tell(skipped + done + len(broken), len(index))
    return Outcome(done=done, skipped=skipped, broken=tuple(sorted(broken, key=lambda clip: clip.row or 0)))


@dataclass(frozen=True)
class _Job:
    index: ClipIndex
    store: ClipStore
    out: Path
    modality: str
    resize: int | None
    quality: int
    clips_per_chunk: int

    @property
    def num_chunks(self) -> int:
        return -(-len(self.index) // self.clips_per_chunk)

    def rows(self, number: int) -> range:
        """Rows of the index that belong to a chunk."""
        return range(number * self.clips_per_chunk, min((number + 1) * self.clips_per_chunk, len(self.index)))

    def begin(self) -> None:
        """Claim the folder, or see that an earlier run of the same job did, and clean up behind a killed one."""
        settings = {
            "class_names": self.index.class_names,
            "clips": hashlib.sha256(json.dumps(self.index.table.to_pydict()).encode()).hexdigest(),
            "clips_per_chunk": self.clips_per_chunk,
            "modality": self.modality,
            "num_chunks": self.num_chunks,
            "quality": self.quality,
            "resize": self.resize,
        }
        claim_folder(self.out, settings)
        remove_leftovers(self.out)

    def is_finished(self, number: int) -> bool:
        ids = [self.index[row].clip_id for row in self.rows(number)]
        return GulpWriter(self.out).finished_ids(number) == ids


@dataclass(frozen=True)
class _ChunkResult:
    num_written: int
    broken: list[Broken]


def _write_chunk(job: _Job, number: int) -> _ChunkResult:
    broken: list[Broken] = []
    rows = job.rows(number)
    with GulpWriter(job.out, quality=job.quality).chunk(number) as chunk:
        for row in rows:
            clip = job.index[row]
            try:
                chunk.append(clip.clip_id, _images(job, clip), gulp_metadata(job.index, row, modality=job.modality))
            except DataError as error:
                broken.append(Broken(item=clip.clip_id, file=clip_file(job.store, clip), reason=str(error), row=row))
    return _ChunkResult(len(rows) - len(broken), broken)


def _images(job: _Job, clip: Clip) -> Iterator[UInt8Array]:
    """The clip's RGB frames, or for flow u, v, u, v, ... as grey images."""
    for frames in iter_clip(job.store, clip):
        resized = frames if job.resize is None else resize_shorter_side(frames, job.resize)
        if job.modality == "flow":
            resized = resized.transpose(0, 3, 1, 2).reshape(-1, *resized.shape[1:3])
        yield from resized
