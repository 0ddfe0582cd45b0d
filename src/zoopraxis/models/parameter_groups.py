"""The parameters of a network in the groups that published training codes give their optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from torch import nn

from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.backbones.layers import number_layers
from zoopraxis.errors import ConfigError

__all__ = ["LayerDecay", "ParameterGroup", "Policy", "parameter_groups"]

Policy = Literal[
    "effective", "multipliers", "tsm", "tanet", "tada2d", "tada2d_finetune", "tadaconv", "tadaconv_finetune", "layer_decay"
]


class ParameterGroup(TypedDict):
    """One group; torch's optimizers take it as it is, but read `params` only.

    `lr_mult` and `decay_mult` are what the base learning rate and weight decay are to be multiplied by.
    """

    name: str
    params: list[nn.Parameter]
    lr_mult: float
    decay_mult: float


@dataclass(frozen=True, kw_only=True)
class LayerDecay:
    """Rates of the policy `layer_decay`.

    Attributes:
        factor: Each layer's rate is so many times that of the layer behind it; the last has the base rate.
        new_parts: Parts of parameter names in the backbone that mark what is not in the initial weights, e.g. `("tada",)`.
        new_parts_lr: Further multiple of their rate.
        head_lr: Multiple of the rate of the heads, which is all that is not in the backbone.
    """

    factor: float = 1.0
    new_parts: tuple[str, ...] = ()
    new_parts_lr: float = 1.0
    head_lr: float = 1.0


def parameter_groups(
    model: nn.Module, *, policy: Policy = "effective", layer_decay: LayerDecay | None = None
) -> list[ParameterGroup]:
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
    - `tadaconv`: biases and norms (1, 0), weights (1, 1); routing functions have groups of their own.
    - `tadaconv_finetune`: `tadaconv`, but the weights of routing functions and classifiers (5, 1) and their biases (10, 0), as
      published under LR_REDUCE and FINE_TUNE.
    - `tada2d` and `tada2d_finetune`: other names of these two.
    - `layer_decay`: see `LayerDecay` and `backbones.layers.number_layers`; vectors and biases do not decay.

    Norms are all parameters that belong neither to a convolution nor to a linear map (in transformers also tokens and position
    embeddings); `tadaconv` takes norms of image networks by their type, and what is left over (such as layer scales) as
    weights. In networks over whole clips, whose parameters have the published names, it sorts by these names as published: the
    weights of norms that are not called `bn` or `norm` decay, as do a routing function's layer norms and layer scales, and the
    map `b_bias` of a routing function counts as a bias.

    Differs: mmaction2 takes the last linear map or convolution that it meets for the classifier, whatever it is, and TAdaConv's
    code sorts TAda2D by pieces of names ("rf", "bn", "head"), too, so that a renamed layer changes its group. In image networks
    module types and places decide, and every head is a classifier.

    Args:
        model: A network with `classifiers` (or `relation`, whose last linear maps give the scores).
        policy: One of the above.
        layer_decay: The rates of `layer_decay`; none: all 1.

    Returns:
        Groups which together hold each trainable parameter once.

    Raises:
        ConfigError: If the policy is unknown, the network does not tell the order of its layers, or one of the new parts is in
            no parameter's name.

    Source: EPIC-KITCHENS-100 baselines and TSM, `get_optim_policies`; mmaction2 1.2, `TSMOptimWrapperConstructor`; TANet,
    `get_optim_policies`; TAdaConv, `construct_optimizer`.
    """
    if policy not in get_args(Policy):
        raise ConfigError(f"unknown policy {policy!r} of parameter groups; known: {', '.join(get_args(Policy))}")
    if policy == "layer_decay":
        return _layer_groups(model, layer_decay or LayerDecay())
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


