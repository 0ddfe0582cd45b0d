"""What all preparation shares: processes, claimed folders, whole output."""

from __future__ import annotations

import operator
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zoopraxis.data.prepare.work import (
    Broken,
    atomic_folder,
    claim_folder,
    remove_leftovers,
    run_over_sources,
    run_tasks,
    writing_to,
)
from zoopraxis.errors import DataError


def make_folder(out: Path, item: tuple[str, Path]) -> Broken | None:
    """A task: the source's folder with a file in it; a source called bad is broken."""
    source, path = item
    if source == "bad":
        return Broken(item=source, file=str(path), reason="it is bad")
    with atomic_folder(out / source) as folder:
        (folder / "file").write_text(source)
    return None


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_every_item_is_worked_on_once(num_workers: int) -> None:
    results = run_tasks(operator.add, 10, list(range(7)), num_workers=num_workers)

    assert sorted(results) == list(range(10, 17))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_exception_of_a_task_comes_through(num_workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_tasks(operator.truediv, 1, [1, 0, 1], num_workers=num_workers))


def test_a_killed_worker_is_told_with_a_cure() -> None:
    with pytest.raises(
        DataError, match=r"a worker process was killed, .*; try fewer workers than 2, then run the same command"
    ):
        list(run_tasks(operator.call, signal.raise_signal, [signal.SIGKILL] * 2, num_workers=2))


def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, signal\n"
        "from zoopraxis.data.prepare.work import run_tasks\n"
        "def task(parent, item):\n"
        "    print('started', flush=True)\n"
        "    if item == 1:\n"
        "        os.kill(parent, signal.SIGKILL)\n"
        "    signal.pause()\n"
        "if __name__ == '__main__':\n"
        "    list(run_tasks(task, os.getpid(), [0, 1], num_workers=2))\n"
    )

    # The workers hold the other end of standard output: run() comes back when the last of them has gone.
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)

    assert done.returncode == -signal.SIGKILL
    assert "started" in done.stdout


def test_a_failed_write_is_told_with_a_cure(tmp_path: Path) -> None:
    with (
        pytest.raises(
            DataError, match=r"cannot read or write /dev/full: No space left on device; make room .* goes on where it stopped"
        ),
        writing_to(Path("/dev/full")),
    ):
        Path("/dev/full").write_text("x")


def test_a_folder_is_claimed_once_and_held_to_its_settings(tmp_path: Path) -> None:
    out = tmp_path / "out"
    claim_folder(out, {"resize": 256, "fps": None})
    claim_folder(out, {"resize": 256, "fps": None})

    with pytest.raises(DataError, match=r"out was begun with another resize \(256, now 128\); choose another folder"):
        claim_folder(out, {"resize": 128, "fps": None})


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()

    with pytest.raises(DataError, match="is not empty and was not begun by this command"):
        claim_folder(tmp_path, {})
    assert not (tmp_path / "zoopraxis.json").exists()


def test_unreadable_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "zoopraxis.json").write_text("{")

    with pytest.raises(DataError, match=r"cannot read .*zoopraxis\.json: .*; delete its folder"):
        claim_folder(tmp_path, {})


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text(str(1 / 0))
    assert list((tmp_path / "a").iterdir()) == []

    with atomic_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("text")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "file").read_text() == "text"


def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".P01_01.123.tmp").mkdir()
    (tmp_path / ".P01_01.123.tmp" / "frame").touch()
    (tmp_path / ".data_0.77.tmp.gulp").touch()
    kept = [".hidden", "data_0.gulp", "a.123.tmp"]
    for name in kept:
        (tmp_path / name).touch()

    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "absent")

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_sources_are_made_once_and_broken_ones_are_tried_again(tmp_path: Path) -> None:
    sources = {name: tmp_path / name for name in ("a", "bad", "c")}
    told: list[tuple[int, int]] = []

    def run() -> tuple[int, int, list[str]]:
        outcome = run_over_sources(
            make_folder,
            tmp_path / "out",
            sources,
            tmp_path / "out",
            settings={},
            num_workers=1,
            on_progress=lambda done, total: told.append((done, total)),
        )
        return outcome.done, outcome.skipped, [one.item for one in outcome.broken]

    assert run() == (2, 0, ["bad"])
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert run() == (0, 2, ["bad"])
    assert (tmp_path / "out" / "c" / "file").read_text() == "c"
