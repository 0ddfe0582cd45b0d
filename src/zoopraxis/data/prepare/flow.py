"""From videos or folders of frames to folders of optical flow in EPIC-KITCHENS' layout."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zoopraxis.data.decoding import VideoReader
from zoopraxis.data.index import Clip
from zoopraxis.data.prepare.pixels import iter_clip, resize_shorter_side, write_jpeg
from zoopraxis.data.prepare.sources import find_frame_folders, find_videos
from zoopraxis.data.prepare.work import (
    Broken,
    OnProgress,
    Outcome,
    atomic_folder,
    run_over_sources,
)
from zoopraxis.data.stores import UInt8Array, open_store
from zoopraxis.errors import ConfigError, DataError, MissingExtraError, did_you_mean

__all__ = ["epic_stride", "flow_to_uint8", "write_flow"]

FlowMethod = Literal["dis", "dis_fast", "tvl1"]
Estimator = Callable[[UInt8Array, UInt8Array], npt.NDArray[np.float32]]

_VIDEO_OF_2018 = re.compile(r"P\d\d_\d\d")
_METHODS: dict[str, Callable[[Any], Any]] = {
    "dis": lambda cv2: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM),
    "dis_fast": lambda cv2: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST),
    "tvl1": lambda cv2: cv2.optflow.createOptFlow_DualTVL1(),
}
"""From the module cv2 to an estimator; a module without contributed parts lacks the last one's attribute."""


