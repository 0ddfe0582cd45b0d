"""Where clips' frames come from: gulp folders, folders of JPEGs, video files. One protocol for all."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from zoopraxis.data.index import Clip
from zoopraxis.errors import ConfigError, DataError, did_you_mean

__all__ = ["ClipStore", "IntArray", "UInt8Array", "open_store"]

IntArray = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]


class ClipStore(Protocol):
    """Frames by clip. Stores are picklable and open their files at the first read of each process."""

    def num_frames(self, clip: Clip) -> int:
        """Frames of the clip (RGB frames, or pairs of flow).

        Raises:
            DataError: If the clip is not there, or reaches beyond what is.
        """
        ...

    def frame_rate(self, clip: Clip) -> float | None:
        """Frames a second of the clip, where the store knows: videos do, stored frames do not.

        Raises:
            DataError: If the clip's file is missing or broken.
        """
        ...

    def check(self, clip: Clip) -> None:
        """See that the clip is there, as far as can be told without opening videos.

        Raises:
            DataError: If it is not; names the clip and the file.
        """
        ...

    def read(self, clip: Clip, frames: IntArray) -> UInt8Array:
        """Some frames of a clip.

        Args:
            clip: The clip.
            frames: Numbers from the clip's start, shape (T,), in any order, repeats allowed.

        Returns:
            Shape (T, H, W, C), in the order asked for: C = 3 (RGB), or 2 (flow u, v).

        Raises:
            DataError: If a frame is missing or broken; names the clip and the file.
        """
        ...


_STORES = {
    "gulp": "zoopraxis.data.stores.gulp:GulpStore",
    "frames": "zoopraxis.data.stores.frames:FrameFolderStore",
    "video": "zoopraxis.data.stores.video:VideoStore",
}


def open_store(kind: str, root: str | Path, *, modality: str = "rgb", index_cache: str | Path | None = None) -> ClipStore:
    """A store by its kind (gulp, frames or video).

    Args:
        kind: What the folder holds.
        root: The folder.
        modality: rgb or flow.
        index_cache: For videos: a folder where packet indexes are kept from run to run; None keeps them for this process only.

    Raises:
        ConfigError: If the kind or the modality is unknown, or videos are asked for flow.
        DataError: If the folder is missing.
    """
    if kind not in _STORES:
        raise ConfigError(f"unknown store {kind!r}; {did_you_mean(kind, _STORES)}")
    if modality not in ("rgb", "flow"):
        raise ConfigError(f"unknown modality {modality!r}; {did_you_mean(modality, ('rgb', 'flow'))}")
    if not Path(root).is_dir():
        raise DataError(f"the {kind} store {root} is no folder; check data.root")
    module, name = _STORES[kind].split(":")
    options = {"index_cache": index_cache} if kind == "video" else {}
    store: ClipStore = getattr(import_module(module), name)(Path(root), modality, **options)
    return store
