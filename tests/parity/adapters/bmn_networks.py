"""The boundary-matching network in its three published forms: maps; of MMAction2's also targets, losses and proposals."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parity.localization_cases import assert_same_loss, assert_sees_draws
from zoopraxis.localization.losses import LocalizationLoss
from zoopraxis.localization.matching import BoundaryMatching
from zoopraxis.localization.network import BoundaryMaps, BoundaryMatchingNetwork
from zoopraxis.localization.proposals import Proposals, proposals, suppress
from zoopraxis.localization.published import map_published
from zoopraxis.localization.targets import Targets, boundary_targets

JOINED = "x_3d_p.0.weight"
LOSSES = ("boundary_loss", "overlap_loss", "confidence_loss")
NMS = {"alpha": "alpha", "low": "low_threshold", "high": "high_threshold"}
INTERVAL = 16
"""Frames of a feature, where a case does not say."""


def matches(case: Mapping[str, Any]) -> bool:
    return any(key.endswith(JOINED) for key in case.get("state_dict") or ())


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    expected = dict(arrays)
    mask = _mask(case)
    network = _build(case, context, mask)
    (spec,) = case["inputs"].values()
    features_BCT = context.input(spec)
    with torch.no_grad():
        maps = network(features_BCT)
    found = _named(maps)
    names = found.keys() & expected.keys()
    assert {"start", "end", "confidence_map"} <= names
    for name in names:
        context.assert_close(found[name], expected[name], name)
    for what, changed in _changed(network):
        with torch.no_grad():
            others = _named(changed(features_BCT))
        same = [name for name in names if context.is_close(others[name], expected[name]) and found[name].ndim > 2]
        assert not same, f"the case does not see {what} in {same}"
    _check_mask(case, expected, mask, network)
    targets = _check_targets(case, expected, context, maps)
    if targets is not None:
        _check_losses(case, expected, maps, targets)
    if "proposals_score_t0_t1" in expected:
        _check_proposals(case, expected["proposals_score_t0_t1"], maps)


def _settings(case: Mapping[str, Any]) -> dict[str, Any]:
    """The window, the samples and the features' width as the case's publisher calls them."""
    config = case["config"]
    if "VIDEO" in case:
        data, head = case["DATA"], case["VIDEO"]["HEAD"]
        durations = data["DURATION_SCALE"] if data["DURATION_SCALE"] > 0 else data["TEMPORAL_SCALE"]
        values = (data["TEMPORAL_SCALE"], durations, head["NUM_SAMPLE"], head["NUM_SAMPLE_PERBIN"], head["BOUNDARY_RATIO"])
        in_dim = data["NUM_INPUT_CHANNELS"]
    elif "observation_window" in config:
        names = ("observation_window", "max_duration", "num_sample", "num_sample_perbin", "prop_boundary_ratio")
        values, in_dim = tuple(config[name] for name in names), config["feat_dim"]
    else:
        names = ("temporal_dim", "temporal_dim", "num_samples", "num_samples_per_bin", "boundary_ratio")
        values, in_dim = tuple(config[name] for name in names), config["feat_dim"]
    ours = ("num_steps", "max_duration", "num_samples", "samples_per_bin", "boundary_ratio")
    return {**dict(zip(ours, values, strict=True)), "in_dim": in_dim}


def _mask(case: Mapping[str, Any]) -> Tensor:
    settings = _settings(case)
    del settings["in_dim"]
    return BoundaryMatching.dense_mask(**settings)


def _build(case: Mapping[str, Any], context: Any, mask: Tensor) -> BoundaryMatchingNetwork:
    """Our network with the case's fake checkpoint, strictly loaded; masks keep their computed values."""
    settings = _settings(case)
    tensors = {}
    for key, (dtype, shape) in case["state_dict"].items():
        is_mask = key.endswith("_mask")
        tensors[key] = mask if key.endswith("sample_mask") else context.fill(key, shape if not is_mask else [1], dtype)
        assert is_mask or list(tensors[key].shape) == shape
    given = {name: settings[name] for name in ("samples_per_bin", "boundary_ratio", "in_dim")}
    arguments, mapped, ignored = map_published(tensors, given)
    assert all(key.endswith("_mask") for key in ignored)
    assert len(mapped) + len(ignored) == len(tensors)
    assert {name: arguments[name] for name in settings} == settings
    network = BoundaryMatchingNetwork(**arguments)
    network.load_state_dict(mapped)
    return network.eval()


def _named(maps: BoundaryMaps) -> dict[str, Tensor]:
    """The maps by the cases' names."""
    shift = {} if maps.shift_B2DT is None else {"reg_map": maps.shift_B2DT}
    classes = {f"{head}_map": logits for head, logits in maps.classes.items()}
    return {"start": maps.start_BT, "end": maps.end_BT, "confidence_map": maps.confidence_B2DT, **shift, **classes}


