"""Embeddings files: written whole, read strictly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoopraxis.errors import DataError
from zoopraxis.evaluation.embeddings import Embeddings, domain_distances, load_embeddings, save_embeddings

NUM_CLIPS = 40


def make_embeddings(**changes: Any) -> Embeddings:
    generator = np.random.default_rng(0)
    given = {
        "clip_ids": np.array([f"c{number}" for number in range(NUM_CLIPS)]),
        "domain": np.array(["source", "target"])[np.arange(NUM_CLIPS) % 2],
        "before": generator.normal(size=(NUM_CLIPS, 6)),
        "after": generator.normal(size=(NUM_CLIPS, 4)),
        "attention": generator.random((NUM_CLIPS, 3)),
    }
    return Embeddings(**{**given, **changes})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    embeddings = make_embeddings(attention_names=("4 frames", "3 frames", "2 frames"))
    save_embeddings(embeddings, tmp_path / "e.npz")
    found = load_embeddings(tmp_path / "e.npz")
    for name in ("clip_ids", "domain", "before", "after", "attention"):
        np.testing.assert_array_equal(getattr(found, name), getattr(embeddings, name))
    assert found.attention_names == embeddings.attention_names
    assert found.before.dtype == np.float32
    assert list(tmp_path.iterdir()) == [tmp_path / "e.npz"]
    assert found.is_target.tolist() == [number % 2 == 1 for number in range(NUM_CLIPS)]


def test_attention_is_optional_and_is_named_by_number(tmp_path: Path) -> None:
    save_embeddings(make_embeddings(attention=None), tmp_path / "e.npz")
    assert load_embeddings(tmp_path / "e.npz").attention is None
    assert make_embeddings().attention_names == ("1", "2", "3")


def test_one_id_may_be_in_both_domains() -> None:
    assert len(make_embeddings(clip_ids=np.arange(NUM_CLIPS) // 2)) == NUM_CLIPS


def with_bad_number() -> np.ndarray:
    values = np.zeros((NUM_CLIPS, 2))
    values[3, 1] = np.nan
    return values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain": ["target"] * NUM_CLIPS}, "need clips of both domains, but there are none of the source; test on both"),
        ({"domain": ["source", "kitchen"] * 20}, "embeddings have a domain kitchen; a domain is source or target"),
        ({"domain": ["source"]}, r"need one domain a clip, but there are \(40,\) ids and \(1,\) domains"),
        ({"clip_ids": ["a"] * NUM_CLIPS}, "embeddings have 1 repeated source clips, first a"),
        ({"before": np.zeros((3, 2))}, r"'before' has shape \(3, 2\); it must be \(40 clips, features\)"),
        ({"after": with_bad_number()}, "'after' has NaN or infinite numbers for 1 of 40 clips; test again"),
        ({"after": [["a"]] * NUM_CLIPS}, "'after' is no table of numbers with one width"),
        ({"attention_names": ("a",)}, "there are 1 names for 3 columns of attention; give one for each"),
        ({"attention": None, "attention_names": ("a",)}, "there are 1 names of attention but no attention"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_embeddings(**changes)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no embeddings file .*none.npz; write one with: zoopraxis test"):
        load_embeddings(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match=r"broken.npz cannot be read as embeddings"):
        load_embeddings(tmp_path / "broken.npz")
    np.savez(tmp_path / "results.npz", clip_ids=np.array(["a"]), verb=np.zeros((1, 3)))
    with pytest.raises(DataError, match=r"results.npz has no array 'domain'; .*; is it an embeddings file\?"):
        load_embeddings(tmp_path / "results.npz")
    arrays = {name: getattr(make_embeddings(), name) for name in ("clip_ids", "before", "after")}
    np.savez(tmp_path / "one.npz", domain=np.array(["target"] * NUM_CLIPS), **arrays)
    with pytest.raises(DataError, match=r"one.npz: embeddings need clips of both domains"):
        load_embeddings(tmp_path / "one.npz")
    with pytest.raises(DataError, match=r"cannot write embeddings to e.pkl; the suffix must be .npz"):
        save_embeddings(make_embeddings(), "e.pkl")


def test_distances_tell_before_from_after() -> None:
    embeddings = make_embeddings()
    before = embeddings.before.copy()
    before[embeddings.is_target] += 20
    distances = domain_distances(replace(embeddings, before=before))
    assert distances["before"] == 2
    assert distances["after"] < 1
