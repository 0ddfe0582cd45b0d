"""Soft-NMS of TAdaConv and of the EPIC-KITCHENS detection baseline, whose loops differ in when they stop."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.localization.soft_nms import soft_nms

FloatArray = npt.NDArray[np.float64]

_SETTING = re.compile(r"\b((?:(?:alpha|t1|t2|prop_num|iou_power)\s*=?\s*)+)(\d*\.?\d+)")


def matches(case: Mapping[str, Any]) -> bool:
    return "soft_nms" in case["case"] and not case.get("state_dict")


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    if "in" in arrays:
        _check_baseline(case, arrays)
        return
    names = [name.removesuffix("_rindex") for name in arrays if name.endswith("_rindex")]
    assert names, f"{case['case']} has no results"
    given = (arrays["in_xmin"], arrays["in_xmax"], arrays["in_score"])
    for name in names:
        settings = _settings(case[name])
        rows, scores = _ours(given, settings, settings["prop_num"])
        assert rows.tolist() == arrays[f"{name}_rindex"].tolist(), name
        _assert_close(given[0][rows], arrays[f"{name}_xmin"])
        _assert_close(given[1][rows], arrays[f"{name}_xmax"])
        _assert_close(scores, arrays[f"{name}_score"])
        _assert_sees_decay(given[2], arrays[f"{name}_score"])


def _check_baseline(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    starts, stops, scores = arrays["in"].T
    expected = arrays["out_xmin_xmax_score"]
    rows, decayed = _ours((starts, stops, scores), case["config"], case["config"]["topk"] + 1)
    _assert_close(np.stack([starts[rows], stops[rows], decayed], axis=1), expected)
    _assert_sees_decay(scores, expected[:, 2])


def _ours(
    given: tuple[FloatArray, FloatArray, FloatArray], settings: Mapping[str, Any], keep: float
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    power = settings.get("iou_power", 2.0)
    return soft_nms(*given, alpha=settings["alpha"], low=settings["t1"], high=settings["t2"], power=power, keep=int(keep))


def _settings(told: str | Mapping[str, float]) -> Mapping[str, float]:
    """Settings as the case tells them, such as `alpha .4, t1=t2=0, prop_num 200: ...`."""
    if not isinstance(told, str):
        return told
    found = {}
    for names, value in _SETTING.findall(told):
        found |= dict.fromkeys(re.findall(r"[a-z_]+\d?", names), float(value))
    return found


def _assert_close(actual: FloatArray, expected: FloatArray) -> None:
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


def _assert_sees_decay(scores: FloatArray, expected: FloatArray) -> None:
    """The first taken has its own score, so that more than one must have been taken."""
    assert len(expected) < 2 or not np.allclose(np.sort(scores)[::-1][: len(expected)], expected), (
        "the best scores without decay would pass, too"
    )
