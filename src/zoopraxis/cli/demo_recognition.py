"""`zoopraxis demo --task recognition`: from videos to a submission and a report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoopraxis.cli import console
from zoopraxis.cli.demo_kitchen import Paths, expect_whole, make_kitchen, tell_made, toy_config, write_gulps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from zoopraxis.evaluation.results import Results
    from zoopraxis.toy import ToyKitchen

__all__ = ["run"]

RUNS = ("tsn_rgb", "tsm_rgb", "tsm_flow")
"""Recipes that are trained, in this order."""


def run(out: Path, *, seed: int, num_workers: int, also: Sequence[str], json: bool) -> None:
    """Go the whole way of recognition; see `cli.demo`."""
    started = time.monotonic()
    paths = Paths(out)
    others = tuple(name for name in dict.fromkeys(also) if name not in RUNS)
    for name in others:
        toy_config(paths, name, seed=seed)  # a wrong name is told before anything is made
    console.say("1/7 generate: untrimmed videos and annotations in EPIC-KITCHENS' layout")
    kitchen = make_kitchen(paths, num_workers=num_workers, seed=seed)
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


def _prepare(paths: Paths, kitchen: ToyKitchen, *, num_workers: int) -> None:
    from zoopraxis.data.prepare.flow import write_flow
    from zoopraxis.data.stores import open_store

    with console.progress("flow") as on_progress:
        expect_whole(write_flow(kitchen.videos, paths.flow_frames, num_workers=num_workers, on_progress=on_progress))
    write_gulps(paths, kitchen, open_store("video", kitchen.videos, modality="rgb"), modality="rgb", num_workers=num_workers)
    flow = open_store("frames", paths.flow_frames, modality="flow")
    write_gulps(paths, kitchen, flow, modality="flow", num_workers=num_workers)


def _train(paths: Paths, name: str, *, seed: int) -> None:
    from zoopraxis.training.run import train

    train(toy_config(paths, name, seed=seed), show_progress=console.shows_progress())


def _test(paths: Paths, name: str, split: str) -> Results:
    from zoopraxis.training.inference import test
    from zoopraxis.training.options import TestOutcome

    outcome = test(
        paths.run(name) / "checkpoints" / "last.ckpt",
        paths.results(name, split),
        split=split,
        accelerator="cpu",
        devices=1,
        show_progress=console.shows_progress(),
    )
    assert isinstance(outcome, TestOutcome)
    return outcome.results


def _fuse(paths: Paths, rgb: Results, flow: Results, split: str) -> Results:
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


def _submit(paths: Paths, kitchen: ToyKitchen, results: Results) -> None:
    from zoopraxis.epic.annotations import read_table
    from zoopraxis.epic.submission import SupervisionLevels, write_submission

    write_submission(
        results,
        paths.submission,
        SupervisionLevels(sls_pt=0, sls_tl=3, sls_td=3),
        expected_ids=list(read_table(kitchen.test).index),
        classes={"verb": len(kitchen.verbs), "noun": len(kitchen.nouns)},
    )


def _report(paths: Paths, kitchen: ToyKitchen, results: Results) -> None:
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


def _strip_reader(paths: Paths) -> Callable[[str], npt.NDArray[np.uint8] | None]:
    """From a clip's id to eight of its frames."""
    from zoopraxis.data.index import Clip
    from zoopraxis.data.sampling import Segments
    from zoopraxis.data.stores import open_store

    store = open_store("gulp", paths.gulp / "rgb_validation", modality="rgb")

    def read_strip(clip_id: str) -> npt.NDArray[np.uint8] | None:
        clip = Clip(clip_id, clip_id)
        return store.read(clip, Segments(8).test(store.num_frames(clip)))

    return read_strip


def _show(paths: Paths, metrics: dict[str, dict[str, float]], *, seconds: float) -> None:
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
    tell_made(made, seconds=seconds)
