"""A trained network's features of clips, for what learns from features: of frames spread over a clip, or of views along it.

# B clips, K features of a clip, T frames of a view, C channels, H height, W width, D width of a feature
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zoopraxis.data.attempts import Attempts, read_attempts
from zoopraxis.data.clips import ClipDataset
from zoopraxis.data.features import FeatureWriter
from zoopraxis.data.index import ClipIndex
from zoopraxis.data.prepare.work import Broken, OnProgress, Outcome, writing_to
from zoopraxis.data.stores import ClipStore
from zoopraxis.data.transforms import TestTransform
from zoopraxis.errors import AnnotationError, CheckpointError, ConfigError, did_you_mean
from zoopraxis.models.base import VideoModel
from zoopraxis.models.build import create_model
from zoopraxis.models.checkpoints import initialize, load_model
from zoopraxis.models.preprocessing import Preprocessing, normalize
from zoopraxis.training.trainer import check_devices

__all__ = [
    "MAX_FRAMES",
    "FeatureDtype",
    "Per",
    "check_unique",
    "describe",
    "device_of",
    "digest",
    "extract_features",
    "load_extractor",
]

Per = Literal["frame", "clip"]
FeatureDtype = Literal["float32", "float16"]

_TIMM = "timm:"
MAX_FRAMES = 128
"""Frames that the network sees at once, whatever the batch, so that its memory stays bounded."""
_CHUNK_CLIPS = 256
"""Clips that a kill costs at most, of those that networks need long for."""


def load_extractor(source: str | Path, *, weights: str | Path | None = None) -> VideoModel:
    """The network whose features are wanted.

    Args:
        source: A checkpoint of ours or a published one (a file, a URL or a name of `zoopraxis models`); or `timm:NAME`, a
            network of timm with its weights. It sees the center of frames whose shorter side is resized to the size of its
            input, with the mean and standard deviation that its weights were made with. For `timm:resnet101.tv_in1k` that is
            how the published features of UCF101, HMDB51 and Olympic Sports were made.
        weights: Of `timm:NAME`: a file with its weights, in timm's or torchvision's keys; none: timm fetches them.

    Returns:
        The network in evaluation mode.

    Raises:
        CheckpointError: If the checkpoint or the weights cannot be had.
        ConfigError: If timm has no such network, or weights are given for a checkpoint, which has its own.

    Source: Chen et al., Temporal Attentive Alignment for Large-Scale Video Domain Adaptation, ICCV 2019, the authors' code
    (ResNet-101 of torchvision).
    """
    name = str(source)
    if not name.startswith(_TIMM):
        if weights is not None:
            raise ConfigError(
                f"weights are for networks of timm, and {name} has its own; leave --weights out, or try timm:NAME"
            )
        return load_model(source)
    network = name.removeprefix(_TIMM)
    try:
        model = create_model("tsn", heads={"label": 1}, backbone=network, pretrained=weights is None)
    except CheckpointError as error:
        raise CheckpointError(
            f"timm cannot fetch the weights of {network}; connect to the network once, name a tag that exists, or give a file "
            "of them: --weights FILE"
        ) from error
    if weights is not None:
        initialize(model, weights)
    backbone: Any = model.backbone
    made_with = backbone.network.pretrained_cfg
    size = int(made_with["input_size"][-1])
    mean, std = tuple(made_with["mean"]), tuple(made_with["std"])
    model.preprocessing = dataclasses.replace(model.preprocessing, size=size, resize=size, mean=mean, std=std)
    return model.eval()


def extract_features(
    model: VideoModel,
    index: ClipIndex,
    store: ClipStore,
    out: str | Path,
    *,
    per: Per = "frame",
    num_segments: int = 25,
    modality: str | None = None,
    dtype: FeatureDtype = "float32",
    fps: float | None = None,
    batch_size: int = 4,
    num_workers: int = 0,
    accelerator: str = "auto",
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Write the features of all clips of an index into a feature store.

    The frames of a clip are the centers of K equal spans of it. Where the image network has temporal modules inside, it sees
    them as K / T clips of the T frames that it was built for, each spread over the whole clip: the first is of frames 0, K / T,
    2 K / T and so on. Views along a clip are those of a test with K views: by the network's own rule of sampling.

    Clips that are in `out` already are passed over, so that a run that was killed goes on where it was. What cannot be read is
    left out and told.

    Args:
        model: Any network of the package; it is set to evaluation and moved to the device.
        index: The clips, their ids unique; a row may as well be a whole video.
        store: Where their frames are, of the modality of the network's preprocessing.
        out: The folder; new, or begun by an earlier run with the same network and settings.
        per: `frame`: the image network's features of K frames; `clip`: the network's features of K views.
        num_segments: K; 25 is what the published features have.
        modality: The name that the features get; none: that of the frames.
        dtype: In which features are stored.
        fps: Frame rate of stored frames, for networks that sample by time, and for the times of features, which are stored
            where the rate is known.
        batch_size: Clips that are read at once.
        num_workers: Reading processes; 0 reads in this one.
        accelerator: auto, cpu or gpu.
        on_progress: Told the number of clips.

    Returns:
        Clips written, those that were there, and those that cannot be read.

    Raises:
        ConfigError: If the network has no such features, K does not fit it, or a setting is out of range.
        AnnotationError: If ids repeat.
        DataError: If `out` was begun otherwise, holds something else or cannot be written, or features are not finite.
    """
    _check_settings(index, num_segments=num_segments, batch_size=batch_size, per=per, dtype=dtype)
    out = Path(out)
    network = _Network(model, per=per, num_features=num_segments, device=device_of(accelerator))
    dataset = _dataset(network, index, store, fps=fps)
    name = modality or model.preprocessing.modality
    meta = describe(model, per=per, num_segments=num_segments, fps=fps)
    tell = on_progress or (lambda done, total: None)
    broken: list[Broken] = []
    with writing_to(out), FeatureWriter(out, {name: network.width}, dtype=dtype, meta=meta, chunk_clips=_CHUNK_CLIPS) as writer:
        rows = [row for row, clip_id in enumerate(index.clip_ids.tolist()) if clip_id not in writer.done]
        skipped, done = len(index) - len(rows), 0
        tell(skipped, len(index))
        for batch in read_attempts(dataset, rows, batch_size=batch_size, num_workers=num_workers):
            broken += batch.broken
            done += _write(writer, name, index, batch, network)
            tell(skipped + done + len(broken), len(index))
    return Outcome(done=done, skipped=skipped, broken=tuple(broken))


