"""TA3N's loss functions, its gradient reversal and its attention, function by function."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoopraxis.adaptation.discrepancy import gaussian_kernel, joint_mmd, mmd, mmd_linear
from zoopraxis.adaptation.discriminators import transferable_weights
from zoopraxis.adaptation.losses import attentive_entropy, classifier_discrepancy, target_entropy
from zoopraxis.adaptation.reversal import reverse_gradient, scale_gradient

Inputs = Mapping[str, Tensor]

_ESTIMATORS = {1: "neighbors", 2: "full"}
_LINEAR = {"grad_reverse": reverse_gradient, "grad_scale": scale_gradient}
_TERMS: dict[str, Callable[..., Tensor]] = {
    "cross_entropy_soft": target_entropy,
    "attentive_entropy": attentive_entropy,
    "dis_MCD": classifier_discrepancy,
    "mmd_linear": mmd_linear,
    "trans_attn": transferable_weights,
}
"""Published functions of tensors alone, as ours."""


def matches(case: Mapping[str, Any]) -> bool:
    return case["case"].startswith("ta3n_") and "attentive_entropy(a,dom)" in case.get("outputs", {})


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    given = {name: context.input(spec) for name, spec in case["inputs"].items()}
    for name, expected in arrays.items():
        context.assert_close(_term(name, given), expected, name)
    plain = target_entropy(given["loss_a"])
    assert not context.is_close(plain, arrays["attentive_entropy(a,dom)"]), "the case does not see the domains' entropy"


def _term(name: str, given: Inputs) -> Tensor:
    """What the name of a term asks for, such as `mmd_rbf(f1,fix_sigma=10,kernel_num=5,ver=2)` or `JAN([f3,f1],ver=1)`."""
    function, _, rest = name.rstrip(")").partition("(")
    words = re.findall(r"[^,\[\]]+", rest)
    tensors = [word for word in words if "=" not in word]
    asked = {option: float(value) for option, _, value in (word.partition("=") for word in words if "=" in word)}
    if function in _LINEAR:
        values = given["grl_x"].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(_LINEAR[function](values, asked["beta"]), values, given["grl_g"])
        return gradient
    if function in _TERMS:
        return _TERMS[function](*(given[f"loss_{tensor}"] for tensor in tensors))
    assert function in ("gaussian_kernel", "mmd_rbf", "JAN"), f"the case has {name}, which nobody checks"
    settings: dict[str, Any] = {"factor": asked.get("kernel_mul", 2.0), "bandwidth": asked.get("fix_sigma")}
    num_kernels = int(asked.get("kernel_num", 5))
    sources, targets = ([given[f"loss_{layer}{domain}"] for layer in tensors] for domain in "st")
    if function == "gaussian_kernel":
        return gaussian_kernel(torch.cat([*sources, *targets]), num_kernels=num_kernels, **settings)
    settings["estimator"] = _ESTIMATORS[int(asked.get("ver", 2))]
    if function == "JAN":
        return joint_mmd(sources, targets, num_kernels=[2, 5], **settings)
    return mmd(*sources, *targets, num_kernels=num_kernels, **settings)
