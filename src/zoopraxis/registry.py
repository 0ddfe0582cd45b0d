"""Names to builders: the one way by which recipes and third parties choose an implementation."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from zoopraxis.errors import ConfigError, did_you_mean

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of named builders.

    A package of a user's own adds to it by an entry point in the group `zoopraxis.<kind>`: the entry's module registers itself
    when it is loaded, which happens at the first name that is not known yet.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._has_loaded_entry_points = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that enters a builder under `name`.

        Raises:
            ConfigError: If another builder holds the name.
        """

        def enter(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise ConfigError(f"{self.kind} {name!r} is registered already; choose another name")
            self._entries[name] = entry
            return entry

        return enter

    def get(self, name: str) -> T:
        """The builder called `name`.

        Raises:
            ConfigError: If there is none; the message names the nearest. Or if an installed package offers an entry that cannot
                be imported.
        """
        if name not in self._entries:
            self._load_entry_points()
        if name not in self._entries:
            raise ConfigError(f"unknown {self.kind} {name!r}; {did_you_mean(name, self._entries)}")
        return self._entries[name]

    def names(self) -> list[str]:
        """All known names, sorted."""
        self._load_entry_points()
        return sorted(self._entries)

    def _load_entry_points(self) -> None:
        if self._has_loaded_entry_points:
            return
        self._has_loaded_entry_points = True
        for entry in entry_points(group=f"zoopraxis.{self.kind}"):
            try:
                entry.load()
            except (ImportError, AttributeError) as error:
                package = entry.dist.name if entry.dist else entry.value
                raise ConfigError(
                    f"the installed package {package!r} offers {self.kind} {entry.name!r}, but {entry.value} cannot be "
                    f"imported ({error}); mend or uninstall it"
                ) from error
