"""A checkpoint is tested with the sampling that it was trained with, in as many views as asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zoopraxis.cli import main
from zoopraxis.config.load import load_config
from zoopraxis.data.annotations import read_annotations
from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.stores.gulp import GulpStore
from zoopraxis.data.transforms import TestTransform as ViewsTransform
from zoopraxis.evaluation.results import load_results
from zoopraxis.models import load_model
from zoopraxis.models.preprocessing import normalize
from zoopraxis.training.run import train

SETTINGS = (
    "model.backbone=test_resnet",
    "model.pretrained=false",
    "model.partial_bn=false",
    "data.batch_size=8",
    "data.num_workers=0",
    "data.num_segments=4",
    "data.test_num_segments=null",
    "data.sampling=interval",
    "data.interval=2",
    "data.fps=15",
    "data.transform.size=32",
    "data.transform.resize=32",
    "data.transform.crop=random_short_side",
    "data.transform.short_side=[32,40]",
    "data.transform.antialias=false",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "run.loggers=[csv]",
)


@pytest.fixture(scope="module")
def checkpoint(tiny_gulp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("interval") / "run"
    return train(load_config("tsn_rgb", [f"data.root={tiny_gulp}", f"run.dir={run_dir}", *SETTINGS])).last_checkpoint


def test_a_test_samples_as_training_did(checkpoint: Path, tiny_gulp: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.npz"
    assert main(["test", str(checkpoint), str(out), "--views", "3x3", "--average", "prob"]) == 0
    results = load_results(out)
    assert (results.meta["views"], results.meta["averaging"]) == ("3x3", "prob")

    model = load_model(checkpoint).eval()
    preprocessing = model.preprocessing
    assert (preprocessing.sampling, preprocessing.interval, preprocessing.antialias) == ("interval", 2, False)
    folder = tiny_gulp / "rgb_validation"
    for sampling, rate, is_same in (("interval", 15.0, True), ("interval", 30.0, False), ("segments", None, False)):
        dataset = ClipDataset(
            read_annotations(folder, format="gulp"),
            GulpStore(folder, "rgb"),
            transform=ViewsTransform(size=32, resize=32, num_crops=3, antialias=False),
            num_segments=4,
            sampling=sampling,
            interval=2 if sampling == "interval" else 1,
            fps=rate,
            training=False,
            num_clips=3,
        )
        with torch.inference_mode():
            views = torch.stack([model(normalize(dataset[0, row]["clip"], preprocessing))["label"] for row in range(9)])
        expected = views.softmax(-1).mean(1).log().numpy()
        assert np.allclose(results.scores["label"], expected, atol=1e-4) is is_same


def test_another_rate_of_stored_frames(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {}
    for name, more in (("as trained", []), ("faster", ["--fps", "30"]), ("named", ["--fps", "15"])):
        out = tmp_path / f"{name}.npz"
        assert main(["test", str(checkpoint), str(out), *more]) == 0
        scores[name] = load_results(out).scores["label"]
    np.testing.assert_array_equal(scores["named"], scores["as trained"])
    assert not np.allclose(scores["faster"], scores["as trained"])
    capsys.readouterr()
    assert main(["test", str(checkpoint), str(tmp_path / "x.npz"), "--fps", "0"]) == 2
    assert "--fps 0: must be positive; try --fps 30" in capsys.readouterr().err
