"""`zoopraxis prepare features`: the features that domain adaptation and long videos are learned from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zoopraxis.cli import console
from zoopraxis.cli.config import Json
from zoopraxis.cli.preparing import (
    Annotations,
    Format,
    FormatName,
    ModalityName,
    OfficialSplit,
    Out,
    Split,
    StoreName,
    read_clips,
    tell_outcome,
)

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Extract features by a network, convert published ones, put modalities side by side.",
)


class _Per(StrEnum):
    FRAME, CLIP = "frame", "clip"


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
    annotations: Annotations,
    root: Annotated[Path, typer.Argument(metavar="STORE_ROOT", help="The folder of the gulp files, frames or videos.")],
    out: Out,
    store: Annotated[StoreName, typer.Option(help="What STORE_ROOT holds.")] = StoreName.GULP,
    format: Format = FormatName.AUTO,
    split: Split = None,
    official_split: OfficialSplit = 1,
    per: Annotated[_Per, typer.Option(help="frame: features of frames spread over a clip; clip: of views along it.")] = (
        _Per.FRAME
    ),
    num_segments: Annotated[
        int,
        typer.Option(
            min=1, help="Features of a clip; published ones have 25, networks that mix T frames (TSM: 8) need a multiple of T."
        ),
    ] = 25,
    modality: Annotated[str | None, typer.Option(help="Name of the features; default: rgb or flow, as the network.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Of timm:NAME: a file of its weights, where timm cannot fetch them.")] = (
        None
    ),
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frame rate of stored frames, for sampling by time.")] = None,
    dtype: Dtype = _Dtype.FLOAT32,
    quarantine: Annotated[Path | None, typer.Option(help="Clips to leave out, as prepare check lists them.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips read at once.")] = 4,
    num_workers: Annotated[int, typer.Option(min=0, help="Processes that read clips.")] = 0,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu; one device.")] = "auto",
    json: Json = False,
) -> None:
    """Write the features that a network finds in every clip. Clips that cannot be read are told and left out."""
    from zoopraxis.data.prepare.check import read_quarantine
    from zoopraxis.data.stores import open_store
    from zoopraxis.training.extraction import extract_features, load_extractor

    network = load_extractor(model, weights=weights)
    frames = ModalityName(network.preprocessing.modality)
    clips = read_clips(annotations, format, frames, split, official_split)
    if quarantine is not None:
        clips = clips.without(read_quarantine(quarantine))
    opened = open_store(store.value, root, modality=frames.value)
    with console.progress("clips") as on_progress:
        outcome = extract_features(
            network,
            clips,
            opened,
            out,
            per=per.value,
            num_segments=num_segments,
            modality=modality,
            dtype=dtype.value,
            fps=fps,
            batch_size=batch_size,
            num_workers=num_workers,
            accelerator=accelerator,
            on_progress=on_progress,
        )
    tell_outcome(outcome, out, "clips", json=json)


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="A published pickle, a folder of such, or a folder of VIDEO/img_00001.t7 and so on."
        ),
    ],
    out: Out,
    modality: Annotated[str, typer.Option(help="Name of the features of .t7 files, which have none.")] = "rgb",
    dtype: Dtype = _Dtype.FLOAT32,
    json: Json = False,
) -> None:
    """Write published features as one feature store. Videos with gaps between their frames are told and left out."""
    from zoopraxis.data.prepare.features import convert_features

    with console.progress("clips") as on_progress:
        outcome = convert_features(source, out, modality=modality, dtype=dtype.value, on_progress=on_progress)
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
