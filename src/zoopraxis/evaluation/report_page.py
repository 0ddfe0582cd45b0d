"""The report's HTML: one page with its style and images inside, no scripts, nothing fetched from elsewhere.

Every text that comes from a file passes through `escape`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from zoopraxis.errors import DataError
from zoopraxis.evaluation.metrics import Metric
from zoopraxis.files import write_text

__all__ = [
    "bar",
    "details",
    "escape",
    "image",
    "metric_rows",
    "page",
    "paragraph",
    "plain_tiles",
    "row_of",
    "section",
    "table",
    "tiles",
    "write_page",
]

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60656d; --paper: #fbfbfa; --card: #ffffff; --line: #e3e4e6;
  --accent: #3b82f6; --wash: #3b82f62e; --good: #1a8754; --bad: #c8453b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa1aa; --paper: #131519; --card: #1b1e24;
  --line: #2c3038; --accent: #6ea4ff; --wash: #6ea4ff33; --good: #4cc38a; --bad: #ff7a6e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.75rem; margin: 0 0 .25rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
p { margin: .3rem 0 .9rem; max-width: 48rem; color: var(--soft); }
.warning { color: var(--bad); }
.tiles { display: flex; flex-wrap: wrap; gap: .9rem; margin: 1.5rem 0; }
.tile { flex: 1 1 10rem; padding: .9rem 1.1rem; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile b { display: block; font-size: 1.9rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .87rem; }
.row { display: flex; flex-wrap: wrap; gap: 1.25rem; align-items: flex-start; }
.row > * { flex: 1 1 26rem; min-width: 0; }
figure { margin: .6rem 0; }
figure img { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: .87rem; margin-top: .3rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; margin: .5rem 0 1rem; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .32rem .7rem .32rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
th.number, td.number { text-align: right; padding-right: 1.5rem; }
.bar { position: relative; display: block; min-width: 9rem; height: .7rem; border-radius: 4px; background: var(--wash); }
.bar i { position: absolute; top: 0; bottom: 0; border-radius: 3px; background: var(--accent); opacity: .45; }
.bar em { position: absolute; top: -.1rem; bottom: -.1rem; width: 2px; margin-left: -1px; background: var(--ink); }
.scroll { overflow-x: auto; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--accent); }
.clip { padding: .8rem 0 1rem; border-bottom: 1px solid var(--line); }
.clip .id { font-weight: 600; margin-right: .8rem; overflow-wrap: anywhere; }
.clip .answer { margin-right: 1.2rem; white-space: nowrap; } .good { color: var(--good); } .bad { color: var(--bad); }
.strip { display: flex; gap: 3px; margin-top: .5rem; overflow-x: auto; }
.strip img { height: 104px; width: auto; border-radius: 3px; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; } .clip, figure { break-inside: avoid; } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole HTML document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def write_page(path: str | Path, title: str, body: Iterable[str]) -> None:
    """Write a whole HTML document, in one step.

    Raises:
        DataError: If the file cannot be written.
    """
    try:
        write_text(path, page(title, body))
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}; free some space or choose another folder") from error


def section(title: str, *parts: str) -> str:
    """A part of the page under its heading; `parts` are HTML."""
    return "\n".join([f"<section>\n<h2>{escape(title)}</h2>", *parts, "</section>"])


def paragraph(text: str, *, is_warning: bool = False) -> str:
    """A paragraph of plain text."""
    kind = ' class="warning"' if is_warning else ""
    return f"<p{kind}>{escape(text)}</p>"


def row_of(parts: Iterable[str]) -> str:
    """HTML parts side by side, where the window is wide enough."""
    return '<div class="row">' + "".join(f"<div>{part}</div>" for part in parts) + "</div>"


def details(summary: str, content: str) -> str:
    """HTML that is folded away until it is asked for."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def image(data: bytes, kind: str, caption: str, *, width: int | None = None) -> str:
    """An image kept in the page, `kind` being png or jpeg; `width` in CSS pixels."""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    size = f' width="{width}"' if width else ""
    return f'<figure><img src="{source}" alt="{escape(caption)}"{size}><figcaption>{escape(caption)}</figcaption></figure>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """A table of cells that are HTML already; the columns whose positions are in `numbers` are set flush right."""
    kinds = [' class="number"' if position in numbers else "" for position in range(len(columns))]
    head = "".join(f"<th{kind}>{escape(column)}</th>" for kind, column in zip(kinds, columns, strict=True))
    lines = ("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def bar(metric: Metric) -> str:
    """A metric on a scale of 0 to 100, with its interval."""
    return (
        f'<span class="bar"><i style="left:{metric.low:.2f}%;width:{metric.high - metric.low:.2f}%"></i>'
        f'<em style="left:{metric.percent:.2f}%"></em></span>'
    )


def metric_rows(metrics: Iterable[Metric]) -> str:
    """A table of metrics."""
    rows = [
        (
            escape(metric.name.replace("_", " ")),
            f"{metric.percent:.2f}",
            f"{metric.low:.2f} to {metric.high:.2f}",
            f"{metric.num_clips:,}",
            bar(metric),
        )
        for metric in metrics
    ]
    return table(("metric", "percent", "95% interval", "clips", "0 to 100"), rows, numbers=(1, 2, 3))


def tiles(metrics: Iterable[Metric]) -> str:
    """The metrics that matter most, in large figures."""
    return plain_tiles(
        (metric.name.replace("_", " "), metric.percent, f"{metric.low:.1f} to {metric.high:.1f}") for metric in metrics
    )


def plain_tiles(figures: Iterable[tuple[str, float, str]]) -> str:
    """Large figures: a name, a percentage, and a remark in plain text below it."""
    cells = (
        f'<div class="tile"><span>{escape(name)}</span><b>{percent:.1f}%</b><span>{escape(remark)}</span></div>'
        for name, percent, remark in figures
    )
    return f'<div class="tiles">{"".join(cells)}</div>'
