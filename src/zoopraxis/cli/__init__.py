"""The command line: one file a verb, imported when the verb is used. The only package that prints.

Exit status: 0; 2 when the input is wrong (one line on standard error names it and the cure); 1 when we are (a traceback);
130 when interrupted; 141 when the reader of our output has gone.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zoopraxis.cli import console
from zoopraxis.errors import ConfigError, ZoopraxisError, did_you_mean

__all__ = ["app", "main"]

VERBS = {
    "demo": "The whole way on the toy kitchen, in a few minutes.",
    "prepare": "Make an index, frames, flow, gulp folders or features; check a data set.",
    "train": "Train a network by a recipe.",
    "test": "Score a split's clips, or find the actions in its long videos, with a checkpoint.",
    "fuse": "Average results files, e.g. of RGB and flow.",
    "evaluate": "Compute metrics of results or detections, e.g. a challenge's; write a report.",
    "submit": "Write a challenge submission from results or detections.",
    "predict": "The likeliest classes of one video.",
    "localize": "The actions in one long video, and when.",
    "convert": "Write a published checkpoint's weights as safetensors with their record.",
    "models": "List models, their sizes and published results.",
    "config": "Print the composed settings of a recipe and overrides.",
}
"""Verb to its one line of help; `zoopraxis VERB` is the function `command`, or the Typer `app`, of `cli/VERB.py`."""

_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # Click's UsageError, which Typer carries but does not export
_GO_ON = "free some space and run the same command again: it goes on where it was"
_DISK_REFUSALS = {
    errno.ENOSPC: f"no space left on device while writing {{path}}; {_GO_ON}",
    errno.EDQUOT: f"the disk quota is used up while writing {{path}}; {_GO_ON}",
    errno.EACCES: "permission denied for {path}; change its permissions or choose another place",
    errno.EPERM: "operation not permitted on {path}; change its permissions or choose another place",
    errno.EROFS: "the file system of {path} is read-only; choose another place",
    errno.EEXIST: "{path} is a file where a folder is needed; choose another name",
    errno.EISDIR: "{path} is a folder where a file is needed; choose another name",
    errno.ENOTDIR: "{path} lies under something that is no folder; choose another place",
    errno.ENAMETOOLONG: "the name {path} is too long for the file system; choose a shorter one",
}


class _VerbGroup(TyperGroup):
    """A group that knows its commands by name and imports only the one that is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _load(cmd_name) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in VERBS and not args[0].startswith("-"):
            raise ConfigError(f"unknown command {args[0]!r}; {did_you_mean(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


app = typer.Typer(cls=_VerbGroup, add_completion=False, rich_markup_mode=None, subcommand_metavar="COMMAND ...")


def _print_version(wanted: bool) -> None:
    if wanted:
        import zoopraxis

        console.say(f"zoopraxis {zoopraxis.__version__}")
        raise typer.Exit


@app.callback(epilog="`zoopraxis COMMAND --help` tells more of each.")
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Understands actions in video: from raw videos to a trained model, a scored result and a challenge submission."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments after the program's name; none: those of the process.

    Returns:
        The exit status. What is nobody's input error escapes as it is.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with console.output_for(program="--json" in arguments):
        try:
            status = _run(arguments or ["--help"])
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the last flush at exit is quiet, too
            return 141
        except (ZoopraxisError, _USAGE_ERROR, OSError, MemoryError, KeyboardInterrupt, SystemExit) as error:
            line, status = _explain(error)
            if line is None:
                raise
            console.fail(line)
        return status


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("zoopraxis", arguments) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    return 0


def _load(verb: str) -> Any:
    """The command, or the group of commands, of a verb."""
    module = importlib.import_module(f"zoopraxis.cli.{verb}")
    holder = typer.Typer(add_completion=False, rich_markup_mode=None, callback=lambda: None)
    if hasattr(module, "app"):
        holder.add_typer(module.app, name=verb)
    else:
        holder.command(verb)(module.command)
    command = typer.main.get_group(holder).commands[verb]
    if isinstance(command, TyperGroup):
        command.no_args_is_help = False  # one line instead of a page, as for every other usage error
    return command


def _explain(error: Any) -> tuple[str | None, int]:
    """The line that tells a person what went wrong, and the exit status; no line: it is our fault."""
    if isinstance(error, ZoopraxisError):
        return str(error), 2
    if isinstance(error, _USAGE_ERROR):
        message = " ".join(error.format_message().split()).rstrip(".")
        return (f"{message}; see: {error.ctx.command_path} --help" if error.ctx is not None else message), 2
    if isinstance(error, OSError) and error.errno in _DISK_REFUSALS:
        return _DISK_REFUSALS[error.errno].format(path=error.filename2 or error.filename or "a file"), 2
    if isinstance(error, MemoryError):
        told = " ".join(str(error).split()) or "no more is free"
        return f"there is not enough memory ({told}); take smaller batches, fewer or shorter windows, or a smaller network", 2
    if isinstance(error, KeyboardInterrupt) or isinstance(
        error.__context__, KeyboardInterrupt
    ):  # Lightning exits inside of one
        return "interrupted; the same command goes on where it was", 130
    return None, 1
