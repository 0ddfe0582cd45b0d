"""Recall of proposals: which part of the segments is found among so many proposals a video (AR@AN).

N proposals a video on the average means the same part of each video's proposals, the best first, not the same number.

G segments of the truth, K thresholds, 100 average numbers of proposals.

Source: ActivityNet, Evaluation/eval_proposal.py; mmaction2, average_recall_at_avg_proposals.

Differs: a video without proposals counts with recall 0 (mmaction2 fails); overlaps are float64 (mmaction2: float32); the area
is told with every NumPy (mmaction2 uses `numpy.trapz`, which is gone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.detection_map import ACTIVITYNET_THRESHOLDS, best_first, segment_tiou, video_rows
from zoopraxis.evaluation.detections import Detections, Truth

__all__ = ["ProposalRecall", "proposal_recall"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_NUM_POINTS = 100
_TOLD_AT = (1, 5, 10, 100)
"""Average numbers of proposals a video of which the recall is told."""


@dataclass(frozen=True, eq=False)
class ProposalRecall:
    """Recall against the average number of proposals.

    Attributes:
        thresholds: Overlaps (tIoU), shape (K,).
        proposals_per_video: Average numbers of proposals, ascending, shape (100,).
        recall: 0 to 1, shape (K, 100).
        auc: Area under the mean recall, percent of the whole.
    """

    thresholds: FloatArray
    proposals_per_video: FloatArray
    recall: FloatArray
    auc: float

    @property
    def average(self) -> FloatArray:
        """Recall, mean over the thresholds (AR), shape (100,)."""
        return np.asarray(self.recall.mean(axis=0))

    def at(self, number: float) -> float:
        """AR at an average number of proposals (AR@AN), percent; of the nearest number that was counted."""
        return 100 * float(self.average[np.argmin(np.abs(self.proposals_per_video - number))])

    def as_dict(self) -> dict[str, float]:
        """Name to percent: `ar_at_1`, `ar_at_5`, `ar_at_10`, `ar_at_100` and `auc`."""
        return {**{f"ar_at_{number}": self.at(number) for number in _TOLD_AT}, "auc": self.auc}


def proposal_recall(
    truth: Truth,
    proposals: Detections,
    thresholds: Sequence[float] | FloatArray = ACTIVITYNET_THRESHOLDS,
    *,
    max_average: float = 100,
) -> ProposalRecall:
    """Judge proposals, whatever their class.

    Args:
        truth: What is in the videos.
        proposals: What was found in them.
        thresholds: Overlaps (tIoU).
        max_average: The highest average number of proposals a video that is counted.

    Raises:
        DataError: If proposals are of unknown videos, there are none, or the truth has no segments.
        ConfigError: If `max_average` is not positive.
    """
    if not max_average > 0:
        raise ConfigError(f"max_average ({max_average}) must be above 0; try 100")
    if len(truth) == 0 or len(proposals) == 0:
        raise DataError(
            f"{len(proposals)} proposals and {len(truth)} segments: recall needs both; check the annotations' split"
        )
    levels, num_videos = np.asarray(thresholds, dtype=np.float64), len(truth.video_ids)
    video = video_rows(truth, proposals)
    totals = np.bincount(video, minlength=num_videos)
    kept = np.minimum((totals * (max_average * num_videos / len(proposals))).astype(np.int64), totals)
    if kept.sum() == 0:
        raise DataError(f"no video has proposals enough for an average of {max_average:g}; allow more")
    parts = np.arange(1, _NUM_POINTS + 1) / _NUM_POINTS * (max_average * num_videos / kept.sum())
    counted = np.minimum((kept[:, None] * parts).astype(np.int64), kept[:, None])
    first = _first_ranks(truth, proposals, video, kept, levels)
    recall = np.stack([(row[:, None] < counted[truth.video]).mean(axis=0) for row in first])
    per_video = parts * (kept.sum() / num_videos)
    average = recall.mean(axis=0)
    area = (np.diff(per_video) * (average[1:] + average[:-1]) / 2).sum()
    auc = 100 * float(area / per_video[-1])
    return ProposalRecall(levels, per_video, recall, auc)


def _first_ranks(truth: Truth, proposals: Detections, video: IntArray, kept: IntArray, thresholds: FloatArray) -> IntArray:
    """Place, among its video's proposals, of the first that finds each segment; as many as there are if none, shape (K, G)."""
    first = np.full((len(thresholds), len(truth)), len(proposals), dtype=np.int64)
    order = best_first(proposals.scores)
    order = order[np.argsort(video[order], kind="stable")]
    starts = np.searchsorted(video[order], np.arange(len(kept)))
    for number in np.unique(truth.video).tolist():
        rows = order[starts[number] : starts[number] + kept[number]]
        if len(rows) == 0:
            continue
        segments = truth.of_video(number)
        tiou = segment_tiou(truth.segments[segments], proposals.segments[rows])
        for level, threshold in enumerate(thresholds):
            enough = tiou >= threshold
            found = enough.any(axis=1)
            first[level, segments[found]] = enough[found].argmax(axis=1)
    return first
