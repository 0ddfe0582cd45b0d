"""Proposals named as trimmed clips, each by itself, by a network of recognition.

# P proposals of a video, V views of a clip, K classes
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from zoopraxis.config.localization import ClassesConfig
from zoopraxis.data.attempts import read_attempts
from zoopraxis.data.index import ClipIndex
from zoopraxis.data.segments import VideoSegments
from zoopraxis.data.stores.video import VideoStore
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.models.checkpoints import load_model
from zoopraxis.models.preprocessing import normalize
from zoopraxis.training.data import Split
from zoopraxis.training.extraction import MAX_FRAMES
from zoopraxis.training.extraction_videos import index_videos
from zoopraxis.training.localization.naming import Located, Names, rank_classes
from zoopraxis.training.options import TestOptions
from zoopraxis.training.system import average_views
from zoopraxis.training.views import dataset_of_views, run_config, views_of

__all__ = ["ClipNamer"]


class ClipNamer:
    """`classes.by=clips`: what a network of recognition makes of each proposal, with the views of its own test.

    Args:
        videos: The videos.
        settings: The recipe's section `classes`, with the network and the folder of the videos' files.
        num_workers: Processes that read clips.
        device: Where is computed.

    Raises:
        ConfigError: If the network or the folder is not named, the folder is not there, or the network is not of RGB frames.
        DataError: If videos have no files.
        CheckpointError: If the network cannot be loaded.

    Source: the baseline of EPIC-KITCHENS C2-Action-Detection, SlowFastProposalClassifier.
    """

    def __init__(self, videos: VideoSegments, settings: ClassesConfig, *, num_workers: int, device: torch.device) -> None:
        for name in ("network", "videos"):
            if getattr(settings, name) is None:
                raise ConfigError(f"classes.by=clips needs classes.{name}; give it, or name proposals otherwise")
        if not Path(str(settings.videos)).is_dir():
            raise ConfigError(f"classes.videos={settings.videos} is no folder; name the one that the videos are in")
        self.model = load_model(str(settings.network)).to(device).eval()
        if self.model.preprocessing.modality != "rgb":
            raise ConfigError(
                f"classes.network={settings.network} sees optical flow, which videos do not hold; name one of RGB"
            )
        self.views = views_of(run_config(self.model), TestOptions(), self.model, "test")
        self.settings = settings
        self.device = device
        self.num_workers = num_workers
        self.video_ids = videos.video_ids
        self.store = VideoStore(Path(str(settings.videos)))
        self.sources = _sources(self.store, Path(str(settings.videos)), videos)

    def __call__(self, located: Located) -> Names:
        video = str(self.video_ids[located.video])
        count = len(located.found)
        index = ClipIndex.from_columns(
            clip_id=[f"{video}_{number}" for number in range(count)],
            source=[self.sources[video]] * count,
            start_seconds=located.seconds[:, 0],
            stop_seconds=located.seconds[:, 1],
            labels={},
            class_names={},
        )
        return rank_classes(self._probabilities(index), self.settings)

    def _probabilities(self, index: ClipIndex) -> dict[str, npt.NDArray[np.floating[Any]]]:
        """For each head, shape (P, K)."""
        preprocessing = self.model.preprocessing
        dataset = dataset_of_views(Split(index, self.store), preprocessing, self.views)
        batch_size = max(1, MAX_FRAMES // (dataset.num_views * self.views.num_segments))
        found: dict[str, list[torch.Tensor]] = {head: [] for head in self.model.heads}
        for batch in read_attempts(dataset, range(len(index)), batch_size=batch_size, num_workers=self.num_workers):
            if batch.broken or batch.clips is None:
                raise DataError(batch.broken[0].reason)
            clips = batch.clips["clip"].to(self.device)
            views = clips.flatten(0, 1) if dataset.num_views > 1 else clips
            for head, logits in self.model(normalize(views, preprocessing)).items():
                mean = average_views(logits.float(), dataset.num_views, self.views.average)
                found[head].append(mean.softmax(-1).cpu())
        return {head: torch.cat(parts).numpy() for head, parts in found.items()}


def _sources(store: VideoStore, root: Path, videos: VideoSegments) -> dict[str, str]:
    """The file of each video, as the store names it.

    Raises:
        DataError: If some have none.
    """
    files = index_videos(root, store, root=root)
    by_id = dict(zip(files.clip_ids.tolist(), files.column("source").tolist(), strict=True))
    by_id = {name.removeprefix("v_"): source for name, source in by_id.items()} | by_id
    missing = [video for video in videos.video_ids.tolist() if video not in by_id]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(videos)} videos have no file in {root} (first: {missing[0]}); check classes.videos"
        )
    return {video: by_id[video] for video in videos.video_ids.tolist()}