def _changed(network: BoundaryMatchingNetwork) -> Iterator[tuple[str, BoundaryMatchingNetwork]]:
    """The network with a part of the matching switched off, which every map of proposals must see."""
    arguments, state = network.arguments, network.state_dict()
    ratio = {"boundary_ratio": 0.0 if arguments["boundary_ratio"] > 0 else 0.5}
    for what, changes, weight in (
        ("the parts beside a proposal", ratio, state["match_weight"]),
        ("where in a proposal a sample lies", {}, state["match_weight"].mean(1, keepdim=True).expand_as(state["match_weight"])),
        ("proposals", {}, torch.zeros_like(state["match_weight"])),
    ):
        if what != "where in a proposal a sample lies" or arguments["num_samples"] > 1:
            changed = BoundaryMatchingNetwork(**{**arguments, **changes})
            changed.load_state_dict({**state, "match_weight": weight})
            yield what, changed.eval()


def _check_mask(
    case: Mapping[str, Any], expected: Mapping[str, np.ndarray], mask: Tensor, network: BoundaryMatchingNetwork
) -> None:
    """What a case tells of the published mask, and how many parameters the published network has."""
    arguments = network.arguments
    num_steps = arguments["num_steps"]
    cells = mask.view(num_steps, arguments["num_samples"], arguments["max_duration"], num_steps)
    if "sample_mask" in expected:
        np.testing.assert_array_equal(mask, expected["sample_mask"])
    if "sample_mask_colsum" in expected:
        np.testing.assert_allclose(cells.sum((0, 1)), expected["sample_mask_colsum"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(mask.sum(1), expected["sample_mask_rowsum"], rtol=1e-5, atol=1e-5)
    for cell in expected.get("sample_mask_slices", ()):
        worst = (cells - torch.from_numpy(cell)[:, :, None, None]).abs().amax((0, 1))
        assert worst.min() == 0, "a slice of the published mask is no cell of ours"
    if "sample_mask_sha256" in case:
        assert hashlib.sha256(mask.numpy().tobytes()).hexdigest() == case["sample_mask_sha256"]
    counts = {"params_trainable": 0, "params_total": mask.numel(), "n_params": mask.numel()}
    learned = sum(parameter.numel() for parameter in network.parameters())
    for name, num_masked in counts.items():
        assert case.get(name, learned + num_masked) == learned + num_masked, name


def _check_targets(
    case: Mapping[str, Any], expected: Mapping[str, np.ndarray], context: Any, maps: BoundaryMaps
) -> Targets | None:
    if "gt_segments" not in case:
        return None
    windows = case["gt_segments"]
    num_most = max(len(segments) for segments in windows)
    segments_BG2 = torch.zeros(len(windows), num_most, 2)  # in MMAction2 they are float32, which decides what is above 0.5
    present_BG = torch.zeros(len(windows), num_most, dtype=torch.bool)
    for row, segments in enumerate(windows):
        segments_BG2[row, : len(segments)] = torch.tensor(segments)
        present_BG[row, : len(segments)] = True
    max_duration, num_steps = maps.confidence_B2DT.shape[-2:]
    targets = boundary_targets(segments_BG2, present_BG, num_steps=num_steps, max_duration=max_duration)
    labels = {"confidence": targets.overlap_BDT, "start": targets.start_BT, "end": targets.end_BT}
    for name, found in labels.items():
        context.assert_close(found, expected[f"label_{name}"], name)
    np.testing.assert_array_equal(targets.valid_DT, expected["bm_mask"])
    return targets


def _check_losses(case: Mapping[str, Any], expected: Mapping[str, np.ndarray], maps: BoundaryMaps, targets: Targets) -> None:
    seed = re.search(r"manual_seed\((\d+)\)", case["loss_seed"])
    assert seed is not None, f"the case does not say its seed: {case['loss_seed']}"
    generator = torch.Generator().manual_seed(int(seed[1]))
    middle, low = (torch.rand(targets.overlap_BDT.shape, generator=generator) for _ in range(2))
    loss = LocalizationLoss(balance="mmaction")
    total, parts = loss(maps, targets, draws=(middle, low))
    found = [total, *(parts[name] for name in LOSSES)]
    published = expected["loss_total_tem_pemreg_pemcls"]
    for name, part, value in zip(("total", *LOSSES), found, published, strict=True):
        assert_same_loss(part, value, name)
    assert_sees_draws(loss, maps, targets, {}, published[2])


def _check_proposals(case: Mapping[str, Any], expected: np.ndarray, maps: BoundaryMaps) -> None:
    """Those of the first window, in seconds of the video that it is."""
    config, meta = case["config"], case["meta"]
    scored = proposals(maps.start_BT[0], maps.end_BT[0], maps.confidence_B2DT[0])
    settings = {name: config[f"soft_nms_{ours}"] for name, ours in NMS.items()}
    kept = suppress(scored, **settings, keep=config["post_process_top_k"] + 1, last=True)
    found = _rows(kept, config, meta)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    best = scored.take(np.argsort(-scored.scores, kind="stable"))
    assert not np.allclose(_rows(best, config, meta), expected, rtol=1e-4), "proposals without suppression would do"


def _rows(found: Proposals, config: Mapping[str, Any], meta: Mapping[str, Any]) -> np.ndarray:
    """Score, start and stop of the best, as MMAction2 puts them out."""
    interval = config.get("feature_extraction_interval", INTERVAL)
    seconds = meta["duration_frame"] // interval * interval / meta["duration_frame"] * meta["duration_second"]
    ranked = found.take(np.argsort(-found.scores, kind="stable")[: config["post_process_top_k"]])
    return np.column_stack([ranked.scores, ranked.seconds(seconds)])