def _write(writer: FeatureWriter, modality: str, index: ClipIndex, batch: Attempts, network: _Network) -> int:
    """Add the features of the clips that could be read, and count these."""
    if batch.clips is None:
        return 0
    features_BKD = network(batch.clips["clip"])
    for row, features_KD, seconds in zip(batch.clips["index"].tolist(), features_BKD, batch.seconds, strict=True):
        times = None if seconds is None else seconds.reshape(len(features_KD), -1).mean(axis=1)
        writer.add(index[row].clip_id, {modality: features_KD}, seconds=times)
    return len(features_BKD)


class _Network:
    """From clips of stored values to features, on a device."""

    def __init__(self, model: VideoModel, *, per: Per, num_features: int, device: torch.device) -> None:
        self.preprocessing: Preprocessing = model.preprocessing
        self.per = per
        self.num_features = num_features
        self.width = model.num_features
        self.device = device
        self.num_frames = self.preprocessing.num_segments if per == "clip" or model.mixes_frames else 1
        """Of what the network sees together, T."""
        if per == "frame":
            model.check_frame_features()
            _check_division(num_features, self.num_frames)
        model.check_view(self.num_frames, self.preprocessing.size)
        self.model = model.to(device).eval()

    @torch.inference_mode()
    def __call__(self, stored: Tensor) -> npt.NDArray[np.float32]:
        """Features of clips.

        Args:
            stored: uint8, shape (B, K, C, H, W) for features of frames, (B, [K,] T, C, H, W) for those of views.

        Returns:
            Shape (B, K, D), float32.
        """
        num_clips = len(stored)
        if self.per == "frame":
            views = torch.unflatten(stored, 1, (self.num_frames, -1)).transpose(1, 2).flatten(0, 1)  # (B * K / T, T, C, H, W)
        else:
            views = stored.flatten(0, 1) if stored.ndim == 6 else stored
        parts = [self._run(part) for part in torch.split(views, max(1, MAX_FRAMES // self.num_frames))]
        features = torch.unflatten(torch.cat(parts), 0, (num_clips, -1))
        if self.per == "frame":
            features = features.transpose(1, 2).flatten(1, 2)
        features_BKD: npt.NDArray[np.float32] = features.float().cpu().numpy()
        return features_BKD

    def _run(self, views_NTCHW: Tensor) -> Tensor:
        clips = normalize(views_NTCHW.to(self.device), self.preprocessing)
        return self.model.frame_features(clips) if self.per == "frame" else self.model.clip_features(clips)


def _check_division(num_features: int, num_frames: int) -> None:
    """Refuse a number of frames that clips of temporal modules do not divide."""
    below = num_features - num_features % num_frames
    if below < num_features:
        raise ConfigError(
            f"num_segments ({num_features}) must be a multiple of {num_frames}, the frames that the network's temporal modules "
            f"see together; try {below + num_frames}" + (f" or {below}" if below else "")
        )


def _dataset(network: _Network, index: ClipIndex, store: ClipStore, *, fps: float | None) -> ClipDataset:
    preprocessing = network.preprocessing
    per_frame: dict[str, Any] = {"num_segments": network.num_features, "sampling": "segments"}
    per_clip: dict[str, Any] = {
        "num_segments": network.num_frames,
        "num_clips": network.num_features,
        "sampling": preprocessing.sampling,
        "interval": preprocessing.interval,
        "target_fps": preprocessing.target_fps,
    }
    return ClipDataset(
        index,
        store,
        transform=TestTransform(
            size=preprocessing.size,
            resize=preprocessing.resize,
            modality=preprocessing.modality,
            segment_length=preprocessing.segment_length,
            antialias=preprocessing.antialias,
        ),
        segment_length=preprocessing.segment_length,
        fps=fps,
        training=False,
        **(per_frame if network.per == "frame" else per_clip),
    )


def _check_settings(index: ClipIndex, *, num_segments: int, batch_size: int, per: str, dtype: str) -> None:
    for setting, number in (("num_segments", num_segments), ("batch_size", batch_size)):
        if number < 1:
            raise ConfigError(f"{setting} ({number}) must be at least 1")
    for setting, value, known in (("per", per, get_args(Per)), ("dtype", dtype, get_args(FeatureDtype))):
        if value not in known:
            raise ConfigError(f"unknown {setting} {value!r}; {did_you_mean(value, known)}")
    check_unique(index)


def check_unique(index: ClipIndex) -> None:
    """See that a feature store can tell the clips of an index.

    Raises:
        AnnotationError: If ids repeat.
    """
    repeated = [clip_id for clip_id, count in Counter(index.clip_ids.tolist()).items() if count > 1]
    if repeated:
        raise AnnotationError(f"clip id {repeated[0]!r} occurs more than once in the index; a feature store needs unique ids")


def device_of(accelerator: str) -> torch.device:
    """Where a network works, for auto, cpu or gpu.

    Raises:
        ConfigError: If it is another name, or there is no GPU.
    """
    if accelerator not in ("auto", "cpu", "gpu"):
        raise ConfigError(f"unknown accelerator {accelerator!r}; {did_you_mean(accelerator, ('auto', 'cpu', 'gpu'))}")
    check_devices(accelerator, 1)
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def describe(model: VideoModel, **made: Any) -> dict[str, Any]:
    """How features are made, as JSON gives it back; what differs in it must not be in one store.

    Args:
        model: The network.
        made: What else belongs to it.
    """
    described: dict[str, Any] = json.loads(
        json.dumps(
            {
                "model": {key: value for key, value in model.architecture.items() if key != "heads"},
                "weights": digest(model.backbone),
                "preprocessing": model.preprocessing.to_dict(),
                **made,
            }
        )
    )
    return described


def digest(module: nn.Module) -> str:
    """Tells apart which weights features are of: 16 hexadecimal digits."""
    total = hashlib.sha256()
    for key, tensor in module.state_dict().items():
        total.update(key.encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()[:16]
