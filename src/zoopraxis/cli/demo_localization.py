"""`zoopraxis demo --task localization`: from long videos to the actions in them, and when they happen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from zoopraxis.cli import console
from zoopraxis.cli.demo_kitchen import Paths, expect_whole, make_kitchen, tell_made, toy_config, write_gulps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoopraxis.config.localization import LocalizationConfig
    from zoopraxis.evaluation.detection_map import DetectionMap
    from zoopraxis.evaluation.detections import Detections, Truth
    from zoopraxis.toy import ToyKitchen

__all__ = ["RECIPE", "TOY_SETTINGS", "run"]

RECIPE = "bmn_epic"

BACKBONE = "tsm_rgb"
"""The recipe of the network whose features, and class scores, are taken along the videos."""

_WINDOW_SECONDS, _STRIDE_SECONDS = 1.5, 0.2
"""A window is as long as the kitchen's actions."""

BACKBONE_SETTINGS: tuple[str, ...] = ()

TOY_SETTINGS = (
    "data.window=sliding",
    "data.num_steps=64",
    "data.max_duration=16",
    "data.features_per_step=1",
    "data.batch_size=16",
    "data.num_workers=0",
    "data.pin_memory=false",
    "model.num_samples=16",
    "model.base_dim=64",
    "model.match_dim=64",
    "model.map_dim=32",
    "optim.lr=3e-3",
    "optim.base_batch_size=null",
    "classes.by=scores",
    "trainer.max_epochs=10",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
)
"""What short actions and few videos want otherwise than the published recipe: smaller windows and a smaller network."""


def run(out: Path, *, seed: int, num_workers: int, also: Sequence[str], json: bool) -> None:
    """Go the whole way of localization; see `cli.demo`."""
    from zoopraxis.epic.detection import challenge_map

    started = time.monotonic()
    paths = Paths(out / "localization")
    recipes = tuple(dict.fromkeys((RECIPE, *also)))
    for name in recipes:
        _toy_config(paths, name, seed=seed)  # a wrong name is told before anything is made
    console.say("1/6 generate: untrimmed videos and annotations in EPIC-KITCHENS' layout")
    kitchen = make_kitchen(paths, num_workers=num_workers, seed=seed)
    console.say("2/6 train a small backbone on trimmed clips")
    _train_backbone(paths, kitchen, seed=seed, num_workers=num_workers)
    console.say("3/6 extract its features and class scores along the videos")
    _extract(paths, kitchen, num_workers=num_workers)
    truth = _read_truth(kitchen)
    found: dict[str, Detections] = {}
    for name in recipes:
        console.say(f"4/6 train {name} and find actions in the test videos")
        found[name] = _train_and_test(paths, name, seed=seed)
    console.say("5/6 evaluate")
    maps = {name: challenge_map(truth, detections) for name, detections in found.items()}
    console.say("6/6 submission and report")
    _submit(paths, kitchen, found[RECIPE])
    _report(paths, truth, found[RECIPE], maps[RECIPE])
    averages = {
        name: {f"{task}_map": round(100 * one.average, 2) for task, one in judged.tasks.items()}
        for name, judged in maps.items()
    }
    if json:
        others = {name: averages[name] for name in recipes if name != RECIPE}
        console.emit_json(averages[RECIPE] | others)
        return
    _show(paths, maps, seconds=time.monotonic() - started)


def _features(paths: Paths) -> Path:
    return paths.out / "features"


def _detections(paths: Paths, name: str) -> Path:
    return paths.out / "detections" / f"{name}_test.npz"


def _toy_config(paths: Paths, name: str, *, seed: int) -> LocalizationConfig:
    """A recipe with the settings that the toy kitchen wants."""
    from zoopraxis.config.load import load_config
    from zoopraxis.config.localization import LocalizationConfig
    from zoopraxis.errors import ConfigError

    if not isinstance(load_config(name, allow_missing=True), LocalizationConfig):
        raise ConfigError(f"--also {name}: only recipes of localization go with --task localization; name one of them")
    annotations = paths.kitchen / "annotations"
    places = [f"data.root={_features(paths)}", f"data.annotations={annotations}", "data.train=EPIC_100_train.csv"]
    places += ["data.val=EPIC_100_validation.csv", "data.test=EPIC_100_test_labels.csv", f"run.dir={paths.run(name)}"]
    config = load_config(name, [*places, f"seed={seed}", "run.loggers=[csv]", *TOY_SETTINGS])
    assert isinstance(config, LocalizationConfig)
    return config


