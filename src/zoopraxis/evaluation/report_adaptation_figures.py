"""The figures of a report on adaptation, as PNG bytes; see `report_figures` for how they are drawn.

N clips, K classes, R relations or frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from zoopraxis.evaluation.report_figures import INK, color_of, open_figure, png_bytes, short_name

__all__ = ["attention_bars", "attention_heat_map", "domain_clouds", "gain_bars"]

FloatArray = npt.NDArray[np.floating]

_DOMAIN_COLORS = {"source": "#3b82f6", "target": "#d97f0c"}
_LOSS_COLOR = "#c8453b"
_BAR_WIDTH = 0.38
_LINE_HEIGHT = 0.2


def domain_clouds(points: Mapping[str, FloatArray], is_target_N: npt.NDArray[np.bool_]) -> bytes:
    """Clips as dots in the color of their domain, one picture for each title of `points`, shape (N, 2) each.

    The dots of both domains are drawn in one mixed order, so that neither hides the other.
    """
    figure, every = open_figure(5.2 * len(points), 4.4, num_columns=len(points))
    order = np.random.default_rng(0).permutation(len(is_target_N))
    colors = np.where(is_target_N[order], _DOMAIN_COLORS["target"], _DOMAIN_COLORS["source"])
    for axes, (title, points_N2) in zip(every, points.items(), strict=True):
        axes.scatter(points_N2[order, 0], points_N2[order, 1], s=7, c=colors, alpha=0.5, linewidth=0)
        axes.set(title=title, xticklabels=[], yticklabels=[])
    for domain, color in _DOMAIN_COLORS.items():
        every[0].scatter([], [], s=24, color=color, linewidth=0, label=domain)
    every[0].legend(loc="best", frameon=False, labelcolor=INK, fontsize=8)
    return png_bytes(figure)


def attention_bars(means: Mapping[str, FloatArray], names: Sequence[str]) -> bytes:
    """The mean weight of each relation or frame, shape (R,), of each domain beside the other's."""
    figure, (axes,) = open_figure(max(4.2, 1.6 + 0.9 * len(names)), 3.4)
    places = np.arange(len(names))
    for number, (domain, weights_R) in enumerate(means.items()):
        shifted = places + (number - (len(means) - 1) / 2) * _BAR_WIDTH
        axes.bar(shifted, weights_R, width=_BAR_WIDTH, color=_DOMAIN_COLORS[domain], alpha=0.75, linewidth=0, label=domain)
    axes.set_xticks(places, [short_name(name) for name in names])
    axes.grid(False, axis="x")
    axes.set(ylabel="mean attention")
    axes.margins(y=0.2)
    axes.legend(loc="upper right", ncols=2, frameon=False, labelcolor=INK, fontsize=8)
    return png_bytes(figure)


def attention_heat_map(weights_KR: FloatArray, *, task: str, classes: Sequence[str], names: Sequence[str]) -> bytes:
    """The mean weight of each relation or frame (column) in each class (row): the stronger the color, the more."""
    figure, (axes,) = open_figure(max(3.6, 2.2 + 0.75 * len(names)), 1.0 + 1.4 * _LINE_HEIGHT * len(classes))
    low, high = float(weights_KR.min()), float(weights_KR.max())
    opacity = (weights_KR - low) / (high - low) if high > low else np.full_like(weights_KR, 0.5)
    pixels = np.empty((*weights_KR.shape, 4))
    pixels[..., :3] = np.frombuffer(bytes.fromhex(color_of(task)[1:]), dtype=np.uint8) / 255
    pixels[..., 3] = 0.05 + 0.85 * opacity
    axes.imshow(pixels, interpolation="nearest", aspect="auto")
    axes.grid(False)
    axes.set_xticks(range(len(names)), [short_name(name) for name in names])
    axes.set_yticks(range(len(classes)), [short_name(name) for name in classes])
    for row, column in np.ndindex(*weights_KR.shape):
        ink = "white" if opacity[row, column] > 0.6 else INK
        axes.text(column, row, f"{weights_KR[row, column]:.2f}", ha="center", va="center", fontsize=7, color=ink)
    return png_bytes(figure)


def gain_bars(gains_K: FloatArray, *, task: str, classes: Sequence[str]) -> bytes:
    """Gains of classes in points of percent as bars, in the order given, from top to bottom."""
    figure, (axes,) = open_figure(6.2, 0.9 + _LINE_HEIGHT * len(classes))
    places = np.arange(len(classes))[::-1]
    colors = [color_of(task) if gain >= 0 else _LOSS_COLOR for gain in gains_K]
    axes.barh(places, 100 * gains_K, color=colors, alpha=0.75, linewidth=0, height=0.75)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(places, [short_name(name) for name in classes])
    axes.grid(False, axis="y")
    axes.set(xlabel=f"gain in accuracy of the {task}, points of percent", ylim=(-0.7, len(classes) - 0.3))
    return png_bytes(figure)
