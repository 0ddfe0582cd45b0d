"""Holds the validator of detection submissions to the published one: what that refuses is refused, and more, named here."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from zoopraxis.epic.detection import check_detection_document
from zoopraxis.errors import ZoopraxisError

ENTRY = {"verb": 1, "noun": 2, "action": "1,2", "score": 0.5, "segment": [1.0, 2.0]}
DOCUMENT = {"version": "0.2", "challenge": "action_detection", "sls_pt": 2, "sls_tl": 3, "sls_td": 3}
VIDEOS = {"P01_11": 60.0, "P01_12": 60.0}
ACCEPTED = "accepted"

LOOPHOLES = (
    r"challenge='(?!action_detection).*",
    "stop before start",
    "unknown video",
    "inf",
    "action inconsistent",
    "start (?:equals|is) stop",
)
"""What the published validator accepts and ours refuses (`Differs:` of epic.detection)."""


def matches(case: dict[str, Any]) -> bool:
    return not case["case"] and {"ok", "stop before start"} <= set(case)


def check(case: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], context: Any) -> None:
    outcomes = {change: outcome for change, outcome in case.items() if change != "case"}
    assert outcomes["ok"] == ACCEPTED
    refused = {}
    for change in outcomes:
        document = make_document()
        alter(document, change)
        refused[change] = refusal(document)
    for change, outcome in outcomes.items():
        is_loophole = any(re.match(pattern, change) for pattern in LOOPHOLES)
        expected = outcome != ACCEPTED or is_loophole
        assert (refused[change] is not None) == expected, f"{change}: {refused[change]!r}, published: {outcome}"
    messages = [message for message in refused.values() if message is not None]
    assert len(set(messages)) == len(messages), "two faults are told in the same words"
    assert all("\n" not in message for message in messages)


def make_document() -> dict[str, Any]:
    """A submission that all accept."""
    return {**DOCUMENT, "results": {video: [copy.deepcopy(ENTRY), copy.deepcopy(ENTRY)] for video in VIDEOS}}


def refusal(document: dict[str, Any]) -> str | None:
    """Why a submission is refused, if it is."""
    try:
        check_detection_document(document, videos=VIDEOS)
    except ZoopraxisError as error:
        return str(error)
    return None


def alter(document: dict[str, Any], change: str) -> None:
    """Make the fault that a case's key describes."""
    entry = document["results"]["P01_11"][0]
    for pattern, action in CHANGES.items():
        match = re.match(pattern, change)
        if match:
            action(document, entry, *match.groups())
            return
    raise AssertionError(f"the case's fault {change!r} is not known here")


def _out_of_range(document: dict[str, Any], entry: dict[str, Any], key: str) -> None:
    widths = {"verb": 97, "noun": 300}
    if key in widths:
        _set_class(entry, key, widths[key])
    else:
        entry["action"] = "97,1"


def _set_class(entry: dict[str, Any], head: str, number: int) -> None:
    entry[head] = number
    entry["action"] = f"{entry['verb']},{entry['noun']}"


def _drop(document: dict[str, Any], entry: dict[str, Any], key: str) -> None:
    entry.pop(key)


Change = Callable[..., Any]
CHANGES: dict[str, Change] = {
    r"ok$": lambda document, entry: None,
    r"challenge='([^']*)'": lambda document, entry, name: document.update(challenge=name),
    r"version ([\d.]+)": lambda document, entry, version: document.update(version=version),
    r"no (sls_\w+|version|challenge|results)": lambda document, entry, name: document.pop(name),
    r"(sls_\w+)=(-?\d+)": lambda document, entry, name, level: document.update({name: int(level)}),
    r"(verb|noun|action) out of range": _out_of_range,
    r"(\d+) timestamps?": lambda document, entry, number: entry.update(segment=[1.0 + step for step in range(int(number))]),
    r"nan score": lambda document, entry: entry.update(score=float("nan")),
    r"nan segment": lambda document, entry: entry.update(segment=[1.0, float("nan")]),
    r"stop before start": lambda document, entry: entry.update(segment=[2.0, 1.0]),
    r"(?:missing|no) (verb|noun|action|score|segment)": _drop,
    r"inf(?:inite)? score": lambda document, entry: entry.update(score=float("inf")),
    r"inf(?:inite)? segment": lambda document, entry: entry.update(segment=[1.0, float("inf")]),
    r"negative (verb|noun)": lambda document, entry, head: _set_class(entry, head, -1),
    r"action inconsistent": lambda document, entry: entry.update(action="3,4"),
    r"start (?:equals|is) stop": lambda document, entry: entry.update(segment=[1.0, 1.0]),
    r"unknown video": lambda document, entry: document["results"].update(P99_99=[copy.deepcopy(ENTRY)]),
}
"""Pattern of a case's key to the fault that it means."""
