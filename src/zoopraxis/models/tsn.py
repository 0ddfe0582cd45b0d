"""TSN: an image network sees each of a few frames spread over the clip; the frames' scores are averaged.

# B clips, T frames, C channels, H height, W width, D features

Source: Wang et al., Temporal Segment Networks: Towards Good Practices for Deep Action Recognition, ECCV 2016; the verb and noun
heads and the published EPIC-KITCHENS-100 weights: Damen et al., Rescaling Egocentric Vision, IJCV 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoopraxis.backbones.image import ImageBackbone, create_image_backbone
from zoopraxis.errors import ConfigError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.models.weights import (
    EPIC_100,
    EPIC_HEADS,
    EPIC_SOURCE,
    KINETICS_400,
    MMACTION_SOURCE,
    MMACTION_URL,
    Evaluation,
    PublishedWeights,
    enter_weights,
)

__all__ = ["TSN", "build_tsn", "tsn_on_images"]

_HEAD_INIT_STD = 0.001


class TSN(VideoModel):
    """Frame features, dropout, one linear map a head, the mean over frames. With temporal modules in the backbone it is TSM.

    Args:
        backbone: Maps clips (B, T, C, H, W) to frame features (B, T, D).
        heads: Head name to number of classes.
        preprocessing: What the input must have gone through.
        dropout: Probability that a feature of a frame is dropped, in training.
        partial_bn: Freeze every batch norm of the backbone but the first: running statistics and affine parameters stay.

    Differs: features are averaged over frames before the linear maps, which gives the same numbers at 1/T of the cost.
    """

    def __init__(
        self,
        backbone: ImageBackbone,
        *,
        heads: Mapping[str, int],
        preprocessing: Preprocessing,
        dropout: float = 0.7,
        partial_bn: bool = True,
    ) -> None:
        super().__init__(backbone, heads=heads, preprocessing=preprocessing, partial_bn=partial_bn)
        self.dropout = nn.Dropout(dropout)
        self.classifiers = nn.ModuleDict({head: nn.Linear(backbone.num_features, width) for head, width in heads.items()})
        for classifier in self.classifiers.values():
            assert isinstance(classifier, nn.Linear)
            nn.init.normal_(classifier.weight, 0, _HEAD_INIT_STD)
            nn.init.zeros_(classifier.bias)

    def forward(self, clip_BTCHW: Tensor) -> dict[str, Tensor]:
        """Score clips.

        Args:
            clip_BTCHW: Shape (B, T, C, H, W), normalized floats; any T, C as `preprocessing.in_channels` has it.

        Returns:
            For each head logits, shape (B, classes).

        Raises:
            ValueError: If the clip has another number of axes or channels.
        """
        features_BD = self.dropout(self.backbone(clip_BTCHW)).mean(dim=1)
        return {head: classifier(features_BD) for head, classifier in self.classifiers.items()}


def build_tsn(
    arguments: ModelArguments,
    *,
    temporal_args: Mapping[str, Any] | None = None,
    backbone_args: Mapping[str, Any] | None = None,
) -> TSN:
    """TSN; with `temporal` the named module is put into the backbone at its published place (`shift` makes it TSM).

    Args:
        arguments: Those of every model.
        temporal_args: Arguments of the temporal module.
        backbone_args: Arguments of the image network.

    Raises:
        ConfigError: If `temporal_args` are given without `temporal`, or a name or argument is unknown.
    """
    if arguments.temporal is None and temporal_args:
        raise ConfigError(f"temporal_args {dict(temporal_args)} need a temporal module; give temporal=...")
    return tsn_on_images(arguments, temporal=arguments.temporal, temporal_args=temporal_args, backbone_args=backbone_args)


def tsn_on_images(arguments: ModelArguments, *, temporal: str | None, **backbone: Any) -> TSN:
    """TSN on an image backbone with a temporal module: what the models of one module each are made of.

    Args:
        arguments: Those of every model.
        temporal: The module.
        backbone: Further arguments of `create_image_backbone`.

    Raises:
        ConfigError: If the arguments ask for another temporal module.
    """
    if arguments.temporal not in (None, temporal):
        raise ConfigError(
            f"this model has the temporal module {temporal!r}, not {arguments.temporal!r}; use the model 'tsn' for others"
        )
    network = create_image_backbone(
        arguments.backbone,
        pretrained=arguments.pretrained,
        in_channels=arguments.preprocessing.in_channels,
        temporal=temporal,
        num_frames=arguments.num_segments,
        **backbone,
    )
    return TSN(
        network,
        heads=arguments.heads,
        preprocessing=arguments.preprocessing,
        dropout=arguments.dropout,
        partial_bn=arguments.partial_bn,
    )


MODELS.register("tsn")(ModelKind("TSN", build_tsn))


_EPIC_RGB = Preprocessing.epic("rgb")
_EPIC_FLOW = Preprocessing.epic("flow", segment_length=5)
_TEST_FRAMES = 25
"""Published accuracies are those of more frames than were trained with."""


def _kinetics(num_segments: int, date_and_hash: str, top1: float, top5: float) -> PublishedWeights:
    run = f"tsn_imagenet-pretrained-r50_8xb32-1x1x{num_segments}-100e_kinetics400-rgb"
    return PublishedWeights(
        name=f"tsn_resnet50.mmaction2_kinetics_1x1x{num_segments}",
        url=f"{MMACTION_URL}tsn/{run}/{run}_{date_and_hash}.pth",
        model={"name": "tsn", "heads": {"label": 400}, "dropout": 0.4, "partial_bn": False, "num_segments": num_segments},
        num_parameters=24_327_632,
        gmacs=102.1792256,
        preprocessing=Preprocessing.imagenet(num_segments=num_segments),
        data=KINETICS_400,
        evaluations=(
            Evaluation(
                accuracy={"val/label@1": top1, "val/label@5": top5}, num_frames=_TEST_FRAMES, num_crops=10, average="prob"
            ),
        ),
        source=MMACTION_SOURCE,
    )


enter_weights(
    PublishedWeights(
        name="tsn_resnet50.epic100_rgb",
        url="https://www.dropbox.com/s/4i99mzddk95edyq/tsn_rgb.ckpt?dl=1",
        model={"name": "tsn", "heads": EPIC_HEADS},
        num_parameters=24_321_485,
        gmacs=102.179219456,
        preprocessing=_EPIC_RGB,
        data=EPIC_100,
        evaluations=(Evaluation(accuracy={"val/action@1": 27.40, "test/action@1": 24.11}, num_frames=_TEST_FRAMES),),
        source=EPIC_SOURCE,
    ),
    PublishedWeights(
        name="tsn_resnet50.epic100_flow",
        url="https://www.dropbox.com/s/res0i1ns7v30g9y/tsn_flow.ckpt?dl=1",
        model={"name": "tsn", "heads": EPIC_HEADS, "modality": "flow", "segment_length": 5},
        num_parameters=24_343_437,
        gmacs=109.063366656,
        preprocessing=_EPIC_FLOW,
        data=EPIC_100,
        evaluations=(Evaluation(accuracy={"val/action@1": 22.86, "test/action@1": 24.62}, num_frames=_TEST_FRAMES),),
        source=EPIC_SOURCE,
    ),
    _kinetics(3, "20220906-cd10898e", 72.83, 90.65),
    _kinetics(5, "20220906-65d68713", 73.80, 91.21),
    _kinetics(8, "20220906-2692d16c", 74.12, 91.34),
)
