"""Golden cases of networks over whole clips: a published checkpoint as its publisher wrote it, loaded and held to its numbers.

Adapters import it as `from parity.clip_cases import check_case`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoopraxis.models import VideoModel, load_model

__all__ = ["backbone_settings", "check_case", "head_settings", "load_case", "write_case"]

HEADS = ("verb", "noun")
CONFIGURATION = ("VIDEO", "BN", "DATA")

Without = Callable[[VideoModel], object]
"""Switches a part of a network off, in place."""


def backbone_settings(case: Mapping[str, Any]) -> Mapping[str, Any]:
    """The published settings of a case's backbone (`VIDEO.BACKBONE`); empty if it is no checkpoint of such a network."""
    return _settings(case, "BACKBONE")


def head_settings(case: Mapping[str, Any]) -> Mapping[str, Any]:
    """The published settings of a case's head (`VIDEO.HEAD`); empty if it is no checkpoint of such a network."""
    return _settings(case, "HEAD")


def write_case(case: Mapping[str, Any], context: Any, *, has_configuration: bool = True) -> Path:
    """The case's fake checkpoint as published, with or without the configuration that it carries."""
    path: Path = context.tmp_path / "published.pyth"
    archive: dict[str, Any] = {"epoch": 1, "model_state": context.state_dict(case)}
    if has_configuration:
        archive["cfg"] = json.dumps({name: case[name] for name in CONFIGURATION if name in case})
    torch.save(archive, path)
    return path


def load_case(case: Mapping[str, Any], context: Any, *, has_configuration: bool = True) -> tuple[VideoModel, Tensor]:
    """The network that our loader makes of the case's fake checkpoint, and the case's clip, (B, T, C, H, W)."""
    (spec,) = case["inputs"].values()
    clip = context.input(spec).transpose(1, 2)
    path = write_case(case, context, has_configuration=has_configuration)
    model = load_model(path)
    path.unlink()
    return model, clip


def check_case(
    case: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    context: Any,
    *,
    without: Without | Mapping[str, Without],
    is_told_by_shapes: bool = True,
) -> None:
    """Hold logits, probabilities and features of the loaded network to the case's.

    Args:
        case: The golden case.
        arrays: Its numbers.
        context: What every adapter is given.
        without: What switches the network's temporal part off, or several under their names; each is run on a copy, whose
            scores must be others than the case's.
        is_told_by_shapes: Whether keys and shapes alone tell the network; then it is also loaded without configuration.
    """
    model, clip = load_case(case, context)
    features: list[Tensor] = []
    hook = model.backbone.register_forward_hook(lambda _module, _inputs, output: features.append(output))
    with torch.inference_mode():
        logits = model(clip)
    hook.remove()
    expected = expected_logits(logits, arrays)
    _assert_logits(logits, expected, context, "logits")
    for head, probabilities in _expected_probabilities(logits, arrays).items():
        context.assert_close(logits[head].softmax(dim=1), probabilities, f"probabilities of {head}")
    if "feature" in arrays:
        context.assert_close(features[0], arrays["feature"], "feature")
    first = {head: array[:1] for head, array in expected.items()}
    for name, switch in (without if isinstance(without, Mapping) else {"its temporal part": without}).items():
        changed = copy.deepcopy(model)
        switch(changed)
        with torch.inference_mode():
            seen = [context.is_close(scores, first[head]) for head, scores in changed(clip[:1]).items()]
        assert not any(seen), f"the case does not see {name}"
    if is_told_by_shapes:
        model, _ = load_case(case, context, has_configuration=False)
        with torch.inference_mode():
            _assert_logits(model(clip[:1]), first, context, "logits, loaded without configuration,")


def expected_logits(logits: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The case's logits by our names of heads: the only ones, or the verb's and the noun's."""
    found = {name: array for name, array in arrays.items() if name.startswith("head_") and name.endswith("_presoftmax")}
    assert len(found) == len(logits), f"{len(logits)} heads, but arrays {sorted(found)}"
    if len(found) == 1:
        return dict(zip(logits, found.values(), strict=True))
    return dict(zip(HEADS, (found[name] for name in sorted(found)), strict=True))


def _expected_probabilities(logits: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if len(logits) == 1:
        return {head: arrays["out"] for head in logits if "out" in arrays}
    return {head: arrays[f"out_{head}_class"] for head in logits if f"out_{head}_class" in arrays}


def _assert_logits(logits: Mapping[str, Tensor], expected: Mapping[str, np.ndarray], context: Any, what: str) -> None:
    assert logits.keys() == expected.keys()
    for head, scores in logits.items():
        context.assert_close(scores, expected[head], f"{what} of {head}")


def _settings(case: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    video = case.get("VIDEO")
    settings = video.get(part) if "state_dict" in case and isinstance(video, Mapping) else None
    return settings if isinstance(settings, Mapping) else {}
