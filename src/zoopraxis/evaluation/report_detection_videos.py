"""The part of the report on detection that shows videos: what is in them, and what was found.

P detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from zoopraxis.evaluation.detection_errors import DetectionErrors, main_level
from zoopraxis.evaluation.detection_map import DetectionMap, task_labels
from zoopraxis.evaluation.detections import Detections, Truth
from zoopraxis.evaluation.report_detection_figures import KIND_COLORS, KIND_NAMES
from zoopraxis.evaluation.report_detection_numbers import Excerpt, busiest_part, choose_videos
from zoopraxis.evaluation.report_page import escape, image, paragraph, section
from zoopraxis.evaluation.timeline import Lane, class_colors, clock, draw_timeline

__all__ = ["ClassNames", "class_name", "videos_section"]

IntArray = npt.NDArray[np.int64]
StrArray = npt.NDArray[np.str_]
ClassNames = Mapping[str, Sequence[str]]

_WIDTH = 1040
"""CSS pixels of a timeline."""


def videos_section(
    truth: Truth,
    detections: Detections,
    map: DetectionMap,
    errors: Mapping[str, DetectionErrors],
    names: ClassNames,
    num_videos: int,
) -> str:
    """Timelines of truth and detections of some videos, from the best to the worst.

    Args:
        truth: What is in the videos.
        detections: What was found in them.
        map: As `detection_map` judged the detections, of at least one task; actions are shown where they are one.
        errors: Task to its errors; where the shown task has none, detections are told apart as right and wrong only.
        names: Head to the names of its classes.
        num_videos: How many at most.

    Raises:
        MissingExtraError: If Matplotlib is not installed.
    """
    task = "action" if "action" in map.tasks else next(iter(map.tasks))
    level = main_level(map.thresholds)
    matched = map.tasks[task].matched[level]
    kinds: StrArray = errors[task].kinds if task in errors else np.where(matched >= 0, "right", "wrong")
    pictures = []
    for video, part in choose_videos(truth, detections, matched, num_videos):
        shown = busiest_part(truth, detections, video)
        lanes = [
            _true_lane(truth, shown, task, matched, map.num_nouns, names),
            _found_lane(detections, shown, task, kinds, map.num_nouns, names),
        ]
        became = {KIND_NAMES[kind]: color for kind, color in KIND_COLORS.items() if kind in kinds[shown.rows]}
        picture = draw_timeline(lanes, duration=shown.duration, start=shown.start, legend=became)
        pictures += [
            f"<h3>{escape(str(truth.video_ids[video]))}</h3>",
            image(picture, "png", _caption(truth, video, part, shown), width=_WIDTH),
        ]
    text = (
        f"Videos from the best to the worst, by the {task}s that are found (tIoU {map.thresholds[level]:.2g}) by as many of"
        " the best detections as there are segments. So many detections are drawn, the fainter the lower their score, in the"
        " color of what became of them. Segments have a color for each class, faint where nothing finds them at any score."
    )
    return section("Along the videos", paragraph(text), *pictures)


def _true_lane(truth: Truth, shown: Excerpt, task: str, matched_P: IntArray, num_nouns: int, names: ClassNames) -> Lane:
    rows = shown.true_rows
    classes = task_labels(truth.labels, task, num_nouns)[rows].tolist()
    colors = class_colors(sorted(set(classes)))
    texts = [class_name(names, task, number, num_nouns) for number in classes]
    strengths = np.where(np.isin(rows, matched_P), 1.0, 0.0)
    return Lane("truth", truth.segments[rows], texts, [colors[number] for number in classes], strengths)


def _found_lane(
    detections: Detections, shown: Excerpt, task: str, kinds_P: StrArray, num_nouns: int, names: ClassNames
) -> Lane:
    rows = shown.rows
    classes = task_labels(detections.labels, task, num_nouns)[rows].tolist()
    texts = [class_name(names, task, number, num_nouns) for number in classes]
    places = np.argsort(np.argsort(detections.scores[rows], kind="stable"), kind="stable")
    strengths = 0.4 + 0.6 * (places + 1) / max(1, len(rows))
    return Lane("found", detections.segments[rows], texts, [KIND_COLORS[kind] for kind in kinds_P[rows].tolist()], strengths)


def _caption(truth: Truth, video: int, part: float, shown: Excerpt) -> str:
    count = len(truth.of_video(video))
    found = f"{100 * part:.0f}% of its {count:,} segments are found"
    if len(shown.true_rows) == count:
        return f"{found}."
    return (
        f"{found}. Shown are {clock(shown.start)} to {clock(shown.start + shown.duration)}, with {len(shown.true_rows):,} of"
        " them."
    )


def class_name(names: ClassNames, task: str, number: int, num_nouns: int) -> str:
    """A class's name, or its number; of an action, those of its verb and its noun."""
    if task == "action" and "action" not in names:
        verb, noun = divmod(number, num_nouns)
        return f"{class_name(names, 'verb', verb, num_nouns)} {class_name(names, 'noun', noun, num_nouns)}"
    known = names.get(task, ())
    return str(known[number]) if number < len(known) else str(number)
