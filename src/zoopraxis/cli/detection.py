"""Detections on the command line: what `evaluate` and `submit` do for the challenge of action detection.

ActivityNet, HACS, THUMOS14 and any other annotations of segments are judged the same way, by one label or by verb and noun.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoopraxis.cli import console
from zoopraxis.cli.truth import read_segment_truth
from zoopraxis.epic.detection import DETECTION_CHALLENGE, write_detection_submission
from zoopraxis.epic.submission import SupervisionLevels
from zoopraxis.epic.vocabulary import HEADS
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.detection_errors import DetectionErrors, detection_errors
from zoopraxis.evaluation.detection_lengths import LengthMap, map_by_length
from zoopraxis.evaluation.detection_map import (
    ACTIVITYNET_THRESHOLDS,
    DetectionMap,
    check_detections,
    default_thresholds,
    detection_map,
    tasks_of,
)
from zoopraxis.evaluation.detections import Detections, Truth, load_detections, renumber_classes
from zoopraxis.evaluation.proposal_recall import proposal_recall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zoopraxis.data.segments import Broken

__all__ = ["averages_by_length", "evaluate_detections", "parse_thresholds", "submit_detections"]

_MAX_THRESHOLDS = 1000


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Overlaps from `FIRST:LAST:STEP`, or from numbers with commas between.

    Raises:
        ConfigError: If they are neither, not above 0 and at most 1, or too many.
    """
    try:
        numbers = [float(part) for part in text.replace(":", ",").split(",")]
    except ValueError as error:
        raise ConfigError(f"--tiou {text!r} must be FIRST:LAST:STEP or numbers with commas; try 0.1:0.5:0.1") from error
    if ":" in text:
        if len(numbers) != 3 or not (numbers[2] > 0 and numbers[0] <= numbers[1] <= 1):
            raise ConfigError(f"--tiou {text!r} must be FIRST:LAST:STEP, ascending up to 1; try 0.1:0.5:0.1")
        first, last, step = numbers
        if last - first >= step * _MAX_THRESHOLDS:
            raise ConfigError(
                f"--tiou {text!r} asks for more than {_MAX_THRESHOLDS} overlaps; take a larger STEP than {step:g}"
            )
        numbers = np.linspace(first, last, round((last - first) / step) + 1).tolist()
    if not all(0 < number <= 1 for number in numbers):
        raise ConfigError(f"--tiou {text!r} must be overlaps above 0, at most 1; try 0.1:0.5:0.1")
    return tuple(numbers)


def evaluate_detections(
    file: Path,
    annotations: Path,
    *,
    tiou: str | None,
    videos: Path | None,
    format: str,
    split: str | None,
    broken: Broken,
    report: Path | None,
    as_json: bool,
) -> None:
    """Judge a file of detections, or of proposals, and show how good they are."""
    found = load_detections(file)
    split = split or found.meta.get("split")
    truth, read = read_segment_truth(annotations, videos=videos, format=format, split=split, broken=broken)
    found = renumber_classes(found, truth.class_names)
    known = {head: len(names) for head, names in truth.class_names.items() if head in HEADS}
    past_end = check_detections(truth, found, num_classes=known)
    notes = [*read.notes, *([past_end] if past_end else [])]
    for note in notes:
        console.say(f"warning: {note}")
    shared = [head for head in truth.labels if head in found.labels]
    if found.labels and not shared:
        raise DataError(
            f"{file} has classes of {', '.join(found.labels)}, but {annotations} of {', '.join(truth.labels) or 'none'};"
            " are these the annotations of the same data set?"
        )
    facts = {"detections": str(file), "annotations": str(annotations)}
    facts |= {str(name): str(value) for name, value in found.meta.items() if name != "class_names"}
    wanted = None if tiou is None else parse_thresholds(tiou)
    page: dict[str, Any] = {"title": f"Action detection: {file.stem}", "facts": facts, "warnings": notes}
    if shared:
        _judge(file, truth, found, tasks_of(shared), wanted or default_thresholds(read.format, shared), report, page, as_json)
    else:
        _judge_proposals(file, truth, found, wanted or ACTIVITYNET_THRESHOLDS, report, page, as_json)
    if report is not None:
        console.say(f"report: {report}")


def _judge(
    file: Path,
    truth: Truth,
    found: Detections,
    tasks: Sequence[str],
    thresholds: Sequence[float],
    report: Path | None,
    page: Mapping[str, Any],
    as_json: bool,
) -> None:
    judged = detection_map(truth, found, tasks, thresholds)
    lengths = map_by_length(truth, found, judged)
    errors = {task: detection_errors(truth, found, judged, task) for task in tasks}
    if report is not None:
        from zoopraxis.evaluation.report_detection import write_detection_report

        write_detection_report(report, truth, found, judged, errors, **page)
    if as_json:
        console.emit_json(_for_program(file, found, judged, lengths, errors, report))
    else:
        _show(file, truth, found, judged, lengths, errors)


