"""TSN: an image network sees each of a few frames spread over the clip; the frames' scores are averaged.

# B clips, T frames, C channels, H height, W width, D features

Source: Wang et al., Temporal Segment Networks: Towards Good Practices for Deep Action Recognition, ECCV 2016; the verb and noun
heads and the published EPIC-KITCHENS-100 weights: Damen et al., Rescaling Egocentric Vision, IJCV 2022.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from torch import Tensor, nn

from zoopraxis.backbones.image import ImageBackbone, create_image_backbone
from zoopraxis.errors import ConfigError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import MODELS
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.weights import EPIC_HEADS, EPIC_SOURCE, MMACTION_SOURCE, MMACTION_URL, PublishedWeights, enter_weights

__all__ = ["TSN", "build_tsn"]

_HEAD_INIT_STD = 0.001


class TSN(VideoModel):
    """Frame features, dropout, one linear map a head, the mean over frames. With temporal modules in the backbone it is TSM.

    Args:
        backbone: Maps clips (B, T, C, H, W) to frame features (B, T, D).
        heads: Head name to number of classes.
        preprocessing: What the input must have gone through.
        dropout: Probability that a feature of a frame is dropped, in training.
        partial_bn: Freeze every batch norm of the backbone but the first: running statistics and affine parameters stay.

    Differs: in the published code `train()` and `eval()` return None, and the batch norms' affine parameters stay trainable
    until `train()` is called first. Features are averaged over frames before the linear maps, which gives the same numbers at
    1/T of the cost.
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
        super().__init__(heads=dict(heads), preprocessing=preprocessing)
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.classifiers = nn.ModuleDict({head: nn.Linear(backbone.num_features, width) for head, width in heads.items()})
        self.partial_bn = partial_bn
        for classifier in self.classifiers.values():
            assert isinstance(classifier, nn.Linear)
            nn.init.normal_(classifier.weight, 0, _HEAD_INIT_STD)
            nn.init.zeros_(classifier.bias)
        if partial_bn:
            for norm in self._frozen_norms():
                norm.requires_grad_(False)

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


@MODELS.register("tsn")
def build_tsn(
    *,
    heads: Mapping[str, int],
    backbone: str,
    temporal: str | None,
    num_segments: int,
    segment_length: int,
    modality: Modality,
    pretrained: bool,
    dropout: float,
    partial_bn: bool,
    preprocessing: Preprocessing,
    temporal_args: Mapping[str, Any] | None = None,
    backbone_args: Mapping[str, Any] | None = None,
) -> TSN:
    """TSN; with `temporal` the named module is put into the backbone at its published place (`shift` makes it TSM).

    Args:
        heads: See `create_model`, as for all that is not named here.
        backbone: An image network of timm.
        temporal: A temporal module, or none.
        num_segments: T in training.
        segment_length: Frames stacked on the channel axis.
        modality: `rgb` or `flow`.
        pretrained: Start from timm's weights.
        dropout: Before the heads.
        partial_bn: Freeze all batch norms but the first.
        preprocessing: Of the input.
        temporal_args: Arguments of the temporal module.
        backbone_args: Arguments of the image network.

    Raises:
        ConfigError: If `temporal_args` are given without `temporal`, or a name or argument is unknown.
    """
    if temporal is None and temporal_args:
        raise ConfigError(f"temporal_args {dict(temporal_args)} need a temporal module; give temporal=...")
    network = create_image_backbone(
        backbone,
        pretrained=pretrained,
        in_channels=preprocessing.in_channels,
        temporal=temporal,
        num_frames=num_segments,
        temporal_args=temporal_args,
        backbone_args=backbone_args,
    )
    return TSN(network, heads=heads, preprocessing=preprocessing, dropout=dropout, partial_bn=partial_bn)


_EPIC_RGB = Preprocessing.epic("rgb")
_EPIC_FLOW = Preprocessing.epic("flow", segment_length=5)
_TEST = "25 segment centers, 1 center crop; trained with 8 segments"


def _kinetics(num_segments: int, date_and_hash: str, top1: float, top5: float) -> PublishedWeights:
    run = f"tsn_imagenet-pretrained-r50_8xb32-1x1x{num_segments}-100e_kinetics400-rgb"
    return PublishedWeights(
        name=f"tsn_resnet50.mmaction2_kinetics_1x1x{num_segments}",
        url=f"{MMACTION_URL}tsn/{run}/{run}_{date_and_hash}.pth",
        model={"name": "tsn", "heads": {"label": 400}, "dropout": 0.4, "partial_bn": False, "num_segments": num_segments},
        num_parameters=24_327_632,
        preprocessing=Preprocessing.imagenet(num_segments=num_segments),
        sampling=f"25 segment centers, 10 crops; trained with {num_segments} segments",
        accuracy={"val/label@1": top1, "val/label@5": top5},
        source=MMACTION_SOURCE,
    )


enter_weights(
    PublishedWeights(
        name="tsn_resnet50.epic100_rgb",
        url="https://www.dropbox.com/s/4i99mzddk95edyq/tsn_rgb.ckpt?dl=1",
        model={"name": "tsn", "heads": EPIC_HEADS},
        num_parameters=24_321_485,
        preprocessing=_EPIC_RGB,
        sampling=_TEST,
        accuracy={"val/action@1": 27.40, "test/action@1": 24.11},
        source=EPIC_SOURCE,
    ),
    PublishedWeights(
        name="tsn_resnet50.epic100_flow",
        url="https://www.dropbox.com/s/res0i1ns7v30g9y/tsn_flow.ckpt?dl=1",
        model={"name": "tsn", "heads": EPIC_HEADS, "modality": "flow", "segment_length": 5},
        num_parameters=24_343_437,
        preprocessing=_EPIC_FLOW,
        sampling=_TEST,
        accuracy={"val/action@1": 22.86, "test/action@1": 24.62},
        source=EPIC_SOURCE,
    ),
    _kinetics(3, "20220906-cd10898e", 72.83, 90.65),
    _kinetics(5, "20220906-65d68713", 73.80, 91.21),
    _kinetics(8, "20220906-2692d16c", 74.12, 91.34),
)