def _train_backbone(paths: Paths, kitchen: ToyKitchen, *, seed: int, num_workers: int) -> None:
    from zoopraxis.data.stores import open_store
    from zoopraxis.training.run import train

    store = open_store("video", kitchen.videos, modality="rgb")
    write_gulps(paths, kitchen, store, modality="rgb", num_workers=num_workers)
    config = toy_config(paths, BACKBONE, seed=seed, settings=(f"run.dir={paths.run('backbone')}", *BACKBONE_SETTINGS))
    train(config, show_progress=console.shows_progress())


def _backbone(paths: Paths) -> Path:
    return paths.run("backbone") / "checkpoints" / "last.ckpt"


def _extract(paths: Paths, kitchen: ToyKitchen, *, num_workers: int) -> None:
    from zoopraxis.data.stores import open_store
    from zoopraxis.training.extraction import load_extractor
    from zoopraxis.training.extraction_videos import index_videos
    from zoopraxis.training.extraction_windows import Windows, extract_windows

    store = open_store("video", kitchen.videos, modality="rgb")
    with console.progress("videos") as on_progress:
        outcome = extract_windows(
            load_extractor(_backbone(paths)),
            index_videos(kitchen.videos, store, root=kitchen.videos),
            store,
            _features(paths),
            Windows(stride=_STRIDE_SECONDS, length=_WINDOW_SECONDS, has_scores=True),
            source=str(_backbone(paths).resolve()),
            num_workers=num_workers,
            accelerator="cpu",
            on_progress=on_progress,
        )
    expect_whole(outcome)


def _train_and_test(paths: Paths, name: str, *, seed: int) -> Detections:
    from zoopraxis.training.inference import DetectionOutcome, test
    from zoopraxis.training.run import train

    outcome = train(_toy_config(paths, name, seed=seed), show_progress=console.shows_progress())
    tested = test(
        outcome.best_checkpoint,
        _detections(paths, name),
        split="test",
        accelerator="cpu",
        devices=1,
        show_progress=console.shows_progress(),
    )
    assert isinstance(tested, DetectionOutcome)
    return tested.detections


def _read_truth(kitchen: ToyKitchen) -> Truth:
    from zoopraxis.cli.truth import read_segment_truth

    return read_segment_truth(kitchen.test_labels)[0]


def _submit(paths: Paths, kitchen: ToyKitchen, found: Detections) -> None:
    from zoopraxis.epic.detection import write_detection_submission
    from zoopraxis.epic.submission import SupervisionLevels

    write_detection_submission(
        found,
        paths.submission,
        SupervisionLevels(sls_pt=0, sls_tl=3, sls_td=3),
        classes={"verb": len(kitchen.verbs), "noun": len(kitchen.nouns)},
    )


def _report(paths: Paths, truth: Truth, found: Detections, judged: DetectionMap) -> None:
    from zoopraxis.evaluation.detection_errors import detection_errors
    from zoopraxis.evaluation.report_detection import write_detection_report

    errors = {task: detection_errors(truth, found, judged, task) for task in judged.tasks}
    write_detection_report(paths.report, truth, found, judged, errors, title="Toy kitchen: BMN on the test videos")


def _show(paths: Paths, maps: dict[str, DetectionMap], *, seconds: float) -> None:
    for name, judged in maps.items():
        levels = [f"{threshold:.1f}" for threshold in judged.thresholds]
        rows = [[task, *(100 * value for value in one.map), 100 * one.average] for task, one in judged.tasks.items()]
        console.table(f"{name}: the test videos, mAP at tIoU, %", ["", *levels, "mean"], rows)
    made = {
        "features": _features(paths),
        "checkpoints": paths.out / "runs",
        "detections": paths.out / "detections",
        "submission": paths.submission,
        "report": paths.report,
    }
    tell_made(made, seconds=seconds)
