"""`zoopraxis localize`: the actions in one long video, and when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Json
from zoopraxis.cli.outputs import check_output
from zoopraxis.errors import DataError

if TYPE_CHECKING:
    from zoopraxis.evaluation.detections import Detections

__all__ = ["command"]

_MAX_EXPLAINED = 10
"""Classes whose colors the picture explains; more of them share colors."""

_Checkpoint = Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of localization.")]
_Video = Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.")]
_Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="CHECKPOINT", help="The network that makes the video's features; by default the one that CHECKPOINT names."
    ),
]
_Top = Annotated[int, typer.Option(min=1, help="Segments at most, those with the best scores.")]
_Classes = Annotated[int, typer.Option(min=1, help="Classes at most of one segment.")]
_MinScore = Annotated[float, typer.Option(min=0, help="Leave out what scores less.")]
_Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of proposals or classes other than CHECKPOINT's; repeat it."),
]
_Out = Annotated[Path | None, typer.Option(metavar="FILE.png|svg", help="Also draw the segments along the video's time.")]


def command(
    checkpoint: _Checkpoint,
    video: _Video,
    backbone: _Backbone = None,
    top: _Top = 20,
    classes: _Classes = 1,
    min_score: _MinScore = 0.0,
    settings: _Settings = None,
    out: _Out = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the picture.")] = False,
    json: Json = False,
) -> None:
    """The actions in one long video: when each begins and stops, what it is, and its score; the best first."""
    if not video.is_file():
        raise DataError(f"there is no video {video}; name a video file")
    if out is not None:
        from zoopraxis.evaluation.timeline import PICTURE_SUFFIXES, check_drawable

        check_output(out, what="a timeline", suffixes=PICTURE_SUFFIXES, force=force)
        check_drawable()

    from zoopraxis.data.decoding import VideoReader
    from zoopraxis.training.localization.inference import localize_video
    from zoopraxis.training.options import TestOptions

    options = TestOptions(settings=settings or None)
    with VideoReader(video) as reader:
        duration = reader.duration_seconds
    with console.progress(video.name) as on_progress:
        found = localize_video(checkpoint, video, backbone=backbone, options=options, on_progress=on_progress)
    rows, heads = _segments(found, top=top, classes=classes, min_score=min_score), list(found.labels)
    if out is not None:
        _draw(out, rows, heads, title=video.name, duration=duration)
    if json:
        console.emit_json(
            {"video": video, "duration": duration, "num_detections": len(found), "segments": rows, "timeline": out}
        )
        return
    cells = [
        (row["start"], row["stop"], f"{row['score']:.4f}", *(named["name"] for named in row["classes"].values()))
        for row in rows
    ]
    title = f"{video.name}, {duration:.1f} s: {len(rows)} of {len(found)} detections"
    console.table(title, ["start", "stop", "score", *heads], cells)
    if out is not None:
        console.say(f"timeline: {out}")


def _segments(found: Detections, *, top: int, classes: int, min_score: float) -> list[dict[str, Any]]:
    """The best detections, of each of the `top` best segments at most so many as `classes`, as rows for people and programs."""
    rows: list[dict[str, Any]] = []
    counts: dict[tuple[float, float], int] = {}
    for place in range(len(found)):
        begin, stop = found.segments[place].tolist()
        score = float(found.scores[place])
        count = counts.get((begin, stop), 0)
        if score < min_score or count == classes or (not count and len(counts) == top):
            continue
        counts[begin, stop] = count + 1
        named = {head: _class(found, head, int(values[place])) for head, values in found.labels.items()}
        rows.append({"start": begin, "stop": stop, "score": score, "classes": named})
    return rows


def _class(found: Detections, head: str, number: int) -> dict[str, Any]:
    names = found.class_names.get(head, ())
    return {"class": number, "name": names[number] if number < len(names) else str(number)}


def _draw(path: Path, rows: Sequence[dict[str, Any]], heads: Sequence[str], *, title: str, duration: float) -> None:
    """Write the picture of each segment with its best class."""
    import numpy as np

    from zoopraxis.evaluation.timeline import Lane, class_colors, draw_timeline, picture_kind
    from zoopraxis.files import write_bytes

    best = list({(row["start"], row["stop"]): row for row in reversed(rows)}.values())[::-1]
    texts = [" ".join(row["classes"][head]["name"] for head in heads) for row in best]
    colors = class_colors(sorted(texts))
    scores = np.array([row["score"] for row in best], dtype=np.float64)
    segments = np.array([(row["start"], row["stop"]) for row in best], dtype=np.float64).reshape(-1, 2)
    lane = Lane("", segments, texts, [colors[text] for text in texts], scores / scores.max(initial=1e-12))
    legend = colors if heads and len(colors) <= _MAX_EXPLAINED else None
    write_bytes(path, draw_timeline([lane], duration=duration, title=title, legend=legend, kind=picture_kind(path)))
