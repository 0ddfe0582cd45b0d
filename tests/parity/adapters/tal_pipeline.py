"""TAdaConv's way from the features and class scores of a video to detections: windows, fusion, proposals, soft-NMS, actions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoopraxis.data.windows import grid_steps, sliding_windows, window_features
from zoopraxis.localization.fusion import fuse_at_cells, fuse_windows
from zoopraxis.localization.naming import join_actions, sample_class_scores
from zoopraxis.localization.proposals import Proposals, proposals, suppress
from zoopraxis.localization.targets import valid_cells

FRAMES_PER_SECOND, FEATURE_INTERVAL, FEATURE_SECONDS, FEATURES_PER_STEP = 60, 8, 0.13333333, 2
NUM_JOINED, NUM_NAMED = 20, 5

_POWERS = {"cr": (0, 0, "CLR_POWER", "REG_POWER"), "se": (2, 0, 0, 0), "secr": (2, 0, 1, 1)}
"""Published score types as powers of start, end, confidence and overlap; two of them square the start and forget the end."""


def matches(case: Mapping[str, Any]) -> bool:
    return "segs" in case and "tscale" in case and "post" in case


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    num_steps, num_durations, duration = case["tscale"], case["dscale"], case["duration"]
    stride_seconds = FEATURES_PER_STEP * FEATURE_SECONDS
    windows = sliding_windows(duration, num_steps=num_steps, step_seconds=stride_seconds, stride=num_durations)
    np.testing.assert_allclose(windows, np.asarray(case["segs"]), rtol=1e-6)  # some last places are the processor's
    frames = np.arange(FEATURE_INTERVAL - 1, duration * FRAMES_PER_SECOND, FEATURE_INTERVAL)
    seconds = frames.astype(np.float32) / np.float32(FRAMES_PER_SECOND)
    places = [grid_steps(seconds, window, features_per_step=FEATURES_PER_STEP, num_steps=num_steps) for window in windows]
    _check_places(case, arrays, places)
    inputs, views = _inputs(case, context, len(frames))
    windowed = {name: [_features(values, seconds, w, num_steps) for w in windows] for name, values in inputs.items()}
    for number, features in enumerate(windowed["feat"]):
        context.assert_close(features, arrays[f"win{number}_feature"], f"features of window {number}")
    valid = valid_cells(num_steps, num_durations, rounded=True)
    _check_class_maps(windowed, arrays, valid, places, views, context)
    found = _check_proposals(case, arrays, context, (places, valid))
    _check_detections(case, arrays, context, found)


def _check_places(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], places: list[np.ndarray]) -> None:
    for number, covered in enumerate(places):
        published = np.flatnonzero(arrays[f"win{number}_mask_in_global"][::FEATURES_PER_STEP])
        assert covered.tolist() == published.tolist(), f"window {number} of {case['case']} covers other steps"


def _inputs(case: Mapping[str, Any], context: Any, num_features: int) -> tuple[dict[str, np.ndarray], int]:
    """Features and class scores of the video by the last word of their names, and how many crops the scores have."""
    found = re.findall(r"\('(\w+)',\(N,(\d+)\)(?:,([\d.]+))?\)", case["how"])
    crops = re.search(r"(\d+) crops", case["how"])
    assert found, "the case does not tell its inputs"
    assert crops is not None, "the case does not tell how many crops the scores have"
    inputs = {
        name.rpartition("_")[2]: context.tensor(name, (num_features, int(width)), float(scale or 1)).numpy()
        for name, width, scale in found
    }
    return inputs, int(crops.group(1))


def _features(values: np.ndarray, seconds: np.ndarray, window: np.ndarray, num_steps: int) -> np.ndarray:
    num_rows = round((window[1] - window[0]) / FEATURE_SECONDS)
    return window_features(values, seconds, window, num_rows=num_rows, num_steps=num_steps)


def _check_class_maps(
    windowed: Mapping[str, list[np.ndarray]],
    arrays: Mapping[str, np.ndarray],
    valid: Tensor,
    places: list[np.ndarray],
    views: int,
    context: Any,
) -> None:
    """Scores at cells against dense maps: of each window, and averaged over the windows."""
    durations, steps = np.nonzero(valid.numpy())
    for head in ("verb", "noun"):
        scorers = [partial(sample_class_scores, torch.from_numpy(scores), num_views=views) for scores in windowed[head]]
        for number, scorer in enumerate(scorers):
            name = f"win{number}_{head}_map"
            if name in arrays:
                expected = arrays[name][:, durations, steps].T
                context.assert_close(scorer(durations, steps).numpy(), expected, name)
                assert not arrays[name][:, valid.numpy() == 0].any()
        dense = arrays[f"fused_{head}_map"]
        cells = np.nonzero(dense.any(axis=0))
        fused = fuse_at_cells(*cells, list(zip(places, scorers, strict=True)), valid).numpy()
        context.assert_close(fused, dense[:, cells[0], cells[1]].T, f"{head} at cells")
        if len(places) > 1:
            alone = fuse_at_cells(*cells, [(places[0], scorers[0])], valid).numpy()
            assert not context.is_close(alone, dense[:, cells[0], cells[1]].T), "one window alone would pass, too"


def _check_proposals(
    case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any, grid: tuple[list[np.ndarray], Tensor]
) -> Proposals:
    named = re.search(r"'(\w+)start\{i\}',\(\d+,\),([\d.]+)\)", case["how"])
    assert named is not None, "the case does not tell its maps"
    places, valid = grid
    shapes = {"start": valid.shape[1:], "end": valid.shape[1:], "conf": (2, *valid.shape)}
    start, end, confidence = (
        torch.stack([context.tensor(f"{named[1]}{name}{i}", shape, float(named[2])).sigmoid() for i in range(len(places))])
        for name, shape in shapes.items()
    )
    fused = fuse_windows(start, end, confidence, places, valid, num_grid_steps=len(arrays["fused_start"]))
    context.assert_close(fused.start, arrays["fused_start"], "fused starts")
    context.assert_close(fused.end, arrays["fused_end"], "fused ends")
    context.assert_close(fused.confidence, arrays["fused_confidence_map"], "fused confidence")
    found = proposals(fused.start, fused.end, fused.confidence)
    columns = (found.start_scores, found.end_scores, found.confidences, found.overlaps, found.scores)
    context.assert_close(np.stack([*found.segments.T, *columns], axis=1), arrays["proposals"], "proposals")
    post = case["post"]
    names = ("start_power", "end_power", "confidence_power", "overlap_power")
    powers = {name: post.get(power, power) for name, power in zip(names, _POWERS[post["SCORE_TYPE"]], strict=True)}
    return proposals(fused.start, fused.end, fused.confidence, **powers)


def _check_detections(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any, found: Proposals) -> None:
    post = case["post"]
    with np.load(context.folder / f"{case['case']}_classmaps.npz", allow_pickle=False) as padded:
        maps = {head: padded[f"{head}_map"] for head in ("verb", "noun")}
    names = [maps[head][:, found.durations, found.steps].T for head in ("verb", "noun")]
    classes, scores = join_actions(*names, num_verbs=10, num_nouns=30, top=NUM_JOINED)
    assert classes.tolist() == arrays["proposals_verbnoun_top20"].tolist()
    context.assert_close(scores, arrays["proposals_score_top20"], "scores of actions")
    chosen = found.take(found.scores > post["SELECT_SCORE"])
    cells = {cell: row for row, cell in enumerate(zip(found.durations.tolist(), found.steps.tolist(), strict=True))}
    expected = np.stack([arrays["det_verb"], arrays["det_noun"]], axis=1).tolist()
    for order in _orders(chosen.scores):
        kept = _suppressed(chosen.take(order), post, case["duration"])
        picked = [cells[cell] for cell in zip(kept.durations.tolist(), kept.steps.tolist(), strict=True)]
        if classes[picked, :NUM_NAMED].reshape(-1, 2).tolist() == expected:
            break
    assert classes[picked, :NUM_NAMED].reshape(-1, 2).tolist() == expected
    products = scores[picked, :NUM_NAMED, 2].astype(np.float64) ** post["ACTION_SCORE_POWER"]
    context.assert_close((kept.scores[:, None] * products).ravel(), arrays["det_score"], "scores of detections")
    segments = kept.seconds(case["duration"]).repeat(NUM_NAMED, axis=0)
    context.assert_close(segments, arrays["det_segment"], "segments of detections")
    best = chosen.take(np.argsort(-chosen.scores, kind="stable")[: len(kept)]).seconds(case["duration"])
    assert not context.is_close(best.repeat(NUM_NAMED, axis=0), arrays["det_segment"]), "no suppression would pass, too"


def _suppressed(chosen: Proposals, post: Mapping[str, Any], duration: float) -> Proposals:
    return suppress(
        chosen,
        alpha=post["SOFT_NMS_ALPHA"],
        low=post["SOFT_NMS_LOW_THRES"],
        high=post["SOFT_NMS_HIGH_THRES"],
        power=post["IOU_POWER"],
        keep=int(duration / post["PROP_NUM_RATIO"]) + 1,
    )


def _orders(scores: np.ndarray) -> Iterator[np.ndarray]:
    """As they are; and where some are equal (all of one start, by "se"), as the published sort may have left them."""
    yield np.arange(len(scores))
    if len(np.unique(scores)) < len(scores):
        for kind in ("float64", "object"):
            yield pd.Series(scores.astype(kind)).sort_values(ascending=False).index.to_numpy()
