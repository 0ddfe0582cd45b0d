"""Whether arguments are of the types that a builder's signature asks for: they come from recipes and the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from zoopraxis.errors import ConfigError

__all__ = ["check_types"]

_NAMES: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("text", "texts"),
}


def check_types(name: str, build: Callable[..., Any], args: Mapping[str, Any]) -> None:
    """Refuse arguments of another type than the builder's parameters have.

    Known are numbers, truth values, text, lists and tables of them, and choices, which the builder itself checks; parameters
    of other types, or without annotations that can be read, take anything.

    Args:
        name: The model's, for messages.
        build: Its parameters may have annotations.
        args: By the names of parameters.

    Raises:
        ConfigError: With the value and the type, in words.
    """
    hints = _hints(build) if args else {}
    for argument, value in args.items():
        if not _fits(value, hints.get(argument, Any)):
            raise ConfigError(f"argument {argument!r} of model {name!r} must be {_in_words(hints[argument])}, not {value!r}")


def _hints(build: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(build)
    except NameError:  # a name that only type checkers import
        return {}


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(_fits(entry, parts[0]) for entry in value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    if origin is Literal:
        return isinstance(value, str)
    is_plain = isinstance(hint, type) and hint is not Any and origin is None
    return not is_plain or isinstance(value, hint)


def _in_words(hint: Any, *, is_plural: bool = False) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_in_words(part) for part in parts if part is not NoneType)
    if origin is Sequence:
        return f"{'lists' if is_plural else 'a list'} of {_in_words(parts[0], is_plural=True)}"
    if origin is Mapping:
        return "a table"
    kind = str if origin is Literal else hint
    return _NAMES[kind][is_plural] if kind in _NAMES else getattr(kind, "__name__", str(kind))
