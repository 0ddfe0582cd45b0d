"""The losses of the boundary-matching network: boundaries, overlaps, confidences, and ours of classes and shifts.

B windows, G segments, K classes, T steps, D durations. A cell (d, t) of a map is the proposal [t/T, (t+d+1)/T] of the window.

Three published codes agree on the losses but for what rare positives weigh; `balance` says whose way is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from zoopraxis.localization.targets import Targets, cell_labels, shift_targets

if TYPE_CHECKING:
    from zoopraxis.localization.network import BoundaryMaps

__all__ = ["LocalizationLoss", "balanced_cross_entropy", "draw_cells", "overlap_loss"]

Balance = Literal["tadaconv", "mmaction", "epic"]
_BOUNDARY_ABOVE = 0.5
"""Steps with a greater target count as boundaries."""


@dataclass(frozen=True)
class _Balance:
    """How one published code weighs positives and negatives.

    Attributes:
        epsilon: Added to probabilities before the logarithm.
        bounds: What the number of entries over that of positives is brought into; positives count as one at least then.
        learns_without: Whether proposals teach anything where none is confident.
        counts_middle: Fewest cells of middle overlap that the ratio of high to middle ones is taken with.
    """

    epsilon: float
    bounds: tuple[float, float] | None = None
    learns_without: bool = True
    counts_middle: int = 0


_BALANCES: dict[Balance, _Balance] = {
    "tadaconv": _Balance(1e-6, learns_without=False, counts_middle=1),
    "mmaction": _Balance(1e-5, bounds=(1.05, 21.0)),
    "epic": _Balance(1e-6),
}


class LocalizationLoss:
    """The weighted sum of what a boundary-matching network is trained with.

    boundary_loss: balanced cross entropy of starts plus that of ends, positive where the target is above 1/2.
    overlap_loss: half the squared error of overlaps, over all cells of high overlap and about as many random ones of middle and
    of low overlap.
    confidence_loss: balanced cross entropy of whether a cell's overlap is above `confident_above`, over the cells that end
    inside the window.
    `<head>_loss`: cross entropy of the class maps in cells of an overlap of `class_above` or more.
    shift_loss: smooth L1 of how such cells are moved and widened.

    Args:
        boundary: Weight of the loss of boundaries.
        overlap: Of overlaps.
        confidence: Of confidences.
        classes: Of each head's classes.
        shift: Of shifts.
        high_above: Overlaps that count as high.
        low_below: Overlaps that count as low; those between are in the middle.
        confident_above: See above.
        class_above: See above.
        balance: The published code that is followed where positives are rare. tadaconv: by their true number; without a
            confident cell confidences teach nothing. mmaction: entries per positive are brought between 1.05 and 21. epic: as
            tadaconv, but negatives go on to teach where there is no positive.

    Raises:
        ValueError: If `balance` is unknown, or the low overlaps are not below the high ones.

    Differs: No loss is ever NaN or infinite for lack of cells. TAdaConv's and the EPIC baseline's are NaN for batches without a
        start or an end and for those with nothing else, the EPIC baseline's also without a confident cell: here the absent kind
        has no part, and the weight of the other is 1/2, which it tends to. All three are NaN for batches without a cell of
        high overlap (here 0), and TAdaConv's classes without a cell to learn (here 0). Segments without a class, -1, are left
        out of the classes' loss; the published codes know none. The loss of shifts is ours.

    Source: Lin et al., BMN: Boundary-Matching Network for Temporal Action Proposal Generation, ICCV 2019, section 4.2; the
        balance of TAdaConv (github.com/alibaba-mmai-research/TAdaConv), mmaction2 (github.com/open-mmlab/mmaction2) and the
        baseline of the EPIC-KITCHENS-100 detection challenge (github.com/epic-kitchens/C2-Action-Detection).
    """

    def __init__(
        self,
        *,
        boundary: float = 1.0,
        overlap: float = 10.0,
        confidence: float = 1.0,
        classes: float = 1.0,
        shift: float = 1.0,
        high_above: float = 0.7,
        low_below: float = 0.3,
        confident_above: float = 0.9,
        class_above: float = 0.75,
        balance: Balance = "tadaconv",
    ) -> None:
        if balance not in _BALANCES:
            raise ValueError(f"no balance is called {balance!r}; there are {', '.join(_BALANCES)}")
        if not 0 <= low_below < high_above <= 1:
            raise ValueError(f"low_below ({low_below:g}) must be below high_above ({high_above:g}), both from 0 to 1")
        self.boundary, self.overlap, self.confidence = boundary, overlap, confidence
        self.classes, self.shift = classes, shift
        self.high_above, self.low_below = high_above, low_below
        self.confident_above, self.class_above = confident_above, class_above
        self.balance = balance

    def __call__(
        self,
        maps: BoundaryMaps,
        targets: Targets,
        labels: Mapping[str, Tensor] | None = None,
        *,
        generator: torch.Generator | None = None,
        draws: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of B windows and its parts, before their weights.

        All are scalars and computed in float32 (float64 maps: in that), under autocast too; every mean is over the batch.

        Args:
            maps: What the network predicts.
            targets: What it should have, on the maps' device.
            labels: Class of each segment, {head: (B, G)} int64, of every head that the network has maps for; others are not
                looked at.
            generator: Draws the cells of middle and low overlap; None: PyTorch's own. One of the CPU serves any device.
            draws: Instead of it, the uniform numbers for cells of middle, and of low overlap, both (B, D, T).

        Returns:
            The weighted sum, and the parts by name.

        Raises:
            ValueError: If maps and targets are of other shapes, or a head's labels are missing.
        """
        confidence_B2DT = _precise(maps.confidence_B2DT)
        _check_shapes(maps, targets, labels or {})
        overlap_BDT = targets.overlap_BDT.to(confidence_B2DT) * targets.valid_DT
        cells = draw_cells(
            overlap_BDT,
            targets.valid_DT,
            draws or _drawn(overlap_BDT, generator),
            high_above=self.high_above,
            low_below=self.low_below,
            balance=self.balance,
        )
        parts = {
            "boundary_loss": balanced_cross_entropy(maps.start_BT, targets.start_BT > _BOUNDARY_ABOVE, balance=self.balance)
            + balanced_cross_entropy(maps.end_BT, targets.end_BT > _BOUNDARY_ABOVE, balance=self.balance),
            "overlap_loss": overlap_loss(confidence_B2DT[:, 0], overlap_BDT, cells),
            "confidence_loss": self._confidence_loss(confidence_B2DT[:, 1], overlap_BDT, targets.valid_DT),
        }
        total = self.boundary * parts["boundary_loss"] + self.overlap * parts["overlap_loss"]
        total = total + self.confidence * parts["confidence_loss"]
        is_learned_BDT = overlap_BDT >= self.class_above
        for head, logits_BKDT in maps.classes.items():
            part = _class_loss(logits_BKDT, cell_labels(targets, (labels or {})[head]), is_learned_BDT)
            parts[f"{head}_loss"], total = part, total + self.classes * part
        if maps.shift_B2DT is not None:
            part = _shift_loss(_precise(maps.shift_B2DT), shift_targets(targets), is_learned_BDT)
            parts["shift_loss"], total = part, total + self.shift * part
        return total, parts

    def _confidence_loss(self, confidence_BDT: Tensor, overlap_BDT: Tensor, valid_DT: Tensor) -> Tensor:
        is_positive_BDT = overlap_BDT > self.confident_above
        loss = balanced_cross_entropy(confidence_BDT, is_positive_BDT, valid_DT.bool(), balance=self.balance)
        return loss if _BALANCES[self.balance].learns_without else loss.where(is_positive_BDT.any(), 0.0)


