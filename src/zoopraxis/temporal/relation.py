"""The temporal relations of TRN: classes from ordered tuples of frames, of one length or of all lengths.

# B clips, T frames, D features of a frame, N tuples, S frames of a tuple (its scale), H hidden features

Both modules map (B, T, D) to logits (B, classes) and stand behind a backbone, not in its blocks. A relation MLP sees the frames
of a tuple side by side: its first linear map is a sum over the tuple's places, so each frame is projected once for each place
and tuples add up projections; its last one is linear too, so hidden features are summed over tuples before it. The same numbers
as the plain form, in a time that hardly grows with the number of tuples.

Source: Zhou et al., Temporal Relational Reasoning in Videos, ECCV 2018; the draws, and the single-scale and two-layer variants:
the TRN of the EPIC-KITCHENS-100 baselines (C1-Action-Recognition-TSN-TRN-TSM), which mmaction2 has alike.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from numpy.random import RandomState

__all__ = [
    "MultiScaleRelation",
    "Relations",
    "SingleScaleRelation",
    "TupleChoice",
    "draw_published_relations",
    "draw_relations",
    "tuple_features",
    "tuples_at",
]

TupleChoice = Literal["expected", "all", "random"]
"""expected: the mean of all random draws; all: the plain sum over all tuples; random: a draw, as in training."""

Relations = Mapping[int, Tensor]
"""For each scale the frame tuples, shape (N, scale), integers in [0, T)."""

_NUM_DRAWN = 3
_MAX_EXPECTED = 256
"""Tuples a scale that stand for all in evaluation. Up to T = 10 that is every one; at T = 16 the largest scale has 12,870. The
error of a mean falls with the square root of their number: what is left is a ninth of the spread of a published draw of 3."""
_MAX_FRAMES = 64
_MAX_FRAMES_FOR_ALL = 16


def tuples_at(num_frames: int, scale: int, positions: Sequence[int]) -> Tensor:
    """Ordered tuples of frames by their number.

    Args:
        num_frames: T.
        scale: Frames of a tuple, at most T.
        positions: Numbers of tuples in the order of `itertools.combinations`, each in [0, C(T, scale)).

    Returns:
        Frame numbers, shape (len(positions), scale), int64, ascending in each row.

    Raises:
        ValueError: If a position is out of range.
    """
    num_tuples = math.comb(num_frames, scale)
    wrong = [int(position) for position in positions if not 0 <= position < num_tuples]
    if wrong:
        raise ValueError(f"position {wrong[0]} must be in [0, {num_tuples}), the {scale}-tuples of {num_frames} frames")
    return _as_tensor([_tuple_at(num_frames, scale, int(position)) for position in positions], scale)


def draw_published_relations(num_frames: int, random_state: RandomState) -> dict[int, Tensor]:
    """The tuples that the published code draws in one forward pass: the same numbers from the same state.

    Each scale takes up to 3 of its tuples, from T - 1 frames down to 2; that of all T frames has one tuple and draws nothing.

    Args:
        num_frames: T.
        random_state: Advanced by the draws. The published code draws from NumPy's global state: give
            `numpy.random.RandomState(seed)` for what it does after `numpy.random.seed(seed)`.

    Returns:
        For each scale, T first, the tuples, shape (N, scale), int64.
    """
    return _draw(num_frames, lambda num_tuples, count: random_state.choice(num_tuples, count, replace=False).tolist())


def draw_relations(num_frames: int) -> dict[int, Tensor]:
    """Tuples of the published distribution, drawn from torch's default generator, of which one number is taken."""
    source = random.Random(int(torch.randint(2**63 - 1, (), device="cpu")))
    return _draw(num_frames, lambda num_tuples, count: source.sample(range(num_tuples), count))


def tuple_features(frames_BTD: Tensor, linear: nn.Linear, tuples_NS: Tensor) -> Tensor:
    """A linear map of the frames of each tuple side by side, each frame projected once for each place in a tuple.

    Args:
        frames_BTD: Shape (B, T, D).
        linear: Maps S * D features, frame after frame, to H.
        tuples_NS: Frame numbers, shape (N, S), on the device of the frames.

    Returns:
        Shape (B, N, H).
    """
    num_frames, scale = frames_BTD.shape[1], tuples_NS.shape[1]
    projected_BTHS = torch.unflatten(F.linear(frames_BTD, linear.weight.view(linear.out_features * scale, -1)), 2, (-1, scale))
    is_at_NST = tuples_NS[:, :, None] == torch.arange(num_frames, device=tuples_NS.device)
    # A product with zeros and ones: on a CPU 3 to 6 times as fast as indexing, and its gradient needs no scattered additions.
    return torch.einsum("nst,bths->bnh", is_at_NST.to(projected_BTHS.dtype), projected_BTHS) + linear.bias


