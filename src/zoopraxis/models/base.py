"""What every named network has beside its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from torch import nn

from zoopraxis.models.preprocessing import Preprocessing

__all__ = ["VideoModel"]


class VideoModel(nn.Module):
    """Maps a clip (B, T, C, H, W), normalized, to `{head: logits (B, classes)}`.

    Args:
        backbone: The part whose batch norms `partial_bn` freezes.
        heads: Head name to number of classes.
        preprocessing: What the input must have gone through.
        partial_bn: Freeze every batch norm of the backbone but the first: running statistics and affine parameters stay.

    Attributes:
        heads: Head name to number of classes.
        preprocessing: What the input must have gone through; it may be replaced.
        class_names: For each head the names of its classes; numbers until somebody knows better.
        architecture: Arguments that make `create_model` build the network again.
        record: What its checkpoint says of it (see `checkpoints.model_record`); empty for a new network.

    Differs: in the published code of the EPIC-KITCHENS-100 baselines `train()` and `eval()` return None, and the batch norms'
    affine parameters stay trainable until `train()` is called first.
    """

    def __init__(
        self, backbone: nn.Module, *, heads: Mapping[str, int], preprocessing: Preprocessing, partial_bn: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = dict(heads)
        self.preprocessing = preprocessing
        self.partial_bn = partial_bn
        self.class_names = {head: tuple(f"{head} {number}" for number in range(width)) for head, width in heads.items()}
        self.architecture: dict[str, Any] = {}
        self.record: dict[str, Any] = {}
        if partial_bn:
            for norm in self._frozen_norms():
                norm.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; with `partial_bn` the frozen batch norms always evaluate."""
        super().train(mode)
        if self.partial_bn:
            for norm in self._frozen_norms():
                norm.eval()
        return self

    def _frozen_norms(self) -> Iterator[nn.BatchNorm2d]:
        norms = (module for module in self.backbone.modules() if isinstance(module, nn.BatchNorm2d))
        next(norms, None)
        return norms
