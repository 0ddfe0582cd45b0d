"""Classes that a horizontal flip turns into each other: "pushing from left to right" in a mirror goes from right to left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import ConfigError

__all__ = ["labels_after_flip"]


def labels_after_flip(pairs: Sequence[Sequence[int]], num_classes: int) -> npt.NDArray[np.int64]:
    """The label of each class after its clip was flipped.

    Differs: the published TAda! flips a clip of Something-Something with probability 1/2, keeping its label, and then again
    with probability 1/2, swapping it, so that half of the clips of these classes are labelled wrongly. Here a clip is flipped
    at most once, and its label is swapped if and only if it was.

    Args:
        pairs: Two classes each, e.g. [[86, 87], [93, 94], [166, 167]] for Something-Something V2 and [[2, 4], [30, 41],
            [52, 66]] for V1.
        num_classes: Classes of the head, K.

    Returns:
        Shape (K,): the other class of its pair, or the class itself where it is in none.

    Raises:
        ConfigError: If a pair is no pair, a class is out of range, or one is in two pairs.
    """
    labels = np.arange(num_classes)
    seen: set[int] = set()
    for pair in pairs:
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ConfigError(f"flip_pairs has {list(pair)}, which is no pair of two classes; write it as [86, 87]")
        for label in pair:
            if not 0 <= label < num_classes:
                raise ConfigError(
                    f"flip_pairs has class {label}, but the head has classes 0 to {num_classes - 1}; "
                    "give the pairs of this data set, or set data.transform.flip_pairs=[]"
                )
            if label in seen:
                raise ConfigError(f"flip_pairs has class {label} in two pairs; a flip turns a class into one other only")
            seen.add(label)
        labels[list(pair)] = labels[[pair[1], pair[0]]]
    return labels
