"""The published steps of training TA3N, taken with our objective.

Adapters import it as `from parity.ta3n_steps import take_steps`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from parity.ta3n_cases import build
from zoopraxis.adaptation.objective import DomainBatch, Objective, Progress
from zoopraxis.adaptation.published import LABEL
from zoopraxis.adaptation.schedules import annealing, run_part

__all__ = ["Steps", "objective_settings", "take_steps"]

_TARGETS = {"uSv": "unlabelled", "Sv": "labelled", "none": "none"}
_ENTROPIES = {"target_entropy": "target", "attentive_entropy": "attentive", "none": "none"}
_LABELS = {"verb": "_v", "noun": "_n", LABEL: ""}
"""Head to what stands in the names of its labels."""


@dataclass
class Steps:
    """Steps that were made: of each the loss, the norm of its gradients before clipping, and the rate; what is left behind."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    parts: list[dict[str, float]] = field(default_factory=list)
    first_gradients: dict[str, Tensor] = field(default_factory=dict)
    after: Mapping[str, Tensor] = field(default_factory=dict)


def take_steps(case: Mapping[str, Any], context: Any, settings: Mapping[str, Any], num_steps: int | None = None) -> Steps:
    """Make the case's steps."""
    config, args, run = case["config"], case["config"]["args"], Steps()
    network = build(case, context)
    objective = Objective(**settings)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = _optimizer(parameters, config)

    def update(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
        run.first_gradients = run.first_gradients or {name: gradient.clone() for name, gradient in gradients.items()}
        run.losses.append(float(loss.detach()))
        run.norms.append(float(clip_grad_norm_(parameters, args["clip_gradient"] or float("inf"))))
        run.rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()

    sizes = tuple(args["batch_size"][:2])
    for step in range(num_steps or config["steps"]):
        progress = Progress(config["epoch"] - 1, step, config["steps"], args["epochs"])
        source = _batch(case, context, "src", step)
        target = _batch(case, context, "tgt", step) if objective.adapts else None
        if objective.pretrain_source:
            update(objective.source_step(network, source, target, progress=progress, pad_to=sizes))
        loss, parts = objective(network, source, target, progress=progress, pad_to=sizes)
        run.parts.append({name: float(part) for name, part in parts.items()})
        update(loss)
        if args["lr_adaptive"] == "dann":
            optimizer.param_groups[0]["lr"] = args["lr"] * annealing(run_part(progress))
    run.after = network.state_dict()
    return run


def _optimizer(parameters: list[torch.nn.Parameter], config: Mapping[str, Any]) -> torch.optim.Optimizer:
    rate, decay = config["args"]["lr"], config["weight_decay"]
    if config["optimizer"] == "Adam":
        return torch.optim.Adam(parameters, rate, weight_decay=decay)
    return torch.optim.SGD(parameters, rate, momentum=config["momentum"], weight_decay=decay, nesterov=config["nesterov"])


def objective_settings(case: Mapping[str, Any]) -> dict[str, Any]:
    """The case's objective: arguments of `Objective`."""
    config, args = case["config"], case["config"]["args"]
    is_epic = isinstance(config["model"]["num_class"], list)
    is_warmed = is_epic and args.get("dann_warmup", False)
    has_attention = args["use_attn"] != "none"
    target = _TARGETS[args["use_target"]]
    return {
        # The version of EPIC-KITCHENS-100 has no use of the target's labels, nor a second classifier.
        "target": "unlabelled" if is_epic and target == "labelled" else target,
        "mcd": not is_epic and args["ens_DA"] == "MCD",
        "mcd_strength": config["mu"],
        "adversarial": args["adv_DA"] != "none",
        "levels": [level for level, flag in zip(("relation", "video", "frame"), args["place_adv"], strict=True) if flag == "Y"],
        "strengths": dict(zip(("relation", "video", "frame"), config["beta"], strict=True)),
        "warmup": "slow" if is_warmed else "none",
        "warmup_each": "epoch",
        "below_zero": "slow" if is_epic else "dann",
        "entropy": _ENTROPIES[args["add_loss_DA"]] if has_attention or args["add_loss_DA"] != "attentive_entropy" else "none",
        "entropy_weight": config["gamma"],
        "entropy_reversed": True,
        "discrepancy": args["dis_DA"].lower(),
        "discrepancy_at": _places(args, is_epic),
        "discrepancy_weight": config["alpha"],
        "heads": [args["train_metric"]] if is_epic and args["train_metric"] != "all" else [],
        "pretrain_source": args["pretrain_source"],
        "normalize_predictions": args["pred_normalize"] == "Y",
        "normalize_classes": not is_epic,
    }


def _places(args: Mapping[str, Any], is_epic: bool) -> list[str]:
    """Names of the features that stand at the flagged places of the published list."""
    logits = ["noun", "verb"] if is_epic else [LABEL]
    published = [*logits, "video", *(f"shared_{number}" for number in range(args["add_fc"], 0, -1))]
    return [name for name, flag in zip(published, args["place_dis"], strict=False) if flag == "Y"]


def _batch(case: Mapping[str, Any], context: Any, domain: str, step: int) -> DomainBatch:
    """What the case says of its batches, such as (8,5,3072), in the last step (6,...)."""
    config = case["config"]
    text, is_source = config["batches"], domain == "src"
    shape = [int(size) for size in re.findall(rf"ta3n_tr_{domain}<i>',\(([\d,]+)\)", text)[0].split(",")]
    last = re.search(r"last step \((\d+),\.\.\.\)/\((\d+),\.\.\.\)", text)
    if last and step == config["steps"] - 1:
        shape[0] = int(last[1 if is_source else 2])
    classes = config["model"]["num_class"]
    counts = dict(zip(("verb", "noun"), classes, strict=True)) if isinstance(classes, list) else {LABEL: classes}
    labels = {}
    for head, count in counts.items():
        name = f"{'ls' if is_source else 'lt'}{_LABELS[head]}{step}"
        labels[head] = (context.tensor(name, (shape[0],)).abs() * 1000).long() % count
    return DomainBatch(context.tensor(f"ta3n_tr_{domain}{step}", shape), labels)
