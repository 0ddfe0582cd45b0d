"""What verbs print, for people and for programs."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from zoopraxis.cli import console


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass
class _Outcome:
    path: Path
    scores: dict[str, float]


def test_people_read_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("done [1/2]: a file")
    assert capsys.readouterr() == ("done [1/2]: a file\n", "")


def test_programs_read_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    with console.output_for(program=True):
        console.say("done")
        console.table("a table", ["x"], [[1]])
        console.emit_json({"a": 1})
    out, err = capsys.readouterr()
    assert out == '{"a": 1}\n'
    assert err.startswith("done\n")
    assert "a table" in err


def test_json_takes_what_verbs_have(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = _Outcome(Path("runs/x"), {"verb": np.float32(0.5), "noun": float("nan"), "action": float("inf")})  # type: ignore[dict-item]
    console.emit_json({"outcome": outcome, "counts": np.arange(2), "pair": (1, None), "text": "ü", "flag": True})
    assert json.loads(capsys.readouterr().out) == {
        "outcome": {"path": "runs/x", "scores": {"verb": 0.5, "noun": None, "action": None}},
        "counts": [0, 1],
        "pair": [1, None],
        "text": "ü",
        "flag": True,
    }


def test_a_table_is_neither_cut_nor_folded_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    long = "/a/very/long/path" * 20
    console.table("accuracy", ["head", "top-1", "file"], [("verb", 12.3456, long), ("noun", None, "[b]")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "accuracy"
    rows = [line.split() for line in lines]
    assert ["verb", "12.35", long] in rows
    assert ["noun", "-", "[b]"] in rows


def test_an_error_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    console.fail("rows 1\n  and 2 are wrong")
    assert capsys.readouterr() == ("", "zoopraxis: error: rows 1 and 2 are wrong\n")


def test_progress_is_silent_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("reading") as on_progress:
        on_progress(1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_is_drawn_on_a_terminal_with_count_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    assert console.shows_progress()
    with console.progress("reading [clips]") as on_progress:
        for done in range(1, 4):
            on_progress(done, 3)
    text = terminal.getvalue()
    assert "reading [clips]" in text
    assert "3/3" in text
    assert "/s" in text
    assert "left" in text


def test_progress_is_silent_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with console.output_for(program=True):
        assert not console.shows_progress()
        with console.progress("reading") as on_progress:
            on_progress(1, 2)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_of_several_processes_only_the_first_speaks(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "1")
    console.say("done")
    console.table("a table", ["x"], [[1]])
    console.emit_json({"a": 1})
    assert capsys.readouterr() == ("", "")
    console.fail("a broken video")
    assert "a broken video" in capsys.readouterr().err
    monkeypatch.setenv(variable, "0")
    console.say("done")
    assert capsys.readouterr().out == "done\n"
