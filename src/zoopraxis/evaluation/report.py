"""A report: one HTML file that shows what a results file is worth and where it goes wrong.

Needs the extra `report`. Everything is inside the file: no scripts, no fonts, no images from elsewhere.

N clips, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import DataError
from zoopraxis.evaluation.accuracy import (
    check_labels,
    class_mean_accuracy,
    class_mean_interval,
    confusion_matrix,
    per_class_accuracy,
)
from zoopraxis.evaluation.metrics import Metric, MetricTable
from zoopraxis.evaluation.probabilities import reliability
from zoopraxis.evaluation.report_clips import ReadStrip, clips_html, confident_wrong_clips, judge, worst_clips
from zoopraxis.evaluation.report_figures import accuracy_against_count, confusion_figure, reliability_figure
from zoopraxis.evaluation.report_page import (
    details,
    escape,
    image,
    metric_rows,
    paragraph,
    row_of,
    section,
    table,
    tiles,
    write_page,
)
from zoopraxis.evaluation.results import Results

__all__ = ["write_report"]

IntArray = npt.NDArray[np.int64]

_NUM_CONFUSIONS = 10
_FIGURE_WIDTH = 560


def write_report(
    path: str | Path,
    results: Results,
    labels: Mapping[str, IntArray],
    metrics: MetricTable,
    *,
    title: str = "Action recognition",
    facts: Mapping[str, str] | None = None,
    class_names: Mapping[str, Sequence[str]] | None = None,
    training_counts: Mapping[str, IntArray] | None = None,
    read_strip: ReadStrip | None = None,
    num_clips: int = 6,
    sections: Sequence[str] = (),
) -> None:
    """Write the report, in one step.

    Args:
        path: The HTML file.
        results: The scores.
        labels: Head name to labels in the order of the results, shape (N,).
        metrics: What the evaluation gave.
        title: The page's heading.
        facts: What was scored, as name and value, for the top of the page.
        class_names: Head name to the names of its classes; their numbers where there are none.
        training_counts: Head name to the number of training clips of each class, shape (K,); the tested clips are counted
            where there are none.
        read_strip: Clip id to RGB frames, uint8 (T, H, W, 3), or None where there are none. A DataError that it raises is
            shown in the frames' place.
        num_clips: How many of the worst, and of the most confident wrong, clips are shown.
        sections: Further parts of the page as HTML, below the metrics (`evaluation.report_adaptation`).

    Raises:
        DataError: If labels, names or counts do not fit the results, or the file cannot be written.
        MissingExtraError: If Matplotlib is not installed.
    """
    true = {
        head: check_labels(labels[head], head=head, num_clips=len(results), num_classes=width)
        for head, width in results.heads.items()
    }
    names = {head: _names(head, width, class_names or {}) for head, width in results.heads.items()}
    confusions = {
        head: confusion_matrix(true[head], scores.argmax(axis=1), scores.shape[1]) for head, scores in results.scores.items()
    }
    counts = {head: _counts(head, confusions[head], training_counts or {}) for head in confusions}
    body = [
        *_overview(title, facts or {}, metrics, confusions),
        *sections,
        *(_head_section(head, confusions[head], names[head], counts[head], training_counts) for head in confusions),
        _reliability_section(results, true),
        _clips_section(results, true, names, read_strip, num_clips),
        "<footer>Made by Zoopraxis. Intervals of accuracies: Wilson; of class means: bootstrap.</footer>",
    ]
    write_page(path, title, body)


def _overview(title: str, facts: Mapping[str, str], metrics: MetricTable, confusions: Mapping[str, IntArray]) -> list[str]:
    generator = np.random.default_rng(0)
    means = []
    for head, confusion in confusions.items():
        low, high = class_mean_interval(confusion, generator=generator)
        mean = class_mean_accuracy(confusion)
        means.append(Metric(f"{head}_class_mean_accuracy", 100 * mean, 100 * low, 100 * high, int(confusion.sum())))
    leading = [metric for metric in metrics.metrics if metric.name.endswith("at_1")][: max(3, len(confusions))]
    rows = [(escape(name), escape(value)) for name, value in facts.items()]
    return [
        f"<h1>{escape(title)}</h1>",
        *(paragraph(warning, is_warning=True) for warning in metrics.warnings),
        tiles(leading),
        section("Metrics", metric_rows([*metrics.metrics, *means])),
        *([details("What was scored", table(("", ""), rows))] if rows else []),
    ]


def _head_section(
    head: str,
    confusion: IntArray,
    names: Sequence[str],
    counts: IntArray,
    training_counts: Mapping[str, IntArray] | None,
) -> str:
    count_name = "training clips" if training_counts and head in training_counts else "tested clips"
    order = np.argsort(-counts, kind="stable")
    matrix = confusion_figure(confusion, head=head, names=names, order=order)
    scatter = accuracy_against_count(confusion, counts, head=head, count_name=f"{count_name} of the class")
    left = image(matrix, "png", f"Confusion matrix of the {head}, as shares of each true class.", width=_FIGURE_WIDTH)
    right = image(scatter, "png", f"Accuracy of each {head} against its number of {count_name}.", width=_FIGURE_WIDTH)
    confused = f"<h3>Most frequent confusions</h3>{_confusions_table(confusion, names)}"
    every = details(f"All {len(names)} classes", _classes_table(confusion, names, counts, order, count_name))
    return section(f"Head: {head}", row_of([left, right + confused]), every)


def _confusions_table(confusion: IntArray, names: Sequence[str]) -> str:
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    largest = np.argsort(-wrong, axis=None, kind="stable")[:_NUM_CONFUSIONS]
    pairs = [divmod(int(place), len(names)) for place in largest]
    totals = confusion.sum(axis=1)
    rows = [
        (
            escape(names[true]),
            escape(names[taken]),
            f"{wrong[true, taken]:,}",
            f"{100 * wrong[true, taken] / totals[true]:.0f}%",
        )
        for true, taken in pairs
        if wrong[true, taken]
    ]
    return table(("true", "taken for", "clips", "of the class"), rows, numbers=(2, 3))


def _classes_table(confusion: IntArray, names: Sequence[str], counts: IntArray, order: IntArray, count_name: str) -> str:
    accuracies, tested = per_class_accuracy(confusion), confusion.sum(axis=1)
    rows = [
        (
            escape(names[number]),
            f"{counts[number]:,}",
            f"{tested[number]:,}",
            "" if np.isnan(accuracies[number]) else f"{100 * accuracies[number]:.1f}",
        )
        for number in order.tolist()
    ]
    return table(("class", count_name, "clips in this evaluation", "accuracy, %"), rows, numbers=(1, 2, 3))


def _reliability_section(results: Results, true: Mapping[str, IntArray]) -> str:
    groups = {head: [head] for head in results.scores}
    if len(groups) > 1:
        groups[_joint_name(results)] = list(results.scores)
    judged = {name: judge(results, true, heads) for name, heads in groups.items()}
    figure = reliability_figure({name: reliability(one.confidences, one.is_right) for name, one in judged.items()})
    text = "Among the answers given with a confidence of 70%, 70% should be right. Below the dashed line the model is too sure."
    caption = "Reliability: accuracy against confidence, in bins of 10%; a dot's area grows with the clips in its bin."
    return section("Can its confidence be trusted?", paragraph(text), image(figure, "png", caption, width=_FIGURE_WIDTH))


def _clips_section(
    results: Results,
    true: Mapping[str, IntArray],
    names: Mapping[str, Sequence[str]],
    read_strip: ReadStrip | None,
    num_clips: int,
) -> str:
    judgement = judge(results, true, list(results.scores))
    confident = confident_wrong_clips(judgement, num_clips)
    worst = worst_clips(judgement, num_clips, without=confident)
    if not len(confident):
        return section("Wrong clips", paragraph("None: every clip is right."))
    parts = [
        "<h3>Most confident</h3>",
        paragraph("Wrong answers that were given with the greatest probability."),
        clips_html(confident, results, true, judgement, names, read_strip),
    ]
    if len(worst):
        parts += [
            "<h3>Worst</h3>",
            paragraph("Of the others, those whose right answer was held for the least likely."),
            clips_html(worst, results, true, judgement, names, read_strip),
        ]
    return section("Wrong clips", *parts)


def _joint_name(results: Results) -> str:
    return "action" if set(results.scores) == {"verb", "noun"} else "all heads"


def _names(head: str, width: int, class_names: Mapping[str, Sequence[str]]) -> list[str]:
    if head not in class_names:
        return [str(number) for number in range(width)]
    names = [str(name) for name in class_names[head]]
    if len(names) < width:
        raise DataError(f"head {head!r} has {width} classes but only {len(names)} class names; name the classes' file")
    return names[:width]


def _counts(head: str, confusion: IntArray, training_counts: Mapping[str, IntArray]) -> IntArray:
    counts = np.asarray(training_counts.get(head, confusion.sum(axis=1)))
    if counts.shape != (len(confusion),):
        raise DataError(f"head {head!r} has {len(confusion)} classes but training counts of shape {counts.shape}")
    return counts
