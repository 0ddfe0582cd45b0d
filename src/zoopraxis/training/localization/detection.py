"""From a trained network and the features of a video to its detections: windows, maps, proposals, names.

# V videos, W windows of a video, T steps, D durations, G steps of a video's grid, P proposals
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from zoopraxis.config.localization import LocalizationConfig, ProposalsConfig
from zoopraxis.data.segments import VideoSegments
from zoopraxis.evaluation.detections import Detections
from zoopraxis.localization.fusion import FusedMaps, fuse_windows
from zoopraxis.localization.network import BoundaryMaps, BoundaryMatchingNetwork
from zoopraxis.localization.proposals import Proposals, proposals, suppress
from zoopraxis.localization.targets import valid_cells
from zoopraxis.training.localization.naming import Located, Namer
from zoopraxis.training.localization.windows import LongFeatures, cut_windows
from zoopraxis.training.read_ahead import ReadAhead

__all__ = ["VideoDetector", "choose_proposals", "join_detections"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Columns = dict[str, npt.NDArray[Any]]
"""Of P detections: `segments` (P, 2) in seconds, `scores` (P,) and `label:<head>` (P,)."""

_LABEL = "label:"
_READ_AHEAD = 1
_KEPT_BYTES = 1 << 30
"""Of a video's maps of classes, at most; where there are more, they are computed again for the proposals."""


class VideoDetector:
    """Finds the actions in videos, one video at a time.

    Args:
        network: In evaluation mode.
        features: What it sees of the videos.
        videos: The videos, V.
        config: How proposals are chosen.
        namer: What they are called.
        device: Where the network is.
    """

    def __init__(
        self,
        network: BoundaryMatchingNetwork,
        features: LongFeatures,
        videos: VideoSegments,
        config: LocalizationConfig,
        namer: Namer,
        *,
        device: torch.device,
    ) -> None:
        self.network = network
        self.features = features
        self.videos = videos
        self.config = config
        self.namer = namer
        self.device = device
        self.table = cut_windows(config.data, videos, features.feature_seconds or 0.0)
        self.valid_DT = valid_cells(config.data.num_steps, config.data.max_duration, rounded=config.loss.balance == "tadaconv")

    @torch.inference_mode()
    def detect(self, video: int) -> Columns:
        """A video's detections.

        Raises:
            DataError: If features cannot be read.
        """
        located = self.locate(video)
        found = located.found
        if not len(found):
            return {"segments": np.zeros((0, 2)), "scores": np.zeros(0)}
        names = self.namer(located)
        num_names = names.scores.shape[1]
        scores_PN = found.scores[:, None] * names.scores.astype(np.float64) ** self.config.classes.power
        labels = {_LABEL + head: classes.reshape(-1) for head, classes in names.labels.items()}
        return {"segments": located.seconds.repeat(num_names, axis=0), "scores": scores_PN.reshape(-1), **labels}

    @torch.inference_mode()
    def locate(self, video: int) -> Located:
        """A video's proposals, the best first."""
        bounds = self.table.bounds[self.table.of_video(video)]
        grid, num_grid_steps = self.features.grid(video, bounds)
        maps = list(self._maps(video, bounds))
        fused = self._fused_maps(maps, grid, num_grid_steps)
        found = choose_proposals(fused, float(self.videos.durations[video]), self.config.proposals)
        span = self.videos.covered if self.config.data.window == "video" else self.videos.durations
        classes = [
            {head: values[row] for head, values in part.classes.items()} for part in maps for row in range(len(part.start_BT))
        ]
        kept = classes if any(classes) else ()
        return Located(video, found, found.seconds(float(span[video])), bounds, grid, self.valid_DT, kept)

    def _fused_maps(self, maps: Sequence[BoundaryMaps], grid: list[IntArray], num_grid_steps: int) -> FusedMaps:
        shifts = [part.shift_B2DT for part in maps if part.shift_B2DT is not None]
        return fuse_windows(
            torch.cat([part.start_BT for part in maps]),
            torch.cat([part.end_BT for part in maps]),
            torch.cat([part.confidence_B2DT for part in maps]),
            grid,
            self.valid_DT,
            num_grid_steps=num_grid_steps,
            shift_W2DT=torch.cat(shifts) if shifts else None,
        )

    def _maps(self, video: int, bounds_W2: FloatArray) -> Iterator[BoundaryMaps]:
        """The network's maps of a video's windows, some at a time; those of classes where they are needed and not too large."""
        window_bytes = 4 * sum(self.network.arguments["heads"].values()) * self.valid_DT.numel()
        keeps_classes = self.config.classes.by == "maps" and len(bounds_W2) * window_bytes <= _KEPT_BYTES

        def read(rows: FloatArray) -> torch.Tensor:
            return torch.from_numpy(np.stack([self.features.read(video, bounds) for bounds in rows]))

        size = self.config.data.batch_size
        ahead = ReadAhead(read, _READ_AHEAD if self.config.data.num_workers else 0)
        for features_BCT in ahead.over(bounds_W2[start : start + size] for start in range(0, len(bounds_W2), size)):
            maps = self.network(features_BCT.to(self.device))
            yield maps if keeps_classes else maps._replace(classes={})


def choose_proposals(fused: FusedMaps, duration: float, settings: ProposalsConfig) -> Proposals:
    """The proposals of a video's maps that are kept, the best first.

    Args:
        fused: The maps.
        duration: Of the video, seconds.
        settings: The recipe's section `proposals`.
    """
    found = proposals(
        fused.start.cpu().numpy(),
        fused.end.cpu().numpy(),
        fused.confidence.cpu().numpy(),
        peak=settings.peak,
        start_power=settings.start_power,
        end_power=settings.end_power,
        confidence_power=settings.confidence_power,
        overlap_power=settings.overlap_power,
        min_score=settings.min_score,
        shift_2DT=None if fused.shift is None else fused.shift.cpu().numpy(),
    )
    nms = settings.nms
    keep = int(duration * settings.per_second) + settings.at_least
    return suppress(found, alpha=nms.alpha, low=nms.low, high=nms.high, power=nms.power, keep=keep, last=nms.last)


def join_detections(videos: VideoSegments, found: Mapping[int, Columns], meta: Mapping[str, Any]) -> Detections:
    """The detections of all videos.

    Args:
        videos: The videos.
        found: Those of each, by its number.
        meta: How they came about.
    """
    some = next((columns for columns in found.values() if len(columns["scores"])), {})
    heads = [name for name in some if name.startswith(_LABEL)]
    columns = [(number, found[number]) for number in sorted(found) if len(found[number]["scores"])]
    video = [np.full(len(own["scores"]), number, dtype=np.int64) for number, own in columns]
    names = ("segments", "scores", *heads) if columns else ()
    joined: Columns = {name: np.concatenate([own[name] for _, own in columns]) for name in names}
    return Detections(
        videos.video_ids,
        np.concatenate(video) if video else np.zeros(0, dtype=np.int64),
        joined.get("segments", np.zeros((0, 2))),
        joined.get("scores", np.zeros(0)),
        {name.removeprefix(_LABEL): joined[name] for name in heads},
        meta,
    )
