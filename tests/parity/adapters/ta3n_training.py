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
_ROUNDING = 1e-7
"""Gradients below it are rounding, such as those of biases before a batch norm."""


def matches(case: Mapping[str, Any]) -> bool:
    config = case.get("config")
    return case["case"].startswith("ta3n_") and isinstance(config, Mapping) and {"args", "batches", "model"} <= set(config)


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    settings = objective_settings(case)
    run = take_steps(case, context, settings)
    context.assert_close(np.array(run.losses), arrays["loss_per_step"], "losses")
    context.assert_close(np.array(run.norms), arrays["grad_norm_per_step"], "norms of gradients")
    _check_parts(case["extra"]["recorded"], run, context)
    names = our_names(case, context)
    for name, expected in arrays.items():
        if name.startswith("after."):
            found = run.after[names[name.removeprefix("after.")]]
            context.assert_close(found[tuple(map(slice, expected.shape))], expected, name)
    before = context.state_dict(case)
    for key, summary in case["extra"]["state_after"].items():
        _check_summary(run.after[names[key]] if key in names else before[key], summary, key)
    for key, summary in case["extra"]["first_step_gradients_before_clipping"].items():
        gradient = run.first_gradients.get(names.get(key, ""))
        assert (gradient is None) == (summary is None), f"only one of the two trains {key}"
        if gradient is not None:
            _check_summary(gradient, summary, f"gradient of {key}")
    _check_what_is_seen(case, arrays, context, settings)


def _check_parts(recorded: Mapping[str, Any], run: Steps, context: Any) -> None:
    """Losses of the discriminators, in the published order: step by step, relation, video, frame; and the rates."""
    found = [value for parts in run.parts for name, value in parts.items() if name.startswith("adversarial_")]
    assert len(found) == len(recorded["dom_ce"])
    if found:
        context.assert_close(np.array(found), np.array(recorded["dom_ce"]), "losses of discriminators")
    np.testing.assert_allclose(run.rates, recorded["lr_after"], rtol=1e-6)


def _check_summary(values: Tensor, expected: Mapping[str, Any], what: str) -> None:
    flat = values.detach().double().flatten()
    atol = 1e-4 * expected["std"] + _ROUNDING
    for name, wanted in expected.items():
        found = _SUMMARIES[name](flat)
        many = flat.numel() if name == "abs_sum" else 1
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=atol * many, err_msg=f"{name} of {what}")


def _check_what_is_seen(
    case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any, settings: Mapping[str, Any]
) -> None:
    """The first step's numbers do not come out without adaptation, nor with other strengths; and weights are moved."""
    if settings["target"] != "none":
        plain = take_steps(case, context, {**settings, "target": "none"}, num_steps=1)
        assert not np.isclose(plain.losses[-1], arrays["loss_per_step"][len(plain.losses) - 1], rtol=1e-3), (
            "adaptation is not seen"
        )
    if settings["adversarial"] and settings["target"] != "none":
        strengths = dict.fromkeys(settings["strengths"], 5.0)
        strong = take_steps(case, context, {**settings, "strengths": strengths, "warmup": "none"}, num_steps=1)
        expected = arrays["grad_norm_per_step"][len(strong.norms) - 1]
        assert not np.isclose(strong.norms[-1], expected, rtol=1e-3), "strengths are not seen"
    before = context.state_dict(case)
    assert any(
        not np.allclose(before[key].flatten()[:4], summary["first4"], rtol=1e-4)
        for key, summary in case["extra"]["state_after"].items()
    ), "steps are not seen"
