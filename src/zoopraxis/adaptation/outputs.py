"""What the network of adaptation finds in the clips of a domain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoopraxis.adaptation.discriminators import Level

__all__ = ["DomainOutput"]


@dataclass(frozen=True)
class DomainOutput:
    """What the network finds in the B clips of one domain.

    Attributes:
        logits: Of each head, shape (B, classes); of predictions of frames (B * S, classes), frame after frame.
        second_logits: Those of the second classifiers; without such the same tensors as `logits`.
        domain_logits: Of each level asked for, source and target: relation (B, S - 1, 2), absent where the aggregation has no
            relations; video (B, 2); frame (B, S, 2).
        attention: Weights of the relations, (B, S - 1), or of the averaged frames, (B, S); None without attention.
        features: Of the shared layers "shared_1" and so on, (B, S, D), behind their dropout, and of the "video", (B, V), before
            its dropout.
    """

    logits: dict[str, Tensor]
    second_logits: dict[str, Tensor]
    domain_logits: dict[Level, Tensor]
    attention: Tensor | None
    features: dict[str, Tensor]

    def clip_logits(self) -> dict[str, Tensor]:
        """Of each head logits of the clips, shape (B, classes): of predictions of frames the mean over a clip's frames."""
        num_clips = self.features["video"].shape[0]
        return {
            head: values if values.shape[0] == num_clips else torch.unflatten(values, 0, (num_clips, -1)).mean(dim=1)
            for head, values in self.logits.items()
        }

    def rows(self, num: int) -> DomainOutput:
        """The first `num` clips: the published code fills up short batches and drops the filling."""
        return self.between(0, num)

    def between(self, start: int, stop: int) -> DomainOutput:
        """The clips from `start` on, up to before `stop`."""
        num_clips = len(self.features["video"])

        def cut(values: Tensor) -> Tensor:
            rows = len(values) // num_clips if num_clips else 1
            return values[start * rows : stop * rows]

        logits = {name: cut(values) for name, values in self.logits.items()}
        has_second = self.second_logits is not self.logits
        return DomainOutput(
            logits,
            {name: cut(values) for name, values in self.second_logits.items()} if has_second else logits,
            {level: cut(values) for level, values in self.domain_logits.items()},
            None if self.attention is None else cut(self.attention),
            {name: cut(values) for name, values in self.features.items()},
        )
