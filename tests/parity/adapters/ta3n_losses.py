"""TA3N's loss functions, its gradient reversal and its attention, function by function."""

from __future__ import annotations

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
_TERMS: dict[str, Callable[[Inputs], Tensor]] = {
    "cross_entropy_soft(a)": lambda given: target_entropy(given["loss_a"]),
    "attentive_entropy(a,dom)": lambda given: attentive_entropy(given["loss_a"], given["loss_dom"]),
    "dis_MCD(a,b)": lambda given: classifier_discrepancy(given["loss_a"], given["loss_b"]),
    "mmd_linear(f1s,f1t)": lambda given: mmd_linear(given["loss_f1s"], given["loss_f1t"]),
    "gaussian_kernel(f1,kernel_num=5)": lambda given: gaussian_kernel(torch.cat([given["loss_f1s"], given["loss_f1t"]])),
    "grad_reverse(beta=.75)": lambda given: _gradient(reverse_gradient, given),
    "grad_scale(beta=.75)": lambda given: _gradient(scale_gradient, given),
    "trans_attn(dom)": lambda given: transferable_weights(given["loss_dom"]),
}


def matches(case: Mapping[str, Any]) -> bool:
    return case["case"].startswith("ta3n_") and "attentive_entropy(a,dom)" in case.get("outputs", {})


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    given = {name: context.input(spec) for name, spec in case["inputs"].items()}
    for name, expected in arrays.items():
        found = _TERMS[name](given) if name in _TERMS else _discrepancy(name, given)
        context.assert_close(found, expected, name)
    plain = target_entropy(given["loss_a"])
    assert not context.is_close(plain, arrays["attentive_entropy(a,dom)"]), "the case does not see the domains' entropy"


def _discrepancy(name: str, given: Inputs) -> Tensor:
    """What the name of a term asks for, such as `mmd_rbf(f1,fix_sigma=10,kernel_num=5,ver=2)` or `JAN([f3,f1],ver=1)`."""
    function, _, rest = name.rstrip(")").partition("(")
    asked = {option: float(value) for option, _, value in (part.partition("=") for part in rest.split(",")) if value}
    estimator: Any = _ESTIMATORS[int(asked.get("ver", 2))]
    if function == "JAN":
        layers = rest[1 : rest.index("]")].split(",")
        sources, targets = ([given[f"loss_{layer}{domain}"] for layer in layers] for domain in "st")
        return joint_mmd(sources, targets, num_kernels=[2, 5], estimator=estimator)
    assert function == "mmd_rbf", f"the case has {name}, which nobody checks"
    layer = rest.partition(",")[0]
    source, target = (given[f"loss_{layer}{domain}"] for domain in "st")
    num_kernels = int(asked.get("kernel_num", 5))
    return mmd(source, target, num_kernels=num_kernels, bandwidth=asked.get("fix_sigma"), estimator=estimator)


def _gradient(function: Callable[[Tensor, float], Tensor], given: Inputs) -> Tensor:
    values = given["grl_x"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(values, 0.75), values, given["grl_g"])
    return gradient
