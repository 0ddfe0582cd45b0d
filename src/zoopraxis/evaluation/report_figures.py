"""The report's figures, as PNG bytes.

Drawn with Matplotlib's Figure objects and the Agg canvas: no pyplot, no global state. Backgrounds are transparent and inks of
middle brightness, so that a figure is legible on a light page and on a dark one.

K classes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import MissingExtraError
from zoopraxis.evaluation.accuracy import per_class_accuracy
from zoopraxis.evaluation.probabilities import Reliability

__all__ = [
    "INK",
    "accuracy_against_count",
    "color_of",
    "confusion_figure",
    "open_figure",
    "png_bytes",
    "reliability_figure",
    "short_name",
]

IntArray = npt.NDArray[np.int64]

INK = "#7b828c"
"""Of letters and lines."""

_GRID = "#80808038"
_COLORS = {"verb": "#3b82f6", "noun": "#d97f0c", "action": "#8b5cf6"}
_OTHER_COLOR = "#0f9f8f"
_DOTS_PER_INCH = 200
_MAX_NAMED_CLASSES = 30
_MAX_COUNTED_CLASSES = 12
_MAX_NAME_LENGTH = 20
_SHARE_TO_OPACITY = 0.4
_LOG_FROM = 20
"""Ratio of the largest to the smallest class from which counts are drawn on a logarithmic axis."""


def color_of(task: str) -> str:
    """The color of a head, the same in all figures."""
    return _COLORS.get(task, _OTHER_COLOR)


def confusion_figure(confusion_KK: IntArray, *, head: str, names: Sequence[str], order: IntArray) -> bytes:
    """A confusion matrix, each row as shares of its class's clips; many classes in `order`, few by number and with names."""
    num_classes = len(order)
    is_named = num_classes <= _MAX_NAMED_CLASSES
    order = np.arange(num_classes) if is_named else order
    ordered = confusion_KK[np.ix_(order, order)]
    shares = ordered / np.maximum(ordered.sum(axis=1, keepdims=True), 1)
    pixels = np.empty((num_classes, num_classes, 4))
    pixels[..., :3] = np.frombuffer(bytes.fromhex(color_of(head)[1:]), dtype=np.uint8) / 255
    pixels[..., 3] = shares**_SHARE_TO_OPACITY
    side = 2.4 + 0.28 * num_classes if is_named else 6.4
    figure, (axes,) = open_figure(max(side, 3.6), max(side, 3.6))
    axes.imshow(pixels, interpolation="nearest")
    axes.grid(False)
    if is_named:
        labels = [short_name(names[number]) for number in order]
        axes.set_xticks(range(num_classes), labels, rotation=90)
        axes.set_yticks(range(num_classes), labels)
    if num_classes <= _MAX_COUNTED_CLASSES:
        for row, column in np.argwhere(ordered > 0):
            ink = "white" if shares[row, column] > 0.3 else INK
            axes.text(column, row, str(ordered[row, column]), ha="center", va="center", fontsize=7, color=ink)
    suffix = "" if is_named else ", most frequent first"
    axes.set(xlabel=f"predicted {head}{suffix}", ylabel=f"true {head}{suffix}")
    return png_bytes(figure)


def accuracy_against_count(confusion_KK: IntArray, counts_K: IntArray, *, head: str, count_name: str) -> bytes:
    """Each class's accuracy against its number of clips; a dot's area grows with the clips that it was tested on."""
    accuracies, tested = per_class_accuracy(confusion_KK), confusion_KK.sum(axis=1)
    shown = tested > 0
    figure, (axes,) = open_figure(6.2, 3.8)
    sizes = 12 + 160 * np.sqrt(tested[shown] / tested.max())
    axes.scatter(
        np.maximum(counts_K[shown], 0.5), 100 * accuracies[shown], s=sizes, color=color_of(head), alpha=0.45, linewidth=0
    )
    if counts_K[shown].max() > _LOG_FROM * max(1, counts_K[shown].min()):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_plain_number)
    else:
        axes.locator_params(axis="x", integer=True)
    axes.set(xlabel=count_name, ylabel=f"accuracy of the {head}, %", ylim=(-5, 105))
    return png_bytes(figure)


def reliability_figure(reliabilities: Mapping[str, Reliability]) -> bytes:
    """Accuracy against confidence of each task; on the dashed line confidence tells the truth."""
    figure, (axes,) = open_figure(6.2, 4.6)
    axes.plot([0, 100], [0, 100], color=INK, linestyle=(0, (4, 4)), linewidth=1)
    largest = max(int(one.counts.max()) for one in reliabilities.values())
    for task, one in reliabilities.items():
        shown = one.counts > 0
        x, y = 100 * one.confidences[shown], 100 * one.accuracies[shown]
        label = f"{task}, calibration error {100 * one.calibration_error:.1f}%"
        axes.plot(x, y, color=color_of(task), linewidth=1.4, label=label)
        axes.scatter(x, y, s=8 + 110 * one.counts[shown] / largest, color=color_of(task), alpha=0.6, linewidth=0)
    axes.set(xlabel="confidence, %", ylabel="accuracy, %", xlim=(-3, 103), ylim=(-3, 103))
    axes.legend(loc="upper left", frameon=False, labelcolor=INK, fontsize=8)
    return png_bytes(figure)


def open_figure(width: float, height: float, *, num_columns: int = 1) -> tuple[Any, list[Any]]:
    """An empty figure of so many inches, and its axes, side by side.

    Raises:
        MissingExtraError: If Matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    every = list(figure.subplots(1, num_columns, squeeze=False)[0])
    for axes in every:
        axes.patch.set_alpha(0)
        axes.set_axisbelow(True)
        axes.grid(True, color=_GRID, linewidth=0.8)
        for spine in axes.spines.values():
            spine.set_color(_GRID)
        axes.tick_params(colors=INK, labelsize=8, which="both", length=0)
        axes.xaxis.label.set(color=INK, fontsize=9)
        axes.yaxis.label.set(color=INK, fontsize=9)
        axes.title.set(color=INK, fontsize=9)
    return figure, every


def png_bytes(figure: Any) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _plain_number(value: float, _position: int) -> str:
    return f"{value:,.0f}" if value >= 1 else "0"


def short_name(name: str) -> str:
    """A class's name, cut to what fits beside an axis."""
    return name if len(name) <= _MAX_NAME_LENGTH else name[: _MAX_NAME_LENGTH - 1] + "…"
