"""A trained network's features of windows along long videos, and its scores of them, for what finds actions in these.

# W windows, R crops, T frames of a window, C channels, D width of a feature, K classes
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoopraxis.data.features import SCORE_PREFIX, FeatureWriter
from zoopraxis.data.index import Clip, ClipIndex
from zoopraxis.data.prepare.work import Broken, OnProgress, Outcome, writing_to
from zoopraxis.data.stores import ClipStore
from zoopraxis.errors import CheckpointError, ConfigError, did_you_mean
from zoopraxis.models.base import VideoModel
from zoopraxis.models.preprocessing import normalize
from zoopraxis.training.extraction import MAX_FRAMES, FeatureDtype, check_unique, describe, device_of, digest
from zoopraxis.training.extraction_frames import FrameRing, WindowPlan, Windows
from zoopraxis.training.extraction_reading import Part, WindowReader, read_videos

__all__ = ["Windows", "check_network", "extract_windows", "window_features"]

_CHUNKS: dict[str, Any] = {"chunk_bytes": 32 << 20, "chunk_clips": 16}
"""Features and videos that a kill costs at most, beside those that are being read."""

FloatArray = npt.NDArray[np.float32]


def window_features(
    model: VideoModel,
    store: ClipStore,
    clip: Clip,
    windows: Windows,
    *,
    modality: str | None = None,
    fps: float | None = None,
    accelerator: str = "auto",
) -> tuple[dict[str, FloatArray], npt.NDArray[np.float64]]:
    """The features of windows along one video, in memory.

    Args:
        model: Any network of the package; it is set to evaluation and moved to the device.
        store: Where the video's frames are, of the modality of the network's preprocessing.
        clip: The video, or a span of one.
        windows: Which, and what is kept of each.
        modality: The name that the features get; none: that of the frames.
        fps: Frame rate of stored frames, which do not tell it.
        accelerator: auto, cpu or gpu.

    Returns:
        For each modality its features, shape (W, R * D), float32, and of `score:<head>` the logits, (W, R * K), crop after
        crop; and the windows' centers, seconds from the video's start, shape (W,).

    Raises:
        ConfigError: If windows need a length, the rate is not known, or the network cannot take the views.
        DataError: If the video cannot be read.
    """
    network = _Network(model, windows, modality=modality, device=device_of(accelerator))
    reader = WindowReader(model, store, windows, fps)
    reader.check(clip)
    plan = reader.plan(clip)
    assembly = _Assembly(plan, network)
    for block in reader.read(clip, plan):
        assembly.add(block)
    return assembly.features, reader.start_seconds(clip) + plan.centers


def extract_windows(
    model: VideoModel,
    videos: ClipIndex,
    store: ClipStore,
    out: str | Path,
    windows: Windows,
    *,
    source: str | None = None,
    modality: str | None = None,
    dtype: FeatureDtype = "float32",
    fps: float | None = None,
    batch_size: int | None = None,
    num_workers: int = 0,
    accelerator: str = "auto",
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Write the features of windows along all videos of an index into a feature store, with the windows' centers as times.

    Each frame that a window needs is decoded and transformed once. A video's frames are held only as long as windows need them,
    so that it may last for hours.

    Videos that are in `out` already are passed over, so that a run that was killed goes on where it was. What cannot be read is
    left out and told.

    Args:
        model: Any network of the package; it is set to evaluation and moved to the device.
        videos: Whole videos, their ids unique; see `training.extraction_videos`.
        store: Where their frames are, of the modality of the network's preprocessing.
        out: The folder; new, or begun by an earlier run with the same network and settings.
        windows: Which windows, and what is kept of each.
        source: Where the network comes from, kept beside the features so that it can be loaded again.
        modality: The name that the features get; none: that of the frames.
        dtype: In which features are stored.
        fps: Frame rate of stored frames, which do not tell it.
        batch_size: Windows that the network sees at once; none: as many as have 128 frames together.
        num_workers: Processes that read videos, each its own; 0 reads in this one.
        accelerator: auto, cpu or gpu.
        on_progress: Told the number of videos.

    Returns:
        Videos written, those that were there, and those that cannot be read.

    Raises:
        ConfigError: If windows need a length, the frame rate is not known, the network cannot take the views, or a setting is
            out of range.
        AnnotationError: If ids repeat.
        DataError: If `out` was begun otherwise, holds something else or cannot be written, or features are not finite.
    """
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"batch_size ({batch_size}) must be at least 1")
    if dtype not in get_args(FeatureDtype):
        raise ConfigError(f"unknown dtype {dtype!r}; {did_you_mean(dtype, get_args(FeatureDtype))}")
    check_unique(videos)
    out = Path(out)
    network = _Network(model, windows, modality=modality, device=device_of(accelerator))
    reader = WindowReader(model, store, windows, fps)
    if len(videos):
        reader.check(videos[0])
    made: dict[str, Any] = {"meta": _meta(model, windows, source=source, fps=fps), "dtype": dtype}
    with writing_to(out), FeatureWriter(out, network.widths, **made, **_CHUNKS) as writer:
        rows = [row for row, video_id in enumerate(videos.clip_ids.tolist()) if video_id not in writer.done]
        parts = read_videos(reader, videos, rows, num_workers=num_workers)
        skipped = len(videos) - len(rows)
        tell = on_progress or (lambda done, total: None)
        tell(skipped, len(videos))
        broken: dict[int, Broken] = {}
        done = 0
        for row, came in _assembled(parts, network, batch_size):
            if isinstance(came, Broken):
                broken[row] = came
            else:
                writer.add(videos[row].clip_id, came.features, seconds=came.centers)
                done += 1
            tell(skipped + done + len(broken), len(videos))
    return Outcome(done=done, skipped=skipped, broken=tuple(broken[row] for row in sorted(broken)))