def write_flow(
    root: str | Path,
    out: str | Path,
    *,
    store: Literal["video", "frames"] = "video",
    method: FlowMethod = "dis",
    stride: int | Literal["epic"] = "epic",
    dilation: int = 1,
    bound: float = 20.0,
    resize: int | None = None,
    quality: int = 95,
    num_workers: int = 1,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Write the optical flow of every video as `<out>/<source>/{u,v}/frame_%010d.jpg`, numbered from 1.

    Flow image t (from 0) is the motion from frame t * stride to frame t * stride + dilation, for the last ones to the video's
    last frame; n frames give (n - 2) // stride + 1 flow images. A video's folder appears when it is complete; one that is
    there is kept. Videos that cannot be read are set aside.

    Args:
        root: A folder of videos or of frame folders, searched with all below it.
        out: The root of the flow folders, of this work alone.
        store: What `root` holds.
        method: "dis" (Kroeger et al., ECCV 2016, OpenCV's medium preset), "dis_fast" (its fast preset, four times as fast), or
            "tvl1" (Zach et al., 2007), by which the published flow was made: hundreds of times slower.
        stride: Frames between the beginnings of flow images. "epic": 2 for EPIC-KITCHENS videos of 2018 (P01_02), else 1, as
            the published frame numbers of flow have it.
        dilation: Frames between the two frames of a flow image.
        bound: Motion in px that is stored as 0 or 255; larger is clipped; no motion is 128.
        resize: Shorter side of the frames before the flow is computed, px; None keeps the size.
        quality: Of the grey JPEGs.
        num_workers: Processes; see `run_tasks`.
        on_progress: Told the number of videos.

    Raises:
        ConfigError: If a number is out of range.
        MissingExtraError: If OpenCV (for tvl1: with its contributed modules) is not installed.
        DataError: If there is nothing to work on, `out` was begun with other settings or cannot be written, or a process was
            killed.

    Differs: the published flow of 2018 videos has dilation 3 and bound 25.
    """
    for name, value in (("stride", stride), ("dilation", dilation), ("bound", bound)):
        if not isinstance(value, str) and value <= 0:
            raise ConfigError(f"{name} ({value}) must be positive")
    _estimator(method)
    out = Path(out)
    settings = {"content": "flow", "method": method, "stride": stride, "dilation": dilation, "bound": bound}
    return run_over_sources(
        _extract,
        _Job(out, store, method, stride, dilation, bound, resize, quality),
        find_videos(root) if store == "video" else find_frame_folders(root),
        out,
        settings={**settings, "resize": resize, "quality": quality},
        num_workers=num_workers,
        on_progress=on_progress,
    )


def epic_stride(video_id: str) -> int:
    """Frames of an EPIC-KITCHENS video to one published flow image: 2 for videos of 2018 (P01_02), else 1."""
    return 2 if _VIDEO_OF_2018.fullmatch(video_id) else 1


def flow_to_uint8(flow: npt.NDArray[np.float32], bound: float) -> UInt8Array:
    """Flow in px, any shape, as bytes: -bound to 0, no motion to 128, bound to 255, clipped beyond."""
    levels: UInt8Array = np.rint((np.clip(flow, -bound, bound) + bound) * (255 / (2 * bound))).astype(np.uint8)
    return levels


@dataclass(frozen=True)
class _Job:
    out: Path
    store: Literal["video", "frames"]
    method: FlowMethod
    stride: int | Literal["epic"]
    dilation: int
    bound: float
    resize: int | None
    quality: int


def _extract(job: _Job, item: tuple[str, Path]) -> Broken | None:
    source, path = item
    stride = epic_stride(Path(source).name) if job.stride == "epic" else job.stride
    estimate = _estimator(job.method)
    try:
        with atomic_folder(job.out / source) as folder:
            for component in ("u", "v"):
                (folder / component).mkdir()
            number = 0
            pairs = _pairs(_grey_frames(job, path), stride, job.dilation)
            for number, (first, second) in enumerate(pairs, start=1):
                flow = flow_to_uint8(estimate(first, second), job.bound)
                write_jpeg(folder / "u" / f"frame_{number:010d}.jpg", flow[..., 0], quality=job.quality)
                write_jpeg(folder / "v" / f"frame_{number:010d}.jpg", flow[..., 1], quality=job.quality)
            if number == 0:
                raise DataError(f"{path} has fewer than two frames, so there is no flow; leave it out")
    except DataError as error:
        return Broken(item=source, file=str(path), reason=str(error))
    return None


def _grey_frames(job: _Job, path: Path) -> Iterator[UInt8Array]:
    """A video's frames, each of shape (H, W), uint8."""
    import cv2

    if job.store == "video":
        with VideoReader(path, resize=job.resize) as video:
            for image in video.iter_frames():
                yield cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        return
    for frames in iter_clip(open_store("frames", path.parent), Clip(path.name, path.name)):
        for image in frames if job.resize is None else resize_shorter_side(frames, job.resize):
            yield cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _pairs(frames: Iterator[UInt8Array], stride: int, dilation: int) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """Frames t * stride and t * stride + dilation, the latter at most the last frame, for all t whose two frames differ."""
    waiting: deque[tuple[int, UInt8Array]] = deque()
    last: UInt8Array | None = None
    number = -1
    for number, last in enumerate(frames):
        if waiting and waiting[0][0] + dilation == number:
            yield waiting.popleft()[1], last
        if number % stride == 0:
            waiting.append((number, last))
    for start, first in waiting:
        if start < number and last is not None:
            yield first, last


def _estimator(method: FlowMethod) -> Estimator:
    """A function of two grey frames, (H, W), uint8, that gives the flow from the first to the second, (H, W, 2), px.

    Raises:
        MissingExtraError: If OpenCV or its contributed modules are not installed.
        ConfigError: If the method is unknown.
    """
    if method not in _METHODS:
        raise ConfigError(f"unknown flow method {method!r}; {did_you_mean(method, _METHODS)}")
    try:
        import cv2

        estimator = _METHODS[method](cv2)
    except (ImportError, AttributeError) as error:
        raise MissingExtraError("opencv-contrib-python-headless", "flow") from error
    cv2.setNumThreads(1)

    def estimate(first: UInt8Array, second: UInt8Array) -> npt.NDArray[np.float32]:
        try:
            flow: npt.NDArray[np.float32] = estimator.calc(first, second, None)
        except cv2.error as error:
            sizes = " and ".join(f"{image.shape[1]}x{image.shape[0]}" for image in (first, second))
            raise DataError(f"no flow between frames of {sizes} px: {' '.join(str(error).split())}") from error
        return flow

    return estimate