class MultiScaleRelation(nn.Module):
    """One MLP a scale over tuples of T, T - 1, ... 2 frames; logits are summed over tuples and scales.

    In training, without `relations`, each call draws up to 3 tuples a scale from torch's default generator, for the whole
    batch. In evaluation the default is fixed: for each scale the mean over its tuples times the number that a draw would take,
    which is what random draws give on the average; of scales with more than 256 tuples (from T = 11 on) 256 evenly spread ones
    stand for all.

    Args:
        feature_dim: D.
        num_frames: T, 2 to 64; every clip must have it.
        num_classes: Of all heads together.
        bottleneck: H.
        dropout: None: ReLU, linear, ReLU, linear. A number: the variant with a second hidden layer, dropout behind each
            (published 0.6) and a classifier a scale.
        evaluation: See `TupleChoice`; `all` takes T up to 16.

    Raises:
        ValueError: If a number is out of range or `evaluation` unknown.

    Differs: the published code draws in evaluation too, so that its scores change from call to call and with the grouping of
    clips into batches; `evaluation="random"` is that.
    """

    def __init__(
        self,
        *,
        feature_dim: int,
        num_frames: int,
        num_classes: int,
        bottleneck: int = 256,
        dropout: float | None = None,
        evaluation: TupleChoice = "expected",
    ) -> None:
        super().__init__()
        _check_sizes(feature_dim=feature_dim, num_classes=num_classes, bottleneck=bottleneck)
        if not 2 <= num_frames <= _MAX_FRAMES:
            raise ValueError(f"num_frames ({num_frames}) of a multi-scale relation must be 2 to {_MAX_FRAMES}; published: 8")
        if evaluation not in get_args(TupleChoice):
            raise ValueError(f"unknown evaluation {evaluation!r} of relations; known: {', '.join(get_args(TupleChoice))}")
        if evaluation == "all" and num_frames > _MAX_FRAMES_FOR_ALL:
            raise ValueError(
                f"evaluation='all' takes up to {_MAX_FRAMES_FOR_ALL} frames, not {num_frames} "
                f"({2**num_frames - num_frames - 1} tuples); use evaluation='expected'"
            )
        self.num_frames = num_frames
        self.evaluation = evaluation
        self.scales = tuple(range(num_frames, 1, -1))
        widths = [(scale * feature_dim, bottleneck) for scale in self.scales]
        if dropout is None:
            self.fc_fusion_scales = nn.ModuleList(_plain_mlp(*width, num_classes) for width in widths)
        else:
            self.fc_fusion_scales = nn.ModuleList(_two_layer_mlp(*width, dropout) for width in widths)
            self.classifier_scales = nn.ModuleList(nn.Linear(bottleneck, num_classes) for _ in widths)
        self._has_classifiers = dropout is not None
        if evaluation != "random":
            for scale in self.scales:
                self.register_buffer(f"tuples_{scale}", _fixed_tuples(num_frames, scale, evaluation), persistent=False)

    def forward(self, frames_BTD: Tensor, *, relations: Relations | None = None) -> Tensor:
        """Score clips.

        Args:
            frames_BTD: Frame features before any ReLU, shape (B, T, D).
            relations: For every scale the tuples to sum over, as the `draw_` functions give them; none: see the class.

        Returns:
            Logits, shape (B, classes).

        Raises:
            ValueError: If the clips have another number of frames, or `relations` do not fit.

        Differs: of longer clips the published code takes the first T frames in silence.
        """
        _check_frames(frames_BTD, self.num_frames)
        active_BTD = F.relu(frames_BTD)
        chosen = self._choose(relations)
        logits_BK: list[Tensor] = []
        for number, scale in enumerate(self.scales):
            tuples_NS, count = chosen[scale]
            layers, classifier = self._layers(number)
            first = layers[1]
            assert isinstance(first, nn.Linear)
            hidden_BNH = tuple_features(active_BTD, first, tuples_NS.to(frames_BTD.device))
            for layer in layers[2:]:
                hidden_BNH = layer(hidden_BNH)
            logits_BK.append(count * classifier(hidden_BNH.mean(dim=1)))
        return torch.stack(logits_BK).sum(dim=0)

    def extra_repr(self) -> str:
        return f"num_frames={self.num_frames}, evaluation={self.evaluation!r}"

    def _layers(self, number: int) -> tuple[list[nn.Module], nn.Module]:
        """A scale's layers up to the last hidden features, and the linear map behind them."""
        mlp = self.fc_fusion_scales[number]
        assert isinstance(mlp, nn.Sequential)
        layers = list(mlp)
        return (layers, self.classifier_scales[number]) if self._has_classifiers else (layers[:-1], layers[-1])

    def _choose(self, relations: Relations | None) -> dict[int, tuple[Tensor, int]]:
        """For each scale the tuples, and the number by which their mean is multiplied."""
        if relations is not None:
            _check_relations(relations, self.num_frames)
        elif self.training or self.evaluation == "random":
            relations = _draw_anew(self.num_frames)
        if relations is not None:
            return {scale: (tuples, len(tuples)) for scale, tuples in relations.items()}
        fixed: dict[int, tuple[Tensor, int]] = {}
        for scale in self.scales:
            tuples = self.get_buffer(f"tuples_{scale}")
            is_mean = self.evaluation == "expected"
            fixed[scale] = (tuples, _num_drawn(self.num_frames, scale) if is_mean else len(tuples))
        return fixed


