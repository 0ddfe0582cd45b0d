"""The report's sections on adaptation."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from zoopraxis.errors import DataError, MissingExtraError
from zoopraxis.evaluation.comparison import class_gains, compare
from zoopraxis.evaluation.embeddings import Embeddings, domain_distances
from zoopraxis.evaluation.report_adaptation import attention_section, domains_section, gains_section
from zoopraxis.evaluation.results import Results

NUM_CLIPS = 60
EVIL = "<script>alert('x')</script>"
GENERATOR = np.random.default_rng(0)
IDS = np.array([f"c{number}" for number in range(NUM_CLIPS)])
LABELS = {"verb": np.arange(NUM_CLIPS) % 40, "noun": GENERATOR.integers(0, 3, NUM_CLIPS)}


def make_results(seed: int) -> Results:
    generator = np.random.default_rng(seed)
    return Results(IDS, {"verb": generator.normal(size=(NUM_CLIPS, 40)), "noun": generator.normal(size=(NUM_CLIPS, 3))})


def make_embeddings(*, ids: np.ndarray = IDS, with_attention: bool = True) -> Embeddings:
    return Embeddings(
        clip_ids=np.concatenate([ids, [f"s{number}" for number in range(NUM_CLIPS)]]),
        domain=np.repeat(["target", "source"], NUM_CLIPS),
        before=GENERATOR.normal(size=(2 * NUM_CLIPS, 12)),
        after=GENERATOR.normal(size=(2 * NUM_CLIPS, 5)),
        attention=np.tile(np.array([0.5, 0.25]), (2 * NUM_CLIPS, 1)) if with_attention else None,
        attention_names=(f"3 {EVIL}", "2 frames") if with_attention else (),
    )


def test_domains_are_drawn_with_their_distance() -> None:
    pytest.importorskip("matplotlib")
    embeddings = make_embeddings()
    text = domains_section(embeddings, {"before": 1.875, "after": 0.25})
    assert text.count("data:image/png") == 1
    assert "60 of the source and 60 of the target" in text
    assert "<td>before</td>" in text
    assert "1.875" in text
    assert text == domains_section(embeddings, {"before": 1.875, "after": 0.25})


def test_attention_is_of_domains_and_frequent_classes() -> None:
    pytest.importorskip("matplotlib")
    text = attention_section(make_embeddings(), make_results(0), LABELS, {"verb": [EVIL] * 40})
    assert text.count("data:image/png") == 3  # bars, and a map for each head
    assert "<script" not in text
    assert attention_section(make_embeddings(with_attention=False), make_results(0), LABELS) == ""


def test_embeddings_of_other_clips_are_refused() -> None:
    with pytest.raises(DataError, match="the embeddings have none of the 60 clips of the results among those of the target"):
        attention_section(make_embeddings(ids=np.char.add("x", IDS)), make_results(0), LABELS)


def test_gains_name_every_class_and_draw_the_frequent_ones() -> None:
    pytest.importorskip("matplotlib")
    here, baseline = make_results(0), make_results(1)
    differences, gains = compare(here, baseline, LABELS), class_gains(here, baseline, LABELS)
    text = gains_section(differences, gains, {"verb": [EVIL] * 40, "noun": ["tap", "pan", "pot"]})
    assert text.count("data:image/png") == 3
    assert "verb accuracy at 1" in text
    assert f"{differences[0].percent:+.2f}" in text
    assert "<td>&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; tap</td>" in text
    assert "Gain of the 30 most frequent of 40 verbs." in text
    assert "Gain of all 3 nouns." in text
    assert len(re.findall(r"<td>(?:tap|pan|pot)</td>", text)) == 3


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    embeddings = make_embeddings()
    with pytest.raises(MissingExtraError, match=r"pip install 'zoopraxis\[report\]'"):
        domains_section(embeddings, domain_distances(embeddings))