def _layer_groups(model: nn.Module, rates: LayerDecay) -> list[ParameterGroup]:
    """The groups of `layer_decay`, from the first layer to the heads."""
    numbers, last = number_layers(model.get_submodule("backbone"))
    for part in rates.new_parts:
        if not any(part in name for name in numbers):
            example = next(reversed(numbers))
            raise ConfigError(
                f"optim.new_parts has {part!r}, which is in no parameter's name (one is {example!r}); name a part of some, or "
                "set optim.new_parts=[]"
            )
    groups: dict[tuple[int, bool, bool, bool], ParameterGroup] = {}
    for full_name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        name = full_name.removeprefix("backbone.")
        is_head = name == full_name
        layer = last if is_head else numbers[name]
        is_new = not is_head and any(part in name for part in rates.new_parts)
        decays = parameter.ndim > 1 and not name.endswith(".bias")
        multiple = rates.factor ** (last - layer)
        multiple *= rates.head_lr if is_head else rates.new_parts_lr if is_new else 1.0
        words = ["head" if is_head else f"layer{layer}", *(["new"] if is_new else []), "weight" if decays else "bias"]
        empty = ParameterGroup(name="_".join(words), params=[], lr_mult=multiple, decay_mult=float(decays))
        groups.setdefault((layer, is_head, is_new, not decays), empty)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


Kind = Literal["convolution", "linear", "norm", "other"]


@dataclass(frozen=True)
class _Owner:
    """A module and what the policies ask about it, as the owner of its own parameters."""

    module: nn.Module
    path: str
    kind: Kind
    is_first_convolution: bool
    is_classifier: bool
    is_routing: bool
    has_published_names: bool


def _owners(model: nn.Module) -> Iterator[_Owner]:
    has_seen_convolution = False
    classifiers = _classifiers(model)
    is_clip_network = isinstance(getattr(model, "backbone", None), ClipBackbone)
    for path, module in model.named_modules():
        kind = _kind(module)
        yield _Owner(
            module,
            path,
            kind=kind,
            is_first_convolution=kind == "convolution" and not has_seen_convolution,
            is_classifier=id(module) in classifiers,
            is_routing=_is_routing(model, path),
            has_published_names=is_clip_network and path.split(".")[0] == "backbone",
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
    """The modules that give scores: all heads with the maps before them, or in TRN the last linear map of each relation."""
    heads = [getattr(model, name, None) for name in ("classifiers", "pre_logits")]
    if isinstance(heads[0], nn.Module):
        return {id(module) for part in heads if isinstance(part, nn.Module) for module in part.modules()}
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


def _as_tadaconv(owner: _Owner, name: str) -> str:
    if owner.has_published_names:
        return _by_published_name(f"{owner.path.removeprefix('backbone')}.{name}")
    part = "bias" if "bias" in name else "weight"
    if owner.kind == "norm":
        return "routing_norm" if owner.is_routing else "norm"
    if owner.is_routing:
        return f"routing_{part}"
    if "token" in name or "embed" in name:
        return "norm"
    return f"classifier_{part}" if owner.is_classifier else f"normal_{part}"


def _by_published_name(name: str) -> str:
    """The group of a parameter in a backbone, by the published rule."""
    part = "bias" if "bias" in name else "weight"
    if "rf" in name:
        return "routing_norm" if "bn" in name else f"routing_{part}"
    return "norm" if any(piece in name for piece in ("embd", "cls_token", "bn", "norm")) else f"normal_{part}"


_BASELINES = {
    "first_conv_weight": (1.0, 1.0),
    "first_conv_bias": (2.0, 0.0),
    "normal_weight": (1.0, 1.0),
    "normal_bias": (2.0, 0.0),
    "norm": (1.0, 0.0),
}
_TADACONV = {
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
    **dict.fromkeys(("tadaconv", "tada2d"), (_as_tadaconv, _TADACONV)),
    **dict.fromkeys(("tadaconv_finetune", "tada2d_finetune"), (_as_tadaconv, {**_TADACONV, **_FAST})),
}
"""By policy: how a parameter is sorted, and the groups in order with the multiples of learning rate and weight decay."""
