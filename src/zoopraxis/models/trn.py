"""TRN: an image network sees each frame; small networks over ordered tuples of frames tell what happens from one to the next.

# B clips, T frames, C channels, H height, W width, D features

Source: Zhou et al., Temporal Relational Reasoning in Videos, ECCV 2018; the verb and noun heads and the published
EPIC-KITCHENS-100 weights: Damen et al., Rescaling Egocentric Vision, IJCV 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoopraxis.backbones.image import ImageBackbone, create_image_backbone
from zoopraxis.errors import ConfigError, did_you_mean
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.models.weights import EPIC_100, EPIC_HEADS, EPIC_SOURCE, Evaluation, PublishedWeights, enter_weights
from zoopraxis.temporal.relation import MultiScaleRelation, Relations, SingleScaleRelation, TupleChoice

__all__ = ["TRN", "build_trn"]

_PROJECTION_INIT_STD = 0.001
_BOTTLENECKS = {"multiscale": 256, "single": 512}

RelationName = Literal["multiscale", "single"]


class TRN(VideoModel):
    """Frame features, dropout, a projection of each frame, one relation module for all heads.

    Args:
        backbone: Maps clips (B, T, C, H, W) to frame features (B, T, D).
        relation: Maps projected frames (B, T, feature_dim) to the logits of all heads together, in their order.
        feature_dim: Width of the projection.
        heads: Head name to number of classes.
        preprocessing: What the input must have gone through.
        dropout: Probability that a feature of a frame is dropped, in training.
        partial_bn: Freeze every batch norm of the backbone but the first: running statistics and affine parameters stay.
    """

    def __init__(
        self,
        backbone: ImageBackbone,
        relation: MultiScaleRelation | SingleScaleRelation,
        *,
        feature_dim: int,
        heads: Mapping[str, int],
        preprocessing: Preprocessing,
        dropout: float = 0.7,
        partial_bn: bool = True,
    ) -> None:
        super().__init__(backbone, heads=heads, preprocessing=preprocessing, partial_bn=partial_bn)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(backbone.num_features, feature_dim)
        self.relation = relation
        nn.init.normal_(self.projection.weight, 0, _PROJECTION_INIT_STD)
        nn.init.zeros_(self.projection.bias)

    def forward(self, clip_BTCHW: Tensor, *, relations: Relations | None = None) -> dict[str, Tensor]:
        """Score clips.

        Args:
            clip_BTCHW: Shape (B, T, C, H, W), normalized floats; T as the network was built for, C as
                `preprocessing.in_channels` has it.
            relations: The frame tuples to use instead of the module's own choice, multi-scale only: those of
                `temporal.relation.draw_published_relations` give what the published code gives with the same seed.

        Returns:
            For each head logits, shape (B, classes).

        Raises:
            ValueError: If the clip has another number of frames, axes or channels.
        """
        frames_BTD = self.projection(self.dropout(self.backbone(clip_BTCHW)))
        logits_BK = self.relation(frames_BTD) if relations is None else self.relation(frames_BTD, relations=relations)
        return dict(zip(self.heads, torch.split(logits_BK, list(self.heads.values()), dim=1), strict=True))


def build_trn(
    arguments: ModelArguments,
    *,
    relation: RelationName = "multiscale",
    evaluation: TupleChoice = "expected",
    bottleneck: int | None = None,
    img_feature_dim: int = 256,
    relation_dropout: float | None = None,
    temporal_args: Mapping[str, Any] | None = None,
    backbone_args: Mapping[str, Any] | None = None,
) -> TRN:
    """TRN on any image network; with `temporal` the backbone's blocks see the neighboring frames, too.

    Args:
        arguments: Those of every model; clips must have `num_segments` frames.
        relation: `multiscale`: tuples of all lengths; `single`: all frames side by side.
        evaluation: Of the multi-scale relation, which tuples count in evaluation; see `temporal.relation.TupleChoice`.
        bottleneck: Hidden features of a relation; none: as published, 256 for multiscale and 512 for single.
        img_feature_dim: Width to which frame features are projected.
        relation_dropout: Of the multi-scale relation's variant with a second hidden layer (published 0.6); none: one layer.
        temporal_args: Arguments of the temporal module.
        backbone_args: Arguments of the image network.

    Raises:
        ConfigError: If a name or argument is unknown, out of range, or does nothing.
    """
    if arguments.temporal is None and temporal_args:
        raise ConfigError(f"temporal_args {dict(temporal_args)} need a temporal module; give temporal=...")
    module = _build_relation(arguments, relation, img_feature_dim, bottleneck, evaluation, relation_dropout)
    network = create_image_backbone(
        arguments.backbone,
        pretrained=arguments.pretrained,
        in_channels=arguments.preprocessing.in_channels,
        temporal=arguments.temporal,
        num_frames=arguments.num_segments,
        temporal_args=temporal_args,
        backbone_args=backbone_args,
    )
    return TRN(
        network,
        module,
        feature_dim=img_feature_dim,
        heads=arguments.heads,
        preprocessing=arguments.preprocessing,
        dropout=arguments.dropout,
        partial_bn=arguments.partial_bn,
    )


def _build_relation(
    arguments: ModelArguments,
    name: str,
    feature_dim: int,
    bottleneck: int | None,
    evaluation: TupleChoice,
    dropout: float | None,
) -> MultiScaleRelation | SingleScaleRelation:
    """The relation module; `evaluation` and `dropout` are the multi-scale one's own."""
    if name not in _BOTTLENECKS:
        raise ConfigError(f"unknown relation {name!r} of TRN; {did_you_mean(name, _BOTTLENECKS)}")
    if name == "single" and (evaluation != "expected" or dropout is not None):
        raise ConfigError(
            f"evaluation={evaluation!r} and relation_dropout={dropout} choose for the multi-scale relation; "
            "leave them out with relation='single'"
        )
    sizes = {
        "feature_dim": feature_dim,
        "num_frames": arguments.num_segments,
        "num_classes": sum(arguments.heads.values()),
        "bottleneck": _BOTTLENECKS[name] if bottleneck is None else bottleneck,
    }
    try:
        if name == "single":
            return SingleScaleRelation(**sizes)
        return MultiScaleRelation(**sizes, dropout=dropout, evaluation=evaluation)
    except ValueError as error:
        raise ConfigError(f"the relation of TRN cannot be built: {error}") from error


MODELS.register("trn")(ModelKind("TRN", build_trn))

enter_weights(
    PublishedWeights(
        name="trn_resnet50.epic100_rgb",
        url="https://www.dropbox.com/s/l1cs7kozz3f03r4/trn_rgb.ckpt?dl=1",
        model={"name": "trn", "heads": EPIC_HEADS},
        num_parameters=27_042_331,
        gmacs=32.722426624,
        preprocessing=Preprocessing.epic("rgb"),
        data=EPIC_100,
        evaluations=(Evaluation(accuracy={"val/action@1": 32.64, "test/action@1": 29.54}, num_frames=8),),
        source=EPIC_SOURCE,
    ),
    PublishedWeights(
        name="trn_resnet50.epic100_flow",
        url="https://www.dropbox.com/s/4rehj36vyip82mu/trn_flow.ckpt?dl=1",
        model={"name": "trn", "heads": EPIC_HEADS, "modality": "flow", "segment_length": 5},
        num_parameters=27_064_283,
        gmacs=34.925353728,
        preprocessing=Preprocessing.epic("flow", segment_length=5),
        data=EPIC_100,
        evaluations=(Evaluation(accuracy={"val/action@1": 22.97, "test/action@1": 23.43}, num_frames=8),),
        source=EPIC_SOURCE,
    ),
)
