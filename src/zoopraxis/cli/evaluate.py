"""`zoopraxis evaluate`: the metrics of a results file, and a report."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Json
from zoopraxis.cli.outputs import check_output
from zoopraxis.cli.preparing import StoreName
from zoopraxis.errors import ConfigError

if TYPE_CHECKING:
    from zoopraxis.cli.comparison import Comparison
    from zoopraxis.cli.truth import IntArray, Truth
    from zoopraxis.evaluation.actions import ActionSource
    from zoopraxis.evaluation.metrics import MetricTable
    from zoopraxis.evaluation.results import Results

__all__ = ["command"]


class _Challenge(StrEnum):
    RECOGNITION, ADAPTATION, DETECTION = "recognition", "adaptation", "detection"


class _Actions(StrEnum):
    PRODUCT, VIEWS = "product", "views"


class _Broken(StrEnum):
    REFUSE, DROP = "refuse", "drop"


class _Projection(StrEnum):
    PCA, UMAP = "pca", "umap"


_ResultsFile = Annotated[Path, typer.Argument(metavar="RESULTS", help="A results file, or detections.")]
_Annotations = Annotated[
    Path,
    typer.Argument(
        metavar="ANNOTATIONS",
        help="The annotations of the clips that were scored, or of the segments to be found; for adaptation also their folder.",
    ),
]
_ChallengeName = Annotated[
    _Challenge | None, typer.Option(help="The challenge; by default recognition, where there are verbs and nouns.")
]
_Format = Annotated[str, typer.Option(help="Format of ANNOTATIONS; auto: told from the file.")]
_Mapping = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Classes that two data sets share, as data.mapping of the training, e.g. ucf_hmdb."),
]
_TailVerbs = Annotated[Path | None, typer.Option(help="Rare verbs; by default the file beside ANNOTATIONS.")]
_TailNouns = Annotated[Path | None, typer.Option(help="Rare nouns; by default the file beside ANNOTATIONS.")]
_Unseen = Annotated[Path | None, typer.Option(help="Participants not trained on; by default the split's file beside.")]
_GlobalSoftmax = Annotated[
    bool, typer.Option("--global-softmax", help="Rank actions as the published code does, by a softmax over all clips.")
]
_ActionSource = Annotated[
    _Actions | None,
    typer.Option(
        help="Actions by the product of averaged verbs and nouns (as submitted), or by the mean of each view's product."
    ),
]
_Report = Annotated[Path | None, typer.Option(metavar="FILE.html", help="Also write a report.")]
_Training = Annotated[
    Path | None, typer.Option(help="The training clips: give the numbers of named classes, and their counts for the report.")
]
_Baseline = Annotated[
    Path | None, typer.Option(metavar="RESULTS", help="Also compare with these results of the same clips, e.g. of source only.")
]
_Embeddings = Annotated[
    Path | None,
    typer.Option(metavar="FILE.npz", help="Of both domains' clips, from test --embeddings: how far apart the domains are."),
]
_ProjectionName = Annotated[
    _Projection | None, typer.Option(help="How the report draws the embeddings; by default by principal components.")
]
_Tiou = Annotated[
    str | None,
    typer.Option(
        metavar="FIRST:LAST:STEP",
        help="For detection: the overlaps that are asked for; by default those of the data set (EPIC-KITCHENS: 0.1:0.5:0.1).",
    ),
]
_Videos = Annotated[Path | None, typer.Option(help="For detection: how long the videos are, where ANNOTATIONS do not tell.")]
_BrokenSegments = Annotated[
    _Broken,
    typer.Option(help="For detection: segments that are reversed or past the end of their video; drop: leave them out."),
]
_Split = Annotated[
    str | None, typer.Option(help="For detection: the split of ANNOTATIONS; by default that of the detections, else val.")
]
_Root = Annotated[Path | None, typer.Option(help="For the report: the folder of the clips' RGB frames.")]
_StoreKind = Annotated[
    StoreName | None, typer.Option(help="For the report: what --root holds; by default gulp files or videos.")
]


def command(
    results: _ResultsFile,
    annotations: _Annotations,
    challenge: _ChallengeName = None,
    format: _Format = "auto",
    mapping: _Mapping = None,
    tail_verbs: _TailVerbs = None,
    tail_nouns: _TailNouns = None,
    unseen_participants: _Unseen = None,
    global_softmax: _GlobalSoftmax = False,
    actions: _ActionSource = None,
    report: _Report = None,
    training_annotations: _Training = None,
    baseline: _Baseline = None,
    embeddings: _Embeddings = None,
    projection: _ProjectionName = None,
    root: _Root = None,
    store: _StoreKind = None,
    tiou: _Tiou = None,
    videos: _Videos = None,
    split: _Split = None,
    broken_segments: _BrokenSegments = _Broken.REFUSE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the report.")] = False,
    json: Json = False,
) -> None:
    """Compute the metrics of a results file against annotations: a challenge's, or the accuracies of its heads.

    Detections in long videos are judged by --challenge detection, whatever the data set.
    """
    if report is not None:
        check_output(report, what="a report", suffixes=(".html",), force=force)
    if projection is not None and (report is None or embeddings is None):
        raise ConfigError("--projection is of the report's picture of embeddings; give --report and --embeddings too")

    if challenge is _Challenge.DETECTION:
        of_clips: dict[str, object] = {
            "mapping": mapping,
            "tail_verbs": tail_verbs,
            "tail_nouns": tail_nouns,
            "actions": actions,
        }
        of_clips |= {"unseen_participants": unseen_participants, "global_softmax": global_softmax or None, "store": store}
        of_clips |= {"training_annotations": training_annotations, "baseline": baseline, "embeddings": embeddings, "root": root}
        _refuse_options(of_clips, "of results of clips: evaluate those")

        from zoopraxis.cli.detection import evaluate_detections

        evaluate_detections(
            results,
            annotations,
            tiou=tiou,
            videos=videos,
            format=format,
            split=split,
            broken=broken_segments.value,
            report=report,
            as_json=json,
        )
        return
    of_detections = {"tiou": tiou, "videos": videos, "split": split}
    of_detections |= {"broken_segments": broken_segments.value if broken_segments is _Broken.DROP else None}
    _refuse_options(of_detections, "of detections; add --challenge detection")

    from zoopraxis.cli.comparison import read_comparison
    from zoopraxis.cli.truth import adaptation_labels, read_truth, strip_reader
    from zoopraxis.evaluation.results import load_results

    scored = load_results(results)
    if challenge is _Challenge.ADAPTATION:
        annotations = adaptation_labels(annotations, scored)
    truth = read_truth(annotations, scored, training=training_annotations, format=format, mapping=mapping)
    named = {"tail_verbs": tail_verbs, "tail_nouns": tail_nouns, "unseen_participants": unseen_participants}
    if challenge is None and {"verb", "noun"} <= scored.scores.keys() & truth.labels.keys():
        challenge = _Challenge.RECOGNITION
    if challenge is _Challenge.RECOGNITION:
        metrics, facts = _recognition(
            scored, truth, annotations, named, is_global=global_softmax, actions=(actions or _Actions.PRODUCT).value
        )
    else:
        _refuse_challenge_options({**named, "global_softmax": global_softmax or None, "actions": actions}, challenge)
        metrics, facts = _plain(scored, truth, challenge)
    comparison = read_comparison(scored, truth, baseline=baseline, embeddings=embeddings)
    if report is not None:
        from zoopraxis.evaluation.report import write_report

        write_report(
            report,
            scored,
            truth.labels,
            metrics,
            title=f"{'Domain adaptation' if challenge is _Challenge.ADAPTATION else 'Action recognition'}: {results.stem}",
            facts={"results": str(results), "annotations": str(annotations), **facts, **_meta_facts(scored)},
            class_names=truth.class_names,
            training_counts=_training_counts(training_annotations, annotations, scored, mapping),
            read_strip=None if root is None else strip_reader(annotations, root, kind=store, format=format),
            sections=comparison.sections(scored, truth, projection=(projection or _Projection.PCA).value),
        )
    _show(results, scored, metrics, comparison, report, as_json=json)


def _recognition(
    results: Results,
    truth: Truth,
    annotations: Path,
    named: dict[str, Path | None],
    *,
    is_global: bool,
    actions: ActionSource,
) -> tuple[MetricTable, dict[str, str]]:
    """The recognition challenge's metrics, and what they were made with."""
    from zoopraxis.cli.truth import challenge_files
    from zoopraxis.epic.annotations import read_tail_classes, read_unseen_participants
    from zoopraxis.epic.recognition import recognition_metrics

    beside = challenge_files(annotations)
    if truth.participants is None:
        beside.pop("unseen_participants", None)
    files = {
        name: file for name, file in ((name, path or beside.get(name)) for name, path in named.items()) if file is not None
    }
    tail = {name: read_tail_classes(files[name]).tolist() for name in ("tail_verbs", "tail_nouns") if name in files}
    unseen = files.get("unseen_participants")
    metrics = recognition_metrics(
        results,
        truth.labels,
        participants=truth.participants,
        unseen_participants=None if unseen is None else read_unseen_participants(unseen),
        tail_verbs=tail.get("tail_verbs"),
        tail_nouns=tail.get("tail_nouns"),
        softmax="global" if is_global else "row",
        actions=actions,
    )
    facts = {"challenge": "recognition", "actions": f"by {actions}"}
    facts["softmax"] = "over all clips, as published" if is_global else "of each clip"
    return metrics, facts | {name.replace("_", " "): str(path) for name, path in files.items()}


