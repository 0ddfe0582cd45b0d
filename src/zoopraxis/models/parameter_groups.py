"""The parameters of a network in the groups that the published baselines give their optimizer."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from torch import nn

from zoopraxis.errors import ConfigError

__all__ = ["ParameterGroup", "Policy", "parameter_groups"]

Policy = Literal["effective", "multipliers"]


class ParameterGroup(TypedDict):
    """One group; torch's optimizers take it as it is, but read `params` only.

    `lr_mult` and `decay_mult` are what the base learning rate and weight decay are to be multiplied by.
    """

    name: str
    params: list[nn.Parameter]
    lr_mult: float
    decay_mult: float


def parameter_groups(model: nn.Module, *, policy: Policy = "effective") -> list[ParameterGroup]:
    """Sort the trainable parameters into the published groups, empty ones left out.

    Groups: `first_conv_weight`, `first_conv_bias` (of the network's first convolution), `normal_weight`, `normal_bias` (of all
    other convolutions and linear maps), `norm` (everything else: scales and shifts of norms, and in transformers tokens and
    position embeddings). Frozen parameters are in none.

    Args:
        model: A network with a `preprocessing` of modality flow has larger multipliers for its first convolution.
        policy: `effective`: every multiplier is 1, which is how the published networks were trained, because torch's SGD
            ignores the multipliers that the published code attaches; `multipliers`: those that were meant: biases learn
            twice as fast and do not decay, norms do not decay, the first convolution of flow learns five times as fast.

    Returns:
        Groups which together hold each trainable parameter once.

    Raises:
        ConfigError: If the policy is unknown.
    """
    if policy not in ("effective", "multipliers"):
        raise ConfigError(f"unknown policy {policy!r} of parameter groups; known: effective, multipliers")
    is_flow = getattr(getattr(model, "preprocessing", None), "modality", "rgb") == "flow"
    first = 5.0 if is_flow else 1.0
    multipliers = {
        "first_conv_weight": (first, 1.0),
        "first_conv_bias": (2 * first, 0.0),
        "normal_weight": (1.0, 1.0),
        "normal_bias": (2.0, 0.0),
        "norm": (1.0, 0.0),
    }
    members = _members(model)
    groups: list[ParameterGroup] = []
    for name, (lr_mult, decay_mult) in multipliers.items():
        if policy == "effective":
            lr_mult, decay_mult = 1.0, 1.0
        if members[name]:
            groups.append({"name": name, "params": members[name], "lr_mult": lr_mult, "decay_mult": decay_mult})
    return groups


def _members(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    members: dict[str, list[nn.Parameter]] = {
        name: [] for name in ("first_conv_weight", "first_conv_bias", "normal_weight", "normal_bias", "norm")
    }
    has_seen_convolution = False
    seen: set[int] = set()
    for module in model.modules():
        is_convolution = isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
        prefix = _prefix(module, is_first=is_convolution and not has_seen_convolution)
        has_seen_convolution |= is_convolution
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            is_weight_or_bias = prefix is not None and name in ("weight", "bias")
            members[f"{prefix}_{name}" if is_weight_or_bias else "norm"].append(parameter)
    return members


def _prefix(module: Any, *, is_first: bool) -> str | None:
    if is_first:
        return "first_conv"
    return "normal" if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)) else None
