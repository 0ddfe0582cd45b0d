"""The record of a published checkpoint: where it lies, what it scored and all that is needed to use it rightly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zoopraxis.errors import ConfigError
from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.registry import Registry

__all__ = [
    "EPIC_100",
    "EPIC_HEADS",
    "EPIC_SOURCE",
    "HMDB_51",
    "KINETICS_400",
    "MMACTION_SOURCE",
    "MMACTION_URL",
    "SOMETHING_V1",
    "SOMETHING_V2",
    "UCF_101",
    "WEIGHTS",
    "Evaluation",
    "PublishedWeights",
    "enter_weights",
]

EPIC_HEADS = {"verb": 97, "noun": 300}
"""The heads of EPIC-KITCHENS-100; published networks have one linear map of 397 rows, verbs first."""
EPIC_100 = "EPIC-KITCHENS-100"
KINETICS_400 = "Kinetics-400"
SOMETHING_V1 = "Something-Something V1"
SOMETHING_V2 = "Something-Something V2"
HMDB_51 = "HMDB51"
UCF_101 = "UCF101"
EPIC_SOURCE = "EPIC-KITCHENS-100 action recognition baselines (C1-Action-Recognition-TSN-TRN-TSM), README"
MMACTION_URL = "https://download.openmmlab.com/mmaction/v1.0/recognition/"
MMACTION_SOURCE = "mmaction2 model zoo, Kinetics-400 validation of 19,796 videos"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What published weights scored, and how that was measured.

    Attributes:
        accuracy: In percent, by split and metric, e.g. `{"val/action@1": 35.75, "val/action@5": 57.27}`.
        num_frames: Frames (or stacks of flow frames) of one view.
        size: Height and width of one view, px.
        num_clips: Places in the video from which views are taken.
        num_crops: Crops of each: 1 center, 3 along the longer side, 10 corners, center and their mirror images.
        average: Of the views' logits (`score`) or of their softmax probabilities (`prob`).
        source: Who published these numbers; none: who published the weights.
    """

    accuracy: Mapping[str, float]
    num_frames: int
    size: int = 224
    num_clips: int = 1
    num_crops: int = 1
    average: Literal["score", "prob"] = "score"
    source: str = ""

    @property
    def num_views(self) -> int:
        """Views of one video: its cost is so many times that of one view."""
        return self.num_clips * self.num_crops


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """One published checkpoint.

    Attributes:
        name: `architecture.tag`, e.g. `tsm_resnet50.epic100_rgb`.
        model: Arguments of `create_model`, `name` included.
        num_parameters: Numbers in its parameters, frozen ones included.
        gmacs: Billions of multiply-adds for one view of the first evaluation, as `models.cost` counts them: what papers mostly
            call GFLOPs.
        preprocessing: What it was trained with and must be given.
        data: The data set on which it was trained and evaluated.
        evaluations: Published results, the most quoted first; at least one.
        source: Who published it, where.
        url: Address of the file; empty if it has none from which a program could take it.
        page: Where a person can get the file, for weights without `url`.

    Raises:
        ConfigError: If there is neither `url` nor `page`, or no evaluation.
    """

    name: str
    model: Mapping[str, Any]
    num_parameters: int
    gmacs: float
    preprocessing: Preprocessing
    data: str
    evaluations: tuple[Evaluation, ...]
    source: str
    url: str = ""
    page: str = ""

    def __post_init__(self) -> None:
        if not self.url and not self.page:
            raise ConfigError(f"published weights {self.name!r} need the address of their file (url) or of a page that has it")
        if not self.evaluations:
            raise ConfigError(f"published weights {self.name!r} need at least one evaluation")


WEIGHTS: Registry[PublishedWeights] = Registry("published weights")


def enter_weights(*records: PublishedWeights) -> None:
    """Enter records into the table under their names."""
    for record in records:
        WEIGHTS.register(record.name)(record)