def _plain(results: Results, truth: Truth, challenge: _Challenge | None) -> tuple[MetricTable, dict[str, str]]:
    """The adaptation challenge's metrics, or each head's accuracies, and what they were made with."""
    from zoopraxis.epic.adaptation import adaptation_metrics
    from zoopraxis.evaluation.metrics import classification_metrics

    if challenge is None:
        return classification_metrics(results, truth.labels), {}
    return adaptation_metrics(results, truth.labels), {"challenge": challenge.value}


def _refuse_challenge_options(options: dict[str, object], challenge: _Challenge | None) -> None:
    why = "which needs the heads verb and noun" if challenge is None else "which is another"
    for name, value in options.items():
        if value is not None:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} is of the recognition challenge, {why}; leave it out")


def _refuse_options(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"--{name.replace('_', '-')} is {why}, or leave it out")


def _meta_facts(results: Results) -> dict[str, str]:
    return {str(name): str(value) for name, value in results.meta.items()}


def _training_counts(
    training: Path | None, annotations: Path, results: Results, mapping: str | None
) -> dict[str, IntArray] | None:
    from zoopraxis.cli.truth import challenge_files, read_training_counts

    path = training or challenge_files(annotations).get("training_annotations")
    return None if path is None else read_training_counts(path, results.heads, mapping=mapping)


def _show(
    path: Path, results: Results, table: MetricTable, comparison: Comparison, report: Path | None, *, as_json: bool
) -> None:
    if as_json:
        console.emit_json(
            {
                "results": path,
                "num_clips": len(results),
                "metrics": table.as_dict(),
                "intervals": {metric.name: (metric.low, metric.high) for metric in table.metrics},
                "warnings": table.warnings,
                "report": report,
            }
            | comparison.for_program()
        )
        return
    rows = [(one.name, one.percent, f"{one.low:.2f} to {one.high:.2f}", one.num_clips) for one in table.metrics]
    console.table(f"{path}, {len(results)} clips", ["metric", "%", "95% interval", "clips"], rows)
    for warning in table.warnings:
        console.say(f"warning: {warning}")
    comparison.show()
    if report is not None:
        console.say(f"report: {report}")
