"""The segments of one video as a picture: bars along its time, one lane under the other.

Needs the extra `report`; see `report_figures` for how figures are drawn.

P segments.
"""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import MissingExtraError
from zoopraxis.evaluation.report_figures import INK, open_figure, png_bytes

__all__ = [
    "PICTURE_SUFFIXES",
    "Lane",
    "check_drawable",
    "class_colors",
    "clock",
    "draw_timeline",
    "picture_kind",
    "row_seconds",
]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
PictureKind = Literal["png", "svg"]

_KINDS: dict[str, PictureKind] = {".png": "png", ".svg": "svg"}
PICTURE_SUFFIXES = tuple(_KINDS)

_COLORS = ("#3b82f6", "#d97f0c", "#0f9f8f", "#8b5cf6", "#c8453b", "#65a30d", "#db2777", "#0891b2", "#a16207", "#6366f1")
_NICE_SECONDS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
_MAX_ROWS = 8
_SEGMENTS_PER_ROW = 30
"""A row is long enough for so many segments of median length."""
_WIDTH, _MARGIN = 10.0, 1.2
_LEVEL_HEIGHT, _ROW_GAP, _BASE_HEIGHT = 0.2, 0.55, 0.75
"""Inches of a level of bars and around them; the gap between rows is in levels."""
_CHARACTER_WIDTH = 0.062
"""Inches of a letter in a bar."""
_MIN_LETTERS = 3
_LEGEND_COLUMNS = 5
_PALE = 0.35
"""The strength up to which a bar is too pale for white letters."""
_THINNEST, _GAP = 0.0012, 0.001
"""A bar's least width, so that the shortest segment is seen, and what is left free behind it; parts of a row."""


@dataclass(frozen=True, eq=False)
class Lane:
    """Segments that are drawn side by side, overlapping ones on levels under each other.

    Attributes:
        name: Beside the lane.
        segments: Start and stop, seconds, float, shape (P, 2).
        texts: What stands in each bar where it fits, P of them.
        colors: Of each bar, P of them, as #rrggbb.
        strengths: From 0 (pale) to 1 of each bar, float, shape (P,); none: all alike.
    """

    name: str
    segments: FloatArray
    texts: Sequence[str]
    colors: Sequence[str]
    strengths: FloatArray | None = None


class _Bars(NamedTuple):
    """The part of a lane that lies in one row.

    Attributes:
        rows: Which of the lane's segments, shape (N,).
        lefts: Where they begin in the row, seconds, shape (N,).
        widths: Seconds, shape (N,).
        levels: Shape (N,).
        num_levels: At least 1.
    """

    rows: IntArray
    lefts: FloatArray
    widths: FloatArray
    levels: IntArray
    num_levels: int


def check_drawable() -> None:
    """See that pictures can be drawn, before the work that they show.

    Raises:
        MissingExtraError: If Matplotlib is not installed.
    """
    try:
        is_there = importlib.util.find_spec("matplotlib") is not None
    except ValueError:  # a module that was put aside has no spec
        is_there = False
    if not is_there:
        raise MissingExtraError("matplotlib", "report")


def picture_kind(path: Path) -> PictureKind:
    """What a picture's file is to hold, by its suffix, which must be one of `PICTURE_SUFFIXES`."""
    return _KINDS[path.suffix.lower()]


def class_colors(classes: Sequence[Any]) -> dict[Any, str]:
    """A color for each class, in the order of their first appearance; ten classes have colors of their own."""
    return {name: _COLORS[number % len(_COLORS)] for number, name in enumerate(dict.fromkeys(classes))}


