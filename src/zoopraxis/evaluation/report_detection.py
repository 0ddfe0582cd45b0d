"""The report on detection: how well segments are found, what goes wrong at what cost, and what it looks like along the videos.

Needs the extra `report`. `detection_sections` gives the parts of the page, `write_detection_report` the page.

P detections, G segments of the truth, K thresholds, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zoopraxis.evaluation.detection_errors import DetectionErrors, main_level
from zoopraxis.evaluation.detection_lengths import map_by_length
from zoopraxis.evaluation.detection_map import DetectionMap, TaskMap, task_labels
from zoopraxis.evaluation.detections import Detections, Truth
from zoopraxis.evaluation.proposal_recall import ProposalRecall
from zoopraxis.evaluation.report_detection_figures import (
    KIND_NAMES,
    error_bars,
    group_bars,
    map_lines,
    precision_recall_figure,
    recall_lines,
)
from zoopraxis.evaluation.report_detection_numbers import mean_precision, recall_by_length
from zoopraxis.evaluation.report_detection_videos import ClassNames, class_name, videos_section
from zoopraxis.evaluation.report_page import (
    details,
    escape,
    image,
    paragraph,
    plain_tiles,
    row_of,
    section,
    table,
    write_page,
)

__all__ = ["detection_sections", "write_detection_report"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_MAX_WIDTH, _NARROW = 1040, 560
_RECALLS = np.linspace(0, 1, 101)
_KIND_TEXTS = {
    "label": "a segment of another class is there",
    "boundary": "a segment of its class is there, but overlaps it too little",
    "both": "a segment of another class is there, and overlaps it too little",
    "duplicate": "a better detection has taken its segment",
    "background": "no segment is there",
    "missed": "segments that nothing has found, not even with a wrong label or boundary",
}


def write_detection_report(
    path: str | Path,
    truth: Truth,
    detections: Detections,
    map: DetectionMap,
    errors: Mapping[str, DetectionErrors],
    *,
    title: str = "Action detection",
    facts: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
    class_names: ClassNames | None = None,
    recall: ProposalRecall | None = None,
    num_videos: int = 4,
    sections: Sequence[str] = (),
) -> None:
    """Write the report, in one step.

    Args:
        path: The HTML file.
        truth: What is in the videos.
        detections: What was found, in videos of the truth.
        map: As `detection_map` judged the detections; of no task where they have no classes.
        errors: Task to its errors, as `detection_errors` found them; tasks may be absent.
        title: The page's heading.
        facts: What was judged, as name and value.
        warnings: What a reader must know.
        class_names: Head to the names of its classes; by default those of the truth, else of the detections, else numbers.
        recall: As `proposal_recall` judged the segments without their classes.
        num_videos: How many videos' timelines are shown, from the best to the worst.
        sections: Further parts of the page as HTML, at its end.

    Raises:
        DataError: If the file cannot be written.
        MissingExtraError: If Matplotlib is not installed.
    """
    rows = [(escape(name), escape(value)) for name, value in (facts or {}).items()]
    body = [
        f"<h1>{escape(title)}</h1>",
        *(paragraph(warning, is_warning=True) for warning in warnings),
        plain_tiles(_tiles(map, recall)),
        *([details("What was judged", table(("", ""), rows))] if rows else []),
        *detection_sections(truth, detections, map, errors, class_names=class_names, recall=recall, num_videos=num_videos),
        *sections,
        "<footer>Made by Zoopraxis.</footer>",
    ]
    write_page(path, title, body)


def detection_sections(
    truth: Truth,
    detections: Detections,
    map: DetectionMap,
    errors: Mapping[str, DetectionErrors],
    *,
    class_names: ClassNames | None = None,
    recall: ProposalRecall | None = None,
    num_videos: int = 4,
) -> list[str]:
    """The report's parts, as HTML; the arguments are those of `write_detection_report`.

    Raises:
        MissingExtraError: If Matplotlib is not installed.
    """
    of_proposals = [] if recall is None else [_recall_section(recall)]
    if not map.tasks:
        return of_proposals
    names = {**detections.class_names, **truth.class_names, **(class_names or {})}
    return [
        _map_section(map),
        _precision_section(map, detections),
        *([_errors_section(errors)] if errors else []),
        _lengths_section(truth, detections, map),
        *of_proposals,
        videos_section(truth, detections, map, errors, names, num_videos),
        _classes_section(map, names),
    ]


def _tiles(map: DetectionMap, recall: ProposalRecall | None) -> list[tuple[str, float, str]]:
    levels = f"mean over tIoU {_span(map.thresholds)}"
    tiles = [(f"{task} mAP", 100 * one.average, levels) for task, one in map.tasks.items()]
    if recall is not None:
        most, overlaps = recall.proposals_per_video[-1], f"tIoU {_span(recall.thresholds)}"
        tiles += [
            (f"recall at {most:.0f} proposals", recall.at(most), overlaps),
            ("area under the recall", recall.auc, overlaps),
        ]
    return tiles


def _recall_section(recall: ProposalRecall) -> str:
    places = _spread(recall.thresholds, 3)
    picture = recall_lines(recall.proposals_per_video, recall.recall[places], recall.thresholds[places], recall.average)
    text = (
        "Which part of the segments is found by so many detections a video, whatever their class: what could be reached if"
        " their classes were right. The number is an average; of each video the same part counts, the best first."
    )
    caption = f"Recall against the average number of detections a video; area under the mean: {recall.auc:.1f}%."
    counts = [number for number in (1, 5, 10, 50, 100) if number <= recall.proposals_per_video[-1]]
    rows = [(str(number), f"{recall.at(number):.2f}") for number in counts]
    numbers = table(("detections a video", f"recall, mean over tIoU {_span(recall.thresholds)}, %"), rows, numbers=(0, 1))
    return section("Recall without classes", paragraph(text), row_of([image(picture, "png", caption, width=_NARROW), numbers]))


def _map_section(map: DetectionMap) -> str:
    picture = map_lines({task: one.map for task, one in map.tasks.items()}, map.thresholds)
    columns = (
        "mAP, %",
        *(f"tIoU {threshold:.2g}" for threshold in map.thresholds),
        "average",
        "classes",
        "segments",
        "detections",
    )
    rows = [
        (
            escape(task),
            *(f"{100 * value:.2f}" for value in one.map),
            f"<b>{100 * one.average:.2f}</b>",
            f"{len(one.classes):,}",
            f"{one.num_segments.sum():,}",
            f"{one.num_detections.sum():,}",
        )
        for task, one in map.tasks.items()
    ]
    text = (
        "A detection is right where it has the class of a segment, overlaps it by at least so much (intersection over union)"
        " and no better detection has taken it. Detections of classes that no segment has are not counted."
    )
    figure = image(picture, "png", "Mean average precision against the overlap that is asked for.", width=_NARROW)
    return section("Mean average precision", paragraph(text), table(columns, rows, numbers=range(1, len(columns))), figure)


def _precision_section(map: DetectionMap, detections: Detections) -> str:
    shown = _spread(map.thresholds, 5)
    curves = {}
    for task, one in map.tasks.items():
        labels = task_labels(detections.labels, task, map.num_nouns)
        curves[task] = mean_precision(one, labels, detections.scores, _RECALLS)[shown]
    picture = precision_recall_figure(curves, _RECALLS, map.thresholds[shown].tolist())
    text = (
        "The mean over the classes, each class's precision at a recall being the best at that recall or above. What a curve"
        " misses on the right is not found at any score; the area under it is the mean average precision."
    )
    caption = "Precision against recall, at several overlaps."
    return section("Precision and recall", paragraph(text), image(picture, "png", caption, width=_width(len(curves))))


def _lengths_section(truth: Truth, detections: Detections, map: DetectionMap) -> str:
    by_length = map_by_length(truth, detections, map)
    level = main_level(map.thresholds)
    recalls = {task: recall_by_length(one, truth.segments, by_length.bounds)[:, level] for task, one in map.tasks.items()}
    averages = {task: maps_LK.mean(axis=1) for task, maps_LK in by_length.maps.items()}
    picture = group_bars({task: 100 * one for task, one in averages.items()}, by_length.names, what="average mAP, %")
    threshold = f"tIoU {map.thresholds[level]:.2g}"
    columns = ("length", "segments", *(part for task in recalls for part in (f"{task} mAP, %", f"{task} recall, %")))
    rows = [
        (
            escape(name),
            f"{by_length.num_segments[place]:,}",
            *(_percent(one[place]) for task in recalls for one in (averages[task], recalls[task])),
        )
        for place, name in enumerate(by_length.names)
    ]
    text = (
        "The mean average precision where only segments of one range of lengths are asked for, averaged over the overlaps, and"
        f" the part of them that has a detection of its class that overlaps it ({threshold}), at any score."
    )
    figure = image(picture, "png", "Mean average precision by the length of the segments.", width=_NARROW)
    numbers = table(columns, rows, numbers=range(1, len(columns)))
    return section("Short and long segments", paragraph(text), row_of([figure, numbers]))


def _errors_section(errors: Mapping[str, DetectionErrors]) -> str:
    picture = error_bars({task: one.gains for task, one in errors.items()})
    intro = (
        "By how many points the mean average precision would rise if one kind of error alone were mended. The gains do not add"
        " up: mending one kind leaves less to be gained by mending another."
    )
    caption = "What each kind of error costs, averaged over the overlaps."
    columns = ("kind", "what it is", *(part for task in errors for part in (f"{task}: number", "points of mAP")))
    rows = [
        (
            escape(KIND_NAMES[kind]),
            escape(text),
            *(part for one in errors.values() for part in (f"{one.counts[kind]:,}", f"{one.gains[kind]:+.2f}")),
        )
        for kind, text in _KIND_TEXTS.items()
    ]
    every = table(columns, rows, numbers=range(2, len(columns)))
    return section("What costs how much", paragraph(intro), image(picture, "png", caption, width=_width(len(errors))), every)


def _classes_section(map: DetectionMap, names: ClassNames) -> str:
    return section("Classes", *(_classes_table(task, one, map, names) for task, one in map.tasks.items()))


def _classes_table(task: str, one: TaskMap, map: DetectionMap, names: ClassNames) -> str:
    averages, level = one.ap.mean(axis=0), main_level(map.thresholds)
    rows = [
        (
            escape(class_name(names, task, int(one.classes[place]), map.num_nouns)),
            f"{one.num_segments[place]:,}",
            f"{one.num_detections[place]:,}",
            f"{100 * one.ap[level, place]:.1f}",
            f"{100 * averages[place]:.1f}",
        )
        for place in np.lexsort((-averages, -one.num_segments)).tolist()
    ]
    columns = (task, "segments", "detections", f"AP at tIoU {map.thresholds[level]:.2g}, %", "AP, average, %")
    return details(f"All {len(rows)} {task}s that the truth has", table(columns, rows, numbers=(1, 2, 3, 4)))


def _percent(part: float) -> str:
    return "" if np.isnan(part) else f"{100 * part:.1f}"


def _spread(thresholds: FloatArray, count: int) -> IntArray:
    """Places of at most `count` thresholds from the first to the last."""
    return np.unique(np.linspace(0, len(thresholds) - 1, min(count, len(thresholds))).round().astype(np.int64))


def _span(thresholds: FloatArray) -> str:
    return f"{thresholds[0]:.2g}" if len(thresholds) == 1 else f"{thresholds[0]:.2g} to {thresholds[-1]:.2g}"


def _width(num_pictures: int) -> int:
    """CSS pixels of a figure of so many pictures side by side."""
    return min(_MAX_WIDTH, 380 * num_pictures)