class SingleScaleRelation(nn.Module):
    """One MLP over all T frames side by side: nothing is drawn.

    Args:
        feature_dim: D.
        num_frames: T; every clip must have it.
        num_classes: Of all heads together.
        bottleneck: H.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(self, *, feature_dim: int, num_frames: int, num_classes: int, bottleneck: int = 512) -> None:
        super().__init__()
        _check_sizes(feature_dim=feature_dim, num_frames=num_frames, num_classes=num_classes, bottleneck=bottleneck)
        self.num_frames = num_frames
        self.classifier = _plain_mlp(num_frames * feature_dim, bottleneck, num_classes)

    def forward(self, frames_BTD: Tensor) -> Tensor:
        """Score clips.

        Args:
            frames_BTD: Frame features before any ReLU, shape (B, T, D).

        Returns:
            Logits, shape (B, classes).

        Raises:
            ValueError: If the clips have another number of frames.
        """
        _check_frames(frames_BTD, self.num_frames)
        logits_BK: Tensor = self.classifier(frames_BTD.flatten(1))
        return logits_BK


def _plain_mlp(width: int, bottleneck: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Linear(width, bottleneck), nn.ReLU(), nn.Linear(bottleneck, num_classes))


def _two_layer_mlp(width: int, bottleneck: int, dropout: float) -> nn.Sequential:
    first = (nn.ReLU(), nn.Linear(width, bottleneck), nn.ReLU(), nn.Dropout(dropout))
    return nn.Sequential(*first, nn.Linear(bottleneck, bottleneck), nn.ReLU(), nn.Dropout(dropout))


def _tuple_at(num_frames: int, scale: int, position: int) -> list[int]:
    frames: list[int] = []
    frame = 0
    for num_left in range(scale - 1, -1, -1):
        while position >= (num_beginning_here := math.comb(num_frames - frame - 1, num_left)):
            position -= num_beginning_here
            frame += 1
        frames.append(frame)
        frame += 1
    return frames


def _as_tensor(tuples: list[list[int]] | list[tuple[int, ...]], scale: int) -> Tensor:
    return torch.tensor(tuples, dtype=torch.int64).view(-1, scale)


def _num_drawn(num_frames: int, scale: int) -> int:
    return min(_NUM_DRAWN, math.comb(num_frames, scale))


def _draw(num_frames: int, choose: Callable[[int, int], Sequence[int]]) -> dict[int, Tensor]:
    relations = {num_frames: tuples_at(num_frames, num_frames, [0])}
    for scale in range(num_frames - 1, 1, -1):
        positions = choose(math.comb(num_frames, scale), _num_drawn(num_frames, scale))
        relations[scale] = tuples_at(num_frames, scale, positions)
    return relations


def _draw_anew(num_frames: int) -> dict[int, Tensor]:
    """`draw_relations` at each call, also of a compiled network, whose graph breaks here."""
    if not torch.compiler.is_compiling():
        return draw_relations(num_frames)
    relations: dict[int, Tensor] = torch.compiler.disable(draw_relations)(num_frames)  # type: ignore[no-untyped-call]
    return relations


def _fixed_tuples(num_frames: int, scale: int, evaluation: TupleChoice) -> Tensor:
    """All tuples of a scale, or so many evenly spread ones that stand for them; shape (N, scale)."""
    num_tuples = math.comb(num_frames, scale)
    if evaluation == "all" or num_tuples <= _MAX_EXPECTED:
        return _as_tensor(list(itertools.combinations(range(num_frames), scale)), scale)
    middles = [(2 * number + 1) * num_tuples // (2 * _MAX_EXPECTED) for number in range(_MAX_EXPECTED)]
    return tuples_at(num_frames, scale, middles)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} ({size}) of a relation must be at least 1")


def _check_frames(frames_BTD: Tensor, num_frames: int) -> None:
    if frames_BTD.ndim != 3:
        raise ValueError(f"frame features must have shape (B, T, D), not {tuple(frames_BTD.shape)}")
    if frames_BTD.shape[1] != num_frames:
        raise ValueError(
            f"the relation is made for clips of {num_frames} frames, not {frames_BTD.shape[1]}; "
            f"sample {num_frames} frames a clip, or train a network with num_segments={frames_BTD.shape[1]}"
        )


def _check_relations(relations: Relations, num_frames: int) -> None:
    if sorted(relations) != list(range(2, num_frames + 1)):
        raise ValueError(f"relations must have tuples for the scales 2 to {num_frames}, not {sorted(relations)}")
    for scale, tuples in relations.items():
        if tuples.ndim != 2 or not len(tuples) or tuples.shape[1] != scale:
            raise ValueError(f"the tuples of scale {scale} must have shape (N, {scale}), not {tuple(tuples.shape)}")
        lowest, highest = int(tuples.min()), int(tuples.max())
        if lowest < 0 or highest >= num_frames:
            raise ValueError(f"the tuples of scale {scale} must name frames in [0, {num_frames}), not {lowest} to {highest}")
