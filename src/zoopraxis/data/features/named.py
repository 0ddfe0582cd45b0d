"""What all stores of features have in common: clips and modalities, asked for by name.

# B clips, S features of each
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.errors import ConfigError, DataError, did_you_mean

__all__ = ["SCORE_PREFIX", "NamedClips"]

IntArray = npt.NDArray[np.int64]


SCORE_PREFIX = "score:"
"""A modality `score:<head>` holds class scores (logits) of that head, those of several views side by side: no features to learn
from, but what proposals are called by."""


class NamedClips:
    """Clips with features of some modalities; see `FeatureStore`."""

    def __init__(
        self,
        path: Path,
        clip_ids: npt.NDArray[np.str_],
        num_features: IntArray,
        modalities: Mapping[str, int],
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self.clip_ids = clip_ids
        self.num_features = num_features
        self.modalities = dict(modalities)
        self.meta = dict(meta or {})
        self._places = pd.Index(clip_ids, dtype=object)

    def __len__(self) -> int:
        return len(self.clip_ids)

    def rows_of(self, clip_ids: Sequence[str] | npt.NDArray[np.str_]) -> IntArray:
        """See `FeatureStore.rows_of`."""
        wanted = np.asarray(clip_ids, dtype=object)
        rows = np.asarray(self._places.get_indexer(pd.Index(wanted)), dtype=np.int64)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise DataError(
                f"{len(missing)} of {len(wanted)} clips have no features in {self.path} (first: {wanted[missing[0]]}); "
                "make them by `zoopraxis prepare features`, or check that the annotations belong to these features"
            )
        return rows

    def widths(self, modalities: Sequence[str] = ()) -> dict[str, int]:
        """See `FeatureStore.widths`."""
        if not modalities:
            return dict(self.modalities)
        known = {name.lower(): name for name in self.modalities}
        names = []
        for asked in modalities:
            name = asked if asked in self.modalities else known.get(asked.lower())
            if name is None:
                raise ConfigError(
                    f"unknown modality {asked!r} of the features {self.path}; {did_you_mean(asked, self.modalities)} "
                    f"(they have {', '.join(self.modalities)})"
                )
            names.append(name)
        if len(set(names)) < len(names):
            raise ConfigError(f"modalities {', '.join(modalities)} name one twice; name each once")
        return {name: self.modalities[name] for name in names}

    def check(self, rows_B: IntArray, positions_BS: IntArray) -> None:
        """See that features are there.

        Raises:
            ValueError: If a row or a position is out of range, or shapes differ.
        """
        if rows_B.ndim != 1 or positions_BS.ndim != 2 or len(rows_B) != len(positions_BS):
            raise ValueError(f"rows {rows_B.shape} and positions {positions_BS.shape} must be of shapes (B,) and (B, S)")
        if len(rows_B) and not 0 <= rows_B.min() <= rows_B.max() < len(self):
            raise ValueError(f"rows must be in [0, {len(self)}), not {rows_B.min()} to {rows_B.max()}")
        is_there_BS = (positions_BS >= 0) & (positions_BS < self.num_features[rows_B][:, None])
        if not is_there_BS.all():
            b, s = np.argwhere(~is_there_BS)[0]
            clip_id, count = self.clip_ids[rows_B[b]], self.num_features[rows_B[b]]
            raise ValueError(f"positions of clip {clip_id} must be in [0, {count}), not {positions_BS[b, s]}")
