"""What a test may be asked for, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoopraxis.evaluation.detections import Detections
from zoopraxis.evaluation.results import Results

__all__ = ["DetectionOutcome", "TestOptions", "TestOutcome"]


@dataclass(frozen=True)
class TestOptions:
    """What a test may set otherwise than the checkpoint's own configuration; none: as it stands there.

    Published weights that are named have the views, size and frames of their published evaluation.

    Attributes:
        root: The store's root folder.
        annotations: Annotations of the split; for networks of adaptation also the folder that all splits' are in.
        store: `gulp`, `frames` or `video`.
        fps: Frame rate of stored frames, where the store cannot tell it.
        size: Height and width of a view, px.
        num_segments: Frames a view, T; or features a clip, S.
        num_clips: Views along time.
        num_crops: Views in space: 1, 3, 5 or 10.
        average: `score` or `prob`.
        batch_size: Clips a batch.
        num_workers: Reading processes.
        quarantine: A list of clips to leave out.
        modalities: Features that stand side by side, for a published checkpoint, which does not say.
        architecture: What a published checkpoint does not tell (`load_model`, `load_adaptation`).
        embeddings: An embeddings file to write: what a network on features makes of clips of both domains.
        settings: Of a network of localization, `KEY=VALUE` of its recipe's sections `data`, `proposals` and `classes`.
    """

    __test__ = False  # pytest: not a test class

    root: str | None = None
    annotations: str | None = None
    store: str | None = None
    fps: float | None = None
    size: int | None = None
    num_segments: int | None = None
    num_clips: int | None = None
    num_crops: int | None = None
    average: str | None = None
    batch_size: int | None = None
    num_workers: int | None = None
    quarantine: str | None = None
    modalities: list[str] | None = None
    architecture: str | Mapping[str, Any] | None = None
    embeddings: str | None = None
    settings: Sequence[str] | None = None


@dataclass(frozen=True)
class TestOutcome:
    """What a test found.

    Attributes:
        results: The scores, as they stand in the results file.
        metrics: Accuracies in percent, where the split has labels; of actions by views too, where the results have these.
    """

    __test__ = False  # pytest: not a test class

    results: Results
    metrics: dict[str, float]


@dataclass(frozen=True)
class DetectionOutcome:
    """What a test of a network of localization found.

    Attributes:
        detections: As they stand in the file.
        metrics: In percent, where the split has labels: mean average precisions, or of proposals without classes their recall.
        notes: What a person should know of the split, one line each.
    """

    detections: Detections
    metrics: dict[str, float]
    notes: tuple[str, ...] = ()
