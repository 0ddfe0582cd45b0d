"""A network of adaptation on features at work: the scores of a split, and what it makes of both domains.

# B clips, S features of a clip, D their width
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from zoopraxis.adaptation.network import AdaptationNetwork, Domain
from zoopraxis.config.adaptation import AdaptationConfig, AdaptationDataConfig
from zoopraxis.data.annotations.official import is_hmdb51, is_ucf101
from zoopraxis.data.index import UNLABELLED, ClipIndex
from zoopraxis.errors import ConfigError, DataError
from zoopraxis.evaluation.accuracy import head_accuracies
from zoopraxis.evaluation.embeddings import Embeddings, save_embeddings
from zoopraxis.evaluation.results import Results, save_results
from zoopraxis.training.adaptation.checkpoints import AdaptedNetwork
from zoopraxis.training.adaptation.data import feature_loader
from zoopraxis.training.adaptation.domains import check_apart, domain_of, open_domain, setting_of
from zoopraxis.training.adaptation.loaders import FeatureLoader
from zoopraxis.training.adaptation.system import AdaptationSystem
from zoopraxis.training.options import TestOptions, TestOutcome
from zoopraxis.training.trainer import inference_trainer, quiet_lightning

__all__ = ["MAX_EMBEDDED", "clips_of_domains", "embed_domains", "score_features", "with_annotations"]

MAX_EMBEDDED = 2000
"""Clips of a domain that an embeddings file holds at most."""

_FOR_CLIPS = ("store", "fps", "size", "num_clips", "num_crops", "average")
"""Options of a test that a network on features does not have."""


def score_features(
    adapted: AdaptedNetwork,
    results_path: str | Path,
    *,
    checkpoint: str | Path,
    split: str,
    options: TestOptions,
    accelerator: str = "auto",
    devices: int | str = "auto",
    show_progress: bool = False,
) -> TestOutcome:
    """Score every clip of a split of features and write a results file of logits; see `training.inference.test`.

    Clips of the source go through its own norms and layers, where the network has such, and all others through the target's.

    Raises:
        ConfigError: If an option has no effect on features, or there is nothing to read from.
        AnnotationError: If the split's annotations are broken, or have other classes than the network.
        DataError: If features are missing, broken, or of other widths than the network takes.
    """
    data = data_of_test(adapted, options, split)
    index = open_domain(data, split, class_names=adapted.class_names or None)
    _check_heads(index, adapted.network, split)
    clips = None if options.embeddings is None else clips_of_domains(data, split)
    domain: Domain = "source" if domain_of(split) == "source" else "target"
    with quiet_lightning():
        trainer = inference_trainer(accelerator=accelerator, devices=devices, show_progress=show_progress)
        system = AdaptationSystem(adapted.network, tested_domain=domain)
        trainer.test(system, _TestData(adapted, data, split, index), verbose=False)
    assert system.tested is not None
    rows, scores = system.tested
    results = Results(index.clip_ids[rows], scores, _meta(adapted, data, split, checkpoint))
    if trainer.is_global_zero:
        save_results(results, results_path)
        if options.embeddings is not None and clips is not None:
            save_embeddings(embed_domains(adapted, data, clips), options.embeddings)
    return TestOutcome(results, _accuracies(index, rows, scores))


def clips_of_domains(data: AdaptationDataConfig, split: str) -> dict[Domain, tuple[str, ClipIndex]]:
    """Clips of both domains, at most `MAX_EMBEDDED` of each, evenly spaced, with the names of their splits.

    Args:
        data: Where clips are.
        split: A split, whose clips stand for its domain; the other domain's are its training clips.

    Raises:
        ConfigError: If a domain's clips cannot be found.
        AnnotationError: If annotations are broken, or a clip is in both domains.
    """
    clips: dict[Domain, tuple[str, ClipIndex]] = {}
    domains: tuple[Domain, ...] = ("source", "target")
    for domain in domains:
        name = split if domain == domain_of(split) else domain
        clips[domain] = name, open_domain(data, name)
    if data.target_root is None:
        cure = f"give --annotations that have clips of the {domain_of(split)}, or leave --embeddings out"
        check_apart(clips["source"][1], clips["target"][1], cure=cure)
    return {domain: (name, index.select(_spread(len(index)))) for domain, (name, index) in clips.items()}


def embed_domains(
    adapted: AdaptedNetwork, data: AdaptationDataConfig, clips: Mapping[Domain, tuple[str, ClipIndex]]
) -> Embeddings:
    """What the network makes of clips of both domains.

    Args:
        adapted: The network.
        data: Where features are.
        clips: Of each domain, with the name of their split; see `clips_of_domains`.

    Raises:
        DataError: If features are missing or broken, or a number is not finite.
    """
    parts: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in ("clip_ids", "domain", "before", "after", "attention")}
    for domain, (name, index) in clips.items():
        parts["clip_ids"].append(index.clip_ids)
        parts["domain"].append(np.full(len(index), domain))
        for batch in _batches(adapted, data, name, index):
            for key, values in _describe(adapted.network, batch, domain).items():
                parts[key].append(values)
    arrays = {name: np.concatenate(found) for name, found in parts.items() if found}
    return Embeddings(
        arrays["clip_ids"],
        arrays["domain"],
        arrays["before"],
        arrays["after"],
        arrays.get("attention"),
        _attention_names(adapted.network) if "attention" in arrays else (),
    )


def data_of_test(adapted: AdaptedNetwork, options: TestOptions, split: str) -> AdaptationDataConfig:
    """The data section of the checkpoint's run, with what the options change.

    Annotations that are a folder take the place of the run's folder, a file stands for the clips of the split.

    Raises:
        ConfigError: If an option has no effect on features or does not fit the network, or nothing says where the features are.
    """
    for name in _FOR_CLIPS:
        if getattr(options, name) is not None:
            raise ConfigError(
                f"{name}={getattr(options, name)} is for networks on clips and has no effect on one on features; leave it out"
            )
    made_for = adapted.network.aggregator.num_segments
    if options.num_segments is not None and made_for not in (None, options.num_segments):
        raise ConfigError(
            f"num_segments={options.num_segments}, but the network is made for {made_for} features a clip; leave it out"
        )
    if options.modalities is not None and adapted.modalities:
        raise ConfigError(
            f"modalities={','.join(options.modalities)}, but the checkpoint tells which its network takes: "
            f"{','.join(adapted.modalities)}; leave it out"
        )
    config = adapted.config or AdaptationConfig()
    changes: dict[str, Any] = {
        "root": options.root,
        "modalities": list(adapted.modalities) or options.modalities,
        "num_segments": options.num_segments or (None if adapted.config else adapted.network.arguments["num_segments"]),
        "batch_size": options.batch_size,
        "num_workers": options.num_workers,
        "quarantine": options.quarantine,
    }
    data = dataclasses.replace(config.data, **{name: value for name, value in changes.items() if value is not None})
    if options.root is not None:
        data = dataclasses.replace(data, target_root=None)
    if data.root == "???":
        raise ConfigError("the checkpoint does not say where the features are; name their folder or file with --root")
    return data if options.annotations is None else with_annotations(data, Path(options.annotations), split)


class _TestData(L.LightningDataModule):
    """The loader of a test, each process reading its own share."""

    def __init__(self, adapted: AdaptedNetwork, data: AdaptationDataConfig, split: str, index: ClipIndex) -> None:
        super().__init__()
        self.adapted, self.data, self.split, self.index = adapted, data, split, index
        self._loader: FeatureLoader | None = None

    def test_dataloader(self) -> FeatureLoader:
        trainer = self.trainer
        assert trainer is not None
        self._loader = _loader(
            self.adapted, self.data, self.split, self.index, rank=trainer.global_rank, world_size=trainer.world_size
        )
        return self._loader

    def teardown(self, stage: str) -> None:
        if self._loader is not None:
            self._loader.close()


def with_annotations(data: AdaptationDataConfig, path: Path, split: str) -> AdaptationDataConfig:
    """With the annotations of a test: the folder that those of all splits are in, or those of the one split (a file, or the
    folder of UCF101's or HMDB51's lists).

    Raises:
        ConfigError: If the split is one that a file cannot stand for.
    """
    if path.is_dir() and not (is_ucf101(path) or is_hmdb51(path)):
        return dataclasses.replace(data, annotations=str(path))
    setting = setting_of(split)
    if setting is None:
        raise ConfigError(
            f"--annotations {path} is a file, but clips of split {split} are found in the folder of its annotations: "
            "name that folder; or score the file's clips with --split source"
        )
    named: dict[str, Any] = {setting: str(path)}
    return dataclasses.replace(data, **named)


def _spread(num_clips: int) -> np.ndarray[Any, Any]:
    """At most `MAX_EMBEDDED` rows, evenly spaced, each once."""
    return np.unique(np.linspace(0, num_clips - 1, min(num_clips, MAX_EMBEDDED)).round().astype(np.int64))


def _loader(
    adapted: AdaptedNetwork,
    data: AdaptationDataConfig,
    split: str,
    index: ClipIndex,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> FeatureLoader:
    """The clips' features.

    Raises:
        DataError: If they are not as wide as the network takes them.
    """
    loader = feature_loader(data, split, index, modalities=adapted.modalities or None, rank=rank, world_size=world_size)
    chosen = {name: loader.reader.store.modalities[name] for name in loader.reader.modalities}
    wanted = adapted.network.arguments["feature_dim"]
    if sum(chosen.values()) != wanted:
        named = " + ".join(f"{width} {name}" for name, width in chosen.items())
        raise DataError(
            f"{data.root} has features of width {named}, but the network takes {wanted}; name those of its training with "
            "--modalities"
        )
    return loader


def _batches(adapted: AdaptedNetwork, data: AdaptationDataConfig, split: str, index: ClipIndex) -> Iterator[Tensor]:
    loader = _loader(adapted, data, split, index)
    try:
        for batch in loader:
            yield batch["features"]
    finally:
        loader.close()


@torch.inference_mode()
def _describe(network: AdaptationNetwork, features_BSD: Tensor, domain: Domain) -> dict[str, np.ndarray[Any, Any]]:
    """Rows of an embeddings file."""
    network = network.cpu().eval()
    found = network.describe(features_BSD, domain)
    rows = {"before": features_BSD.mean(1), "after": found.features["video"]}
    if found.attention is not None:
        rows["attention"] = found.attention
    return {name: values.float().numpy() for name, values in rows.items()}


def _attention_names(network: AdaptationNetwork) -> tuple[str, ...]:
    """What the weights are of: relations of so many frames, the longest first, or the frames themselves."""
    num_segments = network.arguments["num_segments"]
    if network.arguments["aggregation"] == "relations":
        return tuple(f"{length} frames" for length in range(num_segments, 1, -1))
    return tuple(f"frame {number}" for number in range(1, num_segments + 1))


def _check_heads(index: ClipIndex, network: AdaptationNetwork, split: str) -> None:
    """See that labels, where there are any, are among the network's classes.

    Raises:
        DataError: With the first clip whose label is not.
    """
    heads: Mapping[str, int] = network.arguments["heads"]
    for head, labels in index.labels().items():
        beyond = np.flatnonzero(labels >= heads.get(head, 0))
        if len(beyond):
            known = f"has {heads[head]} classes of {head}" if head in heads else f"has no head {head}, only {', '.join(heads)}"
            raise DataError(
                f"split {split}: {index.clip_ids[beyond[0]]} has {head} {labels[beyond[0]]}, but the network {known}; name the "
                "annotations that it was trained with"
            )


def _accuracies(index: ClipIndex, rows: np.ndarray[Any, Any], scores: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
    """In percent, where every clip is labelled."""
    labels = {head: values[rows] for head, values in index.labels().items() if head in scores}
    is_labelled = labels.keys() == scores.keys() and all((values != UNLABELLED).all() for values in labels.values())
    return head_accuracies(dict(scores), labels) if is_labelled else {}


def _meta(adapted: AdaptedNetwork, data: AdaptationDataConfig, split: str, checkpoint: str | Path) -> dict[str, Any]:
    """How the scores came about."""
    return {
        "task": "adaptation",
        "split": split,
        "domain": domain_of(split),
        "num_segments": data.num_segments,
        "checkpoint": Path(checkpoint).name,
        "found": adapted.found,
    }
