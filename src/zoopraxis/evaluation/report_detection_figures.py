"""The figures of a report on detection, as PNG bytes; see `report_figures` for how they are drawn.

K overlaps (tIoU) from which a detection counts, R levels of recall, N numbers of detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from zoopraxis.evaluation.report_figures import INK, color_of, open_figure, png_bytes, short_name

__all__ = ["KIND_COLORS", "KIND_NAMES", "error_bars", "group_bars", "map_lines", "precision_recall_figure", "recall_lines"]

FloatArray = npt.NDArray[np.floating]

KIND_NAMES = {
    "right": "right",
    "wrong": "wrong",
    "label": "wrong label",
    "boundary": "bad boundary",
    "both": "label and boundary",
    "duplicate": "duplicate",
    "background": "background",
    "missed": "missed",
}
"""What became of a detection (or a segment), as `detection_errors` calls it, to how people call it."""

KIND_COLORS = {
    "right": "#1a8754",
    "wrong": "#c8453b",
    "label": "#d97f0c",
    "boundary": "#3b82f6",
    "both": "#8b5cf6",
    "duplicate": "#0891b2",
    "background": "#c8453b",
    "missed": "#7b828c",
}

_BAR_HEIGHT = 0.3


def map_lines(maps: Mapping[str, FloatArray], thresholds_K: FloatArray) -> bytes:
    """The mean average precision of each task, a fraction, shape (K,), against the overlap that is asked for."""
    figure, (axes,) = open_figure(5.6, 3.6)
    for task, values_K in maps.items():
        label = f"{task}, average {100 * np.mean(values_K):.1f}%"
        axes.plot(thresholds_K, 100 * values_K, color=color_of(task), marker="o", markersize=3.5, linewidth=1.4, label=label)
    axes.set(xlabel="overlap asked for, tIoU", ylabel="mean average precision, %")
    axes.set_ylim(bottom=0)
    axes.legend(loc="best", frameon=False, labelcolor=INK, fontsize=8)
    return png_bytes(figure)


def precision_recall_figure(curves: Mapping[str, FloatArray], recalls_R: FloatArray, thresholds_K: Sequence[float]) -> bytes:
    """Precision, the mean over classes, shape (K, R), against recall, one picture a task; paler where more overlap is asked."""
    figure, every = open_figure(4.2 * len(curves), 3.7, num_columns=len(curves))
    strengths = np.linspace(1, 0.35, len(thresholds_K))
    for axes, (task, precisions_KR) in zip(every, curves.items(), strict=True):
        for threshold, strength, precision_R in zip(thresholds_K, strengths, precisions_KR, strict=True):
            axes.plot(
                100 * recalls_R,
                100 * precision_R,
                color=color_of(task),
                alpha=float(strength),
                linewidth=1.4,
                label=f"tIoU {threshold:.2g}",
            )
        axes.set(title=task, xlabel="recall, %", ylabel="precision, %", xlim=(-2, 102), ylim=(-2, 102))
        axes.legend(loc="upper right", frameon=False, labelcolor=INK, fontsize=7)
    return png_bytes(figure)


def error_bars(costs: Mapping[str, Mapping[str, float]]) -> bytes:
    """What mending each kind of error would add to each task's mean average precision, points of percent."""
    figure, every = open_figure(4.2 * len(costs), 0.9 + _BAR_HEIGHT * max(map(len, costs.values())), num_columns=len(costs))
    widest = max((value for of_task in costs.values() for value in of_task.values()), default=0)
    for axes, (task, of_task) in zip(every, costs.items(), strict=True):
        places = np.arange(len(of_task))[::-1]
        values = list(of_task.values())
        axes.barh(places, values, color=[KIND_COLORS[kind] for kind in of_task], alpha=0.8, linewidth=0, height=0.7)
        for place, value in zip(places.tolist(), values, strict=True):
            axes.text(value, place, f" {value:+.1f}", va="center", fontsize=7.5, color=INK)
        axes.set_yticks(places, [KIND_NAMES[kind] for kind in of_task])
        axes.grid(False, axis="y")
        axes.set(title=task, xlabel="points of mAP", xlim=(min(0, *values), 1.18 * max(widest, 1e-3)))
    return png_bytes(figure)


def group_bars(values: Mapping[str, FloatArray], groups: Sequence[str], *, what: str) -> bytes:
    """A percentage of each task in each group, NaN where there is none, the tasks' bars side by side."""
    figure, (axes,) = open_figure(max(5.0, 1.6 + 1.0 * len(groups)), 3.4)
    places, width = np.arange(len(groups)), 0.8 / len(values)
    for number, (task, percents) in enumerate(values.items()):
        shifted = places + (number - (len(values) - 1) / 2) * width
        axes.bar(
            shifted, np.nan_to_num(percents), width=0.92 * width, color=color_of(task), alpha=0.75, linewidth=0, label=task
        )
    axes.set_xticks(places, [short_name(name) for name in groups])
    axes.grid(False, axis="x")
    axes.set(ylabel=what)
    axes.margins(y=0.2)
    axes.legend(loc="upper right", ncols=len(values), frameon=False, labelcolor=INK, fontsize=8)
    return png_bytes(figure)


def recall_lines(numbers_N: FloatArray, recalls_KN: FloatArray, thresholds_K: FloatArray, average_N: FloatArray) -> bytes:
    """Recall, a fraction, at K overlaps and its mean over all, against N average numbers of detections a video."""
    figure, (axes,) = open_figure(5.6, 3.6)
    strengths = np.linspace(0.8, 0.3, len(thresholds_K))
    for threshold, strength, recall_N in zip(thresholds_K, strengths, recalls_KN, strict=True):
        axes.plot(numbers_N, 100 * recall_N, color=INK, alpha=float(strength), linewidth=1.2, label=f"tIoU {threshold:.2g}")
    axes.plot(numbers_N, 100 * average_N, color=color_of("label"), linewidth=1.8, label="mean over all overlaps")
    axes.set(xlabel="average number of detections a video", ylabel="recall, %", ylim=(-2, 102))
    axes.legend(loc="best", frameon=False, labelcolor=INK, fontsize=8)
    return png_bytes(figure)
