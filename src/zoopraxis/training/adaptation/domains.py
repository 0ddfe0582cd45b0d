"""From settings to the clips of two domains: which annotations, which classes, and no labels of the target's training clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoopraxis.config.adaptation import AdaptationConfig, AdaptationDataConfig
from zoopraxis.data.annotations import read_annotations
from zoopraxis.data.annotations.shared_classes import share_classes
from zoopraxis.data.annotations.uda import UDA_SPLITS, find_uda_file, uda_file_names
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.data.prepare.check import read_quarantine
from zoopraxis.data.validation import raise_for, validate
from zoopraxis.errors import AnnotationError, ConfigError, did_you_mean
from zoopraxis.training.adaptation.classes import has_labels, numbered, source_classes, unlabelled

__all__ = [
    "Domains",
    "challenge_split",
    "check_apart",
    "domain_of",
    "open_domain",
    "open_domains",
    "setting_of",
    "split_names",
]

_PHASES: Mapping[str, Mapping[str, str]] = {
    "tune": {"source": "source_val", "target": "target_val", "target_val": "target_val"},
    "train": {
        "source": "source_train",
        "target": "target_train",
        "source_val": "source_val",
        "target_val": "target_val",
    },
}
"""Phase of the challenge to the split of each role; in `tune` the network is watched on the very clips it adapts to."""

_SETTINGS = {
    "train": "target",
    "val": "target_val",
    "test": "test",
    "source": "source",
    "source_train": "source",
    "source_val": "source_val",
    "target": "target",
    "target_train": "target",
    "target_val": "target_val",
    "target_test": "test",
}
"""Split to the setting that may name its annotations."""

_SPLITS = {"source": ("train",), "target": ("train",), "source_val": ("val", "test"), "target_val": ("val", "test")}
"""Role to the split that it is of, where annotations have several; `test` stands in for `val` as in UCF101 and HMDB51."""


@dataclass(frozen=True)
class Domains:
    """The clips of two domains, checked, with the same heads and classes.

    Attributes:
        source: Labelled clips to learn from.
        target: Clips to adapt to; labels are `UNLABELLED`, unless `adapt.target` is `labelled`. If it is `none`, may be empty.
        source_val: Labelled clips of the source to watch the network on, if there are any.
        target_val: Labelled clips of the target to watch the network on, if there are any.
        class_names: For each head its classes in label order, those of the source.
        heads: For each head its number of classes, as the network has them.
        notes: What a person should know, one line each.
    """

    source: ClipIndex
    target: ClipIndex
    source_val: ClipIndex | None
    target_val: ClipIndex | None
    class_names: dict[str, tuple[str, ...]]
    heads: dict[str, int]
    notes: tuple[str, ...] = ()


def open_domains(config: AdaptationConfig) -> Domains:
    """The clips that a run learns from, adapts to and is watched on.

    The classes are those of the source; clips of other annotations are numbered by the names of their classes. The labels of
    the target's training clips are taken off before anything else looks at them, unless `adapt.target` is `labelled`; only a
    mapping of classes has then seen which clips are of its classes.

    Raises:
        ConfigError: If annotations or a setting of them are missing or do not exist.
        AnnotationError: If annotations are broken, or domains do not go together.
        DataError: If a pickle is broken or would run code.
    """
    data = config.data
    opened = {role: _open(data, role, has_labels=_learns(config, role)) for role in _SPLITS}
    source = _required(data, opened, "source")
    is_used = config.adapt.target != "none"
    target = _required(data, opened, "target") if is_used else opened["target"] or _Opened(Path(), source.index.select([]))
    class_names, heads = source_classes(source.index, config.model.heads)
    learns_target = config.adapt.target == "labelled"
    indexes = {"source": ClipIndex(source.index.table, class_names)}
    for role, found in {**opened, "target": target}.items():
        if found is not None and role != "source":
            bare = role == "target" and not learns_target
            indexes[role] = unlabelled(found.index, class_names) if bare else numbered(found.index, class_names, role)
    for role, index in indexes.items():
        if len(index) or role != "target" or is_used:
            _check(index, heads, role, must_have_labels=role != "target" or learns_target)
    if data.target_root is None:
        cure = "name other annotations with data.target=..., or data.target_root=... where clips of one name are two"
        check_apart(indexes["source"], indexes["target"], cure=cure)
    named = {role: index.with_domain(domain_of(role)) for role, index in indexes.items()}
    return Domains(
        source=named["source"],
        target=named["target"],
        source_val=named.get("source_val"),
        target_val=named.get("target_val"),
        class_names=class_names,
        heads=heads,
        notes=tuple(_notes(config, target, indexes)),
    )


def split_names() -> tuple[str, ...]:
    """The names that `open_domain` knows."""
    return ("train", "val", "test", "source", "target", *UDA_SPLITS)


def setting_of(split: str) -> str | None:
    """The setting of `data` that may name the annotations of a split; none for `source_test`."""
    return _SETTINGS.get(split)


def challenge_split(config: AdaptationDataConfig, split: str) -> str:
    """The challenge's split that a split is where no setting names its annotations: `source` is `source_train`, or in phase
    `tune` `source_val`."""
    if split in UDA_SPLITS:
        return split
    setting = _SETTINGS[split]
    return "target_test" if setting == "test" else _PHASES[config.phase].get(setting, setting)


def domain_of(split: str) -> str:
    """The domain of a split: `source` for those that are named so, else `target`."""
    return "source" if split.startswith("source") else "target"


def open_domain(
    config: AdaptationDataConfig, split: str, *, class_names: Mapping[str, Sequence[str]] | None = None
) -> ClipIndex:
    """The clips of one split, for tests: with labels where the annotations have them.

    Args:
        config: The recipe's data section.
        split: `train`, `val` and `test` are the target's, as `target`, `target_val` and `target_test`; `source`, `source_val`;
            or another of the challenge's splits.
        class_names: Each head's classes in label order, those that the network was trained with; default: as the annotations
            have them.

    Raises:
        ConfigError: If there is no such split, or its annotations do not exist.
        AnnotationError: If the annotations are broken, or have a class that is not among `class_names`.
    """
    if split not in split_names():
        raise ConfigError(f"unknown split {split!r}; {did_you_mean(split, split_names())}")
    setting, official = setting_of(split), challenge_split(config, split)
    named = None if setting is None else getattr(config, setting)
    splits = _SPLITS.get(setting or "test", ("test",))
    found = _open_named(config, setting or split, named, official, splits=splits, has_labels=True)
    if found is None:
        raise ConfigError(
            f"no annotations of split {split}: {config.annotations or config.root} has no "
            f"{' or '.join(uda_file_names(official))}; give --annotations their file, or the folder that they are in"
        )
    index = found.index
    if class_names is not None:
        names = {head: tuple(known) for head, known in class_names.items()}
        index = numbered(index, names, split) if has_labels(index) else unlabelled(index, names)
    if not len(index):
        raise AnnotationError(f"no clips are left of split {split} ({found.path}); check data.quarantine and data.mapping")
    return index.with_domain(domain_of(split))


def check_apart(source: ClipIndex, target: ClipIndex, *, cure: str) -> None:
    """See that no clip is in both domains.

    Args:
        source: Clips of the source.
        target: Of the target.
        cure: What the message advises.

    Raises:
        AnnotationError: With the number of such clips and the first.
    """
    is_both = np.isin(target.clip_ids, source.clip_ids)
    if is_both.any():
        raise AnnotationError(f"{is_both.sum()} clips are in both domains, first {target.clip_ids[is_both][0]}; {cure}")


@dataclass(frozen=True)
class _Opened:
    path: Path
    index: ClipIndex


def _learns(config: AdaptationConfig, role: str) -> bool:
    """Whether the file with labels is preferred, where there is one without labels too."""
    return role != "target" or config.adapt.target == "labelled"


def _open(config: AdaptationDataConfig, role: str, *, has_labels: bool) -> _Opened | None:
    """The clips of a role; of the challenge's phases only where neither domain is named otherwise."""
    named = getattr(config, role)
    is_challenge = config.source is None and config.target is None
    if named is None and not is_challenge and role in ("source_val", "target_val"):
        return None
    return _open_named(config, role, named, _PHASES[config.phase].get(role), splits=_SPLITS[role], has_labels=has_labels)


