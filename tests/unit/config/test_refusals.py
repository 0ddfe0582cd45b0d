"""The checks that do not need Hydra."""

from __future__ import annotations

import pytest

from zoopraxis.config.refusals import check_open_arguments
from zoopraxis.errors import ConfigError


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"alpa": 1}, "unknown setting model.args.alpa=1; did you mean model.args.alpha?"),
        ({"zzz": [1, 2]}, "unknown setting model.args.zzz=[1,2]; known: model.args.alpha, model.args.beta"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest(table: dict[str, object], line: str) -> None:
    check_open_arguments({"alpha": 1}, ["alpha", "beta"], "model.args")
    with pytest.raises(ConfigError) as caught:
        check_open_arguments(table, ["alpha", "beta"], "model.args")
    assert str(caught.value) == line


def test_an_argument_is_refused_where_none_is_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting model\.args\.alpha=1; none is known"):
        check_open_arguments({"alpha": 1}, [], "model.args")
