"""What proposals are called, as `classes.by` says.

# V videos, W windows of a video, P proposals of a video, C scores of all views, K classes, T steps
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoopraxis.config.localization import ClassesConfig
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.localization.fusion import fuse_at_cells
from zoopraxis.localization.naming import class_probabilities, join_actions, sample_class_scores
from zoopraxis.localization.network import BoundaryMatchingNetwork
from zoopraxis.localization.proposals import Proposals
from zoopraxis.training.localization.windows import LongFeatures

__all__ = ["Located", "MapNamer", "Namer", "Names", "NoNames", "ScoreNamer", "VideoNamer", "rank_classes", "read_video_scores"]

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Located:
    """The proposals of a video, and the windows that they come from.

    Attributes:
        video: The video's number.
        found: The proposals; their cells are of the video's grid.
        seconds: Start and stop of each, shape (P, 2).
        bounds: Start and stop of each window, seconds, shape (W, 2).
        grid: Where each window's first steps lie on the grid.
        valid_DT: Cells of a window that count.
        classes: For each window the network's maps of classes, head to logits (K, D, T); empty where they are not kept.
    """

    video: int
    found: Proposals
    seconds: npt.NDArray[np.float64]
    bounds: npt.NDArray[np.float64]
    grid: Sequence[IntArray]
    valid_DT: Tensor  # noqa: N815
    classes: Sequence[Mapping[str, Tensor]] = ()


class Names(NamedTuple):
    """The classes of each proposal, the likeliest first.

    Attributes:
        labels: For each head the classes, shape (P, N).
        scores: Of each, shape (P, N).
    """

    labels: dict[str, IntArray]
    scores: FloatArray


class Namer(Protocol):
    """Names the proposals of a video."""

    def __call__(self, located: Located) -> Names:
        """The classes of at least one proposal."""


class NoNames:
    """`classes.by=none`: proposals are only places."""

    def __call__(self, located: Located) -> Names:
        return Names({}, np.ones((len(located.found), 1)))


class ScoreNamer:
    """`classes.by=scores`: class scores beside the features, sampled in each proposal.

    Args:
        scores: Of each head, all views' logits along the videos.
        num_classes: Of each head; the views that lie side by side are told from it.
        settings: The recipe's section `classes`.
        device: Where is computed.

    Raises:
        DataError: If the width of scores is no multiple of the number of classes.
    """

    def __init__(
        self,
        scores: Mapping[str, LongFeatures],
        num_classes: Mapping[str, int],
        settings: ClassesConfig,
        *,
        device: torch.device,
    ) -> None:
        self.scores = dict(scores)
        self.settings = settings
        self.device = device
        self.widths = {head: num_classes[head] for head in scores}
        for head, found in self.scores.items():
            if found.num_channels % num_classes[head]:
                raise DataError(
                    f"scores of {head} in {found.store.path} have width {found.num_channels}, which are not those of "
                    f"{num_classes[head]} classes, for one view or several; take scores of a network of the same classes"
                )

    def __call__(self, located: Located) -> Names:
        windows = ((covered, self._sampler(located, number)) for number, covered in enumerate(located.grid))
        return _ranked(located, windows, self.widths, self.settings)

    def _sampler(self, located: Located, number: int) -> Callable[[IntArray, IntArray], Tensor]:
        def sample(durations_P: IntArray, steps_P: IntArray) -> Tensor:
            parts = []
            for head, found in self.scores.items():
                scores_CT = torch.from_numpy(found.read(located.video, located.bounds[number])).to(self.device)
                num_views = found.num_channels // self.widths[head]
                points = self.settings.num_points
                parts.append(sample_class_scores(scores_CT, durations_P, steps_P, num_points=points, num_views=num_views))
            return torch.cat(parts, dim=1)

        return sample


class MapNamer:
    """`classes.by=maps`: the network's own maps of classes.

    They are so large that those of a video of many windows are not kept: its windows go through the network once more.

    Args:
        network: With maps of classes.
        features: What it sees of the videos.
        settings: The recipe's section `classes`.
        device: Where the network is.

    Raises:
        ConfigError: If the network has no maps of classes.
    """

    def __init__(
        self,
        network: BoundaryMatchingNetwork,
        features: LongFeatures,
        settings: ClassesConfig,
        *,
        device: torch.device,
    ) -> None:
        self.widths: dict[str, int] = network.arguments["heads"]
        if not self.widths:
            raise ConfigError(
                "classes.by=maps, but the network has no maps of classes; train it with model.class_maps=true, or name "
                "proposals otherwise, e.g. with classes.by=scores"
            )
        self.network = network
        self.features = features
        self.settings = settings
        self.device = device

    def __call__(self, located: Located) -> Names:
        windows = ((covered, self._sampler(located, number)) for number, covered in enumerate(located.grid))
        return _ranked(located, windows, self.widths, self.settings)

    def _sampler(self, located: Located, number: int) -> Callable[[IntArray, IntArray], Tensor]:
        def sample(durations_P: IntArray, steps_P: IntArray) -> Tensor:
            maps = located.classes[number] if located.classes else self._maps(located, number)
            return torch.cat([class_probabilities(maps[head], durations_P, steps_P) for head in self.widths], dim=1)

        return sample

    def _maps(self, located: Located, number: int) -> dict[str, Tensor]:
        features_CT = torch.from_numpy(self.features.read(located.video, located.bounds[number]))
        maps = self.network(features_CT[None].to(self.device))
        return {head: values[0] for head, values in maps.classes.items()}


class VideoNamer:
    """`classes.by=video`: one vector of class scores a video.

    Args:
        scores: Of each video, by its number, shape (V, K).
        head: What the classes are of.
        settings: The recipe's section `classes`.
    """

    def __init__(self, scores: FloatArray, head: str, settings: ClassesConfig) -> None:
        self.scores = scores
        self.head = head
        self.settings = settings

    def __call__(self, located: Located) -> Names:
        own_PK = np.repeat(self.scores[located.video][None], len(located.found), axis=0)
        return rank_classes({self.head: own_PK}, self.settings)


def rank_classes(probabilities: Mapping[str, FloatArray], settings: ClassesConfig) -> Names:
    """The likeliest classes of each proposal: actions, where there are verbs and nouns.

    Args:
        probabilities: For each head, shape (P, K).
        settings: The recipe's section `classes`.

    Raises:
        ConfigError: If there are several heads other than verbs and nouns.
    """
    heads = list(probabilities)
    if set(heads) == {"verb", "noun"}:
        classes_PN2, scores_PN3 = join_actions(
            probabilities["verb"],
            probabilities["noun"],
            num_verbs=settings.num_verbs,
            num_nouns=settings.num_nouns,
            top=settings.per_proposal,
        )
        return Names({"verb": classes_PN2[..., 0], "noun": classes_PN2[..., 1]}, scores_PN3[..., 2])
    if len(heads) != 1:
        raise ConfigError(f"proposals cannot be named by {', '.join(heads)} together; choose one of them with data.heads")
    own_PK = probabilities[heads[0]]
    best_PN = np.argsort(-own_PK, axis=1, kind="stable")[:, : settings.per_proposal]
    return Names({heads[0]: best_PN}, np.take_along_axis(own_PK, best_PN, axis=1))


def read_video_scores(path: str | Path) -> tuple[dict[str, FloatArray], tuple[str, ...] | None]:
    """One vector of class scores a video, and the classes' names where the file has them.

    Read are JSON as CUHK published it for ActivityNet, `{"results": {video: [score, ...]}, "class": [name, ...]}`, and `.npz`
    with `video_ids` (V,), `scores` (V, K) and perhaps `class_names` (K,).

    Raises:
        DataError: If it is missing, broken or something else, vectors are of unequal length, or scores are not finite.
    """
    path = Path(path)
    try:
        found, names = _READERS[path.suffix.lower()](path)
    except KeyError as error:
        what = f"it lacks {error}" if path.suffix.lower() in _READERS else f"it must be {' or '.join(_READERS)}"
        raise DataError(f"{path} has no class scores of videos: {what}; check the path") from error
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as class scores of videos ({reason}); get or make it again") from error
    widths = {values.shape for values in found.values()}
    if len(widths) != 1 or len(next(iter(widths))) != 1 or (names is not None and len(names) != next(iter(widths))[0]):
        raise DataError(
            f"{path} must have one score a class of each video, as many for all; it has the shapes {sorted(widths)}"
        )
    broken = [video for video, values in found.items() if not np.isfinite(values).all()]
    if broken:
        raise DataError(
            f"{path} has NaN or infinite scores of {len(broken)} of {len(found)} videos (first: {broken[0]}); "
            "get or make it again"
        )
    return found, names


def _read_json(path: Path) -> tuple[dict[str, FloatArray], tuple[str, ...] | None]:
    content = json.loads(path.read_text())
    names = content.get("class")
    found: dict[str, FloatArray] = {
        str(video): np.asarray(scores, dtype=np.float64) for video, scores in content["results"].items()
    }
    return found, None if names is None else tuple(map(str, names))


def _read_npz(path: Path) -> tuple[dict[str, FloatArray], tuple[str, ...] | None]:
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    names = arrays.get("class_names")
    scores_VK: FloatArray = arrays["scores"].astype(np.float64)
    found = dict(zip(arrays["video_ids"].tolist(), scores_VK, strict=True))
    return found, None if names is None else tuple(names.tolist())


_READERS: dict[str, Callable[[Path], tuple[dict[str, FloatArray], tuple[str, ...] | None]]] = {
    ".json": _read_json,
    ".npz": _read_npz,
}


def _ranked(
    located: Located,
    windows: Iterator[tuple[IntArray, Callable[[IntArray, IntArray], Tensor]]],
    widths: Mapping[str, int],
    settings: ClassesConfig,
) -> Names:
    """The likeliest classes by the mean over the windows that a proposal lies in, all heads' scores side by side."""
    found = located.found
    fused_PK = fuse_at_cells(found.durations, found.steps, windows, located.valid_DT).cpu()
    parts = torch.split(fused_PK, list(widths.values()), dim=1)
    return rank_classes({head: part.numpy() for head, part in zip(widths, parts, strict=True)}, settings)