def _open_named(
    config: AdaptationDataConfig,
    setting: str,
    named: str | None,
    official: str | None,
    *,
    splits: Sequence[str],
    has_labels: bool,
) -> _Opened | None:
    """Read the annotations that a setting names, or those of the challenge's split; none if there are none of the latter."""
    folder = Path(config.annotations or config.root)
    if named is not None:
        path = _named_path(folder, setting, named, has_labels=has_labels)
    else:
        found = None if official is None else find_uda_file(folder, official, has_labels=has_labels)
        if found is None:
            return None
        path = found
    format = config.format if named is not None else "epic"
    index = read_annotations(path, format=format, modality=config.modality, official_split=config.official_split)
    index = _of_split(index, splits)
    if config.quarantine is not None:
        index = index.without(read_quarantine(Path(config.quarantine)))
    return _Opened(path, index if config.mapping == "none" else share_classes(index, config.mapping))


def _named_path(folder: Path, setting: str, named: str, *, has_labels: bool) -> Path:
    """A file or folder in the annotations' folder, or by itself, or a split of the challenge."""
    official = find_uda_file(folder, named, has_labels=has_labels) if named in UDA_SPLITS else None
    candidates = [path for path in (folder / named, Path(named), official) if path is not None and path.exists()]
    if not candidates:
        raise ConfigError(
            f"data.{setting}={named} is neither a file nor a folder in {folder}, nor by itself; set data.annotations to the "
            f"folder that it is in"
        )
    return candidates[0]