def _assembled(parts: Iterable[Part], network: _Network, batch_size: int | None) -> Iterator[tuple[int, _Assembly | Broken]]:
    """Rows of videos as they are whole, with their features, or what ails them."""
    assemblies: dict[int, _Assembly] = {}
    for row, part in parts:
        if isinstance(part, Broken):
            assemblies.pop(row, None)
            yield row, part
        elif isinstance(part, WindowPlan):
            assemblies[row] = _Assembly(part, network, batch_size)
        elif assemblies[row].add(part):
            yield row, assemblies.pop(row)


def check_network(model: VideoModel, meta: Mapping[str, Any]) -> None:
    """See that features were made by a network.

    Args:
        model: The network.
        meta: What the features' store says of them.

    Raises:
        CheckpointError: If it was another one, or had other heads where scores were kept.
    """
    for name, module in (("weights", model.backbone), ("heads", model)):
        if name in meta and meta[name] != digest(module):
            raise CheckpointError(
                f"the features are of a network with {name} {meta[name]}, and this one has {digest(module)}; give the one that "
                f"they were made with{': ' + meta['source'] if meta.get('source') else ''}"
            )


def _meta(model: VideoModel, windows: Windows, *, source: str | None, fps: float | None) -> dict[str, Any]:
    made = {"per": "window", "windows": dataclasses.asdict(windows), "fps": fps, "source": source}
    if windows.has_scores:
        made |= {"heads": digest(model), "class_names": {head: list(names) for head, names in model.class_names.items()}}
    return describe(model, **made)


class _Network:
    """From windows of stored values to features, on a device."""

    def __init__(self, model: VideoModel, windows: Windows, *, modality: str | None, device: torch.device) -> None:
        self.preprocessing = model.preprocessing
        self.has_scores = windows.has_scores
        self.num_crops = windows.num_crops
        self.name = modality or model.preprocessing.modality
        self.widths = {self.name: windows.num_crops * model.num_features}
        if windows.has_scores:
            self.widths |= {f"{SCORE_PREFIX}{head}": windows.num_crops * width for head, width in model.heads.items()}
        self.device = device
        model.check_view(self.preprocessing.num_segments, self.preprocessing.size)
        self.model = model.to(device).eval()

    @torch.inference_mode()
    def __call__(self, windows: Sequence[Tensor]) -> dict[str, FloatArray]:
        """Features of windows, each of shape (R, T, C, H, W), uint8, as `window_features` gives them."""
        views = torch.cat(list(windows))
        size = max(1, MAX_FRAMES // views.shape[1])
        parts = [self._run(part) for part in torch.split(views, size)]
        found = {name: torch.cat([part[name] for part in parts]) for name in self.widths}
        return {name: rows.reshape(len(windows), -1).float().cpu().numpy() for name, rows in found.items()}

    def _run(self, views: Tensor) -> dict[str, Tensor]:
        clips = normalize(views.to(self.device), self.preprocessing)
        if not self.has_scores:
            return {self.name: self.model.clip_features(clips)}
        features, logits = _features_and_scores(self.model, clips)
        return {self.name: features, **{f"{SCORE_PREFIX}{head}": scores for head, scores in logits.items()}}


def _features_and_scores(model: VideoModel, clips: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """What `clip_features` and `forward` give, with the backbone run once."""
    found: list[Tensor] = []
    handle = model.backbone.register_forward_hook(lambda module, inputs, output: found.append(output))
    try:
        logits: dict[str, Tensor] = model(clips)
    finally:
        handle.remove()
    return found[0].mean(dim=1) if found[0].ndim == 3 else found[0], logits


class _Assembly:
    """The features of one video as they come together."""

    def __init__(self, plan: WindowPlan, network: _Network, batch_size: int | None = None) -> None:
        num_windows = len(plan.centers)
        self.centers = plan.centers
        self.features = {name: np.empty((num_windows, width), np.float32) for name, width in network.widths.items()}
        self._ring = FrameRing(plan, segment_length=network.preprocessing.segment_length)
        self._network = network
        self._batch_size = batch_size or max(1, MAX_FRAMES // (network.preprocessing.num_segments * network.num_crops))
        self._waiting: list[Tensor] = []
        self._num_done = 0

    def add(self, block: Tensor) -> bool:
        """Take the next frames; tells whether all windows have their features."""
        for window in self._ring.add(block):
            self._waiting.append(window)
            if len(self._waiting) == self._batch_size or self._ring.num_windows == len(self.centers):
                self._run()
        return self._num_done == len(self.centers)

    def _run(self) -> None:
        stop = self._num_done + len(self._waiting)
        for name, rows in self._network(self._waiting).items():
            self.features[name][self._num_done : stop] = rows
        self._waiting, self._num_done = [], stop