def clock(seconds: float) -> str:
    """A time as m:ss or h:mm:ss, the fraction of a second cut off."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def row_seconds(span: float, lanes: Sequence[Lane]) -> float:
    """How long a row is: all of a short span, else a round number of seconds that lets most bars be seen in few rows."""
    lengths = np.concatenate([lane.segments[:, 1] - lane.segments[:, 0] for lane in lanes]) if lanes else np.zeros(0)
    wanted = max(span / _MAX_ROWS, _SEGMENTS_PER_ROW * float(np.median(lengths)) if len(lengths) else span)
    if wanted >= span:
        return span
    chosen = next((nice for nice in _NICE_SECONDS if nice >= wanted), _NICE_SECONDS[-1] * math.ceil(wanted / _NICE_SECONDS[-1]))
    return float(min(chosen, span))


def draw_timeline(
    lanes: Sequence[Lane],
    *,
    duration: float,
    start: float = 0.0,
    title: str = "",
    legend: Mapping[str, str] | None = None,
    kind: PictureKind = "png",
) -> bytes:
    """Draw the segments of a video, or of a part of it, as many rows one under the other as are needed to see them.

    Args:
        lanes: At least one; segments outside the part are left out, those across its ends are cut.
        duration: Seconds of the part that is drawn, above 0.
        start: Where in the video it begins, seconds.
        title: Above the picture.
        legend: What colors mean, name to color.
        kind: png or svg; the same bytes for the same segments.

    Raises:
        ValueError: If there are no lanes, or the part has no length.
        MissingExtraError: If Matplotlib is not installed.
    """
    if not lanes or not duration > 0:
        raise ValueError(f"a timeline needs at least one lane and a length above 0, not {len(lanes)} and {duration} seconds")
    length = row_seconds(duration, lanes)
    begins = [start + row * length for row in range(math.ceil(duration / length - 1e-9))]
    rows = [[_bars(lane, begin, min(begin + length, start + duration)) for lane in lanes] for begin in begins]
    num_levels = sum(bars.num_levels for row in rows for bars in row)
    height = num_levels + _ROW_GAP * (len(rows) - 1)
    legend_rows = math.ceil(len(legend or {}) / _LEGEND_COLUMNS)
    figure, (axes,) = open_figure(_WIDTH, _BASE_HEIGHT + _LEVEL_HEIGHT * (height + legend_rows))
    ticks: list[tuple[float, str]] = []
    top = 0.0
    for begin, row in zip(begins, rows, strict=True):
        if top:
            axes.axhline(top - (1 + _ROW_GAP) / 2, color=INK, linewidth=0.5, alpha=0.4)
        for lane, bars in zip(lanes, row, strict=True):
            name = f"{clock(begin)}  {lane.name}" if lane is lanes[0] else lane.name
            ticks.append((top + (bars.num_levels - 1) / 2, name))
            _draw_bars(axes, lane, bars, top, length)
            top += bars.num_levels
        top += _ROW_GAP
    axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
    axes.grid(False, axis="y")
    axes.set(xlim=(0, length), ylim=(height - 0.3, -0.7))
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_xlabel("seconds" if len(rows) == 1 else "seconds of the row")
    if legend:
        patches = [axes.bar([0], [0], color=color)[0] for color in legend.values()]
        columns = min(len(legend), _LEGEND_COLUMNS)
        places: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "frameon": False}
        figure.legend(patches, list(legend), labelcolor=INK, fontsize=8, **places)
    return png_bytes(figure) if kind == "png" else _svg_bytes(figure)


def _bars(lane: Lane, begin: float, stop: float) -> _Bars:
    """The bars of a lane from `begin` to `stop`; each on the first level on which it overlaps none before it."""
    rows = np.flatnonzero((lane.segments[:, 0] < stop) & (lane.segments[:, 1] > begin))
    lefts = np.maximum(lane.segments[rows, 0], begin)
    widths = np.minimum(lane.segments[rows, 1], stop) - lefts
    levels = np.zeros(len(rows), dtype=np.int64)
    free_from: list[float] = []
    for place in np.argsort(lefts, kind="stable").tolist():
        level = next((number for number, free in enumerate(free_from) if free <= lefts[place]), len(free_from))
        free_from[level : level + 1] = [float(lefts[place] + widths[place])]
        levels[place] = level
    return _Bars(rows, lefts - begin, widths, levels, max(1, len(free_from)))


def _draw_bars(axes: Any, lane: Lane, bars: _Bars, top: float, length: float) -> None:
    """Draw the bars of a lane, their first level at `top`, in a row of `length` seconds."""
    strengths = np.ones(len(bars.rows)) if lane.strengths is None else np.clip(lane.strengths[bars.rows], 0, 1)
    colors = [
        f"{lane.colors[row]}{round(255 * (0.25 + 0.6 * strength)):02x}"
        for row, strength in zip(bars.rows.tolist(), strengths.tolist(), strict=True)
    ]
    shown = np.maximum(bars.widths - _GAP * length, _THINNEST * length)
    axes.barh(top + bars.levels, shown, left=bars.lefts, height=0.82, color=colors, linewidth=0)
    for place, row in enumerate(bars.rows.tolist()):
        text = _fitting(lane.texts[row], (_WIDTH - _MARGIN) * bars.widths[place] / length)
        if text:
            axes.text(
                bars.lefts[place] + bars.widths[place] / 2,
                top + bars.levels[place],
                text,
                ha="center",
                va="center_baseline",
                fontsize=6.5,
                color="white" if strengths[place] > _PALE else INK,
                clip_on=True,
                parse_math=False,
            )


def _fitting(text: str, inches: float) -> str:
    """A text cut to what fits into a bar; nothing where only a few letters would."""
    letters = int(inches / _CHARACTER_WIDTH)
    if len(text) <= letters:
        return text
    return f"{text[: letters - 1]}…" if letters > _MIN_LETTERS else ""


def _svg_bytes(figure: Any) -> bytes:
    """The figure as SVG, the same bytes for the same figure, its letters as text."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "zoopraxis", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
