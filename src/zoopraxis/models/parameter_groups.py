"""The parameters of a network in the groups that published training codes give their optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from torch import nn

from zoopraxis.errors import ConfigError

__all__ = ["ParameterGroup", "Policy", "parameter_groups"]

Policy = Literal["effective", "multipliers", "tsm", "tanet", "tada2d", "tada2d_finetune"]


class ParameterGroup(TypedDict):
    """One group; torch's optimizers take it as it is, but read `params` only.

    `lr_mult` and `decay_mult` are what the base learning rate and weight decay are to be multiplied by.
    """

    name: str
    params: list[nn.Parameter]
    lr_mult: float
    decay_mult: float


def parameter_groups(model: nn.Module, *, policy: Policy = "effective") -> list[ParameterGroup]:
    """Sort the trainable parameters into the published groups, empty ones left out. Frozen parameters are in none.

    Each policy, with (learning rate, weight decay) as multiples of the base values:

    - `effective`: all 1. How the EPIC-KITCHENS-100 baselines were trained, because torch's SGD ignores the multipliers that
      their code attaches.
    - `multipliers`: those that were meant: biases (2, 0), norms (1, 0), weights (1, 1); the first convolution of a network for
      optical flow learns five times as fast (from the model's `preprocessing.modality`).
    - `tsm`: as mmaction2 trains TSM and TANet: biases (2, 0), norms (1, 0), weights (1, 1), the classifiers' weights (5, 1) and
      biases (10, 0).
    - `tanet`: as TANet's own code: `tsm`, but (5, 1) and (10, 0) for every linear map, so also for the two of each temporal
      adaptive module.
    - `tada2d`: biases and norms (1, 0), weights (1, 1); routing functions have groups of their own.
    - `tada2d_finetune`: `tada2d`, but the weights of routing functions and classifiers (5, 1) and their biases (10, 0), as
      published under LR_REDUCE and FINE_TUNE.

    Norms are all parameters that belong neither to a convolution nor to a linear map (in transformers also tokens and position
    embeddings); `tada2d` takes norms by their type, and what is left over (such as layer scales) as weights.

    Differs: mmaction2 takes the last linear map or convolution that it meets for the classifier, whatever it is, and TAda2D's
    code sorts by pieces of names ("rf", "bn", "head"), so that a renamed layer changes its group. Here module types and places
    decide, and every head is a classifier.

    Args:
        model: A network with `classifiers` (or `relation`, whose last linear maps give the scores).
        policy: One of the above.

    Returns:
        Groups which together hold each trainable parameter once.

    Raises:
        ConfigError: If the policy is unknown.

    Source: EPIC-KITCHENS-100 baselines and TSM, `get_optim_policies`; mmaction2 1.2, `TSMOptimWrapperConstructor`; TANet,
    `get_optim_policies`; TAdaConv, `construct_optimizer`.
    """
    if policy not in get_args(Policy):
        raise ConfigError(f"unknown policy {policy!r} of parameter groups; known: {', '.join(get_args(Policy))}")
    is_flow = getattr(getattr(model, "preprocessing", None), "modality", "rgb") == "flow"
    sort, multipliers = _POLICIES[policy]
    members: dict[str, list[nn.Parameter]] = {name: [] for name in multipliers}
    seen: set[int] = set()
    for owner in _owners(model):
        for name, parameter in owner.module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                members[sort(owner, name)].append(parameter)
    groups: list[ParameterGroup] = []
    for name, (lr_mult, decay_mult) in multipliers.items():
        if policy == "multipliers" and is_flow and name.startswith("first_conv"):
            lr_mult *= 5
        if members[name]:
            groups.append({"name": name, "params": members[name], "lr_mult": lr_mult, "decay_mult": decay_mult})
    return groups


Kind = Literal["convolution", "linear", "norm", "other"]


@dataclass(frozen=True)
class _Owner:
    """A module and what the policies ask about it, as the owner of its own parameters."""

    module: nn.Module
    kind: Kind
    is_first_convolution: bool
    is_classifier: bool
    is_routing: bool


def _owners(model: nn.Module) -> Iterator[_Owner]:
    has_seen_convolution = False
    classifiers = _classifiers(model)
    for path, module in model.named_modules():
        kind = _kind(module)
        yield _Owner(
            module,
            kind=kind,
            is_first_convolution=kind == "convolution" and not has_seen_convolution,
            is_classifier=id(module) in classifiers,
            is_routing=_is_routing(model, path),
        )
        has_seen_convolution |= kind == "convolution"


def _kind(module: nn.Module) -> Kind:
    """Convolutions are known by their kernels: so are those of our own and of timm, which inherit from none of torch's."""
    if isinstance(module, nn.Linear):
        return "linear"
    weight = getattr(module, "weight", None)
    if isinstance(weight, nn.Parameter) and weight.ndim > 2:
        return "convolution"
    return "norm" if any("Norm" in base.__name__ for base in type(module).__mro__) else "other"


def _classifiers(model: nn.Module) -> set[int]:
    """The modules that give scores: all heads, or in TRN the last linear map of each relation."""
    heads = getattr(model, "classifiers", None)
    if isinstance(heads, nn.Module):
        return {id(module) for module in heads.modules()}
    relation = getattr(model, "relation", None)
    found: set[int] = set()
    for module in relation.modules() if isinstance(relation, nn.Module) else ():
        linear_maps = [child for child in module.children() if isinstance(child, nn.Linear)]
        found.update(id(child) for child in linear_maps[-1:])
    return found


def _is_routing(model: nn.Module, path: str) -> bool:
    """Whether a module is (part of) what stands before a layer as its `temporal`, and not behind a norm as its second half."""
    host, found, _ = f".{path}.".partition(".temporal.")
    return bool(found) and _kind(model.get_submodule(host.lstrip("."))) != "norm"


_Sort = Callable[[_Owner, str], str]


def _as_baselines(owner: _Owner, name: str) -> str:
    if owner.kind not in ("convolution", "linear") or name not in ("weight", "bias"):
        return "norm"
    return f"{'first_conv' if owner.is_first_convolution else 'normal'}_{name}"


def _as_tsm(owner: _Owner, name: str) -> str:
    return f"classifier_{name}" if owner.is_classifier and owner.kind == "linear" else _as_baselines(owner, name)


def _as_tanet(owner: _Owner, name: str) -> str:
    return f"linear_{name}" if owner.kind == "linear" else _as_baselines(owner, name)


def _as_tada2d(owner: _Owner, name: str) -> str:
    part = "bias" if "bias" in name else "weight"
    if owner.kind == "norm":
        return "routing_norm" if owner.is_routing else "norm"
    if owner.is_routing:
        return f"routing_{part}"
    if "token" in name or "embed" in name:
        return "norm"
    return f"classifier_{part}" if owner.is_classifier else f"normal_{part}"


_BASELINES = {
    "first_conv_weight": (1.0, 1.0),
    "first_conv_bias": (2.0, 0.0),
    "normal_weight": (1.0, 1.0),
    "normal_bias": (2.0, 0.0),
    "norm": (1.0, 0.0),
}
_TADA2D = {
    "norm": (1.0, 0.0),
    "routing_norm": (1.0, 0.0),
    "routing_weight": (1.0, 1.0),
    "routing_bias": (1.0, 0.0),
    "normal_weight": (1.0, 1.0),
    "normal_bias": (1.0, 0.0),
    "classifier_weight": (1.0, 1.0),
    "classifier_bias": (1.0, 0.0),
}
_FAST = {
    "routing_weight": (5.0, 1.0),
    "routing_bias": (10.0, 0.0),
    "classifier_weight": (5.0, 1.0),
    "classifier_bias": (10.0, 0.0),
}

_POLICIES: dict[str, tuple[_Sort, Mapping[str, tuple[float, float]]]] = {
    "effective": (_as_baselines, dict.fromkeys(_BASELINES, (1.0, 1.0))),
    "multipliers": (_as_baselines, _BASELINES),
    "tsm": (_as_tsm, {**_BASELINES, "classifier_weight": (5.0, 1.0), "classifier_bias": (10.0, 0.0)}),
    "tanet": (_as_tanet, {**_BASELINES, "linear_weight": (5.0, 1.0), "linear_bias": (10.0, 0.0)}),
    "tada2d": (_as_tada2d, _TADA2D),
    "tada2d_finetune": (_as_tada2d, {**_TADA2D, **_FAST}),
}
"""By policy: how a parameter is sorted, and the groups in order with the multiples of learning rate and weight decay."""
