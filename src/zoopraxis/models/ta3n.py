"""TA3N from clips: an image network and the network of domain adaptation behind it, trained together.

The published code adapts features that were extracted beforehand, so that the image network never learns from the domains'
discriminators. Here it does: their reversed gradients go on into it.

# B clips, T frames, C channels, H height, W width, D features

Source: Chen et al., Temporal Attentive Alignment for Large-Scale Video Domain Adaptation, ICCV 2019; the verb and noun heads:
Damen et al., Rescaling Egocentric Vision, IJCV 2022.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from zoopraxis.adaptation.aggregation import RnnCell
from zoopraxis.adaptation.network import (
    AdaptationNetwork,
    Aggregation,
    Attention,
    AutoDial,
    Domain,
    DomainOutput,
    Level,
    Norm,
    Prediction,
)
from zoopraxis.backbones.image import ImageBackbone, create_image_backbone
from zoopraxis.errors import ConfigError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.preprocessing import Preprocessing

__all__ = ["TA3N", "build_ta3n"]


class TA3N(VideoModel):
    """Frame features of an image network, and behind them shared layers, aggregation, classifiers and discriminators.

    Batch norms of the image network, where they are not frozen, see the clips of both domains as one batch by default: training
    then normalizes by what the running statistics follow, and inference by these. With `share_norms=False` each domain's clips
    are normalized by themselves, source first, as if each had come alone; the running statistics then follow both in turn, and
    the discriminators no longer see differences of mean and variance that inference will show. Norms that look at each clip by
    itself, and frozen ones, give the same numbers either way; one batch is then faster.

    Args:
        backbone: Maps clips (B, T, C, H, W) to frame features (B, T, D).
        adaptation: Maps frame features of the target to logits, and those of both domains to all that the losses need.
        heads: Head name to number of classes.
        preprocessing: What the input must have gone through.
        partial_bn: Freeze every batch norm of the backbone but the first: running statistics and affine parameters stay.
        share_norms: Whether both domains' clips go through the backbone as one batch in training.

    Attributes:
        share_norms: As given; it may be changed.
        domain: Whose clips `forward` scores: by the layers and norms of its own, if the network has such. The target's; it may
            be changed.

    Differs: the published code has no network of clips; its image network is fixed.
    """

    def __init__(
        self,
        backbone: ImageBackbone,
        adaptation: AdaptationNetwork,
        *,
        heads: Mapping[str, int],
        preprocessing: Preprocessing,
        partial_bn: bool = False,
        share_norms: bool = True,
    ) -> None:
        super().__init__(backbone, heads=heads, preprocessing=preprocessing, partial_bn=partial_bn)
        self.adaptation = adaptation
        self.share_norms = share_norms
        self.domain: Domain = "target"

    def forward(self, clip_BTCHW: Tensor) -> dict[str, Tensor]:
        """Score clips of `domain`.

        Args:
            clip_BTCHW: Shape (B, T, C, H, W), normalized floats; T as the network was built for, C as
                `preprocessing.in_channels` has it.

        Returns:
            For each head logits, shape (B, classes).

        Raises:
            ValueError: If the clip has another number of frames, axes or channels.
        """
        features_BTD = self.backbone(clip_BTCHW)
        if self.domain == "target":
            scores: dict[str, Tensor] = self.adaptation(features_BTD)
            return scores
        return self.adaptation.describe(features_BTD, self.domain).clip_logits()

    def domains(
        self,
        source_BTCHW: Tensor,
        target_BTCHW: Tensor,
        *,
        strengths: Mapping[Level, float] | None = None,
        classifier_strength: float | None = None,
        levels: Collection[Level] | None = None,
    ) -> tuple[DomainOutput, DomainOutput]:
        """What the network finds in the clips of both domains.

        Args:
            source_BTCHW: Clips of the source, shape (B, T, C, H, W), normalized floats.
            target_BTCHW: Of the target; their number may be another.
            strengths: See `AdaptationNetwork.domains`; also `classifier_strength` and `levels`.
            classifier_strength: See there.
            levels: See there.

        Returns:
            Those of the source and of the target.

        Raises:
            ValueError: If the domains' clips differ in shape, or have another number of frames, axes or channels than the
                network was built for.
        """
        if source_BTCHW.shape[1:] != target_BTCHW.shape[1:]:
            raise ValueError(
                f"clips of the source have shape {tuple(source_BTCHW.shape[1:])} (frames, channels, height, width), those of "
                f"the target {tuple(target_BTCHW.shape[1:])}; cut both alike"
            )
        source_BTD, target_BTD = self._features(source_BTCHW, target_BTCHW)
        return self.adaptation.domains(
            source_BTD, target_BTD, strengths=strengths, classifier_strength=classifier_strength, levels=levels
        )

    def describe(self, clip_BTCHW: Tensor, domain: Domain = "target") -> DomainOutput:
        """What the network finds in clips of one domain, for inference."""
        return self.adaptation.describe(self.backbone(clip_BTCHW), domain)

    def _features(self, source_BTCHW: Tensor, target_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Frame features of both domains, shape (B, T, D) each; of the same clips once."""
        if target_BTCHW is source_BTCHW:
            features_BTD = self.backbone(source_BTCHW)
            return features_BTD, features_BTD
        if not self.share_norms and self.training and len(target_BTCHW) > 0:
            return self.backbone(source_BTCHW), self.backbone(target_BTCHW)
        clips_BTCHW = torch.cat((source_BTCHW, target_BTCHW))
        source_BTD, target_BTD = torch.split(self.backbone(clips_BTCHW), [len(source_BTCHW), len(target_BTCHW)])
        return source_BTD, target_BTD


