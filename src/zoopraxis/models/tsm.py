"""TSM: TSN whose residual branches see the neighboring frames through a shift of channels, at no cost in parameters.

Source: Lin et al., TSM: Temporal Shift Module for Efficient Video Understanding, ICCV 2019; the published EPIC-KITCHENS-100
weights: Damen et al., Rescaling Egocentric Vision, IJCV 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoopraxis.backbones.image import create_image_backbone
from zoopraxis.backbones.inject import Place
from zoopraxis.errors import ConfigError
from zoopraxis.models.build import MODELS
from zoopraxis.models.preprocessing import Modality, Preprocessing
from zoopraxis.models.tsn import TSN
from zoopraxis.models.weights import EPIC_HEADS, EPIC_SOURCE, MMACTION_SOURCE, MMACTION_URL, PublishedWeights, enter_weights

__all__ = ["build_tsm"]


@MODELS.register("tsm")
def build_tsm(
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
    shift_div: int = 8,
    shift_place: Place = "blockres",
    temporal_pool: bool = False,
    backbone_args: Mapping[str, Any] | None = None,
) -> TSN:
    """TSM on any image network of known blocks.

    Clips of any length can be scored; the published networks were trained and tested at `num_segments` frames.

    Args:
        heads: See `create_model`, as for all that is not named here.
        backbone: An image network of timm.
        temporal: None or `shift`.
        num_segments: T in training.
        segment_length: Frames stacked on the channel axis.
        modality: `rgb` or `flow`.
        pretrained: Start from timm's weights.
        dropout: Before the heads.
        partial_bn: Freeze all batch norms but the first.
        preprocessing: Of the input.
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
    if temporal not in (None, "shift"):
        raise ConfigError(f"tsm has the temporal module 'shift', not {temporal!r}; use the model 'tsn' for others")
    network = create_image_backbone(
        backbone,
        pretrained=pretrained,
        in_channels=preprocessing.in_channels,
        temporal="shift",
        num_frames=num_segments,
        place=shift_place,
        temporal_pool=temporal_pool,
        temporal_args={"shift_div": shift_div},
        backbone_args=backbone_args,
    )
    return TSN(network, heads=heads, preprocessing=preprocessing, dropout=dropout, partial_bn=partial_bn)


_EPIC_RGB = Preprocessing.epic("rgb")
_EPIC_FLOW = Preprocessing.epic("flow", segment_length=5)
_MIT = "https://hanlab18.mit.edu/projects/tsm/models/"
_MIT_SOURCE = "TSM authors' repository (mit-han-lab/temporal-shift-module), README"
_EFFICIENT = "8 segment centers, 1 center crop"


def _kinetics(num_segments: int, date_and_hash: str, top1: float, top5: float) -> PublishedWeights:
    run = f"tsm_imagenet-pretrained-r50_8xb16-1x1x{num_segments}-50e_kinetics400-rgb"
    return PublishedWeights(
        name=f"tsm_resnet50.mmaction2_kinetics_1x1x{num_segments}",
        url=f"{MMACTION_URL}tsm/{run}/{run}_{date_and_hash}.pth",
        model={"name": "tsm", "heads": {"label": 400}, "dropout": 0.5, "partial_bn": False, "num_segments": num_segments},
        num_parameters=24_327_632,
        preprocessing=Preprocessing.imagenet(num_segments=num_segments),
        sampling=f"{num_segments} segment centers, 10 crops",
        accuracy={"val/label@1": top1, "val/label@5": top5},
        source=MMACTION_SOURCE,
    )


enter_weights(
    PublishedWeights(
        name="tsm_resnet50.epic100_rgb",
        url="https://www.dropbox.com/s/5yxnzubch7b6niu/tsm_rgb.ckpt?dl=1",
        model={"name": "tsm", "heads": EPIC_HEADS},
        num_parameters=24_321_485,
        preprocessing=_EPIC_RGB,
        sampling=_EFFICIENT,
        accuracy={
            "val/action@1": 35.75,
            "val/action@5": 57.27,
            "val/verb@1": 62.97,
            "val/verb@5": 88.93,
            "val/noun@1": 47.42,
            "val/noun@5": 74.39,
            "test/action@1": 32.82,
        },
        source=EPIC_SOURCE,
    ),
    PublishedWeights(
        name="tsm_resnet50.epic100_flow",
        url="https://www.dropbox.com/s/8x9hh404k641rqj/tsm_flow.ckpt?dl=1",
        model={"name": "tsm", "heads": EPIC_HEADS, "modality": "flow", "segment_length": 5},
        num_parameters=24_343_437,
        preprocessing=_EPIC_FLOW,
        sampling=_EFFICIENT,
        accuracy={"val/action@1": 27.79, "test/action@1": 27.99},
        source=EPIC_SOURCE,
    ),
    PublishedWeights(
        name="tsm_resnet50.kinetics_rgb",
        url=f"{_MIT}TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth",
        model={"name": "tsm", "heads": {"label": 400}, "dropout": 0.5, "partial_bn": False},
        num_parameters=24_327_632,
        preprocessing=Preprocessing.imagenet(),
        sampling=_EFFICIENT,
        accuracy={"val/label@1": 71.2},
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
        preprocessing=_EPIC_FLOW,
        sampling=_EFFICIENT,
        accuracy={"val/label@1": 55.7, "val/label@5": 79.5},
        source=_MIT_SOURCE,
    ),
    _kinetics(8, "20220831-64d69186", 73.18, 90.56),
    _kinetics(16, "20220831-042b1748", 75.12, 91.55),
)
