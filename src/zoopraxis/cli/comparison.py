"""What an evaluation tells beside the metrics: the gain over a baseline, and how far apart two domains lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zoopraxis.cli import console
from zoopraxis.cli.truth import Truth
from zoopraxis.evaluation.comparison import ClassGains, Difference, align_baseline, class_gains, compare
from zoopraxis.evaluation.embeddings import Embeddings, domain_distances, load_embeddings
from zoopraxis.evaluation.projection import Projection
from zoopraxis.evaluation.results import Results, load_results

__all__ = ["Comparison", "read_comparison"]


@dataclass(frozen=True)
class Comparison:
    """What was found beside the metrics; empty where nothing was asked for.

    Attributes:
        baseline: The baseline's results file.
        differences: Of each metric to the baseline's.
        gains: Head (or "action") to each class's gain.
        embeddings: Of the clips of both domains.
        distances: Of the domains, before and after adaptation.
    """

    baseline: Path | None = None
    differences: tuple[Difference, ...] = ()
    gains: Mapping[str, ClassGains] = field(default_factory=dict)
    embeddings: Embeddings | None = None
    distances: Mapping[str, float] = field(default_factory=dict)

    def sections(self, results: Results, truth: Truth, *, projection: Projection) -> list[str]:
        """The report's sections, as HTML."""
        from zoopraxis.evaluation.report_adaptation import attention_section, domains_section, gains_section

        parts = []
        if self.differences:
            parts.append(gains_section(self.differences, self.gains, truth.class_names))
        if self.embeddings is not None:
            parts.append(domains_section(self.embeddings, self.distances, projection=projection))
            parts.append(attention_section(self.embeddings, results, truth.labels, truth.class_names))
        return [part for part in parts if part]

    def for_program(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        told: dict[str, Any] = {}
        if self.baseline is not None:
            told["baseline"] = self.baseline
            told["differences"] = {one.name: _without_name(one) for one in self.differences}
            told["class_gains"] = {task: _rows(gains) for task, gains in self.gains.items()}
        if self.embeddings is not None:
            told["domain_distances"] = self.distances
        return told

    def show(self) -> None:
        """Print it for a person."""
        if self.baseline is not None:
            columns = ["metric", "baseline", "difference", "95% interval", "McNemar's p"]
            rows: Sequence[Sequence[Any]] = [
                (one.name, one.baseline_percent, one.percent, f"{one.low:+.2f} to {one.high:+.2f}", f"{one.p_value:.2g}")
                for one in self.differences
            ]
            console.table(f"compared with {self.baseline}, points of percent", columns, rows)
        if self.embeddings is not None:
            before, after = self.distances["before"], self.distances["after"]
            console.say(f"distance of the domains (0 to 2): {before:.3f} before adaptation, {after:.3f} after")


def read_comparison(results: Results, truth: Truth, *, baseline: Path | None, embeddings: Path | None) -> Comparison:
    """Compare results with a baseline, and measure the distance of the domains, as far as files are named.

    Raises:
        DataError: If a file cannot be read, or the baseline's clips or heads are not those of the results.
    """
    differences: tuple[Difference, ...] = ()
    gains: dict[str, ClassGains] = {}
    if baseline is not None:
        other = align_baseline(results, load_results(baseline))
        differences = compare(results, other, truth.labels)
        gains = class_gains(results, other, truth.labels)
    found = None if embeddings is None else load_embeddings(embeddings)
    return Comparison(baseline, differences, gains, found, {} if found is None else domain_distances(found))


def _without_name(one: Difference) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name != "name"}


def _rows(gains: ClassGains) -> list[dict[str, Any]]:
    columns = zip(
        gains.classes.tolist(), gains.counts.tolist(), gains.accuracies.tolist(), gains.baseline.tolist(), strict=True
    )
    return [
        {"class": number, "num_clips": count, "percent": 100 * here, "baseline_percent": 100 * before}
        for number, count, here, before in columns
    ]
