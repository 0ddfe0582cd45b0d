"""What can go wrong, by whose fault.

Every error here is the user's to mend: its message is one line that names the value, the bound and the cure. The command line
prints that line and exits with status 2. Anything else that escapes is our fault (status 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AnnotationError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "MissingExtraError",
    "ZoopraxisError",
    "did_you_mean",
]


class ZoopraxisError(Exception):
    """Base of all errors that a user can mend."""


class ConfigError(ZoopraxisError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(ZoopraxisError):
    """A video, frame folder, store or results file is missing, broken or does not fit."""


class AnnotationError(DataError):
    """Annotations are malformed, or disagree with the data."""


class CheckpointError(ZoopraxisError):
    """A checkpoint is unreadable, unsafe or of another architecture."""


class MissingExtraError(ZoopraxisError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package}, which is not installed; try: pip install 'zoopraxis[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The cure for an unknown name: the nearest known one, or the list of all when none is near."""
    names = sorted(str(k) for k in known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names)}" if names else "none is known"
