"""What verbs ask of the files that they are to write."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from zoopraxis.errors import ConfigError

__all__ = ["check_output"]


def check_output(path: Path, *, what: str, suffixes: Collection[str], force: bool) -> None:
    """Refuse, before any work, a file of the wrong kind or one that is there already.

    Args:
        path: The file to write.
        what: What it is called in the message.
        suffixes: Suffixes that it may have.
        force: Whether it may be overwritten.

    Raises:
        ConfigError: If the suffix is none of these, the path is a folder, or the file exists and `force` is off.
    """
    if path.suffix.lower() not in suffixes:
        raise ConfigError(
            f"{path}: the suffix of {what} must be {' or '.join(suffixes)}; try {path.with_suffix(min(suffixes))}"
        )
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file for {what}")
    if path.exists() and not force:
        raise ConfigError(f"{path} exists already; choose another name, or add --force to overwrite it")
