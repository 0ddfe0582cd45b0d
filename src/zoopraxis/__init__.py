"""Zoopraxis understands actions in video: prepare, train, test, fuse, evaluate, submit.

The public names below are loaded when they are first used, so that importing the package, and scoring, need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoopraxis.errors import (
    AnnotationError,
    CheckpointError,
    ConfigError,
    DataError,
    MissingExtraError,
    ZoopraxisError,
)

if TYPE_CHECKING:
    from zoopraxis.config.load import load_config
    from zoopraxis.config.schema import TrainConfig
    from zoopraxis.data.annotations import read_annotations
    from zoopraxis.data.index import Clip, ClipIndex
    from zoopraxis.data.stores import open_store
    from zoopraxis.evaluation.detections import Detections, load_detections, save_detections
    from zoopraxis.evaluation.results import Results, load_results, save_results
    from zoopraxis.models import create_model, load_model, measure_cost, measure_speed, save_model
    from zoopraxis.training.adaptation.checkpoints import load_adaptation
    from zoopraxis.training.inference import TestOptions, predict, test
    from zoopraxis.training.localization.checkpoints import load_localizer
    from zoopraxis.training.localization.inference import localize_video
    from zoopraxis.training.run import train

    __version__: str

__all__ = [
    "AnnotationError",
    "CheckpointError",
    "Clip",
    "ClipIndex",
    "ConfigError",
    "DataError",
    "Detections",
    "MissingExtraError",
    "Results",
    "TestOptions",
    "TrainConfig",
    "ZoopraxisError",
    "__version__",
    "create_model",
    "load_adaptation",
    "load_config",
    "load_detections",
    "load_localizer",
    "load_model",
    "load_results",
    "localize_video",
    "measure_cost",
    "measure_speed",
    "open_store",
    "predict",
    "read_annotations",
    "save_detections",
    "save_model",
    "save_results",
    "test",
    "train",
]

_HOMES = {
    "Clip": "zoopraxis.data.index",
    "ClipIndex": "zoopraxis.data.index",
    "Detections": "zoopraxis.evaluation.detections",
    "Results": "zoopraxis.evaluation.results",
    "TestOptions": "zoopraxis.training.inference",
    "TrainConfig": "zoopraxis.config.schema",
    "create_model": "zoopraxis.models",
    "load_adaptation": "zoopraxis.training.adaptation.checkpoints",
    "load_config": "zoopraxis.config.load",
    "load_detections": "zoopraxis.evaluation.detections",
    "load_localizer": "zoopraxis.training.localization.checkpoints",
    "load_model": "zoopraxis.models",
    "load_results": "zoopraxis.evaluation.results",
    "localize_video": "zoopraxis.training.localization.inference",
    "measure_cost": "zoopraxis.models",
    "measure_speed": "zoopraxis.models",
    "open_store": "zoopraxis.data.stores",
    "predict": "zoopraxis.training.inference",
    "read_annotations": "zoopraxis.data.annotations",
    "save_detections": "zoopraxis.evaluation.detections",
    "save_model": "zoopraxis.models",
    "save_results": "zoopraxis.evaluation.results",
    "test": "zoopraxis.training.inference",
    "train": "zoopraxis.training.run",
}
"""Public name to the module that defines it."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'zoopraxis' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("zoopraxis")
    except PackageNotFoundError:
        return "0+not-installed"
