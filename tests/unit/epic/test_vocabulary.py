"""Numbers and ids of EPIC-KITCHENS-100."""

from __future__ import annotations

import numpy as np

from zoopraxis.epic.vocabulary import (
    HEADS,
    NOUNS,
    VERBS,
    action_id,
    is_2020,
    participant_of,
    split_action_id,
    video_of,
)


def test_there_are_97_verbs_and_300_nouns() -> None:
    assert HEADS == {"verb": 97, "noun": 300}
    assert (VERBS[0], VERBS[-1], len(VERBS)) == ("0", "96", 97)
    assert (NOUNS[0], NOUNS[-1], len(NOUNS)) == ("0", "299", 300)


def test_an_action_is_a_verb_and_a_noun() -> None:
    assert action_id(3, 14) == 3014
    assert split_action_id(96_299) == (96, 299)
    verbs, nouns = np.array([0, 96]), np.array([299, 0])
    assert action_id(verbs, nouns).tolist() == [299, 96_000]
    assert [part.tolist() for part in split_action_id(action_id(verbs, nouns))] == [[0, 96], [299, 0]]


def test_ids_tell_participant_and_video() -> None:
    assert participant_of("P01_11_0") == participant_of("P01_11") == "P01"
    assert video_of("P01_11_0") == "P01_11"


def test_the_year_is_told_by_three_characters_after_the_last_underscore() -> None:
    assert is_2020(["P01_11", "P01_101", "P22_07", "P35_109", "P01_101_extra", "abc"]).tolist() == [
        *(False, True, False, True, False, True),
    ]
    assert is_2020([]).shape == (0,)
