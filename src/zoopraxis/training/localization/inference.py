"""A network of localization at work: the detections of a split, and those of one video."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from zoopraxis.data.decoding import VideoReader
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.prepare.work import OnProgress
from zoopraxis.data.segments import VideoSegments
from zoopraxis.data.stores.video import VideoStore
from zoopraxis.errors import CheckpointError, ConfigError, DataError
from zoopraxis.evaluation.detection_map import default_thresholds, detection_map, tasks_of
from zoopraxis.evaluation.detections import WRITABLE_SUFFIXES, Detections, save_detections
from zoopraxis.evaluation.proposal_recall import proposal_recall
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.training.extraction import load_extractor
from zoopraxis.training.extraction_windows import Windows, check_network, window_features
from zoopraxis.training.localization.arrays import ArrayFeatures
from zoopraxis.training.localization.checkpoints import Localizer, load_localizer
from zoopraxis.training.localization.detection import Columns, VideoDetector, join_detections
from zoopraxis.training.localization.scene import Scene, build_namer, long_features, open_scene
from zoopraxis.training.localization.settings import settings_of_test
from zoopraxis.training.localization.splits import truth_of
from zoopraxis.training.options import DetectionOutcome, TestOptions
from zoopraxis.training.trainer import inference_trainer, quiet_lightning

__all__ = ["detection_metrics", "localize_split", "localize_video", "write_detections"]


def write_detections(
    checkpoint: str | Path,
    detections_path: str | Path,
    *,
    split: str,
    options: TestOptions,
    accelerator: str = "auto",
    devices: int | str = "auto",
    show_progress: bool = False,
) -> DetectionOutcome:
    """Find the actions in the videos of a split, and write a file of detections; see `training.inference.test`.

    Raises:
        ConfigError: If the file's suffix is of no detections, an option has no effect, or there is nothing to read from.
        CheckpointError: If the checkpoint cannot be loaded.
        AnnotationError: If the split's annotations are broken.
        DataError: If features or class scores are missing, broken, or of other widths than the network takes.
    """
    path = Path(detections_path)
    if path.suffix.lower() not in WRITABLE_SUFFIXES:
        raise ConfigError(f"{path} cannot be a file of detections; give it the suffix {' or '.join(WRITABLE_SUFFIXES)}")
    localizer = load_localizer(checkpoint, architecture=options.architecture)
    scene = open_scene(localizer, split, options)
    found, is_first = _localize(localizer, scene, accelerator=accelerator, devices=devices, show_progress=show_progress)
    found = dataclasses.replace(found, meta={**found.meta, "split": split, "checkpoint": Path(checkpoint).name})
    if is_first:
        save_detections(found, path)
    return DetectionOutcome(found, detection_metrics(scene.videos, found), scene.videos.notes)


def localize_split(
    localizer: Localizer,
    split: str,
    options: TestOptions | None = None,
    *,
    accelerator: str = "auto",
    devices: int | str = "auto",
    show_progress: bool = False,
) -> Detections:
    """Find the actions in the videos of a split: windows, maps, proposals, names.

    Args:
        localizer: The network.
        split: train, val or test.
        options: What is otherwise than in the network's training.
        accelerator: Lightning's name of the kind of device.
        devices: How many, or `auto`; each takes videos of its own.
        show_progress: Whether to draw a progress bar on standard error.

    Raises:
        ConfigError: If an option has no effect or does not fit, or there is nothing to read from.
        AnnotationError: If the split's annotations are broken.
        DataError: If features or class scores are missing, broken, or of other widths than the network takes.
    """
    scene = open_scene(localizer, split, options or TestOptions())
    return _localize(localizer, scene, accelerator=accelerator, devices=devices, show_progress=show_progress)[0]


def localize_video(
    checkpoint: str | Path,
    video: str | Path,
    *,
    backbone: str | Path | None = None,
    options: TestOptions | None = None,
    accelerator: str = "auto",
    on_progress: OnProgress | None = None,
) -> Detections:
    """Find the actions in one video: its features are made as those were that the network learned from.

    Args:
        checkpoint: Of localization.
        video: A video file.
        backbone: The network that makes the features; none: the one that the checkpoint names.
        options: What is otherwise than in the network's training.
        accelerator: auto, cpu or gpu.
        on_progress: Told the parts of the work that are done: features, then detections.

    Raises:
        CheckpointError: If a checkpoint cannot be loaded, or `backbone` is not the network of the features.
        ConfigError: If the checkpoint does not tell how its features were made, or they are of several networks.
        DataError: If the video cannot be read.
    """
    tell = on_progress or (lambda done, total: None)
    path = Path(video)
    if not path.is_file():
        raise DataError(f"there is no video {path}; name a video file")
    tell(0, 2)
    localizer = load_localizer(checkpoint)
    scene = _scene_of_video(localizer, path, backbone=backbone, options=options or TestOptions(), accelerator=accelerator)
    tell(1, 2)
    found = _localize(localizer, scene, accelerator=accelerator, devices=1, show_progress=False)[0]
    tell(2, 2)
    return found


def _scene_of_video(
    localizer: Localizer, path: Path, *, backbone: str | Path | None, options: TestOptions, accelerator: str
) -> Scene:
    """One video with its features in memory."""
    meta = localizer.extractor or {}
    source = backbone or meta.get("source")
    if "windows" not in meta or source is None or len(localizer.modalities) != 1:
        raise ConfigError(
            "the checkpoint does not tell the one network that its features are of; make the video's features with zoopraxis "
            "prepare features, and use zoopraxis test"
        )
    config = settings_of_test(localizer, dataclasses.replace(options, root=str(path)), "test")
    classes = dataclasses.replace(config.classes, videos=str(path.parent), scores=None)
    config = dataclasses.replace(config, classes=classes)
    windows = dataclasses.replace(Windows.from_meta(meta), has_scores=config.classes.by == "scores")
    try:
        model = load_extractor(source)
    except CheckpointError as error:
        if backbone is not None:
            raise
        raise CheckpointError(
            f"the network of the features, as the checkpoint names it, is not to be had ({error}); name it with --backbone"
        ) from error
    check_network(model, meta)
    features, seconds = window_features(
        model,
        VideoStore(path.parent),
        Clip(path.name, path.name),
        windows,
        modality=next(iter(localizer.modalities)),
        accelerator=accelerator,
    )
    with VideoReader(path) as reader:
        duration = reader.duration_seconds
    store = ArrayFeatures(path, path.stem, features, seconds, meta)
    return Scene(config, _one_video(path.stem, duration), store, localizer.class_names)


def _one_video(video_id: str, duration: float) -> VideoSegments:
    """A video in which nothing is labelled."""
    index = ClipIndex.from_columns(clip_id=[], source=[], labels={}, class_names={})
    seconds = np.array([duration])
    return VideoSegments(np.array([video_id]), seconds, seconds, np.array([np.nan]), index)


def detection_metrics(videos: VideoSegments, found: Detections) -> dict[str, float]:
    """Mean average precisions in percent, where all heads are labelled; of proposals without classes their recall.

    Args:
        videos: The videos with their labelled segments; their format decides which overlaps are asked for.
        found: What was found.
    """
    if not len(videos.index) or not len(found):
        return {}
    truth = truth_of(videos)
    if not found.labels:
        return proposal_recall(truth, found).as_dict()
    if not found.labels.keys() <= truth.labels.keys():
        return {}
    thresholds = default_thresholds(videos.format, found.labels)
    return detection_map(truth, found, tasks_of(found.labels), thresholds).as_dict()


def _localize(
    localizer: Localizer, scene: Scene, *, accelerator: str, devices: int | str, show_progress: bool
) -> tuple[Detections, bool]:
    """The detections of all videos, and whether this is the first process."""
    features = long_features(localizer, scene)
    with quiet_lightning():
        trainer = inference_trainer(accelerator=accelerator, devices=devices, show_progress=show_progress)
        device = trainer.strategy.root_device  # of this process
        namer = build_namer(localizer, scene, features, device)
        detector = VideoDetector(localizer.network, features, scene.videos, scene.config, namer, device=device)
        system = _DetectionSystem(localizer.network, detector)
        trainer.test(system, _VideoData(len(scene.videos)), verbose=False)
    localizer.network.cpu()
    meta = {
        "task": "localization",
        "found": localizer.found,
        "class_names": {head: list(names) for head, names in scene.class_names.items()},
        "proposals": dataclasses.asdict(scene.config.proposals),
        "classes": dataclasses.asdict(scene.config.classes),
    }
    return join_detections(scene.videos, system.found, meta), trainer.is_global_zero


class _VideoData(L.LightningDataModule):
    """The numbers of videos, each process its own share."""

    def __init__(self, num_videos: int) -> None:
        super().__init__()
        self.num_videos = num_videos

    def test_dataloader(self) -> list[int]:
        trainer = self.trainer
        assert trainer is not None
        return list(range(self.num_videos))[trainer.global_rank :: trainer.world_size]


class _DetectionSystem(L.LightningModule):
    """Finds the actions in one video a step."""

    def __init__(self, network: BoundaryMatchingNetwork, detector: VideoDetector) -> None:
        super().__init__()
        self.network = network  # so that it is moved to the device
        self.detector = detector
        self.found: dict[int, Columns] = {}

    def test_step(self, batch: int, batch_idx: int) -> None:
        self.found[batch] = self.detector.detect(batch)

    def on_test_epoch_end(self) -> None:
        """Bring all processes' detections together."""
        if self.trainer.world_size > 1:
            everyone: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(everyone, self.found)
            self.found = {number: columns for own in everyone for number, columns in own.items()}
