"""Detections as JSON: `{"results": {video: [{"score", "segment": [start, stop], ...}]}}`, of the challenge and of ActivityNet.

Source: EPIC-KITCHENS C2-Action-Detection; ActivityNet, Evaluation/eval_detection.py; TAdaConv, runs/test_epic_localization.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from zoopraxis.errors import DataError, did_you_mean

__all__ = ["Columns", "as_entries", "class_names_of", "read_columns"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_ACTION = re.compile(r"(\d+),(\d+)")
_FIXED = ("score", "segment", "action", "label")
_CLASSES = frozenset({"verb", "noun", "action", "label"})
"""Keys that every detection has, where one has them."""


class Columns(NamedTuple):
    """What the document says, one row a detection, not yet checked for what the numbers mean."""

    video_ids: npt.NDArray[np.str_]
    video: IntArray
    segments: FloatArray
    scores: FloatArray
    labels: dict[str, Any]
    meta: dict[str, Any]


def read_columns(content: Any, class_names: Mapping[str, Sequence[str]]) -> Columns:
    """Take a document apart; its `meta`, if any, is kept.

    Labels that are names are numbered by `class_names["label"]`, or else in alphabetical order, which `meta` then tells.

    Raises:
        DataError: If it has no object `results`, an entry lacks a score, a segment or a class that others have, an action is
            not its verb and noun, or a class has an unknown name.
    """
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or not all(isinstance(rows, list) for rows in results.values()):
        raise DataError("it has no object 'results' with a list of detections a video")
    entries = [entry for rows in results.values() for entry in rows]
    video = np.repeat(np.arange(len(results), dtype=np.int64), [len(rows) for rows in results.values()])
    places = [f"detection {number} of video {name}" for name, rows in results.items() for number in range(len(rows))]
    keys = {key for entry in entries if isinstance(entry, dict) for key in _CLASSES & entry.keys()}
    for entry, where in zip(entries, places, strict=True):
        _check_entry(entry, keys | {"score", "segment"}, where)
    stored = content.get("meta")
    meta = dict(stored) if isinstance(stored, dict) else {}
    labels = _read_labels(entries, places, class_names, meta)
    segments = np.array([entry["segment"] for entry in entries], np.float64).reshape(-1, 2)
    scores = np.array([entry["score"] for entry in entries], np.float64)
    return Columns(np.array(list(results), dtype=np.str_), video, segments, scores, labels, meta)


def class_names_of(meta: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What `meta` says the classes are called: head to names.

    Raises:
        DataError: If its `class_names` is something else.
    """
    named = meta.get("class_names", {})
    if not isinstance(named, Mapping) or not all(isinstance(names, list | tuple) for names in named.values()):
        raise DataError("the class_names of its meta must be a list of names for each head; mend them or leave them out")
    return {str(head): tuple(map(str, names)) for head, names in named.items()}


def as_entries(
    segments: FloatArray, scores: FloatArray, labels: Mapping[str, IntArray], class_names: Mapping[str, Sequence[str]]
) -> Iterator[dict[str, Any]]:
    """The entries of P detections, in their order.

    Args:
        segments: Seconds, shape (P, 2).
        scores: Shape (P,).
        labels: Head to classes, shape (P,); with verb and noun the entries have their action too.
        class_names: Head to the names of its classes; those of the head `label` are written in place of its numbers.
    """
    columns: dict[str, list[Any]] = {head: values.tolist() for head, values in labels.items()}
    names = class_names.get("label")
    if "label" in columns and names is not None:
        columns["label"] = [names[number] if number < len(names) else str(number) for number in columns["label"]]
    has_action = {"verb", "noun"} <= set(columns)
    for row, (score, segment) in enumerate(zip(scores.tolist(), segments.tolist(), strict=True)):
        entry = {head: values[row] for head, values in columns.items()}
        action = {"action": f"{entry['verb']},{entry['noun']}"} if has_action else {}
        yield {**entry, **action, "score": score, "segment": segment}


def _check_entry(entry: Any, keys: set[str], where: str) -> None:
    if not isinstance(entry, dict):
        raise DataError(f"{where} is {type(entry).__name__}; it must be an object with a score and a segment")
    absent = keys - set(entry)
    if absent:
        raise DataError(f"{where} has no {min(absent)!r}; give it to each detection")
    if not _is_number(entry["score"]):
        raise DataError(f"{where} has score {entry['score']!r}; it must be a number")
    segment = entry["segment"]
    if not isinstance(segment, list) or len(segment) != 2 or not all(map(_is_number, segment)):
        raise DataError(f"{where} has segment {segment!r}; it must be [start, stop] in seconds")
    if {"verb", "noun"} <= set(entry):
        pair = f"{entry['verb']},{entry['noun']}"
        for key in ("action", "label"):
            if key in entry and entry[key] != pair:
                raise DataError(f"{where} has {key} {entry[key]!r}, but verb and noun {pair!r}; make them agree")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_class(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _read_labels(
    entries: Sequence[Mapping[str, Any]], places: Sequence[str], class_names: Mapping[str, Sequence[str]], meta: dict[str, Any]
) -> dict[str, list[int]]:
    """Head to the class of each entry; names of classes that were met are added to `meta`."""
    if not entries:
        return {}
    heads = [key for key, value in entries[0].items() if key not in _FIXED and (key in _CLASSES or _is_class(value))]
    if heads:
        return {head: _whole(entries, head, places) for head in heads}
    key = next((key for key in ("label", "action") if key in entries[0]), None)
    if key is None:
        return {}
    written = [entry[key] for entry in entries]
    if not all(isinstance(value, str) for value in written):
        return {"label": _whole(entries, key, places)}
    pairs = [match for match in map(_ACTION.fullmatch, written) if match is not None]
    if len(pairs) == len(written):
        return {head: [int(pair[group]) for pair in pairs] for head, group in (("verb", 1), ("noun", 2))}
    named = class_names_of(meta)
    names = list(class_names.get("label") or named.get("label") or sorted(set(written)))
    meta["class_names"] = {**named, "label": names}
    return {"label": _numbers(written, names)}


def _whole(entries: Sequence[Mapping[str, Any]], key: str, places: Sequence[str]) -> list[int]:
    for entry, where in zip(entries, places, strict=True):
        if not _is_class(entry.get(key)):
            raise DataError(f"{where} has {key} {entry.get(key)!r}; it must be the number of a class")
    return [entry[key] for entry in entries]


def _numbers(written: Sequence[str], names: Sequence[str]) -> list[int]:
    number = {name: row for row, name in enumerate(names)}
    unknown = sorted(set(written) - set(number))
    if unknown:
        raise DataError(f"{len(unknown)} classes are unknown, first {unknown[0]!r}; {did_you_mean(unknown[0], names)}")
    return [number[name] for name in written]
