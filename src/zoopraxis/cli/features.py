"""`zoopraxis prepare features`: the features that domain adaptation and long videos are learned from."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Json
from zoopraxis.cli.preparing import OfficialSplit, Out, Split, StoreName, tell_outcome
from zoopraxis.errors import ConfigError

if TYPE_CHECKING:
    from zoopraxis.training.extraction_windows import Windows

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Extract features by a network, convert published ones, put modalities side by side.",
)


class _Per(StrEnum):
    FRAME, CLIP, WINDOW = "frame", "clip", "window"


class _FormatName(StrEnum):
    AUTO, EPIC, CSV, FOLDER, KINETICS = "auto", "epic", "csv", "folder", "kinetics"
    SOMETHING, UCF101, HMDB51, INDEX, GULP = "something", "ucf101", "hmdb51", "index", "gulp"
    EPIC_30FPS, ACTIVITYNET, HACS, THUMOS14, MMACTION = "epic_30fps", "activitynet", "hacs", "thumos14", "mmaction"


class _Layout(StrEnum):
    AUTO, ROWS, COLUMNS = "auto", "rows", "columns"


class _Dtype(StrEnum):
    FLOAT32, FLOAT16 = "float32", "float16"


Dtype = Annotated[_Dtype, typer.Option(help="In which features are stored; float16 takes half the space.")]


@app.command()
def extract(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A checkpoint file, the name of published weights, or timm:NAME for an image network of timm."
        ),
    ],
    annotations: Annotated[
        Path,
        typer.Argument(
            metavar="ANNOTATIONS",
            help="A file of annotations, an index, or a folder of videos by class or of lists; of windows also a video, or a "
            "folder of videos.",
        ),
    ],
    root: Annotated[Path, typer.Argument(metavar="STORE_ROOT", help="The folder of the gulp files, frames or videos.")],
    out: Out,
    store: Annotated[
        StoreName | None, typer.Option(help="What STORE_ROOT holds; default: gulp files, of windows videos.")
    ] = None,
    format: Annotated[_FormatName, typer.Option(help="Format of the annotations; auto tells it from the file.")] = (
        _FormatName.AUTO
    ),
    split: Split = None,
    official_split: OfficialSplit = 1,
    per: Annotated[
        _Per,
        typer.Option(
            help="frame: features of frames spread over a clip; clip: of views along it; window: of windows along a long video."
        ),
    ] = _Per.FRAME,
    num_segments: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Features of a clip, by default 25 as published; networks that mix T frames (TSM: 8) need a multiple of T.",
        ),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Of windows: their length; default: what the network sees, where it looks at a set time."
        ),
    ] = None,
    stride: Annotated[float | None, typer.Option(metavar="SECONDS", help="Of windows: from one to the next.")] = None,
    views: Annotated[int | None, typer.Option(metavar="CROPS", help="Of windows: crops of each frame: 1, 3, 5 or 10.")] = None,
    scores: Annotated[bool, typer.Option("--scores", help="Of windows: keep the network's class scores, too.")] = False,
    modality: Annotated[str | None, typer.Option(help="Name of the features; default: rgb or flow, as the network.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Of timm:NAME: a file of its weights, where timm cannot fetch them.")] = (
        None
    ),
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frame rate of stored frames, for sampling by time.")] = None,
    dtype: Dtype = _Dtype.FLOAT32,
    quarantine: Annotated[Path | None, typer.Option(help="Clips to leave out, as prepare check lists them.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Clips read at once, by default 4; windows that the network sees at once.")
    ] = None,
    num_workers: Annotated[int, typer.Option(min=0, help="Processes that read clips or videos.")] = 0,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu; one device.")] = "auto",
    json: Json = False,
) -> None:
    """Write the features that a network finds in every clip, or all along long videos. What cannot be read is left out."""
    from zoopraxis.data.annotations import read_annotations
    from zoopraxis.data.prepare.check import read_quarantine
    from zoopraxis.data.stores import open_store
    from zoopraxis.training.extraction import extract_features, load_extractor
    from zoopraxis.training.extraction_videos import index_videos
    from zoopraxis.training.extraction_windows import extract_windows

    options: dict[str, Any] = {"stride": stride, "length": window, "num_crops": views, "has_scores": scores or None}
    windows = _windows(options, num_segments) if per is _Per.WINDOW else None
    if windows is None:
        _check_no_windows(options)
    network = load_extractor(model, weights=weights)
    frames = network.preprocessing.modality
    kind = store or (StoreName.GULP if windows is None else StoreName.VIDEO)
    opened = open_store(kind.value, root, modality=frames)
    made: dict[str, Any] = {"modality": modality, "dtype": dtype.value, "fps": fps, "num_workers": num_workers}
    items = "clips" if windows is None else "videos"
    if windows is None:
        clips = read_annotations(annotations, format=format.value, modality=frames, split=split, official_split=official_split)
    else:
        clips = index_videos(annotations, opened, root=root, format=format.value, split=split)
    if quarantine is not None:
        clips = clips.without(read_quarantine(quarantine))
    with console.progress(items) as on_progress:
        made |= {"accelerator": accelerator, "on_progress": on_progress}
        if windows is None:
            made |= {"per": per.value, "num_segments": num_segments or 25, "batch_size": batch_size or 4}
            outcome = extract_features(network, clips, opened, out, **made)
        else:
            made |= {"source": _origin(model), "batch_size": batch_size}
            outcome = extract_windows(network, clips, opened, out, windows, **made)
    tell_outcome(outcome, out, items, json=json)


def _windows(options: Mapping[str, Any], num_segments: int | None) -> Windows:
    """What the options of windows tell.

    Raises:
        ConfigError: If there is no stride, a number is out of range, or there is an option that has no effect on windows.
    """
    from zoopraxis.training.extraction_windows import Windows

    if num_segments is not None:
        raise ConfigError("--num-segments is for features of clips; leave it out, or leave out --per window")
    if options["stride"] is None:
        raise ConfigError("tell how many seconds lie between windows: --stride SECONDS")
    return Windows(**{name: value for name, value in options.items() if value is not None})


def _check_no_windows(options: Mapping[str, Any]) -> None:
    """See that no option of windows is given for clips, where it has no effect.

    Raises:
        ConfigError: If one is.
    """
    names = {"stride": "stride", "length": "window", "num_crops": "views", "has_scores": "scores"}
    given = next((names[name] for name, value in options.items() if value is not None), None)
    if given is not None:
        raise ConfigError(f"{given} is for windows along long videos; leave it out, or add --per window")


def _origin(model: str) -> str:
    """Where the network comes from, as another folder has to name it."""
    return str(Path(model).resolve()) if Path(model).is_file() else model


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A published pickle, a folder of such, a folder of VIDEO/img_00001.t7 and so on, or features of long videos: "
            "a folder of VIDEO_STARTMS_STOPMS.pkl, VIDEO.npy or VIDEO.csv, or of such folders.",
        ),
    ],
    out: Out,
    modality: Annotated[
        str | None,
        typer.Option(help="Name of features that have none: of .t7 files (default: rgb), of long videos (default: features)."),
    ] = None,
    layout: Annotated[
        _Layout, typer.Option(help="Of VIDEO.npy: a feature a row, or a column; auto: told from which axis is always as long.")
    ] = _Layout.AUTO,
    dtype: Dtype = _Dtype.FLOAT32,
    json: Json = False,
) -> None:
    """Write published features as one feature store. Videos with gaps between their frames are told and left out."""
    from zoopraxis.data.prepare.features import convert_features

    with console.progress("clips") as on_progress:
        outcome = convert_features(
            source, out, modality=modality, layout=layout.value, dtype=dtype.value, on_progress=on_progress
        )
    tell_outcome(outcome, out, "clips", json=json)


@app.command()
def join(
    out: Out,
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Feature stores or pickles of the same clips.")],
    dtype: Dtype = _Dtype.FLOAT32,
    json: Json = False,
) -> None:
    """Put the modalities of several feature stores of the same clips side by side in one, in the order given."""
    from zoopraxis.data.prepare.features import join_features

    with console.progress("clips") as on_progress:
        outcome = join_features(sources, out, dtype=dtype.value, on_progress=on_progress)
    tell_outcome(outcome, out, "clips", json=json)
