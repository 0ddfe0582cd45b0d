"""What all preparation shares: processes, what came of them, and output that is whole or absent."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from zoopraxis.data.stores.gulp import GULP_INFO
from zoopraxis.errors import DataError
from zoopraxis.files import write_text

__all__ = [
    "Broken",
    "OnProgress",
    "Outcome",
    "atomic_folder",
    "claim_folder",
    "remove_leftovers",
    "run_over_sources",
    "run_tasks",
    "writing_to",
]

C = TypeVar("C")
T = TypeVar("T")
R = TypeVar("R")

OnProgress = Callable[[int, int], None]
"""Called as on_progress(done, total)."""


_LEFTOVER = re.compile(r"\..+\.\d+\.tmp(\.\w+)?")
_GO_ON = "then run the same command again: it goes on where it stopped"


@dataclass(frozen=True, slots=True)
class Broken:
    """One clip or video that could not be read.

    Attributes:
        item: The clip's id, or the video's path below its root.
        file: The file or folder that it should come from.
        reason: The error's one line.
        row: Its row in the index, from 0; None for a video.
    """

    item: str
    file: str
    reason: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did.

    Attributes:
        done: Number of items written or checked by this run.
        skipped: Number of items that an earlier run had finished.
        broken: The items set aside.
    """

    done: int
    skipped: int
    broken: tuple[Broken, ...]


def run_tasks(task: Callable[[C, T], R], context: C, items: Sequence[T], *, num_workers: int) -> Iterator[R]:
    """Call `task(context, item)` for each item and yield the results as they come.

    Args:
        task: A module-level function. An exception of it ends the run: what may fail alone it must return.
        context: What all tasks share; sent once to each process.
        items: What to work on.
        num_workers: Number of processes; 0 and 1 work in this one. More are spawned, so a script that asks for them
            needs a `__main__` guard. They die with this process, even by SIGKILL.

    Raises:
        DataError: If a process was killed.
    """
    if min(num_workers, len(items)) <= 1:
        for item in items:
            yield task(context, item)
        return
    spawn = multiprocessing.get_context("spawn")
    # Only this process holds the writing end, so that its end reaches every worker as the end of the file.
    lifeline, held_end = spawn.Pipe(duplex=False)
    executor = ProcessPoolExecutor(
        min(num_workers, len(items)),
        mp_context=spawn,
        initializer=_start_worker,
        initargs=(lifeline, task, context),
    )
    try:
        for future in as_completed([executor.submit(_run_one, item) for item in items]):
            yield future.result()
    except BrokenProcessPool as error:
        held_end.close()
        raise DataError(
            f"a worker process was killed, perhaps for memory; try fewer workers than {num_workers}, {_GO_ON}"
        ) from error
    except BaseException:
        held_end.close()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        held_end.close()
        lifeline.close()


def run_over_sources(
    task: Callable[[C, tuple[str, Path]], Broken | None],
    context: C,
    sources: Mapping[str, Path],
    out: Path,
    *,
    settings: Mapping[str, Any],
    num_workers: int,
    on_progress: OnProgress | None,
) -> Outcome:
    """Make the folder `<out>/<source>` for each source that has none yet.

    Args:
        task: Called as task(context, (source, path)); makes the folder whole or not at all, and returns what was broken.
        context: What all tasks share.
        sources: Source to path.
        out: The root of all folders.
        settings: What they are made with; see `claim_folder`.
        num_workers: See `run_tasks`.
        on_progress: Told the number of sources.

    Raises:
        DataError: As `claim_folder`, `run_tasks` and `writing_to`.
    """
    broken: list[Broken] = []
    with writing_to(out):
        claim_folder(out, settings)
        for folder in sorted({(out / source).parent for source in sources}):
            remove_leftovers(folder)
        unfinished = [(source, path) for source, path in sources.items() if not (out / source).exists()]
        skipped = len(sources) - len(unfinished)
        tell = on_progress or (lambda done, total: None)
        tell(skipped, len(sources))
        for number, result in enumerate(run_tasks(task, context, unfinished, num_workers=num_workers), start=1):
            broken += [] if result is None else [result]
            tell(skipped + number, len(sources))
    broken.sort(key=lambda one: one.item)
    return Outcome(done=len(unfinished) - len(broken), skipped=skipped, broken=tuple(broken))


_worker: tuple[Callable[[Any, Any], Any], Any] | None = None


def _start_worker(lifeline: Connection, task: Callable[[Any, Any], Any], context: Any) -> None:
    """Keep the task, leave Ctrl-C to the parent, and end when the parent's end of `lifeline` closes, however it ended."""
    global _worker
    _worker = (task, context)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        lifeline.poll(None)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _run_one(item: Any) -> Any:
    assert _worker is not None
    task, context = _worker
    return task(context, item)


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Turn a full disk, a missing permission and the like into a DataError that says what to do.

    Raises:
        DataError: For any OSError of the block.
    """
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error)
        raise DataError(
            f"cannot read or write {error.filename or out}: {what}; make room or mend permissions, {_GO_ON}"
        ) from error


def claim_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Leave in the folder what it is made with; if an earlier run did, see that the settings are the same.

    Raises:
        DataError: If the folder was begun with other settings, or holds something else.
    """
    path = out / GULP_INFO
    text = json.dumps(dict(settings), indent=1, sort_keys=True, allow_nan=False) + "\n"
    if not path.exists():
        if out.is_dir() and any(not _LEFTOVER.fullmatch(entry.name) for entry in out.iterdir()):
            raise DataError(f"{out} is not empty and was not begun by this command; choose a new or an empty folder")
        write_text(path, text)
        return
    try:
        begun = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"cannot read {path}: {error}; delete its folder, or choose another one") from error
    wanted = json.loads(text)
    for name in sorted(set(begun) | set(wanted)):
        if begun.get(name) != wanted.get(name):
            raise DataError(
                f"{out} was begun with another {name} ({_short(begun.get(name))}, now {_short(wanted.get(name))}); "
                "choose another folder, or delete this one"
            )


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that killed runs left directly in `folder`."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _LEFTOVER.fullmatch(entry.name):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target` and rename it to `target` when the block ends well.

    Differs from `files.atomic_path`: the files in it are not flushed one by one, so after a power failure (not after a
    kill) some may be empty; `zoopraxis prepare check` finds them.
    """
    temporary = target.parent / f".{target.name}.{os.getpid()}.tmp"
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
