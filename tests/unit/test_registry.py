from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

import zoopraxis.registry
from zoopraxis.errors import ConfigError, did_you_mean
from zoopraxis.registry import Registry


def test_a_registered_builder_is_found_by_its_name() -> None:
    registry: Registry[object] = Registry("thing")
    entry = registry.register("shift")(object())
    assert registry.get("shift") is entry
    assert registry.names() == ["shift"]


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    registry: Registry[object] = Registry("thing")
    registry.register("shift")(object())
    with pytest.raises(ConfigError, match=r"unknown thing 'shfit'; did you mean 'shift'\?"):
        registry.get("shfit")


def test_a_name_can_be_taken_once() -> None:
    registry: Registry[object] = Registry("thing")
    registry.register("shift")(object())
    with pytest.raises(ConfigError, match="thing 'shift' is registered already; choose another name"):
        registry.register("shift")(object())


def test_a_package_of_ones_own_registers_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: Registry[object] = Registry("thing")
    own = object()

    class Point:
        def load(self) -> None:
            registry.register("own")(own)

    def points(group: str) -> list[EntryPoint | Point]:
        return [Point()] if group == "zoopraxis.thing" else []

    monkeypatch.setattr(zoopraxis.registry, "entry_points", points)
    assert registry.get("own") is own


def test_a_package_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name="own", value="absent_package.own", group="zoopraxis.thing")
    monkeypatch.setattr(zoopraxis.registry, "entry_points", lambda group: [point])
    registry: Registry[object] = Registry("thing")
    with pytest.raises(ConfigError, match=r"'absent_package\.own' offers thing 'own', but .* cannot be imported .*; mend"):
        registry.get("other")


def test_without_a_near_name_all_are_listed() -> None:
    assert did_you_mean("xyz", ["tsm", "tsn"]) == "known: tsm, tsn"
    assert did_you_mean("xyz", []) == "none is known"
