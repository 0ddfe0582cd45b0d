"""`zoopraxis demo --task adaptation`: from the videos of two domains to networks that know one and are judged on the other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from zoopraxis.cli import console
from zoopraxis.cli.demo_kitchen import Paths, expect_whole, make_kitchen, tell_made, toy_config, write_gulps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoopraxis.config.adaptation import AdaptationConfig
    from zoopraxis.evaluation.metrics import MetricTable
    from zoopraxis.evaluation.results import Results
    from zoopraxis.toy import ToyKitchen

__all__ = ["RUNS", "TOY_SETTINGS", "run"]

RUNS = {
    "source_only": "source_only_epic",
    "ta3n": "ta3n_epic",
    "target_supervised": "target_supervised_epic",
}
"""What is compared, and its recipe, in this order."""

BACKBONE = "tsm_rgb"
"""The recipe of the network whose features are adapted."""

_DOMAIN_SHIFT = 1.0
"""Of the kitchens: far enough that source only loses, whatever the seed."""

_NUM_FEATURES = 8
"""Features a clip: of every frame that the backbone sees."""

BACKBONE_SETTINGS = ("trainer.max_epochs=40",)

TOY_SETTINGS = (
    "data.phase=train",
    "data.batch_size=32",
    "data.num_workers=0",
    "data.pin_memory=false",
    "optim.lr=0.03",
    "schedule.name=dann",
    "adapt.warmup=dann",
    "trainer.max_epochs=60",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
)
"""What a few hundred clips want otherwise than the published recipes: more epochs, and discriminators of full strength."""


def run(out: Path, *, seed: int, num_workers: int, also: Sequence[str], json: bool) -> None:
    """Go the whole way of adaptation; see `cli.demo`."""
    started = time.monotonic()
    paths = Paths(out / "adaptation")
    recipes = RUNS | {name: name for name in also if name not in RUNS.values()}
    for name in recipes.values():
        _toy_config(paths, name, seed=seed)  # a wrong name is told before anything is made
    console.say("1/6 generate: untrimmed videos of two domains and annotations in EPIC-KITCHENS' layout")
    kitchen = make_kitchen(paths, num_workers=num_workers, seed=seed, domain_shift=_DOMAIN_SHIFT)
    _label_target(paths, kitchen)
    console.say("2/6 train a small backbone on the source's clips")
    _train_backbone(paths, kitchen, seed=seed, num_workers=num_workers)
    console.say("3/6 extract its features of both domains' clips")
    _extract(paths, kitchen)
    results = {}
    for title, name in recipes.items():
        console.say(f"4/6 train {name} and test it on the target")
        results[title] = _train_and_test(paths, name, seed=seed)
    console.say("5/6 evaluate on the target")
    metrics = {title: _metrics(kitchen, scored) for title, scored in results.items()}
    console.say("6/6 submission and report")
    _submit(paths, kitchen, results["ta3n"])
    _report(paths, kitchen, results, metrics["ta3n"])
    accuracies = {title: round(table.as_dict()["all_action_accuracy_at_1"], 2) for title, table in metrics.items()}
    if json:
        console.emit_json(accuracies)
        return
    _show(paths, metrics, seconds=time.monotonic() - started)


def _annotations(paths: Paths) -> Path:
    return paths.out / "annotations"


def _features(paths: Paths) -> Path:
    return paths.out / "features"


def _embeddings(paths: Paths, name: str) -> Path:
    return paths.out / "embeddings" / f"{name}.npz"


def _toy_config(paths: Paths, name: str, *, seed: int) -> AdaptationConfig:
    """A recipe with the settings that the toy kitchen wants."""
    from zoopraxis.config.adaptation import AdaptationConfig
    from zoopraxis.config.load import load_config
    from zoopraxis.errors import ConfigError

    places = [f"data.root={_features(paths)}", f"data.annotations={_annotations(paths)}", f"run.dir={paths.run(name)}"]
    is_adaptation = isinstance(load_config(name, ["data.root=features"]), AdaptationConfig)
    config = load_config(name, [*places, f"seed={seed}", "run.loggers=[csv]", *TOY_SETTINGS]) if is_adaptation else None
    if not isinstance(config, AdaptationConfig) or config.data.store != "features":
        raise ConfigError(f"--also {name}: only recipes of adaptation on features go with --task adaptation; name one of them")
    return config


def _label_target(paths: Paths, kitchen: ToyKitchen) -> None:
    """The challenge's annotations, and beside them labels of the target's clips for the network that may learn them."""
    import io

    from zoopraxis.data.annotations.uda import UDA_SPLITS, find_uda_file
    from zoopraxis.epic.annotations import read_table
    from zoopraxis.files import write_text

    folder = _annotations(paths)
    sources = [find_uda_file(kitchen.annotations, split) for split in UDA_SPLITS]
    sources += sorted(kitchen.annotations.glob("EPIC_100_*_classes.csv"))
    for source in sources:
        assert source is not None
        write_text(folder / source.name, source.read_text(encoding="utf-8"))
    target = find_uda_file(kitchen.annotations, "target_train")
    assert target is not None
    labelled = read_table(kitchen.train).loc[read_table(target).index]
    text = io.StringIO()
    labelled.to_csv(text, lineterminator="\n")
    write_text(folder / "EPIC_100_uda_target_train.csv", text.getvalue())


def _train_backbone(paths: Paths, kitchen: ToyKitchen, *, seed: int, num_workers: int) -> None:
    from zoopraxis.data.stores import open_store
    from zoopraxis.training.run import train

    store = open_store("video", kitchen.videos, modality="rgb")
    write_gulps(paths, kitchen, store, modality="rgb", num_workers=num_workers)
    settings = [f"data.root={paths.gulp / 'rgb_train'}", f"run.dir={paths.run('backbone')}", "data.annotations=epic"]
    settings += [f"data.{name}={_annotations(paths)}/EPIC_100_uda_source_{name}.csv" for name in ("train", "val")]
    config = toy_config(paths, BACKBONE, seed=seed, settings=(*settings, *BACKBONE_SETTINGS))
    train(config, show_progress=console.shows_progress())


def _extract(paths: Paths, kitchen: ToyKitchen) -> None:
    from zoopraxis.data.annotations.uda import UDA_SPLITS, read_uda_split
    from zoopraxis.data.stores import open_store
    from zoopraxis.training.extraction import extract_features, load_extractor

    model = load_extractor(paths.run("backbone") / "checkpoints" / "last.ckpt")
    store = open_store("video", kitchen.videos, modality="rgb")
    for split in UDA_SPLITS:
        index = read_uda_split(_annotations(paths), split)
        with console.progress(f"features {split}") as on_progress:
            outcome = extract_features(
                model,
                index,
                store,
                _features(paths) / split,
                num_segments=_NUM_FEATURES,
                batch_size=8,
                accelerator="cpu",
                on_progress=on_progress,
            )
        expect_whole(outcome)


def _train_and_test(paths: Paths, name: str, *, seed: int) -> Results:
    from zoopraxis.training.inference import TestOptions, TestOutcome, test
    from zoopraxis.training.run import train

    outcome = train(_toy_config(paths, name, seed=seed), show_progress=console.shows_progress())
    tested = test(
        outcome.best_checkpoint,
        paths.results(name, "target_test"),
        split="target_test",
        options=TestOptions(embeddings=str(_embeddings(paths, name))),
        accelerator="cpu",
        devices=1,
        show_progress=console.shows_progress(),
    )
    assert isinstance(tested, TestOutcome)
    return tested.results


def _metrics(kitchen: ToyKitchen, results: Results) -> MetricTable:
    from zoopraxis.epic.adaptation import adaptation_metrics
    from zoopraxis.epic.annotations import read_table
    from zoopraxis.epic.recognition import labels_of

    return adaptation_metrics(results, labels_of(results.clip_ids, read_table(kitchen.test_labels)).labels)


def _submit(paths: Paths, kitchen: ToyKitchen, results: Results) -> None:
    from zoopraxis.data.annotations.uda import find_uda_file
    from zoopraxis.epic.annotations import read_table
    from zoopraxis.epic.submission import SupervisionLevels, write_adaptation_submission

    target_test = find_uda_file(kitchen.annotations, "target_test")
    assert target_test is not None
    write_adaptation_submission(
        results,
        paths.submission,
        SupervisionLevels(sls_pt=0, sls_tl=3, sls_td=3),
        expected_ids=list(read_table(target_test).index),
        classes={"verb": len(kitchen.verbs), "noun": len(kitchen.nouns)},
    )


def _report(paths: Paths, kitchen: ToyKitchen, results: dict[str, Results], metrics: MetricTable) -> None:
    """What TA3N gains over source only, and the domains' features before and after."""
    from zoopraxis.cli.comparison import read_comparison
    from zoopraxis.cli.truth import read_truth
    from zoopraxis.evaluation.report import write_report

    scored = results["ta3n"]
    truth = read_truth(kitchen.test_labels, scored)
    comparison = read_comparison(
        scored,
        truth,
        baseline=paths.results(RUNS["source_only"], "target_test"),
        embeddings=_embeddings(paths, RUNS["ta3n"]),
    )
    write_report(
        paths.report,
        scored,
        truth.labels,
        metrics,
        title="Toy kitchen: TA3N on the target, compared with source only",
        class_names=truth.class_names,
        sections=comparison.sections(scored, truth, projection="pca"),
    )


def _show(paths: Paths, metrics: dict[str, MetricTable], *, seconds: float) -> None:
    rows = [
        [title, *(table.as_dict()[f"all_{task}_accuracy_at_1"] for task in ("verb", "noun", "action"))]
        for title, table in metrics.items()
    ]
    console.table("The target's test clips, top-1 accuracy, %", ["network", "verb", "noun", "action"], rows)
    console.say(
        "All learn the source's labels; all but source_only see the target's clips too, target_supervised their labels."
    )
    made = {
        "features": _features(paths),
        "checkpoints": paths.out / "runs",
        "results files": paths.out / "results",
        "submission": paths.submission,
        "report": paths.report,
    }
    tell_made(made, seconds=seconds)
