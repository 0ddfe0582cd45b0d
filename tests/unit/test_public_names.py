"""What `import zoopraxis` offers."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

import zoopraxis


def _declared(module: str) -> list[str]:
    """A module's `__all__`, without importing it."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.parse(Path(spec.origin).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


@pytest.mark.parametrize("name", sorted(zoopraxis._HOMES))
def test_a_public_name_is_declared_where_it_is_said_to_live(name: str) -> None:
    assert name in _declared(zoopraxis._HOMES[name])


def test_type_checkers_see_the_same_names() -> None:
    assert zoopraxis.__file__ is not None
    blocks = [node for node in ast.parse(Path(zoopraxis.__file__).read_text()).body if isinstance(node, ast.If)]
    seen = {
        alias.name: statement.module
        for block in blocks
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert seen == zoopraxis._HOMES


def test_names_are_loaded_when_they_are_used() -> None:
    from zoopraxis.config.schema import TrainConfig

    assert zoopraxis.TrainConfig is TrainConfig
    assert set(zoopraxis.__all__) <= set(dir(zoopraxis))
    assert set(zoopraxis._HOMES) <= set(zoopraxis.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'zoopraxis' has no attribute 'creat_model'"):
        zoopraxis.creat_model  # noqa: B018 (the access is the test)
