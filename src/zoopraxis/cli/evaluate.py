"""`zoopraxis evaluate`: the metrics of a results file, and a report."""

from __future__ import annotations

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
    RECOGNITION, ADAPTATION = "recognition", "adaptation"


class _Actions(StrEnum):
    PRODUCT, VIEWS = "product", "views"


class _Projection(StrEnum):
    PCA, UMAP = "pca", "umap"


_ResultsFile = Annotated[Path, typer.Argument(metavar="RESULTS", help="A results file.")]
_Annotations = Annotated[
    Path,
    typer.Argument(
        metavar="ANNOTATIONS", help="The annotations of the clips that were scored; for adaptation also their folder."
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
    force: Annotated[bool, typer.Option("--force", help="Overwrite the report.")] = False,
    json: Json = False,
) -> None:
    """Compute the metrics of a results file against annotations: a challenge's, or the accuracies of its heads."""
    if report is not None:
        check_output(report, what="a report", suffixes=(".html",), force=force)
    if projection is not None and (report is None or embeddings is None):
        raise ConfigError("--projection is of the report's picture of embeddings; give --report and --embeddings too")

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