def balanced_cross_entropy(
    probabilities: Tensor, is_positive: Tensor, is_counted: Tensor | None = None, *, balance: Balance = "tadaconv"
) -> Tensor:
    """Binary cross entropy in which positives and negatives weigh the same together, a scalar.

    Of N entries with P positives, r = N / P: positives weigh r / 2 and negatives r / (2 (r - 1)), over N.

    Args:
        probabilities: Predictions, any shape.
        is_positive: What they should be, bool, of the same shape.
        is_counted: Which are counted, bool, broadcast to it; all positives must be. None: all.
        balance: See `LocalizationLoss`.
    """
    settings, probabilities = _BALANCES[balance], _precise(probabilities)
    is_negative = ~is_positive if is_counted is None else ~is_positive & is_counted
    num_positive = is_positive.sum().to(probabilities.dtype)
    num_negative = is_negative.sum().to(probabilities.dtype)
    if settings.bounds is not None:
        num_positive = num_positive.clamp(min=1)
    # A positive that there is not, but is counted (`bounds`), is an entry of a part of the map, but not of a whole one.
    num_entries = num_positive + num_negative if is_counted is not None else num_positive.new_tensor(probabilities.numel())
    ratio = num_entries / num_positive
    if settings.bounds is not None:
        ratio = ratio.clamp(*settings.bounds)
    positive_weight = (0.5 * ratio).where(num_positive > 0, 0.0)
    negative_weight = (0.5 * ratio / (ratio - 1)).where((num_positive > 0) & (ratio > 1), 0.5)
    gains = positive_weight * torch.log(probabilities + settings.epsilon) * is_positive
    losses = negative_weight * torch.log(1.0 - probabilities + settings.epsilon) * is_negative
    return -(gains + losses).sum() / num_entries


