"""The checks that do not need Hydra."""

from __future__ import annotations

import pytest

from zoopraxis.config.refusals import unknown_setting

ARGUMENTS = ["model.args.alpha", "model.args.beta"]


@pytest.mark.parametrize(
    ("path", "value", "known", "line"),
    [
        ("model.args.alpa", 1, ARGUMENTS, "unknown setting model.args.alpa=1; did you mean model.args.alpha?"),
        ("model.args.zzz", [1, 2], ARGUMENTS, "unknown setting model.args.zzz=[1,2]; known: model.args.alpha, model.args.beta"),
        ("model.args.alpha", 1, [], "unknown setting model.args.alpha=1; none is known"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest(path: str, value: object, known: list[str], line: str) -> None:
    assert str(unknown_setting(path, value, known=known)) == line
