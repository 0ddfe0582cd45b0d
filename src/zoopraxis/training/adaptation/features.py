"""Where the features of a domain's clips are: one store, or one a split in a folder of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zoopraxis.config.adaptation import AdaptationDataConfig
from zoopraxis.data.features import FeatureStore, open_features
from zoopraxis.data.features.folder import DESCRIPTION
from zoopraxis.data.sampling import IntArray
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.training.adaptation.domains import challenge_split, domain_of, setting_of

__all__ = ["JoinedFeatures", "open_domain_features"]

_PICKLES = (".pkl", ".pickle")


def open_domain_features(config: AdaptationDataConfig, split: str) -> FeatureStore:
    """The features of the clips of a split.

    `data.root` (`data.target_root` for the target, where it is set) is a store of ours or a published pickle, or a folder of
    them: then those whose name has the split's in it (`source_train.pkl`), or the name of its annotations, else all.

    Args:
        config: The recipe's data section.
        split: A role (`source`, `target`, `source_val`, `target_val`), or a split as for `open_domain`.

    Raises:
        ConfigError: If there is no such folder.
        DataError: If there are no features in it, they are broken, or those of several files differ in modalities.
    """
    domain = domain_of(split)
    setting = "target_root" if domain == "target" and config.target_root is not None else "root"
    root = Path(getattr(config, setting))
    if not root.exists():
        raise ConfigError(f"data.{setting}={root} does not exist; name a store of features, or a folder of them")
    if root.is_file() or _is_store(root):
        return open_features(root)
    places = sorted(path for path in root.iterdir() if path.suffix in _PICKLES or _is_store(path))
    if not places:
        raise DataError(
            f"data.{setting}={root} holds no features; make them with: zoopraxis prepare features, or name the folder of the "
            "published pickles"
        )
    stores = [open_features(path) for path in _of_split(places, _names(config, split))]
    return stores[0] if len(stores) == 1 else JoinedFeatures(root, stores)


class JoinedFeatures:
    """Features of several stores as one; a clip that is asked for must be in one of them only.

    Args:
        path: The folder that they are in.
        stores: The stores, at least one.

    Raises:
        DataError: If the stores differ in modalities.
    """

    def __init__(self, path: Path, stores: Sequence[FeatureStore]) -> None:
        self.path = path
        self.stores = tuple(stores)
        self.modalities: dict[str, int] = dict(stores[0].modalities)
        self.meta: dict[str, Any] = dict(stores[0].meta)
        for store in stores[1:]:
            if dict(store.modalities) != self.modalities:
                raise DataError(
                    f"features in {path} differ: {stores[0].path} has {_listed(self.modalities)}, {store.path} has "
                    f"{_listed(dict(store.modalities))}; make them by the same network, or give each domain a folder of "
                    "its own with data.target_root"
                )
        self.clip_ids: npt.NDArray[np.str_] = np.concatenate([store.clip_ids for store in stores])
        self.num_features: IntArray = np.concatenate([store.num_features for store in stores])
        self._first_rows = np.cumsum([0, *(len(store.clip_ids) for store in stores)])
        ids = pd.Index(self.clip_ids)
        is_first = ~ids.duplicated()
        self._ids, self._rows = ids[is_first], np.flatnonzero(is_first)
        self._repeated = ids[~is_first].unique()

    def __len__(self) -> int:
        return len(self.clip_ids)

    def widths(self, modalities: Sequence[str] = ()) -> dict[str, int]:
        """Names and widths of modalities, in the order asked for; `ConfigError` if one is unknown or named twice."""
        return self.stores[0].widths(modalities)

    def seconds(self, row: int) -> npt.NDArray[np.float64] | None:
        """Where in its video each feature of a clip lies, in seconds; none if that was not stored."""
        number = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return self.stores[number].seconds(row - int(self._first_rows[number]))

    def rows_of(self, clip_ids: Sequence[str] | npt.NDArray[np.str_]) -> IntArray:
        """The rows of clips, shape (B,).

        Raises:
            DataError: If some are missing, or in several stores: how many, the first, and the cure.
        """
        repeated = self._repeated.intersection(pd.Index(np.asarray(clip_ids)))
        if len(repeated):
            first = repeated[0]
            places = " and ".join(str(store.path) for store in self.stores if first in store.clip_ids)
            raise DataError(
                f"{len(repeated)} of {len(clip_ids)} clips have features in several stores, first {first} in {places}; "
                "name one of the stores with data.root, or move the others away"
            )
        found = self._ids.get_indexer(pd.Index(np.asarray(clip_ids)))
        missing = np.flatnonzero(found < 0)
        if len(missing):
            raise DataError(
                f"{len(missing)} of {len(clip_ids)} clips have no features in {self.path}, first {clip_ids[missing[0]]}; "
                "extract them with: zoopraxis prepare features, or leave the clips out with data.quarantine"
            )
        rows: IntArray = self._rows[found]
        return rows

    def read(self, rows: IntArray, positions: IntArray, modalities: Sequence[str] = ()) -> npt.NDArray[np.float32]:
        """The features of clips at these positions, each of shape (B,) and (B, S); float32, (B, S, D)."""
        numbers = np.searchsorted(self._first_rows, rows, side="right") - 1
        width = sum(self.widths(modalities).values())
        features = np.empty((*positions.shape, width), dtype=np.float32)
        for number in np.unique(numbers).tolist():
            is_here = numbers == number
            found = self.stores[number].read(rows[is_here] - self._first_rows[number], positions[is_here], modalities)
            if is_here.all():
                return np.asarray(found)
            features[is_here] = found
        return features


def _names(config: AdaptationDataConfig, split: str) -> list[str]:
    """What the store of a split may be called, the likeliest first: as the challenge's split, as its annotations, as itself."""
    setting = setting_of(split)
    annotations = None if setting is None else getattr(config, setting)
    return [challenge_split(config, split) if annotations is None else Path(annotations).stem, split]


def _of_split(places: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """The stores of a split: the one of its name, else those that have it in theirs, else all."""
    for name in names:
        exact = [place for place in places if place.stem == name]
        found = exact or [place for place in places if name in place.stem]
        if found:
            return found
    return list(places)


def _is_store(path: Path) -> bool:
    return (path / DESCRIPTION).is_file()


def _listed(modalities: Mapping[str, int]) -> str:
    return ", ".join(f"{name} of {width}" for name, width in modalities.items())
