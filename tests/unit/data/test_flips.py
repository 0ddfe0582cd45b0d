"""Labels of flipped clips."""

from __future__ import annotations

import numpy as np
import pytest

from zoopraxis.data.flips import labels_after_flip
from zoopraxis.errors import ConfigError

SSV2 = [[86, 87], [93, 94], [166, 167]]


def test_classes_of_a_pair_change_places_and_others_stay() -> None:
    labels = labels_after_flip(SSV2, 174)
    assert labels[[86, 87, 93, 94, 166, 167]].tolist() == [87, 86, 94, 93, 167, 166]
    assert (labels != np.arange(174)).sum() == 6
    np.testing.assert_array_equal(labels[labels], np.arange(174))
    np.testing.assert_array_equal(labels_after_flip([], 5), np.arange(5))


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([[86, 174]], r"flip_pairs has class 174, but the head has classes 0 to 173; give the pairs of this data set"),
        ([[-1, 3]], r"flip_pairs has class -1"),
        ([[86, 87], [87, 93]], r"flip_pairs has class 87 in two pairs; a flip turns a class into one other only"),
        ([[1, 2, 3]], r"flip_pairs has \[1, 2, 3\], which is no pair of two classes; write it as \[86, 87\]"),
        ([[4, 4]], r"flip_pairs has \[4, 4\], which is no pair"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(pairs: list[list[int]], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        labels_after_flip(pairs, 174)
