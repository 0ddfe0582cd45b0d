"""What a report on adaptation shows beside any other: the domains' features, their attention, and the gain over a baseline.

Each function gives a section of HTML for `report.write_report(sections=)`. Needs the extra `report`.

N clips, K classes, R relations or frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import DataError
from zoopraxis.evaluation.comparison import ClassGains, Difference
from zoopraxis.evaluation.embeddings import DOMAINS, Embeddings
from zoopraxis.evaluation.projection import Projection, project, sample_rows
from zoopraxis.evaluation.report_adaptation_figures import attention_bars, attention_heat_map, domain_clouds, gain_bars
from zoopraxis.evaluation.report_page import details, escape, image, paragraph, row_of, section, table
from zoopraxis.evaluation.results import Results

__all__ = ["attention_section", "domains_section", "gains_section"]

IntArray = npt.NDArray[np.int64]
ClassNames = Mapping[str, Sequence[str]]

_MAX_DRAWN = 2000
_MAX_BARS = 30
_MAX_ROWS = 12
_WIDE, _NARROW = 980, 520
_NAMES: dict[Projection, str] = {"pca": "their two principal components", "umap": "UMAP"}


def domains_section(embeddings: Embeddings, distances: Mapping[str, float], *, projection: Projection = "pca") -> str:
    """Both domains' clips before and after adaptation, and how far apart they lie.

    Args:
        embeddings: Of the clips.
        distances: As `embeddings.domain_distances` measured them.
        projection: How features become points of a plane; both domains share one.

    Raises:
        MissingExtraError: If Matplotlib, or what the projection needs, is not installed.
    """
    rows = sample_rows(embeddings.is_target, _MAX_DRAWN)
    features = {"before": embeddings.before, "after": embeddings.after}
    points = {f"{name}: distance {distances[name]:.2f}": project(values[rows], projection) for name, values in features.items()}
    picture = domain_clouds(points, embeddings.is_target[rows])
    counts = " and ".join(f"{int((embeddings.domain == domain).sum()):,} of the {domain}" for domain in DOMAINS)
    shown = f"; {len(rows):,} are drawn" if len(rows) < len(embeddings) else ""
    caption = (
        f"The features of the clips ({counts}{shown}) by {_NAMES[projection]}: the mean input feature before adaptation, the"
        " video's feature after."
    )
    text = (
        "The distance is the proxy A-distance of all features, not of the picture: 0 where a linear classifier cannot tell the"
        " domains apart on clips that it has not seen, 2 where it always can. A good adaptation brings it down without losing"
        " accuracy on the target."
    )
    cells = [(escape(name), f"{distances[name]:.3f}") for name in features]
    numbers = table(("features", "distance of the domains"), cells, numbers=(1,))
    return section("How far apart are the domains?", paragraph(text), image(picture, "png", caption, width=_WIDE), numbers)


def attention_section(
    embeddings: Embeddings, results: Results, labels: Mapping[str, IntArray], class_names: ClassNames | None = None
) -> str:
    """The mean attention of each domain, and of the largest classes of the target; nothing if there is no attention.

    Args:
        embeddings: Of clips that include the tested ones, as clips of the target.
        results: The tested clips.
        labels: Head name to labels in the order of the results, shape (N,).
        class_names: Head name to the names of its classes; their numbers where there are none.

    Raises:
        DataError: If none of the tested clips is in the embeddings.
        MissingExtraError: If Matplotlib is not installed.
    """
    weights = embeddings.attention
    if weights is None:
        return ""
    own, rows = _tested_rows(embeddings, results)
    names = embeddings.attention_names
    bars = attention_bars({domain: weights[embeddings.domain == domain].mean(axis=0) for domain in DOMAINS}, names)
    parts = [image(bars, "png", "The mean attention to each relation or frame, by domain.", width=_NARROW)]
    for head in results.scores:
        of_clips = labels[head][own]
        counts = np.bincount(of_clips)
        largest = [number for number in np.argsort(-counts, kind="stable")[:_MAX_ROWS].tolist() if counts[number]]
        means = np.stack([weights[rows[of_clips == number]].mean(axis=0) for number in largest])
        classes = [_class_name(class_names, head, number) for number in largest]
        picture = attention_heat_map(means, task=head, classes=classes, names=names)
        parts.append(image(picture, "png", f"The mean attention in the target's most frequent {head}s.", width=_NARROW))
    text = (
        "With transferable attention a relation or frame weighs the more, the surer its discriminator is of the domain: what"
        " differs most between the domains is aligned first."
    )
    return section("Domain attention", paragraph(text), row_of(parts))


def gains_section(
    differences: Sequence[Difference], gains: Mapping[str, ClassGains], class_names: ClassNames | None = None
) -> str:
    """What the results are better at than a baseline.

    Args:
        differences: As `comparison.compare` gives them.
        gains: As `comparison.class_gains` gives them.
        class_names: Head name to the names of its classes; their numbers where there are none.

    Raises:
        MissingExtraError: If Matplotlib is not installed.
    """
    rows = [
        (
            escape(one.name.replace("_", " ")),
            f"{one.baseline_percent:.2f}",
            f"{one.baseline_percent + one.percent:.2f}",
            f"{one.percent:+.2f}",
            f"{one.low:+.2f} to {one.high:+.2f}",
            f"{one.num_gained:,}",
            f"{one.num_lost:,}",
            f"{one.p_value:.2g}",
        )
        for one in differences
    ]
    columns = ("metric", "baseline", "here", "difference", "95% interval", "clips gained", "clips lost", "McNemar's p")
    parts = [_task_gains(task, one, class_names) for task, one in gains.items()]
    text = "Both were tested on the same clips; the intervals are of paired differences (Bonett and Price)."
    compared = table(columns, rows, numbers=(1, 2, 3, 4, 5, 6, 7))
    return section("Gain over the baseline", paragraph(text), compared, row_of(parts))


def _task_gains(task: str, one: ClassGains, class_names: ClassNames | None) -> str:
    names = [_class_name(class_names, task, number) for number in one.classes.tolist()]
    frequent = np.argsort(-one.counts, kind="stable")[:_MAX_BARS]
    drawn = frequent[np.argsort(-one.gains[frequent], kind="stable")]
    picture = gain_bars(one.gains[drawn], task=task, classes=[names[row] for row in drawn.tolist()])
    few = f"the {len(drawn)} most frequent of {len(names)} {task}s" if len(drawn) < len(names) else f"all {len(names)} {task}s"
    rows = [
        (
            escape(names[row]),
            f"{one.counts[row]:,}",
            f"{100 * one.baseline[row]:.1f}",
            f"{100 * one.accuracies[row]:.1f}",
            f"{100 * one.gains[row]:+.1f}",
        )
        for row in np.argsort(-one.gains, kind="stable").tolist()
    ]
    every = table((task, "clips", "baseline, %", "here, %", "gain"), rows, numbers=(1, 2, 3, 4))
    return image(picture, "png", f"Gain of {few}.", width=_NARROW) + details(f"All {len(names)} {task}s", every)


def _tested_rows(embeddings: Embeddings, results: Results) -> tuple[IntArray, IntArray]:
    """The clips that results and embeddings share: their places in the results, and among the embeddings' rows."""
    target = np.flatnonzero(embeddings.is_target)
    _, own, places = np.intersect1d(results.clip_ids, embeddings.clip_ids[target], assume_unique=True, return_indices=True)
    if not len(own):
        raise DataError(
            f"the embeddings have none of the {len(results)} clips of the results among those of the target, first"
            f" {results.clip_ids[0]!s}; write both in one test"
        )
    return own, target[places]


def _class_name(class_names: ClassNames | None, task: str, number: int | Sequence[int]) -> str:
    """A class's name, or its number; of an action, those of its verb and its noun."""
    if not isinstance(number, int):
        return " ".join(_class_name(class_names, head, one) for head, one in zip(("verb", "noun"), number, strict=True))
    names = (class_names or {}).get(task, ())
    return str(names[number]) if number < len(names) else str(number)