def build_ta3n(
    arguments: ModelArguments,
    *,
    aggregation: Aggregation = "relations",
    prediction: Prediction = "video",
    shared_dim: int = 512,
    num_shared_layers: int = 1,
    relation_dim: int | None = None,
    video_dropout: float = 0.5,
    attention: Attention = "transferable",
    frame_attention: Attention = "none",
    norm: Norm = "none",
    autodial: AutoDial = "learned",
    share_parameters: bool = True,
    rnn_cell: RnnCell = "lstm",
    rnn_layers: int = 1,
    rnn_directions: int = 1,
    rnn_bins: int = 5,
    second_classifier: bool = False,
    share_norms: bool = True,
    temporal_args: Mapping[str, Any] | None = None,
    backbone_args: Mapping[str, Any] | None = None,
) -> TA3N:
    """TA3N on any image network; with `temporal` the backbone's blocks see the neighboring frames, too.

    Args:
        arguments: Those of every model; `dropout` is that of frames. Clips must have `num_segments` frames.
        share_norms: See `TA3N`.
        temporal_args: Arguments of the temporal module.
        backbone_args: Arguments of the image network.

    All others are those of `AdaptationNetwork`, and the settings `model.*` of a recipe of adaptation.

    Raises:
        ConfigError: If a name or argument is unknown, out of range, or does nothing.
    """
    backbone = _image_backbone(arguments, temporal_args, backbone_args)
    adaptation = _adaptation_network(
        backbone.num_features,
        arguments,
        aggregation=aggregation,
        prediction=prediction,
        shared_dim=shared_dim,
        num_shared_layers=num_shared_layers,
        relation_dim=relation_dim,
        video_dropout=video_dropout,
        attention=attention,
        frame_attention=frame_attention,
        norm=norm,
        autodial=autodial,
        share_parameters=share_parameters,
        rnn_cell=rnn_cell,
        rnn_layers=rnn_layers,
        rnn_directions=rnn_directions,
        rnn_bins=rnn_bins,
        second_classifier=second_classifier,
    )
    return TA3N(
        backbone,
        adaptation,
        heads=arguments.heads,
        preprocessing=arguments.preprocessing,
        partial_bn=arguments.partial_bn,
        share_norms=share_norms,
    )


def _image_backbone(
    arguments: ModelArguments, temporal_args: Mapping[str, Any] | None, backbone_args: Mapping[str, Any] | None
) -> ImageBackbone:
    if arguments.temporal is None and temporal_args:
        raise ConfigError(f"temporal_args {dict(temporal_args)} need a temporal module; give temporal=...")
    return create_image_backbone(
        arguments.backbone,
        pretrained=arguments.pretrained,
        in_channels=arguments.preprocessing.in_channels,
        temporal=arguments.temporal,
        num_frames=arguments.num_segments,
        temporal_args=temporal_args,
        backbone_args=backbone_args,
    )


def _adaptation_network(feature_dim: int, arguments: ModelArguments, **settings: Any) -> AdaptationNetwork:
    try:
        return AdaptationNetwork(
            feature_dim=feature_dim,
            num_segments=arguments.num_segments,
            heads=arguments.heads,
            dropout=arguments.dropout,
            **settings,
        )
    except ValueError as error:
        raise ConfigError(f"TA3N cannot be built: {error}") from error


MODELS.register("ta3n")(ModelKind("TA3N", build_ta3n, dropout=0.5, partial_bn=False, num_segments=5))
