"""What every named network has beside its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoopraxis.errors import ConfigError
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
        freeze_norms: Whether all batch norms of the backbone keep their running statistics in training, while their affine
            parameters learn; it may be changed, and holds from the next `train()` on.
        architecture: Arguments that make `create_model` build the network again.
        record: What its checkpoint says of it (see `checkpoints.model_record`); empty for a new network.

    Differs: in the published code of the EPIC-KITCHENS-100 baselines `train()` and `eval()` return None, and the batch norms'
    affine parameters stay trainable until `train()` is called first.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        heads: Mapping[str, int],
        preprocessing: Preprocessing,
        partial_bn: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = dict(heads)
        self.preprocessing = preprocessing
        self.partial_bn = partial_bn
        self.freeze_norms = False
        self.class_names = {head: tuple(f"{head} {number}" for number in range(width)) for head, width in heads.items()}
        self.architecture: dict[str, Any] = {}
        self.record: dict[str, Any] = {}
        for norm in self._frozen_norms() if partial_bn else ():
            norm.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; frozen batch norms always evaluate."""
        super().train(mode)
        for norm in self._frozen_norms():
            norm.eval()
        return self

    def check_view(self, num_frames: int, size: int) -> None:
        """Refuse views that the network cannot take, before anything is read or run.

        Args:
            num_frames: T.
            size: H = W, px.

        Raises:
            ConfigError: With the value, what it must be and the nearest that is.
        """
        check = getattr(self.backbone, "check_view", None)
        if check is None:
            return
        try:
            check(num_frames, size, size)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the activations of the backbone's blocks again in the backward pass instead of keeping them, or stop that.

        Raises:
            ConfigError: If the backbone's kind of network cannot.
        """
        switch = getattr(self.backbone, "set_grad_checkpointing", None)
        if switch is None:
            raise ConfigError(
                f"{type(self.backbone).__name__} has no gradient checkpointing; set model.grad_checkpointing=false"
            )
        switch(enable)

    def _frozen_norms(self) -> Sequence[nn.Module]:
        if self.freeze_norms:
            return [module for module in self.backbone.modules() if isinstance(module, _BatchNorm)]
        if self.partial_bn:
            return [module for module in self.backbone.modules() if isinstance(module, nn.BatchNorm2d)][1:]
        return []
