"""From settings to the batches of both domains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml

from zoopraxis.config.adaptation import AdaptationConfig
from zoopraxis.data.features import FeatureWriter
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.adaptation.data import AdaptationData, check_data_settings, feature_loader
from zoopraxis.training.adaptation.domains import Domains

CLASSES = {"verb": ("take", "put", "wash")}


def configure(root: Path, *settings: str) -> AdaptationConfig:
    """The defaults with settings as on the command line."""
    config = AdaptationConfig()
    for setting in (f"data.root={root}", "data.batch_size=4", *settings):
        path, _, value = setting.partition("=")
        *sections, name = path.split(".")
        table: Any = config
        for section in sections:
            table = getattr(table, section)
        assert hasattr(table, name)
        setattr(table, name, yaml.safe_load(value))
    return config


def make_index(name: str, num_clips: int, *, has_labels: bool = True) -> ClipIndex:
    ids = [f"{name}{number}" for number in range(num_clips)]
    labels = np.arange(num_clips) % 3 if has_labels else np.full(num_clips, UNLABELLED)
    return ClipIndex.from_columns(clip_id=ids, source=ids, labels={"verb": labels}, class_names=CLASSES, domain=name[0])


def make_domains(**changes: Any) -> Domains:
    clips: dict[str, Any] = {
        "source": make_index("s", 10),
        "target": make_index("t", 15, has_labels=False),
        "source_val": make_index("u", 5),
        "target_val": make_index("v", 6),
    }
    return Domains(**{**clips, **changes}, class_names=dict(CLASSES), heads={"verb": 3}, notes=("a note",))


def write(path: Path, names: str = "stuv", widths: Mapping[str, int] | None = None) -> Path:
    """Features of 15 clips of each name: row n of clip k is 100 k + n."""
    widths = widths or {"RGB": 3, "Flow": 2}
    writer = FeatureWriter(path, widths)
    for name in names:
        for number in range(15):
            rows = 100 * number + np.arange(25, dtype=np.float32)[:, None]
            writer.add(f"{name}{number}", {modality: rows.repeat(width, 1) for modality, width in widths.items()})
    writer.close()
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("features") / "all")


def test_steps_have_a_batch_of_each_domain(store: Path) -> None:
    data = AdaptationData(configure(store), make_domains())
    data.check()
    assert data.modalities == {"RGB": 3, "Flow": 2}
    assert data.feature_dim == 5
    assert data.batch_sizes == (4, 6)
    assert (data.steps_per_epoch, data.len_source) == (3, 3)
    assert data.notes == ("a note",)
    steps = list(data.train_dataloader())
    assert [len(step["source"]["index"]) for step in steps] == [4, 4, 2]
    assert [len(step["target"]["index"]) for step in steps] == [6, 6, 3]
    for step in steps:
        assert torch.equal(step["source"]["labels"]["verb"], step["source"]["index"] % 3)
        assert (step["target"]["labels"]["verb"] == UNLABELLED).all()
        for batch in step.values():
            expected = 100 * batch["index"][:, None] + torch.tensor([2, 7, 12, 17, 22])
            assert torch.equal(batch["features"], expected[..., None].repeat(1, 1, 5).float())


@pytest.mark.parametrize(("num_source", "num_target", "expected"), [(16115, 26115, 207), (1438, 840, 74), (840, 1438, 219)])
def test_the_targets_batch_is_the_published_one(num_source: int, num_target: int, expected: int, store: Path) -> None:
    domains = make_domains(source=make_index("s", num_source), target=make_index("t", num_target))
    assert AdaptationData(configure(store, "data.batch_size=128"), domains).batch_sizes == (128, expected)
    assert AdaptationData(configure(store, "data.target_batch_size=9"), domains).batch_sizes == (4, 9)


def test_the_epoch_ends_as_asked(store: Path) -> None:
    settings = ["data.target_batch_size=2"]
    assert len(AdaptationData(configure(store, *settings), make_domains()).train_dataloader()) == 3
    assert len(AdaptationData(configure(store, *settings, "data.epoch=longer"), make_domains()).train_dataloader()) == 8


def test_the_source_alone_reads_nothing_of_the_target(tmp_path: Path) -> None:
    write(tmp_path / "source_only", "suv")
    data = AdaptationData(configure(tmp_path / "source_only", "adapt.target=none"), make_domains())
    data.check()
    assert [set(step) for step in data.train_dataloader()] == [{"source"}] * 3


def test_chosen_modalities_in_their_order(store: Path) -> None:
    data = AdaptationData(configure(store, "data.modalities=[Flow]"), make_domains())
    assert data.modalities == {"Flow": 2}
    assert next(iter(data.train_dataloader()))["source"]["features"].shape == (4, 5, 2)
    data.teardown("fit")


def test_validation_sets_are_named_and_have_each_clip_once(store: Path) -> None:
    data = AdaptationData(configure(store, "run.select=entropy"), make_domains())
    data.check()
    assert data.val_names == ("source_val", "target_val", "target_train")
    rows = [[row for batch in loader for row in batch["index"].tolist()] for loader in data.val_dataloader()]
    assert rows == [list(range(5)), list(range(6)), list(range(15))]
    assert AdaptationData(configure(store), make_domains(source_val=None)).val_names == ("target_val",)


def test_validation_clips_that_nobody_named_are_left_out_where_they_have_no_features(tmp_path: Path) -> None:
    write(tmp_path / "training", "stv")
    data = AdaptationData(configure(tmp_path / "training"), make_domains())
    data.check()
    assert data.val_names == ("target_val",)
    assert data.notes[1].startswith("source_val is not watched: 5 of 5 clips have no features")
    for setting in ("data.source_val=val.csv", "run.select=source"):
        with pytest.raises(DataError, match=r"5 of 5 clips have no features"):
            AdaptationData(configure(tmp_path / "training", setting), make_domains()).check()


def test_missing_features_are_found_before_training(store: Path) -> None:
    data = AdaptationData(configure(store), make_domains(target=make_index("t", 17)))
    with pytest.raises(DataError, match=r"2 of 17 clips have no features in .*t15"):
        data.check()


def test_domains_of_other_widths_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", "s")
    write(tmp_path / "b", "t", {"RGB": 3, "Flow": 4})
    settings = [f"data.target_root={tmp_path / 'b'}"]
    with pytest.raises(DataError, match=r"features Flow of .*b have width 4, those of the source 2"):
        AdaptationData(configure(tmp_path / "a", *settings), make_domains())
    data = AdaptationData(configure(tmp_path / "a", *settings, "data.modalities=[RGB]"), make_domains())
    assert data.feature_dim == 3


def test_an_unknown_modality_is_refused(store: Path) -> None:
    with pytest.raises(ConfigError, match=r"Audio"):
        AdaptationData(configure(store, "data.modalities=[Audio]"), make_domains())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.transform.size=112"], r"data\.transform\.size=112 is for frames, but data\.store=features; leave it out"),
        (["data.transform.color.hue=0.1"], r"data\.transform\.color\.hue=0\.1 is for frames"),
        (["data.sampling=windows"], r"data\.sampling=windows is for frames"),
        (["data.interval=2"], r"data\.interval=2 is for frames"),
        (["data.segment_length=5"], r"data\.segment_length=5 is for frames"),
        (["data.test_num_segments=8"], r"data\.test_num_segments=8 is for frames"),
        (
            ["data.store=gulp", "data.modalities=[RGB]"],
            r"data\.modalities=\['RGB'\] chooses among features, but data\.store=gulp holds frames; leave it out",
        ),
    ],
)
def test_settings_without_effect_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_data_settings(configure(Path("x"), *settings).data)


def test_a_tests_loader_checks_against_the_network(store: Path) -> None:
    config, index = configure(store).data, make_index("v", 6)
    loader = feature_loader(config, "target_val", index, modalities={"Flow": 2})
    assert torch.cat([batch["features"] for batch in loader]).shape == (6, 5, 2)
    assert next(iter(feature_loader(config, "target_val", index)))["features"].shape == (4, 5, 5)
    with pytest.raises(DataError, match=r"features RGB of .* have width 3, those of the network 7"):
        feature_loader(config, "target_val", index, modalities={"RGB": 7})


class Recorder(L.LightningModule):
    """Notes the clips of each step, and breaks off where it is told to."""

    def __init__(self, break_at: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.break_at = break_at
        self.seen: list[tuple[list[int], list[int]]] = []

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> torch.Tensor:
        self.seen.append((batch["source"]["index"].tolist(), batch["target"]["index"].tolist()))
        return self.weight.sum()

    def on_train_batch_end(self, *_: Any) -> None:
        if self.global_step == self.break_at:
            self.trainer.save_checkpoint(f"{self.trainer.default_root_dir}/broken.ckpt")
            self.trainer.should_stop = True

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        assert batch["features"].shape[1:] == (5, 5)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    def make(**options: Any) -> L.Trainer:
        return L.Trainer(
            max_epochs=3,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=tmp_path,
            **options,
        )

    return make


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_was_broken_off_in_an_epoch_sees_the_clips_that_it_lacks(
    store: Path, trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    def data() -> AdaptationData:
        return AdaptationData(configure(store), make_domains())

    whole = Recorder()
    trainer().fit(whole, datamodule=data())
    assert len(whole.seen) == 9
    broken = Recorder(break_at=5)
    trainer(min_steps=1).fit(broken, datamodule=data())
    resumed = Recorder()
    trainer().fit(resumed, datamodule=data(), ckpt_path=tmp_path / "broken.ckpt")
    assert broken.seen[:5] + resumed.seen == whole.seen
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())
