"""TANet: TSN whose residual branches mix the frames by a kernel that the clip itself decides (`temporal.tam`).

Source: Liu et al., TAM: Temporal Adaptive Module for Video Recognition, ICCV 2021.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.tsn import TSN, tsn_on_images
from zoopraxis.models.weights import KINETICS_400, SOMETHING_V1, Evaluation, PublishedWeights, enter_weights

__all__ = ["build_tanet", "preprocessing_tanet"]


def build_tanet(
    arguments: ModelArguments,
    *,
    kernel_size: int = 3,
    local_kernel_size: int | None = None,
    alpha: int = 2,
    beta: int = 4,
    backbone_args: Mapping[str, Any] | None = None,
) -> TSN:
    """TANet on any image network of known blocks; the published ones are ResNet-50s.

    Clips must have `num_segments` frames, in tests too: the modules' global branches map all frames of a clip. A fresh module
    halves its input, which the norm behind it takes up, so `partial_bn` should stay off.

    The authors' own checkpoints lie in https://drive.google.com/drive/folders/1sFfmP3yrfc7IzRshEELOby7-aEoymIFL and have no
    addresses of their own. Download one by hand: `load_model("<the file>")` reads it as it is, with the number of frames from
    its shapes; `architecture={"dropout": 0.6}` and the like say what no key tells.

    Args:
        arguments: Those of every model; `temporal` is None or `tam`.
        kernel_size: Frames that are mixed, odd.
        local_kernel_size: Frames that the local branch's convolution sees, odd; none: `kernel_size`.
        alpha: The global branch widens T frames to `alpha * T` units.
        beta: The local branch narrows C channels to `C // beta`.
        backbone_args: Arguments of the image network.

    Raises:
        ConfigError: If a name or argument is unknown or out of range, or the backbone has no known block.

    Differs: the published classifier scores each frame and averages the scores; see `TSN`.
    """
    return tsn_on_images(
        arguments,
        temporal="tam",
        temporal_args={
            "kernel_size": kernel_size,
            "local_kernel_size": local_kernel_size,
            "alpha": alpha,
            "beta": beta,
        },
        backbone_args=backbone_args,
    )


def preprocessing_tanet(modality: Modality, *, num_segments: int = 8, segment_length: int = 1) -> Preprocessing:
    """What the published networks expect: statistics of ImageNet and frames resized as OpenCV does, for clips of any length."""
    usual = Preprocessing.imagenet() if modality == "rgb" else Preprocessing.epic(modality)
    return dataclasses.replace(usual, num_segments=num_segments, segment_length=segment_length, antialias=False)


MODELS.register("tanet")(
    ModelKind("TANet", build_tanet, dropout=0.5, partial_bn=False, preprocessing=preprocessing_tanet, temporal="tam")
)

_URL = "https://download.openmmlab.com/mmaction/recognition/tanet/"
_AUTHORS = "https://drive.google.com/drive/folders/1sFfmP3yrfc7IzRshEELOby7-aEoymIFL?usp=sharing"
_SOURCE = "mmaction2 model zoo, TANet"
_AUTHORS_SOURCE = "TANet authors' repository (liu-zhy/temporal-adaptive-module), README"
_MMACTION = dataclasses.replace(preprocessing_tanet("rgb"), size=256, mean=(123.675 / 255, 116.28 / 255, 103.5 / 255))
"""mmaction2 trained TANet with a mean of 103.5 in blue, where it has 103.53 elsewhere."""


def _evaluation(num_frames: int, num_clips: int, top1: float, top5: float, **settings: Any) -> Evaluation:
    """Clips of three crops of 256 px each; of one clip, a center crop of 224 px."""
    accuracy = {"val/label@1": top1, "val/label@5": top5}
    if num_clips > 1:
        settings |= {"num_crops": 3, "size": 256}
    return Evaluation(**{"accuracy": accuracy, "num_frames": num_frames, "num_clips": num_clips, "average": "prob", **settings})


def _kinetics(tag: str, preprocessing: Preprocessing, *evaluations: Evaluation, **place: str) -> PublishedWeights:
    return PublishedWeights(
        name=f"tanet_resnet50.{tag}",
        model={"name": "tanet", "heads": {"label": 400}},
        num_parameters=25_590_320,
        gmacs=42.71794688,
        preprocessing=dataclasses.replace(preprocessing, sampling="dense"),
        data=KINETICS_400,
        evaluations=evaluations,
        **place,
    )


def _something(
    num_frames: int, gmacs: float, num_parameters: int, date_and_hash: str, *evaluations: Evaluation
) -> PublishedWeights:
    run = f"tanet_r50_1x1x{num_frames}_50e_sthv1_rgb"
    return PublishedWeights(
        name=f"tanet_resnet50.mmaction2_sthv1_1x1x{num_frames}",
        url=f"{_URL}{run}/{run}_{date_and_hash}.pth",
        model={"name": "tanet", "heads": {"label": 174}, "num_segments": num_frames, "dropout": 0.6},
        num_parameters=num_parameters,
        gmacs=gmacs,
        preprocessing=dataclasses.replace(_MMACTION, num_segments=num_frames, sampling="segments_mmaction2"),
        data=SOMETHING_V1,
        evaluations=evaluations,
        source=_SOURCE,
    )


enter_weights(
    _kinetics(
        "mmaction2_kinetics_dense_1x1x8",
        _MMACTION,
        _evaluation(8, 10, 76.28, 92.60),
        url=f"{_URL}tanet_r50_dense_1x1x8_100e_kinetics400_rgb/tanet_r50_dense_1x1x8_100e_kinetics400_rgb_20210219-032c8e94.pth",
        source=_SOURCE,
    ),
    _kinetics(
        "kinetics_8f",
        preprocessing_tanet("rgb"),
        _evaluation(8, 10, 76.1, 92.3, average="score"),
        _evaluation(8, 10, 76.22, 92.53, source=f"{_SOURCE}, the authors' weights tested there"),
        page=_AUTHORS,
        source=_AUTHORS_SOURCE,
    ),
    _something(
        8, 42.717484032, 25_127_246, "20210630-f4a48609", _evaluation(8, 2, 49.58, 77.31), _evaluation(8, 1, 47.34, 75.72)
    ),
    _something(
        16, 85.435578368, 25_134_670, "20211202-370c2128", _evaluation(16, 2, 50.91, 79.13), _evaluation(16, 1, 49.05, 77.90)
    ),
)
