"""TSM: TSN whose residual branches see the neighboring frames through a shift of channels, at no cost in parameters.

Source: Lin et al., TSM: Temporal Shift Module for Efficient Video Understanding, ICCV 2019; the published EPIC-KITCHENS-100
weights: Damen et al., Rescaling Egocentric Vision, IJCV 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoopraxis.backbones.inject import Place
from zoopraxis.models.build import MODELS, ModelArguments, ModelKind
from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.models.tsn import TSN, tsn_on_images
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

__all__ = ["build_tsm"]


def build_tsm(
    arguments: ModelArguments,
    *,
    shift_div: int = 8,
    shift_place: Place = "blockres",
    temporal_pool: bool = False,
    backbone_args: Mapping[str, Any] | None = None,
) -> TSN:
    """TSM on any image network of known blocks.

    Clips of any length can be scored; the published networks were trained and tested at `num_segments` frames.

    Args:
        arguments: Those of every model; `temporal` is None or `shift`.
        shift_div: One channel in so many is shifted each way.
        shift_place: `blockres`: inside the residual branch (in ResNets with 23 blocks or more in the third stage only in every
            second block); `block`: before every block, shortcut included.
        temporal_pool: Halve the number of frames before the second stage (ResNets).
        backbone_args: Arguments of the image network.

    Raises:
        ConfigError: If a name or argument is unknown, or the backbone has no known block.

    Differs: in the published code the number of frames is fixed when the network is built, and a clip of another length is
    cut at wrong places in silence; here each clip is shifted in itself.
    """
    return tsn_on_images(
        arguments,
        temporal="shift",
        temporal_args={"shift_div": shift_div},
        backbone_args=backbone_args,
        place=shift_place,
        temporal_pool=temporal_pool,
    )


MODELS.register("tsm")(ModelKind("TSM", build_tsm, temporal="shift"))

_EPIC_RGB = Preprocessing.epic("rgb")
_EPIC_FLOW = Preprocessing.epic("flow", segment_length=5)
_MIT = "https://hanlab18.mit.edu/projects/tsm/models/"
_MIT_SOURCE = "TSM authors' repository (mit-han-lab/temporal-shift-module), README"


def _kinetics(num_segments: int, date_and_hash: str, *, gmacs: float, top1: float, top5: float) -> PublishedWeights:
    run = f"tsm_imagenet-pretrained-r50_8xb16-1x1x{num_segments}-50e_kinetics400-rgb"
    return PublishedWeights(
        name=f"tsm_resnet50.mmaction2_kinetics_1x1x{num_segments}",
        url=f"{MMACTION_URL}tsm/{run}/{run}_{date_and_hash}.pth",
        model={"name": "tsm", "heads": {"label": 400}, "dropout": 0.5, "partial_bn": False, "num_segments": num_segments},
        num_parameters=24_327_632,
        gmacs=gmacs,
        preprocessing=Preprocessing.imagenet(num_segments=num_segments),
        data=KINETICS_400,
        evaluations=(
            Evaluation(
                accuracy={"val/label@1": top1, "val/label@5": top5}, num_frames=num_segments, num_crops=10, average="prob"
            ),
        ),
        source=MMACTION_SOURCE,
    )


enter_weights(
    PublishedWeights(
        name="tsm_resnet50.epic100_rgb",
        url="https://www.dropbox.com/s/5yxnzubch7b6niu/tsm_rgb.ckpt?dl=1",
        model={"name": "tsm", "heads": EPIC_HEADS},
        num_parameters=24_321_485,
        gmacs=32.697903104,
        preprocessing=_EPIC_RGB,
        data=EPIC_100,
        evaluations=(
            Evaluation(
                accuracy={
                    "val/action@1": 35.75,
                    "val/action@5": 57.27,
                    "val/verb@1": 62.97,
                    "val/verb@5": 88.93,
                    "val/noun@1": 47.42,
                    "val/noun@5": 74.39,
                    "test/action@1": 32.82,
                },
                num_frames=8,
            ),
        ),
        source=EPIC_SOURCE,
    ),
    PublishedWeights(
        name="tsm_resnet50.epic100_flow",
        url="https://www.dropbox.com/s/8x9hh404k641rqj/tsm_flow.ckpt?dl=1",
        model={"name": "tsm", "heads": EPIC_HEADS, "modality": "flow", "segment_length": 5},
        num_parameters=24_343_437,
        gmacs=34.900830208,
        preprocessing=_EPIC_FLOW,
        data=EPIC_100,
        evaluations=(Evaluation(accuracy={"val/action@1": 27.79, "test/action@1": 27.99}, num_frames=8),),
        source=EPIC_SOURCE,
    ),
    PublishedWeights(
        name="tsm_resnet50.kinetics_rgb",
        url=f"{_MIT}TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth",
        model={"name": "tsm", "heads": {"label": 400}, "dropout": 0.5, "partial_bn": False},
        num_parameters=24_327_632,
        gmacs=32.697909248,
        preprocessing=Preprocessing.imagenet(),
        data=KINETICS_400,
        evaluations=(Evaluation(accuracy={"val/label@1": 71.2}, num_frames=8),),
        source=_MIT_SOURCE,
    ),
    PublishedWeights(
        name="tsm_resnet50.kinetics_flow",
        url=f"{_MIT}TSM_kinetics_Flow_resnet50_shift8_blockres_avg_segment8_e50.pth",
        model={
            "name": "tsm",
            "heads": {"label": 400},
            "modality": "flow",
            "segment_length": 5,
            "dropout": 0.5,
            "partial_bn": False,
        },
        num_parameters=24_349_584,
        gmacs=34.900836352,
        preprocessing=_EPIC_FLOW,
        data=KINETICS_400,
        evaluations=(Evaluation(accuracy={"val/label@1": 55.7, "val/label@5": 79.5}, num_frames=8),),
        source=_MIT_SOURCE,
    ),
    _kinetics(8, "20220831-64d69186", gmacs=32.697909248, top1=73.18, top5=90.56),
    _kinetics(16, "20220831-042b1748", gmacs=65.394999296, top1=75.12, top5=91.55),
)
