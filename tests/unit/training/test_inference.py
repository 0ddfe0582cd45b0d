"""Networks at work on single videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zoopraxis.data.encoding import write_video
from zoopraxis.errors import ConfigError
from zoopraxis.models import Preprocessing, create_model
from zoopraxis.models.checkpoints import save_model
from zoopraxis.models.tsn import TSN
from zoopraxis.training.inference import TestOptions, predict


@pytest.mark.parametrize(
    ("model", "module"), [({"name": "trn"}, "relation"), ({"name": "tanet"}, "global branch"), ({"name": "tsm"}, None)]
)
def test_clips_of_another_length_are_refused_where_a_module_is_tied_to_it(
    model: dict[str, str], module: str | None, tmp_path: Path
) -> None:
    video, checkpoint = tmp_path / "video.mp4", tmp_path / "model.safetensors"
    write_video(video, np.zeros((12, 32, 32, 3), np.uint8), fps=12)
    save_model(create_model(**model, heads={"label": 3}, backbone="test_resnet", num_segments=4), checkpoint)
    options = TestOptions(num_segments=6)
    if module is None:
        assert len(predict(checkpoint, video, options=options)["label"]) == 3
        return
    with pytest.raises(ConfigError, match=rf"{module}.* for 4 frames, so that clips of 6 frames .*--num-segments 4"):
        predict(checkpoint, video, options=options)


def test_published_weights_are_tested_as_they_were_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video, checkpoint = tmp_path / "video.mp4", tmp_path / "model.safetensors"
    write_video(video, np.zeros((12, 40, 48, 3), np.uint8), fps=12)
    preprocessing = Preprocessing(size=32, resize=40, num_segments=4)
    model = create_model("tsn", heads={"label": 3}, backbone="test_resnet", num_segments=4, preprocessing=preprocessing)
    model.record["evaluation"] = {"num_frames": 5, "size": 40, "num_clips": 2, "num_crops": 3, "average": "prob"}
    save_model(model, checkpoint)
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        TSN, "forward", lambda self, clip: (seen.append(tuple(clip.shape)), {"label": torch.eye(3)[:1].expand(6, 3)})[1]
    )
    predict(checkpoint, video)
    predict(checkpoint, video, options=TestOptions(size=24, num_segments=3, num_clips=1, num_crops=1))
    assert seen == [(6, 5, 3, 40, 40), (1, 3, 3, 24, 24)]
    with pytest.raises(ConfigError, match="size is 48, but crops are cut from frames of 40 px; give 40 or less"):
        predict(checkpoint, video, options=TestOptions(size=48))