def _of_split(index: ClipIndex, splits: Sequence[str]) -> ClipIndex:
    """The clips of the first of these splits that there is; all where the annotations are of one split or none."""
    known = {name for name in index.table.column("split").unique().to_pylist() if name is not None}
    if len(known) < 2:
        return index
    return index.of_split(next((name for name in splits if name in known), splits[0]))


def _required(config: AdaptationDataConfig, opened: Mapping[str, _Opened | None], role: str) -> _Opened:
    found = opened[role]
    if found is None:
        raise ConfigError(_missing(config, role, _PHASES[config.phase][role]))
    return found


def _missing(config: AdaptationDataConfig, setting: str, official: str) -> str:
    folder = Path(config.annotations or config.root)
    if folder.is_file():
        return f"data.annotations={folder} is a file; name the folder that it is in, or give data.{setting}={folder}"
    names = f", which needs {' or '.join(uda_file_names(official))}" if official in UDA_SPLITS else ""
    return (
        f"no annotations for data.{setting}: it is not set, and {folder} has no split {official} of the challenge{names}; "
        f"set data.annotations to their folder, or data.{setting}=FILE"
    )


def _notes(config: AdaptationConfig, target: _Opened, indexes: Mapping[str, ClipIndex]) -> Iterator[str]:
    if config.adapt.target == "unlabelled" and has_labels(target.index):
        yield f"labels of the target's training clips ({target.path}) are not read"
    if config.adapt.target == "labelled":
        yield "adapt.target=labelled learns the target's labels, which is no adaptation: an upper bound to compare with"
        if "target_val" in indexes and np.isin(indexes["target_val"].clip_ids, indexes["target"].clip_ids).any():
            yield "clips of target_val are learned with their labels, so that its accuracy says nothing of new clips"


def _check(index: ClipIndex, heads: Mapping[str, int], role: str, *, must_have_labels: bool) -> None:
    """Hold every row of a role's clips against the heads.

    Raises:
        AnnotationError: In one line that names the setting.
    """
    try:
        raise_for(validate(index, heads=heads))
    except AnnotationError as error:
        raise AnnotationError(f"data.{role}: {error}") from error
    if not len(index):
        raise AnnotationError(f"data.{role} has no clips; check its annotations and data.quarantine")
    for head in heads if must_have_labels else ():
        is_bare = index.labels()[head] == UNLABELLED
        if is_bare.any():
            cure = f"name labelled annotations with data.{role}=..."
            cure += ", or set adapt.target=unlabelled" * (role == "target")
            raise AnnotationError(
                f"data.{role}: {is_bare.sum()} clips have no label of head {head!r}, first {index.clip_ids[is_bare][0]}; {cure}"
            )
