"""What TAdaConv's localization trains with: targets of windows of EPIC-KITCHENS-100, and the losses of random maps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parity.localization_cases import assert_same_loss, assert_sees_draws
from zoopraxis.localization.losses import LocalizationLoss, balanced_cross_entropy
from zoopraxis.localization.network import BoundaryMaps
from zoopraxis.localization.targets import Targets, boundary_targets, cell_labels

HEADS = ("verb", "noun")
PARTS = {"tem": "boundary_loss", "pem_reg": "overlap_loss", "pem_cls": "confidence_loss"}


def matches(case: Mapping[str, Any]) -> bool:
    return case["case"].startswith("bmn_labels_loss")


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    targets, labels = _targets(case)
    expected = {"start": targets.start_BT, "end": targets.end_BT, "iou": targets.overlap_BDT}
    for name, found in expected.items():
        context.assert_close(found, arrays[f"label_{name}_map"], name)
    for row, head in enumerate(HEADS):
        np.testing.assert_array_equal(cell_labels(targets, labels[head]), arrays["label_label_map"][:, row])
    np.testing.assert_array_equal(targets.valid_DT.expand_as(targets.overlap_BDT), arrays["label_mask"])
    _check_losses(case, arrays, context, targets, labels)


def _check_losses(
    case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any, targets: Targets, labels: Mapping[str, Tensor]
) -> None:
    high, low, confident = case["thresholds"]
    loss = LocalizationLoss(high_above=high, low_below=low, confident_above=confident, balance="tadaconv")
    maps = _maps(case, targets, context)
    total, parts = loss(maps, targets, labels, draws=_draws(case, arrays, targets))
    for name, part in (PARTS | {f"{head}_loss": f"{head}_loss" for head in HEADS}).items():
        assert_same_loss(parts[part], arrays[name], name)
    assert_same_loss(total - parts["verb_loss"] - parts["noun_loss"], arrays["total_1_10_1"], "total")
    assert_sees_draws(loss, maps, targets, labels, arrays["pem_reg"])
    plain = torch.nn.functional.binary_cross_entropy(maps.start_BT, (targets.start_BT > 0.5).float())
    balanced = balanced_cross_entropy(maps.start_BT, targets.start_BT > 0.5)
    assert not np.isclose(plain, balanced, rtol=1e-3), "starts without balance would do"


def _targets(case: Mapping[str, Any]) -> tuple[Targets, dict[str, Tensor]]:
    start, stop = case["seg_time"]
    windows = case["gt_time_relative_to_window"]
    shape = len(windows), max(len(segments) for segments in windows)
    segments_BG2 = torch.zeros(*shape, 2, dtype=torch.float64)
    present_BG = torch.zeros(shape, dtype=torch.bool)
    labels = {head: torch.zeros(shape, dtype=torch.int64) for head in HEADS}
    for row, (segments, classes) in enumerate(zip(windows, case["labels_verb_noun"], strict=True)):
        segments_BG2[row, : len(segments)] = torch.tensor(segments, dtype=torch.float64).reshape(-1, 2) / (stop - start)
        present_BG[row, : len(segments)] = True
        for column, head in enumerate(HEADS):
            labels[head][row, : len(segments)] = torch.tensor([pair[column] for pair in classes], dtype=torch.int64)
    size = {"num_steps": case["tscale"], "max_duration": case["dscale"]}
    return boundary_targets(segments_BG2, present_BG, **size, rounded=True), labels


def _maps(case: Mapping[str, Any], targets: Targets, context: Any) -> BoundaryMaps:
    """The maps that the case's text asks for by names, some with their shapes."""
    num_windows, num_durations, num_steps = targets.overlap_BDT.shape
    start, end, confidence, *heads = re.findall(r"'(\w+)'", case["preds"])
    sizes = {name: int(size) for name, size in re.findall(r"'(\w+)',?\s*\(\d+,\s*(\d+),", case["preds"])}
    logits = {
        head: context.tensor(name, (num_windows, sizes[name], num_durations, num_steps))
        for head, name in zip(HEADS, heads, strict=True)
    }
    starts_BT, ends_BT = (context.tensor(name, (num_windows, num_steps)).sigmoid() for name in (start, end))
    confidence_B2DT = context.tensor(confidence, (num_windows, 2, num_durations, num_steps)).sigmoid()
    return BoundaryMaps(starts_BT, ends_BT, confidence_B2DT, None, logits)


def _draws(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], targets: Targets) -> tuple[Tensor, Tensor]:
    """The uniform numbers that the case holds, or else those of its seed."""
    if "pem_reg_rand1" in arrays:
        return torch.from_numpy(arrays["pem_reg_rand1"]), torch.from_numpy(arrays["pem_reg_rand2"])
    found = re.search(r"seed\((\d+)\)", case["pem_reg"])
    assert found is not None, f"the case does not say its seed: {case['pem_reg']}"
    state = np.random.RandomState(int(found[1]))
    middle, low = (torch.from_numpy(state.random_sample(targets.overlap_BDT.shape)) for _ in range(2))
    return middle, low
