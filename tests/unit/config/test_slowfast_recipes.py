"""The recipes of SlowFast and S3D-G against the numbers of their authors."""

from __future__ import annotations

import pytest

from zoopraxis.config.load import load_config
from zoopraxis.config.schema import TrainConfig
from zoopraxis.training.optim import check_schedule


def _load(name: str) -> TrainConfig:
    return load_config(name, ["data.root=/data"])


@pytest.mark.parametrize(("name", "variant"), [("slowfast_8x8_k400", "r50_8x8"), ("slowfast_4x16_k400", "r50_4x16")])
def test_slowfast_trains_as_its_authors_code_does(name: str, variant: str) -> None:
    config = _load(name)
    model, transform, optim, schedule = config.model, config.data.transform, config.optim, config.schedule
    assert (model.name, model.backbone, model.pretrained, model.dropout) == ("slowfast", variant, False, 0.5)
    assert (model.mean, model.std) == ([0.45], [0.225])
    assert (config.data.num_segments, config.data.interval, config.data.sampling) == (32, 2, "interval")
    assert (transform.crop, transform.short_side, transform.size, transform.test_size) == (
        "random_short_side",
        [256, 320],
        224,
        256,
    )
    assert (optim.name, optim.lr, optim.momentum, optim.nesterov, optim.weight_decay) == ("sgd", 0.1, 0.9, True, 1e-4)
    assert (schedule.name, schedule.is_cosine_after_warmup, schedule.end_lr) == ("cosine", False, 0)
    assert (schedule.warmup_epochs, schedule.warmup_start_lr, config.trainer["max_epochs"]) == (34, 0.01, 196)
    assert (config.data.batch_size, config.views.num_clips, config.views.num_crops) == (64, 10, 3)
    assert config.views.average == "prob"


def test_s3dg_sees_64_consecutive_frames_in_batches_of_336() -> None:
    config = _load("s3dg_k400")
    assert (config.model.name, config.model.backbone, config.model.pretrained) == ("s3dg", "s3dg", False)
    assert (config.data.num_segments, config.data.interval, config.data.target_fps) == (64, 1, 25)
    assert (config.data.transform.short_side, config.data.transform.size, config.data.batch_size) == ([256, 256], 224, 336)
    assert (config.optim.lr, config.schedule.milestones, config.schedule.gamma) == (0.1, [140, 168], 0.1)


@pytest.mark.parametrize("name", ["slowfast_8x8_k400", "slowfast_4x16_k400", "s3dg_k400"])
def test_schedules_fit_their_runs_and_gradients_are_not_clipped(name: str) -> None:
    config = _load(name)
    assert check_schedule(config.schedule, lr=config.optim.lr, num_epochs=config.trainer["max_epochs"]) is None
    assert config.trainer["gradient_clip_val"] is None
    assert config.optim.groups == "tadaconv"
