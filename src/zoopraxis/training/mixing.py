"""What is done to a training batch on the device: mixup, CutMix, and random erasing, each the same in all frames of a clip.

Every operation is in two halves: one draws, the other does what was drawn. Draws come from torch's generators, which a training
step seeds; clips keep their memory format and may be on any device.

# B clips, T frames, C channels, H height, W width
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Beta

from zoopraxis.config.schema import DataConfig, MixConfig
from zoopraxis.errors import ConfigError

__all__ = ["Box", "Mix", "check_mixing", "cutmix", "draw_boxes", "draw_mix", "erase", "mix_clips", "mixed_labels"]

_ERASED_AREA = (0.02, 0.33)
_LARGEST_ASPECT = 1 / 0.3
_NUM_TRIALS = 10
"""Published: bounds of the erased part of the area, of height over width (and its inverse), and trials to fit a box."""


@dataclass(frozen=True)
class Box:
    """A part of a frame, px: rows from `top` to before `bottom`, columns from `left` to before `right`."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Mix:
    """How each clip of a batch is mixed with its partner: the first with the last, the second with the last but one, ...

    Attributes:
        weight: Of the clip's own label, in [0, 1]; the partner's has the rest.
        box: The part of the frames that comes from the partner (CutMix); none: the clips are blended by weight (mixup).
    """

    weight: float
    box: Box | None = None


def check_mixing(mix: MixConfig, data: DataConfig) -> None:
    """See that there is something to mix with.

    Raises:
        ConfigError: If a batch would hold views of one clip only.
    """
    is_mixed = mix.mixup > 0 or mix.cutmix > 0
    if is_mixed and data.batch_size < 2 * data.num_repeats:
        setting = "mixup" if mix.mixup > 0 else "cutmix"
        several = f" of data.num_repeats={data.num_repeats} views a clip" if data.num_repeats > 1 else ""
        raise ConfigError(
            f"mix.{setting}={getattr(mix, setting):g} needs at least 2 clips in a batch, but data.batch_size={data.batch_size}"
            f"{several}; give data.batch_size={2 * data.num_repeats} or more, or set mix.{setting}=0"
        )


def draw_mix(config: MixConfig, height: int, width: int) -> Mix | None:
    """Draw how a batch is mixed.

    Args:
        config: Alphas, and how often CutMix takes the place of mixup where both are on.
        height: Of the clips, px.
        width: Likewise.

    Returns:
        None where neither is on; then nothing is drawn.

    Source: Zhang et al., mixup, ICLR 2018; Yun et al., CutMix, ICCV 2019; both on one batch: timm and TAdaConv, `Mixup`.
    """
    if config.mixup == 0 and config.cutmix == 0:
        return None
    is_cut = config.mixup == 0 or (config.cutmix > 0 and float(torch.rand(())) < config.cutmix_probability)
    alpha = torch.tensor(config.cutmix if is_cut else config.mixup, dtype=torch.float64)
    weight = float(Beta(alpha, alpha).sample())
    if not is_cut:
        return Mix(weight)
    row, column = (int(torch.randint(side, ())) for side in (height, width))
    return cutmix(weight, row, column, height, width)


def cutmix(weight: float, row: int, column: int, height: int, width: int) -> Mix:
    """The CutMix of a drawn weight and place.

    Args:
        weight: Of the clip's own label, were the box not cut off at the border: its sides are sqrt(1 - weight) of the frame's.
        row: Of the box's center, px.
        column: Likewise.
        height: Of the clips, px.
        width: Likewise.

    Returns:
        With the weight that the part of the area outside the box gives.
    """
    half_height, half_width = (int(side * math.sqrt(1 - weight)) // 2 for side in (height, width))
    top, bottom = max(0, row - half_height), min(height, row + half_height)
    left, right = max(0, column - half_width), min(width, column + half_width)
    return Mix(1 - (bottom - top) * (right - left) / (height * width), Box(top, bottom, left, right))


def mix_clips(clip_BTCHW: Tensor, mix: Mix | None) -> Tensor:
    """Mix each clip of a batch with its partner.

    Args:
        clip_BTCHW: Shape (B, T, C, H, W), floats. A batch of one is its own partner.
        mix: As drawn for these sizes; none: the clips are given back as they are.

    Returns:
        A new tensor of the same shape, dtype and memory format.
    """
    if mix is None:
        return clip_BTCHW
    partner_BTCHW = clip_BTCHW.flip(0)
    if mix.box is None:
        return partner_BTCHW.lerp(clip_BTCHW, mix.weight)
    rows, columns = slice(mix.box.top, mix.box.bottom), slice(mix.box.left, mix.box.right)
    mixed_BTCHW = clip_BTCHW.clone()
    mixed_BTCHW[..., rows, columns] = partner_BTCHW[..., rows, columns]
    return mixed_BTCHW


def mixed_labels(labels_B: Tensor, mix: Mix | None) -> Tensor:
    """For each mixed clip the label of greater weight, by which its accuracy is told: shape (B,)."""
    return labels_B.flip(0) if mix is not None and mix.weight < 0.5 else labels_B


def draw_boxes(num_clips: int, height: int, width: int, *, probability: float) -> list[Box | None]:
    """Draw which clips lose a part, and which.

    Args:
        num_clips: B.
        height: Of the clips, px.
        width: Likewise.
        probability: That a clip loses one.

    Returns:
        B boxes of 2% to 33% of the area, their height 0.3 to 1 / 0.3 of their width; none for a clip that stays whole. With a
        probability of 0 nothing is drawn.

    Source: Zhong et al., Random Erasing, AAAI 2020; the numbers: TAdaConv, `vivit_fac_enc.yaml` of EPIC-KITCHENS-100.
    """
    if probability == 0:
        return [None] * num_clips
    chances = torch.rand(num_clips, dtype=torch.float64).tolist()
    return [_draw_box(height, width) if chance < probability else None for chance in chances]


def _draw_box(height: int, width: int) -> Box | None:
    """One box inside the frame; none if it would not fit in several trials."""
    for _ in range(_NUM_TRIALS):
        area_share, aspect_share, row_share, column_share = torch.rand(4, dtype=torch.float64).tolist()
        area = (_ERASED_AREA[0] + area_share * (_ERASED_AREA[1] - _ERASED_AREA[0])) * height * width
        aspect = _LARGEST_ASPECT ** (2 * aspect_share - 1)
        box_height, box_width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if box_height < height and box_width < width:
            top, left = int(row_share * (height - box_height + 1)), int(column_share * (width - box_width + 1))
            return Box(top, top + box_height, left, left + box_width)
    return None


def erase(clip_BTCHW: Tensor, boxes: Sequence[Box | None]) -> Tensor:
    """Replace a part of clips, the same in all frames, by normal noise that is another in each pixel and frame.

    Args:
        clip_BTCHW: Shape (B, T, C, H, W), floats, normalized.
        boxes: For each clip its part, or none.

    Returns:
        A new tensor of the same shape, dtype and memory format, or the one given if no clip loses anything.
    """
    if not any(boxes):
        return clip_BTCHW
    erased_BTCHW = clip_BTCHW.clone()
    for erased_TCHW, box in zip(erased_BTCHW, boxes, strict=True):
        if box is not None:
            erased_TCHW[..., box.top : box.bottom, box.left : box.right].normal_()
    return erased_BTCHW
