"""Networks at work on single videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoopraxis.data.encoding import write_video
from zoopraxis.errors import ConfigError
from zoopraxis.models import create_model
from zoopraxis.models.checkpoints import save_model
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
