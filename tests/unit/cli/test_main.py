"""From what goes wrong to one line and an exit status."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer

from zoopraxis.cli import VERBS, main
from zoopraxis.errors import DataError


def _line(captured: pytest.CaptureFixture[str]) -> str:
    out, err = captured.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.rstrip("\n")


def _raise_in_config(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def command() -> None:
        raise error

    monkeypatch.setattr("zoopraxis.cli.config.command", command)


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for verb in VERBS:
        assert f"\n  {verb} " in text


def test_without_arguments_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("Usage: zoopraxis ")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    import zoopraxis

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"zoopraxis {zoopraxis.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian"], "zoopraxis: error: unknown command 'trian'; did you mean 'train'?"),
        (["zzz"], "zoopraxis: error: unknown command 'zzz'; known: " + ", ".join(sorted(VERBS))),
        (["config", "--config-name"], "zoopraxis: error: Option '--config-name' requires an argument"),
        (["test"], "zoopraxis: error: Missing argument 'CHECKPOINT'; see: zoopraxis test --help"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert _line(capsys) == line


def test_an_unknown_option_is_told_with_its_like(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config-nme", "tsm_rgb"]) == 2
    line = _line(capsys)
    assert "--config-nme" in line
    assert "--config-name" in line
    assert line.endswith("see: zoopraxis train --help")


def test_a_long_error_stays_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _raise_in_config(monkeypatch, DataError("a [bold] word " * 40 + "\n  and more"))
    assert main(["config"]) == 2
    line = _line(capsys)
    assert line == "zoopraxis: error: " + ("a [bold] word " * 40).rstrip() + " and more"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "no space left on device while writing out.npz; free some space and run the same command again"),
        (errno.EACCES, "permission denied for out.npz; "),
        (errno.EROFS, "the file system of out.npz is read-only; "),
        (errno.EEXIST, "out.npz is a file where a folder is needed; "),
        (errno.EISDIR, "out.npz is a folder where a file is needed; "),
    ],
)
def test_what_the_disk_refuses_is_one_line(
    number: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raise_in_config(monkeypatch, OSError(number, os.strerror(number), "out.npz"))
    assert main(["config"]) == 2
    assert _line(capsys).startswith(f"zoopraxis: error: {text}")


def test_an_interruption_is_one_line_and_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raise_in_config(monkeypatch, KeyboardInterrupt())
    assert main(["config"]) == 130
    assert _line(capsys) == "zoopraxis: error: interrupted; the same command goes on where it was"


def test_a_lack_of_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _raise_in_config(monkeypatch, MemoryError("Unable to allocate 9 GiB"))
    assert main(["config"]) == 2
    assert "there is not enough memory (Unable to allocate 9 GiB); take smaller batches" in _line(capsys)


def test_an_exit_inside_an_interruption_is_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr("zoopraxis.cli.config.command", command)
    assert main(["config"]) == 130
    assert "interrupted" in _line(capsys)


@pytest.mark.parametrize("error", [ValueError("ours"), OSError(errno.EBADF, "ours"), SystemExit(3)])
def test_our_own_faults_escape(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    _raise_in_config(monkeypatch, error)
    with pytest.raises(type(error)) as caught:
        main(["config"])
    assert caught.value is error


def test_an_exit_status_of_a_verb_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    _raise_in_config(monkeypatch, typer.Exit(3))
    assert main(["config"]) == 3


def test_a_verb_may_be_a_group_of_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    group = typer.Typer(no_args_is_help=True)

    @group.command()
    def first(name: Annotated[str, typer.Argument()]) -> None:
        print(f"first {name}")

    @group.command()
    def second() -> None:
        print("second")

    monkeypatch.setattr("zoopraxis.cli.config.app", group, raising=False)
    assert main(["config", "first", "x"]) == 0
    assert capsys.readouterr().out == "first x\n"
    assert main(["config"]) == 2
    assert _line(capsys) == "zoopraxis: error: Missing command; see: zoopraxis config --help"
    assert main(["config", "secnd"]) == 2
    assert "'second'" in _line(capsys)


def _run(*arguments: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "zoopraxis", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


def test_a_reader_that_has_gone_is_met_quietly() -> None:
    process = _run("config", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        process = _run("config", stdout=full)
        _, err = process.communicate()
    assert process.returncode == 2
    assert err.startswith("zoopraxis: error: no space left on device while writing a file; ")
    assert err.count("\n") == 1
