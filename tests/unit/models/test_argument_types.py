"""Arguments of a model's own come from recipes and the command line, as anything that YAML can write."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from zoopraxis.errors import ConfigError
from zoopraxis.models import create_model
from zoopraxis.models.argument_types import check_types


@pytest.mark.parametrize(
    ("model", "args", "message"),
    [
        ("tadaformer", {"depth": "deep"}, "argument 'depth' of model 'tadaformer' must be a whole number, not 'deep'"),
        ("tadaformer", {"double_tada": 1}, "argument 'double_tada' of model 'tadaformer' must be true or false, not 1"),
        ("vivit", {"depth": 4.5}, "argument 'depth' of model 'vivit' must be a whole number, not 4.5"),
        ("vivit", {"drop_path": "none"}, "argument 'drop_path' of model 'vivit' must be a number, not 'none'"),
        ("vivit", {"tubelet_init": 3}, "argument 'tubelet_init' of model 'vivit' must be text, not 3"),
        ("csn", {"widths": "wide"}, "argument 'widths' of model 'csn' must be a list of whole numbers, not 'wide'"),
        ("csn", {"blocks": [1, 1, True, 1]}, "must be a list of whole numbers, not [1, 1, True, 1]"),
        ("s3dg", {"stem_widths": 3}, "argument 'stem_widths' of model 's3dg' must be a list of whole numbers, not 3"),
        ("s3dg", {"mixed_widths": [[3]]}, "must be a list of lists of lists of whole numbers, not [[3]]"),
        ("tsn", {"backbone_args": "x"}, "argument 'backbone_args' of model 'tsn' must be a table, not 'x'"),
    ],
)
def test_an_argument_of_another_type_is_refused(model: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        create_model(model, heads={"label": 2}, **args)


def test_whole_numbers_are_numbers_and_tuples_are_lists() -> None:
    tiny = {"dim": 16, "depth": 1, "num_heads": 2, "patch_size": 16, "image_size": 32, "num_segments": 2}
    model = create_model("vivit", heads={"label": 2}, backbone="b16x2_joint", mlp_ratio=2, drop_path=0, head_dim=None, **tiny)
    assert model.architecture["mlp_ratio"] == 2
    model = create_model("s3dg", heads={"label": 2}, stem_widths=(4, 4, 8), mixed_widths=[[(2, 2, 2, 2, 2, 2)]] * 3)
    assert model.backbone.num_features == 8


def test_parameters_of_types_of_ones_own_take_anything() -> None:
    def build(arguments: object, *, plain, free: Any = 0, sizes: dict[str, int] | None = None, unknown: Unread = 1) -> None:  # type: ignore[no-untyped-def]  # noqa: F821
        pass

    def typed(arguments: object, *, plain=1, free: Any = 0, sizes: dict[str, int] | None = None, own: Callable[..., int] = len):  # type: ignore[no-untyped-def]
        pass

    check_types("mine", build, {"plain": "x", "free": [1], "sizes": 3, "unknown": None})
    check_types("mine", typed, {"plain": "x", "free": [1], "sizes": {"a": 1}, "own": max})
