"""What the EPIC detection baseline trains with: targets of a whole real video, and the losses of random maps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from parity.localization_cases import assert_same_loss, assert_sees_draws
from zoopraxis.localization.losses import LocalizationLoss, balanced_cross_entropy
from zoopraxis.localization.network import BoundaryMaps
from zoopraxis.localization.targets import Targets, boundary_targets

PARTS = {"tem": "boundary_loss", "pem_reg": "overlap_loss", "pem_cls": "confidence_loss"}
FPS = 30


def matches(case: Mapping[str, Any]) -> bool:
    return case["case"].startswith("c2_bmn_labels_loss")


def check(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], context: Any) -> None:
    config, given = case["config"], case.get("extra", {})
    maps = _maps(config, context)
    _check_boundaries(arrays, maps)
    frames_G2, num_frames = _segments(context.real_data() / "epic100", config["video"])
    assert given.get("n_gt", len(frames_G2)) == len(frames_G2)
    assert given.get("video_seconds(30 fps)", num_frames / FPS) == num_frames / FPS
    segments_G2 = torch.from_numpy(frames_G2 / FPS / (num_frames / FPS))
    present_BG = torch.ones(1, len(segments_G2), dtype=torch.bool)
    targets = boundary_targets(segments_G2[None], present_BG, num_steps=config["window"], max_duration=config["window"])
    _check_targets(arrays, context, targets)
    loss = LocalizationLoss(balance="epic")
    shape = targets.overlap_BDT.shape
    state = np.random.RandomState(config["np_random_seed"])
    middle, low = (torch.from_numpy(state.random_sample(shape)) for _ in range(2))
    total, parts = loss(maps, targets, draws=(middle, low))
    assert_same_loss(total, arrays["loss_total"], "total")
    for name, part in PARTS.items():
        assert_same_loss(parts[part], arrays[name], name)
    assert_sees_draws(loss, maps, targets, {}, arrays["pem_reg"])


def _check_boundaries(arrays: Mapping[str, np.ndarray], maps: BoundaryMaps) -> None:
    """Starts and ends have the published loss with the case's own targets, for which no annotations are needed."""
    wanted = {name: torch.from_numpy(arrays[name])[None] > 0.5 for name in ("start", "end")}
    found = balanced_cross_entropy(maps.start_BT, wanted["start"], balance="epic")
    assert_same_loss(found + balanced_cross_entropy(maps.end_BT, wanted["end"], balance="epic"), arrays["tem"], "tem")
    plain = torch.nn.functional.binary_cross_entropy(maps.start_BT, wanted["start"].float())
    assert not np.isclose(plain, found, rtol=1e-3), "starts without balance would do"


def _check_targets(arrays: Mapping[str, np.ndarray], context: Any, targets: Targets) -> None:
    context.assert_close(targets.start_BT[0], arrays["start"], "start")
    context.assert_close(targets.end_BT[0], arrays["end"], "end")
    overlap_DT = targets.overlap_BDT[0].numpy()
    np.testing.assert_array_equal(overlap_DT.astype(arrays["iou_map"].dtype), arrays["iou_map"])
    sums_D = overlap_DT.astype(np.float64).sum(1)
    np.testing.assert_allclose(sums_D, arrays["iou_map_rowsum_f64"], rtol=1e-9)
    for name, expected in arrays.items():
        if name.startswith("n_iou>"):
            assert (overlap_DT > np.float32(name.partition(">")[2])).sum() == expected, name


def _segments(folder: Path, video: str) -> tuple[np.ndarray, int]:
    """First and last 30-fps frames of a video's segments, (G, 2), and how many frames it has."""
    lengths = pd.read_csv(folder / "video_lengths_30fps.csv", index_col="video")["frames"]
    training = pd.read_csv(folder / "train_30fps.csv")
    rows = training[training["video"] == video][["start", "stop"]]
    if rows.empty:
        validation = pd.read_csv(folder / "EPIC_100_validation.csv")
        rows = validation[validation["video_id"] == video][["start_timestamp", "stop_timestamp"]].map(_frame)
    return rows.to_numpy(dtype=np.int64), int(lengths[video])


def _frame(timestamp: str) -> int:
    """The 30-fps frame of a time hh:mm:ss.ss, as the baseline's annotations have it: from 1."""
    seconds = pd.Timedelta(timestamp).total_seconds()
    return max(1, int(seconds * FPS))


def _maps(config: Mapping[str, Any], context: Any) -> BoundaryMaps:
    """The maps that the case's text asks for by names: confidence, starts, ends."""
    window = config["window"]
    confidence, start, end = re.findall(r"'(\w+)'", config["pred"])
    starts_BT, ends_BT = (context.tensor(name, (1, window)).sigmoid() for name in (start, end))
    return BoundaryMaps(starts_BT, ends_BT, context.tensor(confidence, (1, 2, window, window)).sigmoid(), None, {})
