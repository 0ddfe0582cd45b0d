"""Classes that two data sets share: which of each keep their clips, and how they are numbered together.

The classes of UCF101, HMDB51 and Olympic Sports are named as their folders. Several classes of a data set may be one shared
class.

Source: cmhungsteve/TA3N, `data/classInd_*.txt` and `data/*_splits/class_list_*.txt`; Chen et al., Temporal Attentive Alignment
for Large-Scale Video Domain Adaptation, ICCV 2019, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.errors import AnnotationError, ConfigError, did_you_mean

__all__ = ["SHARED_CLASSES", "SharedClasses", "share_classes"]


@dataclass(frozen=True)
class SharedClasses:
    """The classes that two data sets share.

    Attributes:
        names: The shared classes, in label order.
        members: For each data set its classes, each with the name of the shared class.
    """

    names: tuple[str, ...]
    members: Mapping[str, Mapping[str, str]]


_HMDB = (
    "climb",
    "fencing",
    "golf",
    "kick_ball",
    "pullup",
    "punch",
    "pushup",
    "ride_bike",
    "ride_horse",
    "shoot_ball",
    "shoot_bow",
    "walk",
)
_HMDB_SMALL = ("golf", "pullup", "ride_bike", "ride_horse", "shoot_ball")
_UCF_TO_HMDB = {
    "Archery": "shoot_bow",
    "Basketball": "shoot_ball",
    "Biking": "ride_bike",
    "BoxingPunchingBag": "punch",
    "BoxingSpeedBag": "punch",
    "Fencing": "fencing",
    "GolfSwing": "golf",
    "HorseRiding": "ride_horse",
    "PullUps": "pullup",
    "Punch": "punch",
    "PushUps": "pushup",
    "RockClimbingIndoor": "climb",
    "RopeClimbing": "climb",
    "SoccerPenalty": "kick_ball",
    "WalkingWithDog": "walk",
}
_OLYMPIC_TO_UCF = {
    "basketball_layup": "Basketball",
    "clean_and_jerk": "CleanAndJerk",
    "discus_throw": "ThrowDiscus",
    "diving_springboard_3m": "Diving",
    "pole_vault": "PoleVault",
    "tennis_serve": "TennisSwing",
}

SHARED_CLASSES: Mapping[str, SharedClasses] = {
    "ucf_hmdb": SharedClasses(_HMDB, {"ucf101": _UCF_TO_HMDB, "hmdb51": {name: name for name in _HMDB}}),
    "ucf_hmdb_small": SharedClasses(
        _HMDB_SMALL,
        {
            "ucf101": {name: shared for name, shared in _UCF_TO_HMDB.items() if shared in _HMDB_SMALL},
            "hmdb51": {name: name for name in _HMDB_SMALL},
        },
    ),
    "ucf_olympic": SharedClasses(
        tuple(_OLYMPIC_TO_UCF.values()),
        {"ucf101": {name: name for name in _OLYMPIC_TO_UCF.values()}, "olympic": _OLYMPIC_TO_UCF},
    ),
}
"""Mapping to its classes: UCF101 with HMDB51 (12, or the 5 of earlier work), UCF101 with Olympic Sports (6)."""


def share_classes(index: ClipIndex, mapping: str, dataset: str | None = None) -> ClipIndex:
    """The clips of the shared classes, numbered by them, and the clips without a label.

    An index whose classes are numbers below that of the shared classes is taken as numbered by them already, as the published
    lists are.

    Args:
        index: Clips with the one head `label`, or without labels.
        mapping: One of `SHARED_CLASSES`.
        dataset: Whose classes the index has: `ucf101`, `hmdb51` or `olympic`; default: any of the mapping's.

    Raises:
        ConfigError: If there is no such mapping, or it is not of the data set.
        AnnotationError: If the index has other heads, or no clip of a shared class.
    """
    if mapping not in SHARED_CLASSES:
        raise ConfigError(f"unknown mapping of classes {mapping!r}; {did_you_mean(mapping, SHARED_CLASSES)}")
    shared = SHARED_CLASSES[mapping]
    if dataset is not None and dataset not in shared.members:
        raise ConfigError(f"the mapping {mapping} is not of the data set {dataset!r}; {did_you_mean(dataset, shared.members)}")
    if not index.heads:
        return index
    if set(index.heads) != {"label"}:
        raise AnnotationError(
            f"the mapping {mapping} is for the head 'label', but the annotations have {', '.join(index.heads)}; "
            "leave out data.mapping"
        )
    members = {} if dataset is None else dict(shared.members[dataset])
    for table in shared.members.values() if dataset is None else ():
        members |= table
    names = index.class_names["label"]
    if names == tuple(str(number) for number in range(len(names))) and len(names) <= len(shared.names):
        members = dict(zip(names, shared.names, strict=False))
    return _renumbered(index, mapping, shared.names, members)


def _renumbered(index: ClipIndex, mapping: str, shared: tuple[str, ...], members: Mapping[str, str]) -> ClipIndex:
    names = index.class_names["label"]
    numbers = {name: number for number, name in enumerate(shared)}
    dropped = -2
    of_class = [numbers[members[name]] if name in members else dropped for name in names]
    given = index.labels()["label"]
    if ((given < UNLABELLED) | (given >= len(names))).any():
        raise AnnotationError(f"the annotations have labels outside their {len(names)} classes; make them anew")
    labels = np.asarray([*of_class, UNLABELLED], dtype=np.int64)[given]
    if len(labels) and not (labels != dropped).any():
        raise AnnotationError(
            f"no clip is of a class of the mapping {mapping}: the annotations have {_listed(names)}, the mapping "
            f"{_listed(sorted(members))}; labels must be the names of the classes"
        )
    return index.select(labels != dropped).with_labels({"label": labels[labels != dropped]}, {"label": shared})


def _listed(names: tuple[str, ...] | list[str], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
