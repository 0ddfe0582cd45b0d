"""TAda2D: a ResNet whose 3x3 kernels each frame calibrates, with an average over neighboring frames behind them.

# B clips, T frames, D features

Source: Huang et al., TAda! Temporally-Adaptive Convolutions for Video Understanding, ICLR 2022.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoopraxis.errors import ConfigError
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.tsn import TSN, tsn_on_images
from zoopraxis.models.weights import KINETICS_400, SOMETHING_V2, Evaluation, PublishedWeights, enter_weights

__all__ = ["build_tada2d"]

_MEAN, _STD = (0.45,), (0.225,)


class ClipDropout(nn.Dropout):
    """Dropout of features of a whole clip, (B, T, D) to the same: before a mean over frames it equals dropout behind it."""

    def forward(self, features_BTD: Tensor) -> Tensor:
        features_BDT = features_BTD.transpose(1, 2)
        return nn.functional.dropout1d(features_BDT, self.p, self.training).transpose(1, 2)


def build_tada2d(
    arguments: ModelArguments,
    *,
    ratio: int = 4,
    kernels: Sequence[int] = (3, 3),
    norm_eps: float = 1e-5,
    backbone_args: Mapping[str, Any] | None = None,
) -> TSN:
    """TAda2D on a ResNet; at birth it scores as the ResNet does that has no max pool in its stem.

    Clips of any length can be scored; the published networks were trained and tested at `num_segments` frames. The stem has no
    max pool: the first block of the first stage halves the resolution in its place.

    Args:
        arguments: Those of every model; `temporal` is None or `tada2d`. With `partial_bn` the norms of the averages over frames
            stay zero.
        ratio: Channels over hidden channels of the routing functions.
        kernels: Temporal sizes of their two convolutions.
        norm_eps: Added to the variance in the batch norms, except in the routing functions, which have 1e-5.
        backbone_args: Arguments of the image network.

    Raises:
        ConfigError: If a name or argument is unknown or out of range, or the backbone is no ResNet with batch norms.

    Differs: without weights of ImageNet the last norm of each block starts at zero, as timm has it (the published one at one:
    `backbone_args={"zero_init_last": False}`), and the heads start smaller (`TSN`).
    """
    if norm_eps <= 0:
        raise ConfigError(f"norm_eps ({norm_eps}) must be above 0; the published networks have 1e-5")
    model = tsn_on_images(
        arguments,
        temporal="tada2d",
        temporal_args={"ratio": ratio, "kernels": tuple(kernels)},
        backbone_args=backbone_args,
        is_stem_pool_free=True,
    )
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = norm_eps
    model.dropout = ClipDropout(arguments.dropout)
    return model


def preprocessing_tada2d(modality: Modality, *, num_segments: int = 8, segment_length: int = 1) -> Preprocessing:
    """What the published networks expect, for clips of any length: 8 frames, each 8th at 30 frames a second."""
    return Preprocessing(
        modality=modality,
        mean=_MEAN,
        std=_STD,
        num_segments=num_segments,
        segment_length=segment_length,
        sampling="interval",
        interval=8,
        antialias=False,
    )


MODELS.register("tada2d")(
    ModelKind("TAda2D", build_tada2d, dropout=0.5, partial_bn=False, preprocessing=preprocessing_tada2d, temporal="tada2d")
)

_KINETICS = dataclasses.replace(preprocessing_tada2d("rgb"), size=256)
_SOMETHING = dataclasses.replace(_KINETICS, sampling="segments_tadaconv", interval=1)
_SOURCE = "TAdaConv authors' repository (pytorch-video-understanding), README"
_MODEL_ZOO = "TAdaConv authors' repository (pytorch-video-understanding), MODEL_ZOO"


def _views(num_frames: int, num_clips: int, top1: float, top5: float | None = None, source: str = "") -> Evaluation:
    """Clips of three crops of 256 px each, whose probabilities are added up."""
    accuracy = {"val/label@1": top1} if top5 is None else {"val/label@1": top1, "val/label@5": top5}
    views: dict[str, Any] = {"num_clips": num_clips, "num_crops": 3, "average": "prob"}
    return Evaluation(accuracy=accuracy, num_frames=num_frames, size=256, source=source, **views)


def _kinetics(interval: int, drive_file: str, gmacs: float, evaluation: Evaluation) -> PublishedWeights:
    num_frames = evaluation.num_frames
    return PublishedWeights(
        name=f"tada2d_resnet50.kinetics_{num_frames}x{interval}",
        page=f"https://drive.google.com/file/d/{drive_file}/view?usp=sharing",
        model={"name": "tada2d", "heads": {"label": 400}, "num_segments": num_frames},
        num_parameters=27_485_472,
        gmacs=gmacs,
        preprocessing=dataclasses.replace(_KINETICS, num_segments=num_frames, interval=interval),
        data=KINETICS_400,
        evaluations=(evaluation,),
        source=_SOURCE,
    )


def _something(drive_file: str, gmacs: float, *evaluations: Evaluation) -> PublishedWeights:
    num_frames = evaluations[0].num_frames
    return PublishedWeights(
        name=f"tada2d_resnet50.sthv2_{num_frames}f",
        page=f"https://drive.google.com/file/d/{drive_file}/view?usp=sharing",
        model={"name": "tada2d", "heads": {"label": 174}, "num_segments": num_frames},
        num_parameters=27_022_398,
        gmacs=gmacs,
        preprocessing=dataclasses.replace(_SOMETHING, num_segments=num_frames),
        data=SOMETHING_V2,
        evaluations=evaluations,
        source=_SOURCE,
    )


enter_weights(
    _kinetics(8, "1YsbTKLoDwxtStAsP5oxUMbIsw85NvY0O", 43.126222848, _views(8, 10, 76.7, 92.6)),
    _kinetics(5, "1UQDurxakmnDxa5D2tBuTqTH60BVyW3XM", 86.250369024, _views(16, 10, 77.4, 93.1)),
    _something("16y6dDf-hcMmJ2jDCV9tRla8aRJZKJXSk", 43.12576, _views(8, 2, 64.0, 88.0), _views(8, 2, 64.2, source=_MODEL_ZOO)),
    _something("1xwCxuFW6DZ0xpEsp_tFJYQRGuHPJe4uS", 86.249906176, _views(16, 2, 65.6, 89.1)),
)
