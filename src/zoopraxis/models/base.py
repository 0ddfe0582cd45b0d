"""What every named network has beside its layers."""

from __future__ import annotations

from typing import Any

from torch import nn

from zoopraxis.models.preprocessing import Preprocessing

__all__ = ["VideoModel"]


class VideoModel(nn.Module):
    """Maps a clip (B, T, C, H, W), normalized, to `{head: logits (B, classes)}`.

    Attributes:
        heads: Head name to number of classes.
        preprocessing: What the input must have gone through; it may be replaced.
        class_names: For each head the names of its classes; numbers until somebody knows better.
        architecture: Arguments that make `create_model` build the network again.
        record: What its checkpoint says of it (see `checkpoints.model_record`); empty for a new network.
    """

    def __init__(self, *, heads: dict[str, int], preprocessing: Preprocessing) -> None:
        super().__init__()
        self.heads = heads
        self.preprocessing = preprocessing
        self.class_names = {head: tuple(f"{head} {number}" for number in range(width)) for head, width in heads.items()}
        self.architecture: dict[str, Any] = {}
        self.record: dict[str, Any] = {}
