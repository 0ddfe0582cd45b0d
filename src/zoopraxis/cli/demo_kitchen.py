"""What the demos share: where things lie, the toy kitchen as videos and gulp folders, and small networks for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoopraxis.cli import console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoopraxis.config.schema import TrainConfig
    from zoopraxis.data.prepare.work import Outcome
    from zoopraxis.data.stores import ClipStore
    from zoopraxis.toy import ToyKitchen

__all__ = ["RUN_SETTINGS", "TOY_SETTINGS", "Paths", "expect_whole", "make_kitchen", "tell_made", "toy_config", "write_gulps"]

TOY_SETTINGS = (
    "model.pretrained=false",
    "model.partial_bn=false",
    "model.freeze_norms=false",
    "model.dropout=0",
    "data.batch_size=8",
    "data.num_workers=1",
    "data.pin_memory=false",
    "data.store=gulp",
    "data.sampling=segments",
    "data.interval=1",
    "data.num_segments=8",
    "data.test_num_segments=null",
    "data.num_folds=1",
    "data.num_repeats=1",
    "data.transform.size=48",
    "data.transform.resize=48",
    "data.transform.test_size=null",
    "data.transform.crop=multi_scale",
    "data.transform.scales=[1,0.875]",
    "data.transform.flip=0",
    "data.transform.flip_pairs=[]",
    "data.transform.rand_augment.num_ops=0",
    "data.transform.color.probability=0",
    "data.transform.color.grayscale=0",
    "mix.mixup=0",
    "mix.cutmix=0",
    "mix.erasing=0",
    "loss.label_smoothing=0",
    "ema.decay=0",
    "optim.name=sgd",
    "optim.lr=0.15",
    "optim.weight_decay=1e-4",
    "optim.groups=effective",
    "optim.layer_decay=1",
    "optim.new_parts=[]",
    "optim.new_parts_lr=1",
    "optim.head_lr=1",
    "schedule.name=cosine",
    "schedule.warmup_epochs=1",
    "schedule.warmup_start_lr=null",
    "schedule.end_lr=0",
    "views.num_clips=1",
    "views.num_crops=1",
    "trainer.max_epochs=14",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
)
"""What a small network on small videos wants otherwise than the published recipes."""

_NETWORKS = {
    "csn": ("ir26", "{widths: [16, 32, 64, 128, 128]}"),
    "r2d3d": ("r10", "{widths: [16, 16, 32, 64, 64]}"),
    "r2plus1d": ("r10", "{widths: [16, 16, 32, 64, 64]}"),
    "s3dg": ("s3dg", "{}"),
    "slowfast": ("r50_8x8", "{blocks: [1, 1, 1, 1], widths: [16, 32, 64, 128, 128], beta: 4}"),
    "tadaconvnextv2": ("tiny", "{dims: [32, 64, 64, 128], depths: [1, 1, 2, 1], head_dim: 16, layer_scale: 1}"),
    "tadaformer": ("b16", "{dim: 64, depth: 3, num_heads: 4, patch_size: 8, route_head_dim: 16}"),
    "timesformer": ("b16", "{dim: 64, depth: 3, num_heads: 4, patch_size: 12}"),
    "vivit": ("b16x2_joint", "{dim: 64, depth: 3, num_heads: 4, patch_size: 12, drop_path: 0}"),
}
"""Of networks over whole clips a small form: the variant, and arguments of its own. All others get a small ResNet."""

_BY_ADAMW = ("optim.name=adamw", "optim.lr=2e-3", "optim.weight_decay=0.02", "schedule.warmup_epochs=3")

RUN_SETTINGS = {
    "tsm_flow": ("trainer.max_epochs=8",),
    "trn_rgb": ("optim.name=adamw", "optim.lr=4e-3", "trainer.max_epochs=40"),
    "tanet_r50_sthv2_8f": ("trainer.max_epochs=20",),
    "tada2d_r50_ssv2_8f": ("trainer.max_epochs=28",),
    "tadaconvnextv2_tiny_k400": (*_BY_ADAMW, "trainer.max_epochs=60"),
    "tadaformer_b16_k400": (*_BY_ADAMW, "trainer.max_epochs=24"),
    "vivit_fe_k400": (*_BY_ADAMW, "trainer.max_epochs=120"),
}
"""What one run wants otherwise: flow shows the motion itself and needs fewer epochs; from scratch TRN's relations and
transformers hardly learn by plain descent, a module that starts as the identity takes its time, and attention over all tokens
must find out what a place and a moment are."""


@dataclass(frozen=True)
class Paths:
    """Where everything of a demo lies."""

    out: Path

    @property
    def kitchen(self) -> Path:
        return self.out / "kitchen"

    @property
    def flow_frames(self) -> Path:
        return self.out / "flow_frames"

    @property
    def gulp(self) -> Path:
        return self.out / "gulp"

    def run(self, name: str) -> Path:
        return self.out / "runs" / name

    def results(self, name: str, split: str) -> Path:
        return self.out / "results" / f"{name}_{split}.npz"

    @property
    def submission(self) -> Path:
        return self.out / "submission.zip"

    @property
    def report(self) -> Path:
        return self.out / "report.html"


def make_kitchen(paths: Paths, *, num_workers: int, **settings: Any) -> ToyKitchen:
    """Generate the toy kitchen of these settings (`toy.ToyConfig`), or find it as it was generated."""
    from zoopraxis.toy import ToyConfig, generate

    with console.progress("videos") as on_progress:
        return generate(paths.kitchen, ToyConfig(**settings), num_workers=num_workers, on_progress=on_progress)


def write_gulps(
    paths: Paths, kitchen: ToyKitchen, store: ClipStore, *, modality: Literal["rgb", "flow"], num_workers: int
) -> None:
    """Write the clips of training, validation and test as a gulp folder each."""
    from zoopraxis.data.annotations import read_annotations
    from zoopraxis.data.prepare.gulp import write_gulp

    tables = {"train": kitchen.train, "validation": kitchen.validation, "test": kitchen.test}
    for split, table in tables.items():
        index = read_annotations(table, format="epic", modality=modality, split=split)
        with console.progress(f"gulp {modality} {split}") as on_progress:
            outcome = write_gulp(
                index,
                store,
                paths.gulp / f"{modality}_{split}",
                modality=modality,
                num_workers=num_workers,
                on_progress=on_progress,
            )
        expect_whole(outcome)


def expect_whole(outcome: Outcome) -> None:
    """See that nothing was broken, which only a fault of ours could do."""
    assert not outcome.broken, f"the toy kitchen has broken videos: {outcome.broken[0]}"


def tell_made(made: Mapping[str, Path], *, seconds: float) -> None:
    """Say what a demo made, and where, and how long it took."""
    console.table("", ["made", "where"], [[what, str(where)] for what, where in made.items()])
    console.say(f"{seconds:.0f} s in all")


def toy_config(paths: Paths, name: str, *, seed: int, settings: Sequence[str] = ()) -> TrainConfig:
    """A recipe of recognition with the settings that the toy kitchen wants, and further ones, which win."""
    from zoopraxis.config.load import load_recognition_config

    places = [f"data.root={paths.gulp}", f"run.dir={paths.run(name)}", f"seed={seed}", "run.loggers=[csv]"]
    small = _NETWORKS.get(load_recognition_config(name, places).model.name)
    network = ("model.backbone=test_resnet",) if small is None else (f"model.backbone={small[0]}", f"model.args={small[1]}")
    return load_recognition_config(name, [*places, *network, *TOY_SETTINGS, *RUN_SETTINGS.get(name, ()), *settings])
