"""A trained network at work: the scores of a split in a results file, the classes of one video."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoopraxis.config.adaptation import AdaptationConfig, AdaptationDataConfig
from zoopraxis.config.schema import ClipDataConfig, DataConfig
from zoopraxis.data.decoding import VideoReader
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.data.loaders import ClipLoader
from zoopraxis.data.stores.video import VideoStore
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.accuracy import head_accuracies, view_action_accuracies
from zoopraxis.evaluation.actions import top_actions
from zoopraxis.evaluation.results import RESULTS_SUFFIXES, Results, save_results
from zoopraxis.models.archives import FeatureNetworkError, LocalizationNetworkError
from zoopraxis.models.base import VideoModel
from zoopraxis.models.checkpoints import load_model
from zoopraxis.models.preprocessing import Preprocessing, normalize
from zoopraxis.models.ta3n import TA3N
from zoopraxis.training.adaptation.checkpoints import load_adaptation
from zoopraxis.training.adaptation.clips import open_clip_store
from zoopraxis.training.adaptation.domains import domain_of, open_domain
from zoopraxis.training.adaptation.inference import score_features, with_annotations
from zoopraxis.training.data import ClipDataModule, Split, check_split, open_split
from zoopraxis.training.localization.inference import write_detections
from zoopraxis.training.options import DetectionOutcome, TestOptions, TestOutcome
from zoopraxis.training.system import RecognitionSystem, average_views
from zoopraxis.training.trainer import inference_trainer, quiet_lightning
from zoopraxis.training.views import ClipConfig, TestViews, dataset_of_views, run_config, views_of

__all__ = ["DetectionOutcome", "TestOptions", "TestOutcome", "predict", "test"]

_SPLITS = ("train", "val", "test")
_FOR_FEATURES = ("modalities", "architecture", "embeddings", "settings")
"""Options of a test that a network on clips does not have."""


def test(
    checkpoint: str | Path,
    results_path: str | Path,
    *,
    split: str,
    options: TestOptions | None = None,
    accelerator: str = "auto",
    devices: int | str = "auto",
    show_progress: bool = False,
) -> TestOutcome | DetectionOutcome:
    """Score every clip of a split and write a results file, or find the actions in its videos and write a file of detections.

    Args:
        checkpoint: Of a run, or a published one (a file, a URL or a name of `zoopraxis models`).
        results_path: Where the results go: `.npz`, `.safetensors`, `.pkl` or `.pt`; of networks of localization the detections:
            `.npz` or `.json`.
        split: `train`, `val` or `test`; of networks of adaptation, whose `train`, `val` and `test` are the target's, also
            `source`, `target`, `source_val`, `target_val` and the other splits of the adaptation challenge.
        options: What differs from the checkpoint's configuration; a published checkpoint has none, so `root` must be given.
        accelerator: Lightning's name of the kind of device.
        devices: How many, or `auto`.
        show_progress: Whether to draw a progress bar on standard error.

    Raises:
        ConfigError: If there is nothing to read from.
        CheckpointError: If the checkpoint cannot be loaded.
        DataError: If a clip cannot be read, or a label exceeds its head.
    """
    options = options or TestOptions()
    where: dict[str, Any] = {"accelerator": accelerator, "devices": devices, "show_progress": show_progress}
    try:
        model = load_model(checkpoint)
    except LocalizationNetworkError:
        return write_detections(checkpoint, results_path, split=split, options=options, **where)
    except FeatureNetworkError:
        _check_suffix(results_path)
        adapted = load_adaptation(checkpoint, architecture=options.architecture)
        return score_features(adapted, results_path, checkpoint=checkpoint, split=split, options=options, **where)
    _check_suffix(results_path)
    _check_options(options)
    config = run_config(model)
    views = views_of(config, options, model, split)
    data = _data_config(config, options, model.preprocessing, split)
    opened = _open(data, split, class_names=None if config is None else model.class_names)
    check_split(opened, model.heads)
    if isinstance(model, TA3N):
        model.domain = "source" if domain_of(split) == "source" else "target"
    with quiet_lightning():
        trainer = inference_trainer(accelerator=accelerator, devices=devices, show_progress=show_progress)
        system = RecognitionSystem(model, average=views.average)
        trainer.test(system, _TestData(opened, model.preprocessing, views, data), verbose=False)
    assert system.tested is not None
    rows, scores = system.tested
    results = Results(opened.index.clip_ids[rows], scores, _meta(model, views, split, checkpoint), system.view_actions)
    if trainer.is_global_zero:
        save_results(results, results_path)
    labels = {head: values for head, values in opened.index.labels().items() if head in scores}
    is_labelled = labels.keys() == scores.keys() and all((values != UNLABELLED).all() for values in labels.values())
    metrics = head_accuracies(scores, labels) if is_labelled else {}
    if is_labelled and results.view_actions is not None:
        metrics |= view_action_accuracies(results.view_actions, labels)
    return TestOutcome(results, metrics)


def predict(
    checkpoint: str | Path,
    video: str | Path,
    *,
    start_seconds: float | None = None,
    stop_seconds: float | None = None,
    top: int = 5,
    options: TestOptions | None = None,
) -> dict[str, list[tuple[str, float]]]:
    """The likeliest classes of one video, or of a span of it.

    Args:
        checkpoint: Of a run, or a published one.
        video: A video file.
        start_seconds: Where the span begins; none: at the start.
        stop_seconds: Where it ends, exclusive; none: at the end.
        top: Classes a head.
        options: Views and frames that differ from the checkpoint's configuration.

    Returns:
        For each head, and for `action` where there are verbs and nouns, names and probabilities, the likeliest first.

    Raises:
        DataError: If the video cannot be read or the span is not in it.
        CheckpointError: If the checkpoint cannot be loaded, or needs optical flow.
    """
    if top < 1:
        raise ConfigError(f"top is {top}, but it must be at least 1; try top=5")
    path = Path(video)
    if not path.is_file():
        raise DataError(f"there is no video {path}")
    model = load_model(checkpoint)
    if model.preprocessing.modality != "rgb":
        raise ConfigError(
            f"{checkpoint} was trained on optical flow, which a video does not hold; "
            "make it with: zoopraxis prepare flow, then use: zoopraxis test"
        )
    if (start_seconds is None) != (stop_seconds is None):
        with VideoReader(path) as reader:
            start_seconds = 0.0 if start_seconds is None else start_seconds
            stop_seconds = reader.duration_seconds if stop_seconds is None else stop_seconds
    views = views_of(run_config(model), options or TestOptions(), model, "val")
    index = ClipIndex.from_columns(
        clip_id=[path.name],
        source=[path.name],
        labels={},
        class_names={},
        start_seconds=start_seconds,
        stop_seconds=stop_seconds,
    )
    dataset = dataset_of_views(Split(index, VideoStore(path.parent)), model.preprocessing, views)
    clip = dataset[0, 0]["clip"]
    views_VTCHW = clip if dataset.num_views > 1 else clip[None]
    model.eval()
    with torch.inference_mode():
        logits = model(normalize(views_VTCHW, model.preprocessing))
    scores = {head: average_views(value.float(), dataset.num_views, views.average).numpy() for head, value in logits.items()}
    return _top_classes(scores, model.class_names, top)


class _TestData(ClipDataModule):
    """The loader of a test, each process reading its own share."""

    def __init__(self, split: Split, preprocessing: Preprocessing, views: TestViews, config: ClipDataConfig) -> None:
        super().__init__(config)
        self.dataset = dataset_of_views(split, preprocessing, views, fps=config.fps)

    def test_dataloader(self) -> ClipLoader:
        return self.loader(self.dataset, shuffle=False)


def _check_suffix(path: str | Path) -> None:
    """See, before anything is scored, that scores have a place in the file.

    Raises:
        ConfigError: If its suffix is of no results file.
    """
    if Path(path).suffix.lower() not in RESULTS_SUFFIXES:
        raise ConfigError(f"{path} cannot be a results file; give it the suffix {', '.join(RESULTS_SUFFIXES)}")


def _check_options(options: TestOptions) -> None:
    """See that no option has no effect on a network on clips."""
    for name in _FOR_FEATURES:
        if getattr(options, name) is not None:
            raise ConfigError(f"{name} is for networks on features and has no effect on one on clips; leave it out")


def _data_config(
    config: ClipConfig | None, options: TestOptions, preprocessing: Preprocessing, split: str
) -> DataConfig | AdaptationDataConfig:
    """The data section of the checkpoint's run, with what the options change."""
    changes: dict[str, Any] = {
        "modality": preprocessing.modality,
        "segment_length": preprocessing.segment_length,
        "root": options.root,
        "store": options.store,
        "fps": options.fps,
        "batch_size": options.batch_size,
        "num_workers": options.num_workers,
        "quarantine": options.quarantine,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    named = options.annotations
    if isinstance(config, AdaptationConfig):
        given |= {"target_root": None} if options.root is not None else {}
        both = dataclasses.replace(config.data, **given)
        return both if named is None else with_annotations(both, Path(named), split)
    if split not in _SPLITS:
        raise ConfigError(
            f"split {split} is of networks of adaptation, and this one is of recognition; give {', '.join(_SPLITS)}"
        )
    given |= {} if named is None else {"annotations": "auto", split: named}
    data = dataclasses.replace(config.data if config is not None else DataConfig(), **given)
    if data.root == "???":
        raise ConfigError("the checkpoint does not say where the clips are; name the store's folder with --root")
    return data


def _open(data: DataConfig | AdaptationDataConfig, split: str, *, class_names: Mapping[str, tuple[str, ...]] | None) -> Split:
    """The clips of a split, and where their frames are.

    Raises:
        ConfigError: If there are none.
    """
    if isinstance(data, AdaptationDataConfig):
        return Split(open_domain(data, split, class_names=class_names), open_clip_store(data, domain_of(split)))
    opened = open_split(data, split, class_names=class_names)
    if opened is None:
        raise ConfigError(f"no clips of split {split!r} in {data.root}; name their annotations with --annotations")
    return opened


def _meta(model: VideoModel, views: TestViews, split: str, checkpoint: str | Path) -> dict[str, Any]:
    """How the scores came about."""
    return {
        "averaging": views.average,
        "views": f"{views.num_clips}x{views.num_crops}",
        "size": views.size,
        "num_segments": views.num_segments,
        "split": split,
        "checkpoint": Path(checkpoint).name,
        "preprocessing": model.preprocessing.to_dict(),
    }


def _top_classes(
    scores: Mapping[str, np.ndarray[Any, Any]], class_names: Mapping[str, tuple[str, ...]], top: int
) -> dict[str, list[tuple[str, float]]]:
    best: dict[str, list[tuple[str, float]]] = {}
    for head, values in scores.items():
        probabilities = torch.from_numpy(values[0]).softmax(0).numpy()
        order = np.argsort(-probabilities, kind="stable")[:top]
        best[head] = [(class_names[head][label], float(probabilities[label])) for label in order]
    if {"verb", "noun"} <= scores.keys():
        actions = top_actions(scores["verb"], scores["noun"], top)
        best["action"] = [
            (f"{class_names['verb'][verb]} {class_names['noun'][noun]}", float(probability))
            for verb, noun, probability in zip(actions.verbs[0], actions.nouns[0], actions.probabilities[0], strict=True)
        ]
    return best
