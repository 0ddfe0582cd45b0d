"""From the features of a clip's frames to one of the video.

# B clips of both domains, those of the source first; S frames; D features of a frame; R items (relations, or frames); V
# features of the video

Source: Chen et al., Temporal Attentive Alignment for Large-Scale Video Domain Adaptation, ICCV 2019, and its published code;
the relations: Zhou et al., Temporal Relational Reasoning in Videos, ECCV 2018.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoopraxis.adaptation.discriminators import Level
from zoopraxis.adaptation.norms import DomainNorms, Mixing
from zoopraxis.temporal.relation import tuples_at

__all__ = [
    "Aggregator",
    "Average",
    "Recurrent",
    "RnnCell",
    "SingleRelation",
    "TemporalConvolution",
    "TemporalRelations",
    "published_tuples",
]

RnnCell = Literal["lstm", "gru"]

_NUM_TUPLES = 3
_MAX_SEGMENTS = 64
_KERNEL = 3


class Aggregator(nn.Module):
    """Base of the aggregations. `forward` gives items to be attended to, (B, R, V), or at once the video's feature, (B, V).

    Attributes:
        output_dim: V.
        level: Whose discriminator weighs the items; None: there are none.
        num_segments: S, where only such clips fit; None: any do.
    """

    output_dim: int
    level: Level | None = None
    num_segments: int | None = None

    def forward(self, frames_BSD: Tensor, num_source: int = 0, alpha: Tensor | None = None) -> Tensor:
        """Aggregate.

        Args:
            frames_BSD: Shape (B, S, D).
            num_source: How many of the first clips are the source's, for norms of the domains.
            alpha: See `DomainNorms`.

        Returns:
            Items, shape (B, R, V), where `level` is not None; else features of videos, (B, V).
        """
        raise TypeError(f"{type(self).__name__} is the base of the aggregations; take one of them")

    def pool(self, items_BRV: Tensor, weights_BR: Tensor | None) -> Tensor:
        """The sum of the items, each times 1 + its weight; shape (B, V)."""
        if weights_BR is None:
            return items_BRV.sum(dim=1)
        return ((1 + weights_BR).unsqueeze(1) @ items_BRV).squeeze(1)


class TemporalRelations(Aggregator):
    """Relations of all lengths (TRN-M): for S, S - 1, ... 2 frames a linear map of up to 3 ordered tuples, which are summed.

    Args:
        frame_dim: D.
        num_segments: S, 2 to 64.
        relation_dim: V.

    Attributes:
        tuples: Of each length, the longest first, the frame numbers of its tuples.

    Raises:
        ValueError: If there is no relation of so many frames.
    """

    level = "relation"

    def __init__(self, *, frame_dim: int, num_segments: int, relation_dim: int) -> None:
        super().__init__()
        if not 2 <= num_segments <= _MAX_SEGMENTS:
            raise ValueError(f"num_segments ({num_segments}) of relations must be 2 to {_MAX_SEGMENTS}; published: 5")
        self.num_segments = num_segments
        self.output_dim = relation_dim
        scales = range(num_segments, 1, -1)
        self.tuples = tuple(published_tuples(num_segments, scale) for scale in scales)
        self.layers = nn.ModuleList(nn.Linear(scale * frame_dim, relation_dim) for scale in scales)

    def forward(self, frames_BSD: Tensor, num_source: int = 0, alpha: Tensor | None = None) -> Tensor:
        """Relations, the longest first, shape (B, S - 1, V)."""
        # Frames side by side, tuple after tuple: on a CPU 1.2 times as fast as indexing all at once, and twice as fast as
        # projecting each frame for each place, which pays from more tuples on than 3.
        frames = F.relu(frames_BSD).unbind(dim=1)
        relations: list[Tensor] = []
        for layer, tuples in zip(self.layers, self.tuples, strict=True):
            parts = [F.relu(layer(torch.cat([frames[number] for number in chosen], dim=1))) for chosen in tuples]
            relations.append(torch.stack(parts).sum(dim=0))
        return torch.stack(relations, dim=1)


class SingleRelation(Aggregator):
    """One relation of all frames (TRN).

    Args:
        frame_dim: D.
        num_segments: S, at least 1.
        relation_dim: V.

    Differs: the published code stops here for want of relation discriminators; this has those of frames and videos.
    """

    def __init__(self, *, frame_dim: int, num_segments: int, relation_dim: int) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.output_dim = relation_dim
        self.layer = nn.Linear(num_segments * frame_dim, relation_dim)

    def forward(self, frames_BSD: Tensor, num_source: int = 0, alpha: Tensor | None = None) -> Tensor:
        """Features of videos, shape (B, V)."""
        return F.relu(self.layer(F.relu(frames_BSD).flatten(1)))


class Average(Aggregator):
    """The mean of the frames (TemPooling)."""

    level = "frame"

    def __init__(self, *, frame_dim: int) -> None:
        super().__init__()
        self.output_dim = frame_dim

    def forward(self, frames_BSD: Tensor, num_source: int = 0, alpha: Tensor | None = None) -> Tensor:
        """The frames themselves, shape (B, S, D)."""
        return frames_BSD

    def pool(self, items_BRV: Tensor, weights_BR: Tensor | None) -> Tensor:
        """The mean of the items, each times 1 + its weight; shape (B, V)."""
        return super().pool(items_BRV, weights_BR) / items_BRV.shape[1]


class Recurrent(Aggregator):
    """The last output of a recurrent network over the maxima of a clip's spans.

    Args:
        frame_dim: D, a multiple of `num_directions`.
        cell: What the network is made of.
        num_layers: One upon the other.
        num_directions: 2: one half of the features reads the clip from its end.
        num_bins: Spans. A clip is cut, or its last frame repeated, so that all are equally long.

    Raises:
        ValueError: If `frame_dim` cannot be shared among the directions.

    Differs: the published code stops at clips of less than half as many frames as spans, and of two directions begins some
    layers with PyTorch's weights.
    """

    def __init__(self, *, frame_dim: int, cell: RnnCell, num_layers: int, num_directions: int, num_bins: int) -> None:
        super().__init__()
        if frame_dim % num_directions:
            raise ValueError(f"frame_dim ({frame_dim}) must be even for a recurrent network of 2 directions")
        self.output_dim = frame_dim
        self.num_bins = num_bins
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.rnn = kind(frame_dim, frame_dim // num_directions, num_layers, batch_first=True, bidirectional=num_directions == 2)
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("weight"):
                nn.init.kaiming_normal_(parameter)

    def forward(self, frames_BSD: Tensor, num_source: int = 0, alpha: Tensor | None = None) -> Tensor:
        """Features of videos, shape (B, V)."""
        outputs_BND: Tensor = self.rnn(self._maxima(frames_BSD))[0]
        return outputs_BND[:, -1]

    def _maxima(self, frames_BSD: Tensor) -> Tensor:
        num_frames = frames_BSD.shape[1]
        span = max(1, round(num_frames / self.num_bins))
        missing = span * self.num_bins - num_frames
        if missing > 0:
            frames_BSD = torch.cat([frames_BSD, frames_BSD[:, -1:].expand(-1, missing, -1)], dim=1)
        return torch.unflatten(frames_BSD[:, : span * self.num_bins], 1, (self.num_bins, span)).amax(dim=2)


class TemporalConvolution(Aggregator):
    """The mean over time of one convolution of 3 frames, the same for all features.

    Args:
        frame_dim: D.
        mixing: Of the domains' norms behind the convolution; None: it has none.

    Differs: the published code stops here, at an attention that is never set; this has none, whatever the network's is.
    """

    def __init__(self, *, frame_dim: int, mixing: Mixing | None = None) -> None:
        super().__init__()
        self.output_dim = frame_dim
        self.convolution = nn.Conv2d(1, 1, kernel_size=(_KERNEL, 1), padding=(_KERNEL // 2, 0))
        nn.init.kaiming_normal_(self.convolution.weight)
        self.norms = None if mixing is None else DomainNorms(frame_dim, mixing=mixing)

    def forward(self, frames_BSD: Tensor, num_source: int = 0, alpha: Tensor | None = None) -> Tensor:
        """Features of videos, shape (B, V)."""
        convolved_BSD = self.convolution(frames_BSD.unsqueeze(1)).squeeze(1)
        if self.norms is not None:
            convolved_BSD = self.norms(convolved_BSD, num_source, alpha)
        return F.relu(convolved_BSD).mean(dim=1)


def published_tuples(num_segments: int, scale: int) -> tuple[tuple[int, ...], ...]:
    """The tuples of a relation: up to 3, evenly spread over all in the order of `itertools.combinations`.

    Args:
        num_segments: S.
        scale: Frames of a tuple, at most S.

    Returns:
        Frame numbers of each tuple, ascending, in [0, S).
    """
    num_tuples = math.comb(num_segments, scale)
    num_chosen = min(_NUM_TUPLES, num_tuples)
    positions = [math.ceil(number * num_tuples / num_chosen) for number in range(num_chosen)]
    with torch.device("cpu"):  # also where networks are built on the device meta, for their shapes
        return tuple(tuple(numbers) for numbers in tuples_at(num_segments, scale, positions).tolist())
