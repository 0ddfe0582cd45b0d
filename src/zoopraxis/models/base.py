"""What every named network has beside its layers.

# B clips, T frames, C channels, H height, W width, D features
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoopraxis.backbones.image import ImageBackbone
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

    @property
    def num_features(self) -> int:
        """Width of what `frame_features` and `clip_features` give, D."""
        return int(self.backbone.num_features)  # type: ignore[arg-type]

    @property
    def mixes_frames(self) -> bool:
        """Whether what the backbone finds in a frame depends on the clip's other frames."""
        return not isinstance(self.backbone, ImageBackbone) or bool(self.backbone.hosts)

    def check_frame_features(self) -> None:
        """See that the network has features of single frames.

        Raises:
            ConfigError: If it sees whole clips only, or halves the number of frames.
        """
        if not isinstance(self.backbone, ImageBackbone):
            raise ConfigError(
                f"{type(self.backbone).__name__} sees whole clips and has no features of frames; take those of clips"
            )
        if self.backbone.has_temporal_pool:
            raise ConfigError(
                "the network halves the number of frames, so that they have no features each; take those of clips"
            )

    def frame_features(self, clip_BTCHW: Tensor) -> Tensor:
        """What an image network finds in each frame: the pooled features of the backbone, before any dropout or head.

        Where the backbone has temporal modules each feature also tells of the clip's other frames; so give it clips like those
        that it was trained with.

        Args:
            clip_BTCHW: As for `forward`, of any T.

        Returns:
            Shape (B, T, D).

        Raises:
            ConfigError: As `check_frame_features`.
            ValueError: If the clip has another number of axes or channels.
        """
        self.check_frame_features()
        features_BTD: Tensor = self.backbone(clip_BTCHW)
        return features_BTD

    def clip_features(self, clip_BTCHW: Tensor) -> Tensor:
        """What the backbone finds in whole clips; of an image network the mean of its frames' features, which TSN classifies.

        Args:
            clip_BTCHW: As for `forward`.

        Returns:
            Shape (B, D).

        Raises:
            ValueError: If the clip has another number of axes or channels, or a length or size that the network cannot take.
        """
        features: Tensor = self.backbone(clip_BTCHW)
        return features.mean(dim=1) if features.ndim == 3 else features

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
