"""Steps of the published training of TA3N, both versions: losses, gradients, and the weights behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parity.ta3n_cases import our_names
from parity.ta3n_steps import Steps, objective_settings, take_steps

_SUMMARIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "mean": torch.mean,
    "std": lambda values: values.std() if values.numel() > 1 else torch.zeros(()),
    "abs_mean": lambda values: values.abs().mean(),
    "abs_sum": lambda values: values.abs().sum(),
    "first4": lambda values: values[:4],
}
_ROUNDING = 1e-8
"""Gradients below this part of the norm of all are rounding, such as those of biases before a batch norm."""
_FAINT = 0.1
"""Weights of entropy that hardly show."""


def matches(case: Mapping[str, Any]) -> bool:
    config = case.get("config")
    return case["case"].startswith("ta3n_") and isinstance(config, Mapping) and {"args", "batches", "model"} <= set(config)


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    settings = objective_settings(case)
    run = take_steps(case, context, settings)
    context.assert_close(np.array(run.losses), arrays["loss_per_step"], "losses")
    if case["config"]["args"]["clip_gradient"] is not None:
        context.assert_close(np.array(run.norms), arrays["grad_norm_per_step"], "norms of gradients")
    _check_parts(case["extra"]["recorded"], run, context)
    names, before = our_names(case, context), context.state_dict(case)
    after = {key: run.after[names[key]] if key in names else values for key, values in before.items()}
    for name, expected in arrays.items():
        if name.startswith("after."):
            context.assert_close(after[name.removeprefix("after.")][tuple(map(slice, expected.shape))], expected, name)
    for key, summary in case["extra"]["state_after"].items():
        _check_summary(after[key], summary, key, _rounding_after(case, key))
    for key, summary in case["extra"]["first_step_gradients_before_clipping"].items():
        gradient = run.first_gradients.get(names.get(key, ""))
        assert (gradient is None) == (summary is None), f"only one of the two trains {key}"
        if gradient is not None:
            _check_summary(gradient, summary, f"gradient of {key}", _ROUNDING * max(1.0, run.norms[0]))
    _check_what_is_seen(case, run, context, settings)


def _check_parts(recorded: Mapping[str, Any], run: Steps, context: Any) -> None:
    """Losses of the discriminators, in the published order: step by step, relation, video, frame; and the rates."""
    found = [value for parts in run.parts for name, value in parts.items() if name.startswith("adversarial_")]
    assert len(found) == len(recorded["dom_ce"])
    if found:
        context.assert_close(np.array(found), np.array(recorded["dom_ce"]), "losses of discriminators")
    np.testing.assert_allclose(run.rates, recorded["lr_after"], rtol=1e-6)


def _rounding_after(case: Mapping[str, Any], key: str) -> float:
    """By what rounding alone moves a weight: Adam makes whole steps of the smallest gradients."""
    config, extra = case["config"], case["extra"]
    gradient = extra["first_step_gradients_before_clipping"].get(key)
    if config["optimizer"] == "SGD" or gradient is None:
        return _ROUNDING
    is_rounding = gradient["abs_mean"] < 10 * _ROUNDING * max(extra["recorded"]["grad_norm"], default=1.0)
    return float(2 * config["steps"] * config["args"]["lr"]) if is_rounding else _ROUNDING


def _check_summary(values: Tensor, expected: Mapping[str, Any], what: str, rounding: float) -> None:
    flat = values.detach().double().flatten()
    atol = 1e-4 * expected["std"] + rounding
    for name, wanted in expected.items():
        found = _SUMMARIES[name](flat)
        many = flat.numel() if name == "abs_sum" else 1
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=atol * many, err_msg=f"{name} of {what}")


def _check_what_is_seen(case: Mapping[str, Any], run: Steps, context: Any, settings: Mapping[str, Any]) -> None:
    """The first step's numbers do not come out without adaptation, nor with other strengths; and weights are moved."""
    if _adapts(settings):
        plain = take_steps(case, context, {**settings, "target": "none"}, num_steps=1)
        assert _differ(plain, run), "adaptation is not seen"
        if settings["adversarial"]:
            strengths = {level: 5.0 + abs(strength) for level, strength in settings["strengths"].items()}
            strong = take_steps(case, context, {**settings, "strengths": strengths, "warmup": "none"}, num_steps=1)
            assert _differ(strong, run), "strengths are not seen"
    before = context.state_dict(case)
    assert any(
        not np.allclose(before[key].flatten()[:4], summary["first4"], rtol=1e-4)
        for key, summary in case["extra"]["state_after"].items()
    ), "steps are not seen"


def _adapts(settings: Mapping[str, Any]) -> bool:
    """Whether something is made of the target that shows in a step's numbers; a faint entropy does not."""
    parts = {
        "labels": settings["target"] == "labelled",
        "discriminators": settings["adversarial"],
        "discrepancy": settings["discrepancy"] != "none" and settings["discrepancy_weight"] != 0,
        "mcd": settings["mcd"],
        "entropy": settings["entropy"] != "none" and abs(settings["entropy_weight"]) > _FAINT,
    }
    return settings["target"] != "none" and any(parts.values())


def _differ(changed: Steps, run: Steps) -> bool:
    """Whether the last loss of the changed run, or its gradient, is another one."""
    last = len(changed.losses) - 1
    found, expected = ([steps.losses[last], steps.norms[last]] for steps in (changed, run))
    return not np.allclose(found, expected, rtol=1e-3)
