"""The features of one video in memory, where a store is expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopraxis.data.features.named import NamedClips

__all__ = ["ArrayFeatures"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]


class ArrayFeatures(NamedClips):
    """Features of one video; see `FeatureStore`, which it is.

    Args:
        path: The video, for messages.
        video_id: Its id.
        features: Of each modality, shape (N, C), float32.
        seconds: The moment of each, shape (N,).
        meta: How they were made.
    """

    def __init__(
        self,
        path: Path,
        video_id: str,
        features: Mapping[str, FloatArray],
        seconds: npt.NDArray[np.float64],
        meta: Mapping[str, Any],
    ) -> None:
        widths = {name: values.shape[1] for name, values in features.items()}
        super().__init__(path, np.array([video_id]), np.array([len(seconds)]), widths, meta)
        self._features = dict(features)
        self._seconds = seconds

    def read(self, rows: IntArray, positions: IntArray, modalities: Sequence[str] = ()) -> FloatArray:
        """See `FeatureStore.read`."""
        self.check(rows, positions)
        return np.concatenate([self._features[name][positions] for name in self.widths(modalities)], axis=-1)

    def seconds(self, row: int) -> npt.NDArray[np.float64]:
        """See `FeatureStore.seconds`."""
        return self._seconds
