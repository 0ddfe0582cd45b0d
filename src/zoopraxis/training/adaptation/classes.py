"""One numbering of classes for both domains, and clips without their labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.errors import AnnotationError, ConfigError, did_you_mean

__all__ = ["ClassNames", "has_labels", "numbered", "source_classes", "unlabelled"]

ClassNames = Mapping[str, tuple[str, ...]]
"""For each head its classes, in label order."""


def source_classes(source: ClipIndex, given: Mapping[str, int] | None) -> tuple[dict[str, tuple[str, ...]], dict[str, int]]:
    """The class names and sizes of the heads: the source's, where classes are numbers as many as the recipe gives.

    Raises:
        ConfigError: If the recipe gives other heads than the source has.
        AnnotationError: If the source has no heads at all.
    """
    names = dict(source.class_names)
    if not names:
        raise AnnotationError("the source's training clips have no labels; name labelled annotations with data.source=...")
    if given is not None and set(given) != set(names):
        raise ConfigError(f"model.heads has {', '.join(given)}, but the source's clips have labels of {', '.join(names)}")
    heads = source.heads if given is None else dict(given)
    for head, known in names.items():
        if heads[head] > len(known) and known == tuple(str(number) for number in range(len(known))):
            names[head] = tuple(str(number) for number in range(heads[head]))
    return names, {head: heads[head] for head in names}


def has_labels(index: ClipIndex) -> bool:
    """Whether any clip has a label."""
    return any((labels != UNLABELLED).any() for labels in index.labels().values())


def unlabelled(index: ClipIndex, class_names: ClassNames) -> ClipIndex:
    """The clips without their labels."""
    return index.with_labels({head: np.full(len(index), UNLABELLED) for head in class_names}, class_names)


def numbered(index: ClipIndex, class_names: ClassNames, role: str) -> ClipIndex:
    """The clips with their labels numbered by these class names.

    Raises:
        AnnotationError: If a head is missing, or a clip has a class that is not among them.
    """
    missing = [head for head in class_names if head not in index.heads]
    if missing:
        raise AnnotationError(
            f"data.{role} has labels of {', '.join(index.heads) or 'no head'}, but the source's classes are of "
            f"{', '.join(class_names)}; name annotations of the same heads"
        )
    labels = {}
    for head, names in class_names.items():
        numbers = {name: number for number, name in enumerate(names)}
        own = index.class_names[head]
        given = index.labels()[head]
        is_outside = (given < UNLABELLED) | (given >= len(own))
        table = np.asarray([*(numbers.get(name, len(names)) for name in own), UNLABELLED], dtype=np.int64)
        found = table[np.where(is_outside, UNLABELLED, given)]
        wrong = np.flatnonzero(is_outside | (found == len(names)))
        if len(wrong):
            label = given[wrong[0]]
            name = own[label] if not is_outside[wrong[0]] else str(label)
            raise AnnotationError(
                f"data.{role}: {len(wrong)} clips are of classes of head {head!r} that the source's training clips do not "
                f"have, first {index.clip_ids[wrong[0]]} of {name!r}; {did_you_mean(name, names)}"
            )
        labels[head] = found
    return index.with_labels(labels, class_names)
