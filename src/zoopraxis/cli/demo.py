"""`zoopraxis demo`: the whole way on the toy kitchen, from videos to a submission and a report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Json

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from zoopraxis.config.schema import TrainConfig
    from zoopraxis.data.prepare.work import Outcome
    from zoopraxis.data.stores import ClipStore
    from zoopraxis.evaluation.results import Results
    from zoopraxis.toy import ToyKitchen

__all__ = ["command"]

RUNS = ("tsn_rgb", "tsm_rgb", "tsm_flow")
"""Recipes that are trained, in this order."""

_TOY_SETTINGS = (
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

_RUN_SETTINGS = {
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
class _Paths:
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


def command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for everything that is made.")] = Path("zoopraxis-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of the videos and of training.")] = 0,
    num_workers: Annotated[int, typer.Option(min=1, help="Processes that prepare data.")] = 2,
    also: Annotated[
        list[str] | None, typer.Option(metavar="RECIPE", help="Train and evaluate this recipe's network too (RGB); repeat it.")
    ] = None,
    json: Json = False,
) -> None:
    """Generate a small EPIC-KITCHENS-like data set and go the whole way on it.

    Generate, prepare, train TSN and TSM on RGB and TSM on optical flow, test, fuse, evaluate, write a submission and a report:
    a few minutes on two cores. A demo that was broken off goes on where it was when it is started again.
    """
    started = time.monotonic()
    paths = _Paths(out)
    others = tuple(name for name in dict.fromkeys(also or ()) if name not in RUNS)
    for name in others:
        _toy_config(paths, name, seed=seed)  # a wrong name is told before anything is made
    console.say("1/7 generate: untrimmed videos and annotations in EPIC-KITCHENS' layout")
    kitchen = _generate(paths, seed=seed, num_workers=num_workers)
    console.say("2/7 prepare: optical flow, then RGB and flow as gulp folders")
    _prepare(paths, kitchen, num_workers=num_workers)
    for name in (*RUNS, *others):
        console.say(f"3/7 train {name}")
        _train(paths, name, seed=seed)
    console.say("4/7 test: scores of the validation and test clips")
    scores = {(name, split): _test(paths, name, split) for name in RUNS for split in ("val", "test")}
    scores |= {(name, "val"): _test(paths, name, "val") for name in others}
    console.say("5/7 fuse RGB and flow")
    for split in ("val", "test"):
        scores["fused", split] = _fuse(paths, scores["tsm_rgb", split], scores["tsm_flow", split], split)
    console.say("6/7 evaluate")
    metrics = {name: _evaluate(kitchen, scores[name, "val"]) for name in (*RUNS, "fused", *others)}
    console.say("7/7 submission and report")
    _submit(paths, kitchen, scores["fused", "test"])
    _report(paths, kitchen, scores["fused", "val"])
    if json:
        made = {"tsn": metrics["tsn_rgb"], "tsm": metrics["tsm_rgb"], "fused": metrics["fused"]}
        console.emit_json(made | {name: metrics[name] for name in others})
        return
    _show(paths, metrics, seconds=time.monotonic() - started)


def _generate(paths: _Paths, *, seed: int, num_workers: int) -> ToyKitchen:
    from zoopraxis.toy import ToyConfig, generate

    with console.progress("videos") as on_progress:
        return generate(paths.kitchen, ToyConfig(seed=seed), num_workers=num_workers, on_progress=on_progress)


def _prepare(paths: _Paths, kitchen: ToyKitchen, *, num_workers: int) -> None:
    from zoopraxis.data.annotations import read_annotations
    from zoopraxis.data.prepare.flow import write_flow
    from zoopraxis.data.prepare.gulp import write_gulp
    from zoopraxis.data.stores import open_store

    with console.progress("flow") as on_progress:
        _expect_whole(write_flow(kitchen.videos, paths.flow_frames, num_workers=num_workers, on_progress=on_progress))
    stores: dict[Literal["rgb", "flow"], ClipStore] = {
        "rgb": open_store("video", kitchen.videos, modality="rgb"),
        "flow": open_store("frames", paths.flow_frames, modality="flow"),
    }
    tables = {"train": kitchen.train, "validation": kitchen.validation, "test": kitchen.test}
    for modality, store in stores.items():
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
            _expect_whole(outcome)


def _expect_whole(outcome: Outcome) -> None:
    assert not outcome.broken, f"the toy kitchen has broken videos: {outcome.broken[0]}"


def _toy_config(paths: _Paths, name: str, *, seed: int) -> TrainConfig:
    """A recipe with the settings that the toy kitchen wants."""
    from zoopraxis.config.load import load_config

    settings = [f"data.root={paths.gulp}", f"run.dir={paths.run(name)}", f"seed={seed}", "run.loggers=[csv]"]
    small = _NETWORKS.get(load_config(name, settings).model.name)
    network = ("model.backbone=test_resnet",) if small is None else (f"model.backbone={small[0]}", f"model.args={small[1]}")
    return load_config(name, [*settings, *network, *_TOY_SETTINGS, *_RUN_SETTINGS.get(name, ())])


def _train(paths: _Paths, name: str, *, seed: int) -> None:
    from zoopraxis.training.run import train

    train(_toy_config(paths, name, seed=seed), show_progress=console.shows_progress())


def _test(paths: _Paths, name: str, split: str) -> Results:
    from zoopraxis.training.inference import test

    outcome = test(
        paths.run(name) / "checkpoints" / "last.ckpt",
        paths.results(name, split),
        split=split,
        accelerator="cpu",
        devices=1,
        show_progress=console.shows_progress(),
    )
    return outcome.results


def _fuse(paths: _Paths, rgb: Results, flow: Results, split: str) -> Results:
    from zoopraxis.evaluation.fusion import fuse
    from zoopraxis.evaluation.results import save_results

    fused = fuse([rgb, flow])
    save_results(fused, paths.results("fused", split))
    return fused


def _evaluate(kitchen: ToyKitchen, results: Results) -> dict[str, float]:
    """Top-1 accuracies of verbs, nouns and actions, percent."""
    table = _challenge_metrics(kitchen, results).as_dict()
    return {task: round(table[f"all_{task}_accuracy_at_1"], 2) for task in ("verb", "noun", "action")}


def _challenge_metrics(kitchen: ToyKitchen, results: Results) -> Any:
    from zoopraxis.epic.annotations import read_table
    from zoopraxis.epic.recognition import labels_of, recognition_metrics

    labels = labels_of(results.clip_ids, read_table(kitchen.validation))
    return recognition_metrics(results, labels.labels, participants=labels.participants)


def _submit(paths: _Paths, kitchen: ToyKitchen, results: Results) -> None:
    from zoopraxis.epic.annotations import read_table
    from zoopraxis.epic.submission import SupervisionLevels, write_submission

    write_submission(
        results,
        paths.submission,
        SupervisionLevels(sls_pt=0, sls_tl=3, sls_td=3),
        expected_ids=list(read_table(kitchen.test).index),
        classes={"verb": len(kitchen.verbs), "noun": len(kitchen.nouns)},
    )


def _report(paths: _Paths, kitchen: ToyKitchen, results: Results) -> None:
    import numpy as np

    from zoopraxis.epic.annotations import read_table
    from zoopraxis.epic.recognition import labels_of
    from zoopraxis.evaluation.report import write_report

    train_table = read_table(kitchen.train)
    class_names = {"verb": kitchen.verbs, "noun": kitchen.nouns}
    write_report(
        paths.report,
        results,
        labels_of(results.clip_ids, read_table(kitchen.validation)).labels,
        _challenge_metrics(kitchen, results),
        title="Toy kitchen: TSM, RGB and flow fused",
        class_names=class_names,
        training_counts={
            head: np.bincount(train_table[f"{head}_class"], minlength=len(names)) for head, names in class_names.items()
        },
        read_strip=_strip_reader(paths),
    )


def _strip_reader(paths: _Paths) -> Callable[[str], npt.NDArray[np.uint8] | None]:
    """From a clip's id to eight of its frames."""
    from zoopraxis.data.index import Clip
    from zoopraxis.data.sampling import Segments
    from zoopraxis.data.stores import open_store

    store = open_store("gulp", paths.gulp / "rgb_validation", modality="rgb")

    def read_strip(clip_id: str) -> npt.NDArray[np.uint8] | None:
        clip = Clip(clip_id, clip_id)
        return store.read(clip, Segments(8).test(store.num_frames(clip)))

    return read_strip


def _show(paths: _Paths, metrics: dict[str, dict[str, float]], *, seconds: float) -> None:
    titles = {"tsn_rgb": "TSN, RGB", "tsm_rgb": "TSM, RGB", "tsm_flow": "TSM, flow", "fused": "TSM, RGB and flow fused"}
    rows = [
        [titles.get(name, name), *(values[task] for task in ("verb", "noun", "action"))] for name, values in metrics.items()
    ]
    console.table("Validation, top-1 accuracy, %", ["model", "verb", "noun", "action"], rows)
    console.say("A single frame cannot tell this kitchen's verbs apart: TSN looks at single frames, TSM across them.")
    made = {
        "kitchen": paths.kitchen,
        "gulp folders": paths.gulp,
        "checkpoints": paths.out / "runs",
        "results files": paths.out / "results",
        "submission": paths.submission,
        "report": paths.report,
    }
    console.table("", ["made", "where"], [[what, str(where)] for what, where in made.items()])
    console.say(f"{seconds:.0f} s in all")
