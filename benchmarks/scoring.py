"""Scoring a validation split: recognition metrics against ranking all pairs of a verb and a noun clip by clip.

Prints `ratio metrics_vs_rowwise` (time of the plain way over ours, medians of interleaved runs) and `ratio metrics_memory_1gb`
(1 GB over the peak of what Python and NumPy hold while the metrics of all clips are computed, scores included).
The labels are those of EPIC-KITCHENS-100's validation split where ZOOPRAXIS_REAL_DATA names the folder of real data, else drawn
at random in the same number.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zoopraxis.epic.annotations import read_table
from zoopraxis.epic.recognition import labels_of, recognition_metrics
from zoopraxis.evaluation.results import Results

NUM_CLIPS, NUM_VERBS, NUM_NOUNS = 9_668, 97, 300
UNSEEN = ("P18", "P32")
TAIL_VERBS, TAIL_NOUNS = range(11, NUM_VERBS), range(72, NUM_NOUNS)

Labels = dict[str, npt.NDArray[np.int64]]


def main() -> None:
    """Measure and print one line a claim."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="time a tenth of the clips only")
    is_quick = parser.parse_args().quick
    clip_ids, labels, participants = make_labels(os.environ.get("ZOOPRAXIS_REAL_DATA"))

    tracemalloc.start()
    results = make_results(clip_ids, labels)
    ours(results, labels, participants)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    rows = np.arange(len(results) // 10 if is_quick else len(results))
    part, part_labels = results.take(rows), {head: values[rows] for head, values in labels.items()}
    part_participants = participants[rows]
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(3):
        started = time.perf_counter()
        table = ours(part, part_labels, part_participants)
        seconds["ours"].append(time.perf_counter() - started)
        started = time.perf_counter()
        expected = row_by_row(part, part_labels, part_participants)
        seconds["plain"].append(time.perf_counter() - started)
        assert all(abs(table[name] - value) < 1e-9 for name, value in expected.items()), (table, expected)
    print(f"ratio metrics_vs_rowwise {statistics.median(seconds['plain']) / statistics.median(seconds['ours']):.1f}")
    print(f"ratio metrics_memory_1gb {1e9 / peak:.1f}")


def make_labels(real_data: str | None) -> tuple[npt.NDArray[np.str_], Labels, npt.NDArray[np.str_]]:
    """Ids, labels and participants of all clips."""
    if real_data:
        table = read_table(Path(real_data) / "epic100" / "EPIC_100_validation.csv")
        clip_ids = table.index.to_numpy(dtype=np.str_)
        picked = labels_of(clip_ids, table)
        assert picked.participants is not None
        return clip_ids, picked.labels, picked.participants
    generator = np.random.default_rng(0)
    participants = np.array([f"P{number:02d}" for number in generator.integers(1, 33, size=NUM_CLIPS)])
    clip_ids = np.array([f"{participant}_01_{row}" for row, participant in enumerate(participants)])
    classes = {"verb": NUM_VERBS, "noun": NUM_NOUNS}
    labels = {
        head: np.minimum(generator.geometric(8 / width, size=NUM_CLIPS) - 1, width - 1) for head, width in classes.items()
    }
    return clip_ids, labels, participants


def make_results(clip_ids: npt.NDArray[np.str_], labels: Labels) -> Results:
    """Scores of a model that is right about every second time."""
    generator = np.random.default_rng(1)
    scores = {}
    for head, width in (("verb", NUM_VERBS), ("noun", NUM_NOUNS)):
        values = generator.standard_normal((len(clip_ids), width), dtype=np.float32)
        values[np.arange(len(clip_ids)), labels[head]] += generator.choice([0.0, 5.0], size=len(clip_ids))
        scores[head] = values
    return Results(clip_ids, scores)


def ours(results: Results, labels: Labels, participants: npt.NDArray[np.str_]) -> dict[str, float]:
    """The package's metrics."""
    return recognition_metrics(
        results,
        labels,
        participants=participants,
        unseen_participants=UNSEEN,
        tail_verbs=TAIL_VERBS,
        tail_nouns=TAIL_NOUNS,
    ).as_dict()


def row_by_row(results: Results, labels: Labels, participants: npt.NDArray[np.str_]) -> dict[str, float]:
    """The same metrics the plain way: for each clip the probabilities of all pairs, sorted."""
    hits: dict[tuple[str, int], list[bool]] = {(task, k): [] for task in ("verb", "noun", "action") for k in (1, 5)}
    for verb_scores, noun_scores, verb, noun in zip(
        results.scores["verb"], results.scores["noun"], labels["verb"], labels["noun"], strict=True
    ):
        verb_probs, noun_probs = softmax(verb_scores), softmax(noun_scores)
        ranked = {
            "verb": (np.argsort(-verb_probs), verb),
            "noun": (np.argsort(-noun_probs), noun),
            "action": (np.argsort(-np.outer(verb_probs, noun_probs).ravel()), verb * len(noun_probs) + noun),
        }
        for (task, k), found in hits.items():
            order, true = ranked[task]
            found.append(bool((order[:k] == true).any()))
    is_tail = {"verb": np.isin(labels["verb"], TAIL_VERBS), "noun": np.isin(labels["noun"], TAIL_NOUNS)}
    is_tail["action"] = is_tail["verb"] | is_tail["noun"]
    is_unseen = np.isin(participants, UNSEEN)
    metrics = {f"all_{task}_accuracy_at_{k}": 100 * float(np.mean(found)) for (task, k), found in hits.items()}
    for task in ("verb", "noun", "action"):
        for block, rows in (("unseen", is_unseen), ("tail", is_tail[task])):
            if rows.any():
                metrics[f"{block}_{task}_accuracy_at_1"] = 100 * float(np.array(hits[task, 1])[rows].mean())
    return metrics


def softmax(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Probabilities of one clip."""
    exponentials = np.exp(scores.astype(np.float64) - scores.max())
    return np.asarray(exponentials / exponentials.sum())


if __name__ == "__main__":
    main()
