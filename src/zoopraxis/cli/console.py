"""What a verb shows: results on standard output, progress and errors on standard error.

With `--json` a verb's standard output is one JSON line; what is meant for people goes to standard error, and no progress is
drawn. When several processes train together, the first one speaks for all; errors are told by whoever meets them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Number
from pathlib import Path
from typing import IO, Any

__all__ = ["emit_json", "fail", "output_for", "progress", "say", "shows_progress", "table"]

_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Environment variables by which torchrun, Lightning and SLURM number the processes of one run from 0."""

OnProgress = Callable[[int, int], None]

_is_for_program: ContextVar[bool] = ContextVar("is_for_program", default=False)


@contextmanager
def output_for(*, program: bool) -> Iterator[None]:
    """Print for a program (`--json`) or for a person inside the block."""
    token = _is_for_program.set(program)
    try:
        yield
    finally:
        _is_for_program.reset(token)


def say(message: str) -> None:
    """Tell a person something, as it stands."""
    if _is_first_process():
        print(message, file=_people())


def fail(message: str) -> None:
    """Tell what went wrong in one line, however long."""
    line = " ".join(part.strip() for part in message.splitlines())
    print(f"zoopraxis: error: {line}", file=sys.stderr)


def emit_json(value: Any) -> None:
    """Print one JSON line on standard output. Paths become text, arrays lists, dataclasses objects, NaN and infinities null."""
    if _is_first_process():
        print(json.dumps(_plain(value), ensure_ascii=False), file=sys.stdout)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under column names. Floats get two decimals, None a dash, numbers stand to the right.

    On a terminal long cells are folded to its width; elsewhere nothing is cut or folded.
    """
    if not _is_first_process():
        return

    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        values = [row[number] for row in rows if row[number] is not None]
        is_numeric = bool(values) and all(isinstance(value, Number) for value in values)
        shown.add_column(column, justify="right" if is_numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row))
    stream = _people()
    console = Console(file=stream, markup=False, highlight=False, width=None if stream.isatty() else 10_000)
    if title:
        console.print(title, style="bold")  # not the table's own title, which is folded to the table's width
    console.print(shown)


def shows_progress() -> bool:
    """Whether a progress bar would be seen: standard error is a terminal, and it is a person who looks at it."""
    return sys.stderr.isatty() and not _is_for_program.get() and _is_first_process()


@contextmanager
def progress(description: str) -> Iterator[OnProgress]:
    """Show a bar with the rate and the time left while the block runs.

    Yields:
        A function to be called as `on_progress(done, total)`; a total of 0 means that it is not known.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True, markup=False), disable=not shows_progress()) as bar:
        task = bar.add_task(description, total=None, rate="")

        def on_progress(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            rate = "" if speed is None else f"{speed:.{0 if speed >= 10 else 2}f}/s"
            bar.update(task, completed=done, total=total or None, rate=rate)

        yield on_progress


def _people() -> IO[str]:
    return sys.stderr if _is_for_program.get() else sys.stdout


def _is_first_process() -> bool:
    return all(os.environ.get(name, "0") in ("", "0") for name in _RANKS)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Tables, lists, text, finite numbers and null only."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
