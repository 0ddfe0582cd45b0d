"""Training on real people from scratch, and telling what others do."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoopraxis.config.load import load_config
from zoopraxis.training.inference import TestOptions as Options
from zoopraxis.training.inference import test as run_test
from zoopraxis.training.run import train

SETTINGS = (
    "data.store=video",
    "model.backbone=test_resnet",
    "model.pretrained=false",
    "model.partial_bn=false",
    "model.dropout=0.3",
    "data.batch_size=4",
    "data.num_workers=0",
    "data.transform.size=64",
    "data.transform.resize=64",
    "data.transform.scales=[1,0.875,0.75]",
    "optim.lr=0.05",
    "optim.weight_decay=1e-3",
    "schedule.name=cosine",
    "schedule.warmup_epochs=2",
    "trainer.max_epochs=60",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "run.loggers=[]",
)


@pytest.mark.real_data
@pytest.mark.slow
def test_tsm_tells_four_actions_of_people_it_has_not_seen(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "weizmann4"
    table = root / "labels.csv"
    outcome = train(load_config("tsm_rgb", [f"data.root={root}", f"data.train={table}", f"run.dir={tmp_path}", *SETTINGS]))
    assert outcome.num_train_clips == 24
    options = Options(annotations=str(table))
    tested = run_test(
        outcome.last_checkpoint, tmp_path / "test.npz", split="test", options=options, accelerator="cpu", devices=1
    )
    assert len(tested.results) == 12
    assert tested.metrics["label_acc@1"] >= 100 * 10 / 12
