"""Gradient checkpointing: a block's activations are computed again in the backward pass instead of being kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

__all__ = ["recompute"]

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def recompute(block: nn.Module, *arguments: Any, enable: bool = True) -> Any:
    """Run a block so that of all its tensors only its arguments are kept for the backward pass, which runs it again.

    The second run draws the same random numbers (dropout, drop path), is under the same autocast and leaves the running
    statistics of batch norms alone, so that a step of training ends as it would without. (Compiled with the backend `eager`,
    which is for debugging, torch draws other random numbers.) The block simply runs where no gradients are recorded or it is
    in evaluation mode.

    Args:
        block: Part of a network; what it changes beside running statistics it changes twice.
        arguments: Its arguments, tensors and others.
        enable: False: just run the block.

    Returns:
        What the block gives.
    """
    if not (enable and block.training and torch.is_grad_enabled()):
        return block(*arguments)
    statistics = _counting_statistics(block)
    if not statistics:
        return checkpoint(block, *arguments, use_reentrant=False)
    before = {name: tensor.clone() for name, tensor in statistics.items()}

    def run(*given: Any) -> tuple[Any, list[Tensor]]:
        counted = {name: tensor.clone() for name, tensor in before.items()}
        return torch.func.functional_call(block, counted, given), list(counted.values())

    out, counted = checkpoint(run, *arguments, use_reentrant=False)
    with torch.no_grad():
        for tensor, value in zip(statistics.values(), counted, strict=True):
            tensor.copy_(value)
    return out


def _counting_statistics(block: nn.Module) -> dict[str, Tensor]:
    """The running statistics that a run of the block changes, by name."""
    norms = [
        (prefix, module)
        for prefix, module in block.named_modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]
    named = {f"{prefix}.{name}" if prefix else name: getattr(norm, name) for prefix, norm in norms for name in _STATISTICS}
    return {name: tensor for name, tensor in named.items() if tensor is not None}