def _judge_proposals(
    file: Path,
    truth: Truth,
    found: Detections,
    thresholds: Sequence[float],
    report: Path | None,
    page: Mapping[str, Any],
    as_json: bool,
) -> None:
    recall = proposal_recall(truth, found, thresholds)
    if report is not None:
        from zoopraxis.evaluation.report_detection import write_detection_report

        nothing = detection_map(truth, found, [], thresholds)
        write_detection_report(report, truth, found, nothing, {}, recall=recall, **page)
    metrics = recall.as_dict()
    if as_json:
        told = {"detections": file, "num_detections": len(found), "num_videos": found.num_videos}
        console.emit_json(told | {"thresholds": recall.thresholds, "metrics": metrics, "report": report})
    else:
        title = f"{file}, {len(found)} proposals in {len(truth.video_ids)} videos"
        console.table(title, ["metric", "%"], list(metrics.items()))


def submit_detections(
    file: Path, out: Path, levels: SupervisionLevels, annotations: Path | None, *, videos: Path | None, as_json: bool
) -> None:
    """Write the zip of a submission, and tell what was checked."""
    from zoopraxis.epic.annotations import class_names_beside

    found = load_detections(file)
    expected, classes = None, dict(HEADS)
    if annotations is not None:
        truth, _ = read_segment_truth(annotations, videos=videos, needs_labels=False)
        expected = dict(zip(truth.video_ids.tolist(), truth.durations.tolist(), strict=True))
        classes = {head: len(names) for head, names in class_names_beside(annotations).items()}
    write_detection_submission(found, out, levels, videos=expected, classes=classes)
    if as_json:
        told = {"submission": out, "challenge": "detection", "num_detections": len(found), "num_videos": found.num_videos}
        console.emit_json(told | asdict(levels) | {"ids_checked": expected is not None})
        return
    stated = ", ".join(f"{name} {level}" for name, level in asdict(levels).items())
    console.say(f"{DETECTION_CHALLENGE} submission of {len(found)} detections in {found.num_videos} videos ({stated}): {out}")
    if expected is None:
        console.say("not checked: whether these are all videos of the test split; name it with --annotations to check")


def _for_program(
    file: Path,
    found: Detections,
    judged: DetectionMap,
    lengths: LengthMap,
    errors: Mapping[str, DetectionErrors],
    report: Path | None,
) -> dict[str, Any]:
    by_length = [
        {"length": name, "num_segments": number, **{f"{task}_map_avg": value for task, value in averages.items()}}
        for name, number, averages in averages_by_length(lengths)
    ]
    return {
        "detections": file,
        "num_detections": len(found),
        "num_videos": found.num_videos,
        "thresholds": judged.thresholds,
        "metrics": judged.as_dict(),
        "lengths": by_length,
        "errors": {
            task: {"threshold": one.threshold, "counts": one.counts, "gains": one.gains} for task, one in errors.items()
        },
        "classes": {task: _classes_for_program(judged, task) for task in judged.tasks},
        "report": report,
    }


def averages_by_length(lengths: LengthMap) -> list[tuple[str, int, dict[str, float | None]]]:
    """Of each range its name, its number of segments and each task's average mAP, percent; none where it has no segments."""
    return [
        (name, number, {task: 100 * float(one[row].mean()) if number else None for task, one in lengths.maps.items()})
        for row, (name, number) in enumerate(zip(lengths.names, lengths.num_segments.tolist(), strict=True))
    ]


def _classes_for_program(judged: DetectionMap, task: str) -> dict[str, float]:
    """Class, an action as "verb,noun", to its average precision over the thresholds, percent."""
    one = judged.tasks[task]
    pairs = [divmod(number, judged.num_nouns) for number in one.classes.tolist()]
    names = [f"{verb},{noun}" for verb, noun in pairs] if task == "action" else [str(number) for number in one.classes.tolist()]
    return dict(zip(names, (100 * one.ap.mean(axis=0)).tolist(), strict=True))


def _show(
    file: Path,
    truth: Truth,
    found: Detections,
    judged: DetectionMap,
    lengths: LengthMap,
    errors: Mapping[str, DetectionErrors],
) -> None:
    columns = ["mAP, %", *(f"tIoU {threshold:.2g}" for threshold in judged.thresholds.tolist()), "average", "classes"]
    rows = [(task, *(100 * one.map).tolist(), 100 * one.average, len(one.classes)) for task, one in judged.tasks.items()]
    console.table(f"{file}, {len(found)} detections of {len(truth)} segments in {len(truth.video_ids)} videos", columns, rows)
    by_length = [(name, number, *averages.values()) for name, number, averages in averages_by_length(lengths)]
    console.table("by length, average mAP, %", ["length", "segments", *lengths.maps], by_length)
    kinds = next(iter(errors.values())).gains
    gains = [(kind, *(part for one in errors.values() for part in (one.counts[kind], one.gains[kind]))) for kind in kinds]
    threshold = next(iter(errors.values())).threshold
    headings = [part for task in errors for part in (f"{task}: number", "points of mAP")]
    console.table(f"errors at tIoU {threshold:.2g}, and what mending each kind adds", ["kind", *headings], gains)
