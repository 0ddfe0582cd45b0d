"""The record of a published checkpoint: where it lies and all that is needed to use it rightly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.registry import Registry

__all__ = ["EPIC_HEADS", "EPIC_SOURCE", "MMACTION_SOURCE", "MMACTION_URL", "WEIGHTS", "PublishedWeights", "enter_weights"]

EPIC_HEADS = {"verb": 97, "noun": 300}
"""The heads of EPIC-KITCHENS-100; published networks have one linear map of 397 rows, verbs first."""
EPIC_SOURCE = "EPIC-KITCHENS-100 action recognition baselines (C1-Action-Recognition-TSN-TRN-TSM), README"
MMACTION_URL = "https://download.openmmlab.com/mmaction/v1.0/recognition/"
MMACTION_SOURCE = "mmaction2 model zoo, Kinetics-400 validation of 19,796 videos"


@dataclass(frozen=True)
class PublishedWeights:
    """One published checkpoint.

    Attributes:
        name: `architecture.tag`, e.g. `tsm_resnet50.epic100_rgb`.
        url: Where the file lies.
        model: Arguments of `create_model`, `name` included.
        num_parameters: Numbers in its parameters, frozen ones included.
        preprocessing: What it was trained with and must be given.
        sampling: The frames and views of the published accuracy.
        accuracy: Published accuracy in percent, by metric and split, e.g. `{"val/action@1": 35.75}`.
        source: Who published it, where.
    """

    name: str
    url: str
    model: Mapping[str, Any]
    num_parameters: int
    preprocessing: Preprocessing
    sampling: str
    accuracy: Mapping[str, float] = field(default_factory=dict)
    source: str = ""


WEIGHTS: Registry[PublishedWeights] = Registry("published weights")


def enter_weights(*records: PublishedWeights) -> None:
    """Enter records into the table under their names."""
    for record in records:
        WEIGHTS.register(record.name)(record)
