"""The heads of networks over whole clips.

# B clips, T frames, C channels, H height, W width, D features
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from zoopraxis.backbones.clip import ClipBackbone
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import ModelArguments

__all__ = ["ClipClassifier"]


class ClipClassifier(VideoModel):
    """Features of a clip, dropout, one linear map a head.

    Args:
        backbone: Maps clips (B, T, C, H, W) to features (B, D).
        arguments: Those of every model.
        is_dropout_shared: Whether all heads see the same features dropped (as published of convolutional networks), or each
            draws its own (transformers).
        has_pre_logits: Whether each head has a linear map of D features and a tanh before its own.
        init_std: Standard deviation of the heads' weights at birth, truncated at two of it, their biases zero; none: as torch
            has it.
    """

    def __init__(
        self,
        backbone: ClipBackbone,
        arguments: ModelArguments,
        *,
        is_dropout_shared: bool = True,
        has_pre_logits: bool = False,
        init_std: float | None = None,
    ) -> None:
        super().__init__(backbone, heads=arguments.heads, preprocessing=arguments.preprocessing)
        width = backbone.num_features
        self.is_dropout_shared = is_dropout_shared
        self.dropout = nn.Dropout(arguments.dropout)
        names = self.heads if has_pre_logits else ()
        self.pre_logits = nn.ModuleDict({head: nn.Linear(width, width) for head in names})
        self.classifiers = nn.ModuleDict({head: nn.Linear(width, num_classes) for head, num_classes in self.heads.items()})
        if init_std is not None:
            _initialize(self.pre_logits, init_std)
            _initialize(self.classifiers, init_std)

    def forward(self, clip_BTCHW: Tensor) -> dict[str, Tensor]:
        """Score clips.

        Args:
            clip_BTCHW: Shape (B, T, C, H, W), normalized floats, C as `preprocessing.in_channels` has it.

        Returns:
            For each head logits, shape (B, classes).

        Raises:
            ValueError: If the clip has another number of axes or channels, or a length or size that the network cannot take.
        """
        features_BD = self.backbone(clip_BTCHW)
        shared_BD = self.dropout(features_BD) if self.is_dropout_shared else None
        logits = {}
        for head, classifier in self.classifiers.items():
            head_BD = self.dropout(features_BD) if shared_BD is None else shared_BD
            if head in self.pre_logits:
                head_BD = self.pre_logits[head](head_BD).tanh()
            logits[head] = classifier(head_BD)
        return logits


def _initialize(maps: Mapping[str, nn.Module] | nn.ModuleDict, std: float) -> None:
    for linear in maps.values():
        assert isinstance(linear, nn.Linear)
        nn.init.trunc_normal_(linear.weight, std=std, a=-2 * std, b=2 * std)
        nn.init.zeros_(linear.bias)