def draw_cells(
    overlap_BDT: Tensor,
    valid_DT: Tensor,
    draws: tuple[Tensor, Tensor],
    *,
    high_above: float = 0.7,
    low_below: float = 0.3,
    balance: Balance = "tadaconv",
) -> Tensor:
    """How often each cell counts in the loss of overlaps, (B, D, T): all of high overlap, about as many of middle and of low.

    A cell of middle overlap counts if its draw is above 1 - high / middle, the numbers of such cells in the batch; those of low
    overlap likewise. With more high cells than others, every cell of the map counts once more, as published.

    Args:
        overlap_BDT: Overlaps, zero in cells that are not valid.
        valid_DT: Cells that end inside the window.
        draws: Uniform numbers in [0, 1) for middle, and for low overlaps, both (B, D, T).
        high_above: Overlaps that count as high.
        low_below: Those above it, up to `high_above`, are in the middle, those above 0 and up to it low.
        balance: Whose way: tadaconv takes a batch without cells in the middle as if there were one.
    """
    is_high_BDT = overlap_BDT > high_above
    is_middle_BDT = ~is_high_BDT & (overlap_BDT > low_below)
    is_low_BDT = (overlap_BDT <= low_below) & (overlap_BDT > 0) & valid_DT.bool()
    times_BDT = is_high_BDT.to(overlap_BDT)
    num_high = times_BDT.sum()
    fewest = (_BALANCES[balance].counts_middle, 0)
    for is_kind_BDT, draw_BDT, least in zip((is_middle_BDT, is_low_BDT), draws, fewest, strict=True):
        # The ratio may be infinite (everything counts) or 0 / 0 (nothing does).
        ratio = num_high / is_kind_BDT.sum().clamp(min=least)
        times_BDT += draw_BDT.to(overlap_BDT) * is_kind_BDT > 1.0 - ratio
    return times_BDT


def overlap_loss(predicted_BDT: Tensor, overlap_BDT: Tensor, times_BDT: Tensor) -> Tensor:
    """Half the squared error of overlaps, a scalar; cells weigh by the square of how often they count, over the sum of that.

    Zero where no cell counts.
    """
    errors_BDT = (_precise(predicted_BDT) - overlap_BDT) * times_BDT
    return 0.5 * errors_BDT.square().sum() / times_BDT.sum().clamp(min=1)


def _class_loss(logits_BKDT: Tensor, labels_BDT: Tensor, is_learned_BDT: Tensor) -> Tensor:
    """The mean cross entropy of the cells that are learned and have a class; 0 without any."""
    is_learned_BDT = is_learned_BDT & (labels_BDT >= 0)
    logits_NK = _precise(logits_BKDT.permute(0, 2, 3, 1)[is_learned_BDT])
    return F.cross_entropy(logits_NK, labels_BDT[is_learned_BDT], reduction="sum") / max(1, len(logits_NK))


def _shift_loss(shift_B2DT: Tensor, target_B2DT: Tensor, is_learned_BDT: Tensor) -> Tensor:
    """The mean smooth L1 error of the shifts of the cells that are learned, summed over center and length; 0 without any."""
    errors_B2DT = F.smooth_l1_loss(shift_B2DT, target_B2DT.to(shift_B2DT), reduction="none") * is_learned_BDT[:, None]
    return errors_B2DT.sum() / is_learned_BDT.sum().clamp(min=1)


def _precise(values: Tensor) -> Tensor:
    """float32, or float64 where it is that already."""
    return values if values.dtype == torch.float64 else values.float()


def _drawn(like: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Two maps of uniform numbers, float32, drawn where the generator is."""
    device = like.device if generator is None else generator.device
    middle, low = (torch.rand(like.shape, generator=generator, device=device).to(like.device) for _ in range(2))
    return middle, low


def _check_shapes(maps: BoundaryMaps, targets: Targets, labels: Mapping[str, Tensor]) -> None:
    found = tuple(maps.start_BT.shape), tuple(maps.confidence_B2DT.shape)
    num_windows, num_durations, num_steps = targets.overlap_BDT.shape
    expected = (num_windows, num_steps), (num_windows, 2, num_durations, num_steps)
    if found != expected:
        raise ValueError(f"maps of shapes {found[0]} and {found[1]} do not fit the targets, {expected[0]} and {expected[1]}")
    missing = sorted(set(maps.classes) - set(labels))
    if missing:
        raise ValueError(f"no labels for {', '.join(missing)}, of which the network has class maps; given are {sorted(labels)}")
