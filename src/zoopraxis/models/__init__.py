"""Named networks: build one, load one, list the published ones. Names are imported when they are used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoopraxis.models.base import VideoModel
    from zoopraxis.models.build import MODELS, create_model, load_families
    from zoopraxis.models.checkpoints import initialize, load_model, model_record, save_model
    from zoopraxis.models.cost import ModelCost, ModelSpeed, measure_cost, measure_speed
    from zoopraxis.models.preprocessing import Preprocessing, normalize
    from zoopraxis.models.weights import WEIGHTS, Evaluation, PublishedWeights

__all__ = [
    "MODELS",
    "WEIGHTS",
    "Evaluation",
    "ModelCost",
    "ModelSpeed",
    "Preprocessing",
    "PublishedWeights",
    "VideoModel",
    "create_model",
    "initialize",
    "load_families",
    "load_model",
    "measure_cost",
    "measure_speed",
    "model_record",
    "normalize",
    "save_model",
]

_HOMES = {
    "MODELS": "build",
    "WEIGHTS": "weights",
    "Evaluation": "weights",
    "ModelCost": "cost",
    "ModelSpeed": "cost",
    "VideoModel": "base",
    "Preprocessing": "preprocessing",
    "PublishedWeights": "weights",
    "create_model": "build",
    "initialize": "checkpoints",
    "load_families": "build",
    "load_model": "checkpoints",
    "measure_cost": "cost",
    "measure_speed": "cost",
    "model_record": "checkpoints",
    "normalize": "preprocessing",
    "save_model": "checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
