from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_videos import SMALL_RUN, VIDEOS
from zoopraxis.config.load import load_config
from zoopraxis.config.localization import NmsConfig, ProposalsConfig
from zoopraxis.localization.fusion import FusedMaps
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.training.localization import detection
from zoopraxis.training.localization.checkpoints import load_localizer
from zoopraxis.training.localization.inference import localize_split
from zoopraxis.training.options import TestOptions
from zoopraxis.training.run import train


def test_maps_of_classes_are_kept_or_made_again_to_the_same_end(
    tiny_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [f"data.root={tiny_videos / 'features'}", f"data.annotations={tiny_videos / 'annotations'}"]
    more = ["run.loggers=[]", "trainer.max_steps=1", f"run.dir={tmp_path}", "trainer.limit_val_batches=0"]
    config = load_config("bmn_epic", [*places, *SMALL_RUN, *more, "model.class_maps=true", "classes.by=maps"])
    localizer = load_localizer(train(config).last_checkpoint)
    calls = []
    run = BoundaryMatchingNetwork.forward
    monkeypatch.setattr(BoundaryMatchingNetwork, "forward", lambda self, x: (calls.append(len(x)), run(self, x))[1])
    kept = localize_split(localizer, "val", TestOptions(), accelerator="cpu", devices=1)
    num_windows = sum(calls)
    monkeypatch.setattr(detection, "_KEPT_BYTES", 0)
    again = localize_split(localizer, "val", TestOptions(), accelerator="cpu", devices=1)
    assert kept.video_ids.tolist() == list(VIDEOS["validation"])
    assert sum(calls) > 2 * num_windows
    assert set(kept.labels) == {"verb", "noun"}
    np.testing.assert_allclose(kept.scores, again.scores, rtol=1e-5)
    np.testing.assert_array_equal(kept.segments, again.segments)


def test_the_last_candidate_is_put_out_where_that_is_asked_for() -> None:
    starts, ends = torch.tensor([0.9, 0.1, 0.2, 0.1, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.1, 0.2, 0.1, 0.9])
    maps = FusedMaps(starts, ends, torch.full((2, 5, 6), 0.5), None)
    settings = {last: ProposalsConfig(per_second=0, at_least=100, nms=NmsConfig(last=last)) for last in (False, True)}
    found = {last: detection.choose_proposals(maps, 10.0, proposals) for last, proposals in settings.items()}
    assert len(found[False]) == 3
    assert len(found[True]) == 4
