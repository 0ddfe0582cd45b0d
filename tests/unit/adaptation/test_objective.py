"""The loss of a step: what counts, with what weight, and what is read for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from zoopraxis.adaptation.losses import adversarial_loss, attentive_entropy, classifier_discrepancy, target_entropy
from zoopraxis.adaptation.network import AdaptationNetwork, DomainOutput, Level
from zoopraxis.adaptation.objective import DomainBatch, Objective, Progress

_HEADS = {"verb": 4, "noun": 6}
_PROGRESS = Progress(epoch=2, step=1, steps_per_epoch=5, num_epochs=10)
_PLAIN: dict[str, Any] = {"adversarial": False, "entropy": "none"}


class _Watched:
    """A network that notes what it is asked and what it finds."""

    def __init__(self, network: AdaptationNetwork) -> None:
        self.network = network
        self.asked: list[dict[str, Any]] = []
        self.found: list[tuple[DomainOutput, DomainOutput]] = []

    def domains(
        self,
        source_BSD: Tensor,
        target_BSD: Tensor,
        *,
        strengths: Mapping[Level, float] | None = None,
        classifier_strength: float | None = None,
        levels: Collection[Level] | None = None,
    ) -> tuple[DomainOutput, DomainOutput]:
        self.asked.append({"strengths": strengths, "classifier_strength": classifier_strength, "levels": levels})
        self.asked[-1] |= {"sizes": (len(source_BSD), len(target_BSD))}
        found = self.network.domains(
            source_BSD, target_BSD, strengths=strengths, classifier_strength=classifier_strength, levels=levels
        )
        self.found.append(found)
        return found


def _network(**arguments: Any) -> _Watched:
    torch.manual_seed(0)
    sizes = {"feature_dim": 8, "num_segments": 3, "heads": _HEADS, "relation_dim": 5, "dropout": 0.0, "video_dropout": 0.0}
    network = AdaptationNetwork(**{**sizes, **arguments})
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return _Watched(network)


def _batch(size: int, seed: int = 0, *, labelled: bool = True) -> DomainBatch:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(size, 3, 8, generator=generator)
    labels = {head: torch.randint(classes, (size,), generator=generator) for head, classes in _HEADS.items()}
    return DomainBatch(features, labels if labelled else {})


def _step(network: _Watched, clips: DomainBatch | None = None, **settings: Any) -> tuple[Tensor, dict[str, Tensor]]:
    loss, parts = Objective(**settings)(network, _batch(4), clips or _batch(6, 1, labelled=False), progress=_PROGRESS)
    return loss, parts


def _classification(network: _Watched) -> Tensor:
    source, labels = network.found[0][0], _batch(4).labels
    return torch.stack([F.cross_entropy(source.logits[head], labels[head]) for head in _HEADS]).mean()


def test_the_default_is_ta3n() -> None:
    network = _network()
    loss, parts = _step(network)
    source, target = network.found[0]
    adversarial = sum(
        adversarial_loss(source.domain_logits[level], target.domain_logits[level]) for level in source.domain_logits
    )
    videos = torch.cat([source.domain_logits["video"], target.domain_logits["video"]])
    logits = {head: torch.cat([source.logits[head], target.logits[head]]) for head in _HEADS}
    entropy = sum(attentive_entropy(logits[head], videos) for head in _HEADS) / 2
    torch.testing.assert_close(loss, _classification(network) + adversarial + 0.003 * entropy)
    torch.testing.assert_close(parts["adversarial"], adversarial)
    torch.testing.assert_close(parts["entropy"], entropy)


def test_parts_are_numbers_apart_from_the_loss() -> None:
    loss, parts = _step(_network())
    assert not any(part.requires_grad for part in parts.values())
    assert parts["classification"] < loss
    torch.testing.assert_close(parts["classification"], (parts["verb_loss"] + parts["noun_loss"]) / 2)
    assert {"adversarial_relation", "adversarial_video", "adversarial_frame"} <= set(parts)


def test_strengths_of_the_step_reach_the_network() -> None:
    network, objective = _network(), Objective(warmup="dann", strengths={"relation": 1.0, "video": -1.0, "frame": 0.0})
    objective(network, _batch(4), _batch(6, 1), progress=_PROGRESS)
    assert network.asked[0]["strengths"] == objective.strengths_at(_PROGRESS)
    assert network.asked[0]["strengths"]["relation"] == network.asked[0]["strengths"]["video"] > 0.9
    assert network.asked[0]["strengths"]["frame"] == 0


def test_only_levels_that_count_are_asked_for() -> None:
    network = _network()
    _step(network, levels=["video"])
    _step(network, **_PLAIN)
    assert [set(asked["levels"]) for asked in network.asked] == [{"video"}, set()]


def test_a_network_without_relations_counts_the_video_twice() -> None:
    network = _network(aggregation="average")
    _, parts = _step(network)
    assert parts["adversarial_relation"] == parts["adversarial_video"]
    torch.testing.assert_close(parts["adversarial"], 2 * parts["adversarial_video"] + parts["adversarial_frame"])
    _, parts = _step(network, levels=["video", "frame"])
    torch.testing.assert_close(parts["adversarial"], parts["adversarial_video"] + parts["adversarial_frame"])


def test_source_only_reads_nothing_of_the_target() -> None:
    losses = [
        Objective(target="none")(_network(), _batch(4), target, progress=_PROGRESS)[0]
        for target in (None, _batch(6, 1), _batch(2, 2))
    ]
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize("norm", ["none", "adabn", "autodial"])
@pytest.mark.parametrize("aggregation", ["relations", "relation", "average", "rnn", "temconv"])
def test_source_only_needs_no_clips_of_the_target(aggregation: str, norm: str) -> None:
    network = _network(aggregation=aggregation, norm=norm)
    loss, parts = Objective(target="none")(network, _batch(3), None, progress=_PROGRESS, pad_to=(4, 6))
    loss.backward()
    assert network.asked[0]["sizes"] == (4, 0)
    assert set(parts) == {"verb_loss", "noun_loss", "classification"}
    assert loss.isfinite()


def test_labels_of_an_unlabelled_target_are_not_read() -> None:
    labelled, unlabelled = _batch(6, 1), _batch(6, 1, labelled=False)
    assert _step(_network(), labelled)[0] == _step(_network(), unlabelled)[0]


def test_a_labelled_target_is_learned_together_with_the_source() -> None:
    network, target = _network(), _batch(6, 1)
    loss, _ = _step(network, target, target="labelled", **_PLAIN)
    found, labels = network.found[0], (_batch(4).labels, target.labels)
    expected = [
        F.cross_entropy(torch.cat([domain.logits[head] for domain in found]), torch.cat([given[head] for given in labels]))
        for head in _HEADS
    ]
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_heads_that_do_not_count_have_no_loss() -> None:
    network = _network()
    loss, parts = _step(network, heads=["noun"], entropy="target", entropy_weight=1.0, adversarial=False)
    noun = F.cross_entropy(network.found[0][0].logits["noun"], _batch(4).labels["noun"])
    torch.testing.assert_close(loss, noun + target_entropy(network.found[0][1].logits["noun"]))
    assert "verb_loss" not in parts


def test_frames_have_the_labels_of_their_clip() -> None:
    network = _network(prediction="frames")
    _, parts = _step(network)
    logits = network.found[0][0].logits["verb"]
    labels = _batch(4).labels["verb"]
    torch.testing.assert_close(
        parts["verb_loss"], F.cross_entropy(logits.view(4, 3, -1).transpose(1, 2), labels[:, None].expand(4, 3))
    )


@pytest.mark.parametrize("sizes", [(4, 6), (6, 4), (5, 5), (2, 7)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"entropy": "target"},
        {"target": "labelled"},
        {"normalize_predictions": True},
        {"discrepancy": "dan", "discrepancy_at": ["video", "shared_1", "logits"], **_PLAIN},
        {"discrepancy": "jan", **_PLAIN},
        {"discrepancy": "coral", "discrepancy_at": ["shared_1", "verb"], "discrepancy_weight": -1.0, **_PLAIN},
        {"mcd": True, **_PLAIN},
        {"mcd": True, "entropy_reversed": True},
    ],
)
def test_domains_may_differ_in_clips(settings: dict[str, Any], sizes: tuple[int, int]) -> None:
    network = _network(second_classifier=settings.get("mcd", False))
    loss, _ = Objective(**settings)(network, _batch(sizes[0]), _batch(sizes[1], 1), progress=_PROGRESS)
    loss.backward()
    gradients = [parameter.grad for parameter in network.network.parameters() if parameter.grad is not None]
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_clips_that_fill_up_enter_norms_but_no_loss() -> None:
    plain, filled = _network(), _network()
    without, _ = Objective()(plain, _batch(4), _batch(6, 1), progress=_PROGRESS)
    with_filling, _ = Objective()(filled, _batch(4), _batch(6, 1), progress=_PROGRESS, pad_to=(5, 9))
    assert filled.asked[0]["sizes"] == (5, 9)
    torch.testing.assert_close(with_filling, without)
    normed = _network(norm="adabn")
    seen = [Objective()(normed, _batch(4), _batch(6, 1), progress=_PROGRESS, pad_to=size)[0] for size in (None, (5, 9))]
    assert (seen[0] - seen[1]).abs() > 1e-3


def test_a_discrepancy_has_its_weight() -> None:
    network = _network()
    loss, parts = _step(network, discrepancy="dan", discrepancy_weight=0.5, **_PLAIN)
    torch.testing.assert_close(loss, parts["classification"] + 0.5 * parts["discrepancy"])


def test_mcd_learns_two_classifiers_and_lets_them_disagree_in_a_pass_of_its_own() -> None:
    network = _network(second_classifier=True, dropout=0.5)
    loss, parts = _step(network, mcd=True, mcd_strength=0.3, **_PLAIN)
    (source, first), (_, second) = network.found
    labels = _batch(4).labels
    losses = [
        F.cross_entropy(logits[head], labels[head]) for logits in (source.logits, source.second_logits) for head in _HEADS
    ]
    mcd = sum(classifier_discrepancy(second.logits[head], second.second_logits[head]) for head in _HEADS) / 2
    torch.testing.assert_close(loss, sum(losses) / 2 - mcd)
    torch.testing.assert_close(parts["mcd"], mcd)
    assert [asked["classifier_strength"] for asked in network.asked] == [None, 0.3]
    assert not torch.equal(first.logits["verb"], second.logits["verb"])


@pytest.mark.parametrize("is_reversed", [False, True])
def test_attentive_entropy_takes_the_first_pass_unless_asked(is_reversed: bool) -> None:
    network = _network(second_classifier=True, dropout=0.5)
    _, parts = _step(network, mcd=True, entropy_reversed=is_reversed)
    source, target = network.found[0]
    certain = network.found[1][1] if is_reversed else target
    videos = torch.cat([source.domain_logits["video"], target.domain_logits["video"]])
    entropy = [attentive_entropy(torch.cat([source.logits[head], certain.logits[head]]), videos) for head in _HEADS]
    torch.testing.assert_close(parts["entropy"], torch.stack(entropy).mean())


def test_normalized_predictions_of_classes_may_be_left_as_they_are() -> None:
    plain, all_, domains = (
        _step(_network(), normalize_predictions=normalize, normalize_classes=classes)[1]
        for normalize, classes in ((False, True), (True, True), (True, False))
    )
    assert all_["classification"] != plain["classification"] == domains["classification"]
    assert all_["adversarial"] == domains["adversarial"] != plain["adversarial"]


def test_the_step_before_is_of_the_sources_labels_alone() -> None:
    network, objective = _network(), Objective(pretrain_source=True)
    loss = objective.source_step(network, _batch(4), _batch(6, 1), progress=_PROGRESS)
    loss.backward()
    torch.testing.assert_close(loss, _classification(network))
    assert network.asked[0]["levels"] == ()
    assert network.asked[0]["strengths"] == objective.strengths_at(_PROGRESS)
    video = network.network.get_submodule("discriminators.video")
    assert all(parameter.grad is None for parameter in video.parameters())


def test_the_loss_is_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = _step(_network(second_classifier=True), mcd=True, discrepancy="jan")
    assert loss.dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"adversarial": False},
            r"entropy=attentive weighs videos by the discriminator of level video, but adversarial=false; set "
            r"adversarial=true, or set entropy=target or entropy=none",
        ),
        ({"levels": ["relation", "frame"]}, r"the discriminator of level video, but levels=relation,frame; add video"),
        ({"levels": [], "entropy": "none"}, r"adversarial=true discriminates nothing: levels is empty; give e\.g\. video"),
        (
            {"warmup": "none", "strengths": {"video": 1.0, "frame": -1.0}},
            r"strengths\.frame=-1 stands for the warm-up's curve, but warmup=none; set warmup=dann or warmup=slow",
        ),
        ({"discrepancy": "dan", "discrepancy_at": []}, r"discrepancy=dan compares no features: discrepancy_at is empty"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objective(**settings)


def test_settings_of_adaptation_are_not_looked_at_without_a_target() -> None:
    assert Objective(target="none", adversarial=False, discrepancy="dan", discrepancy_at=[]).levels == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": ["action"]}, r"heads=action: the network has no such head, only verb, noun"),
        ({"mcd": True}, r"mcd=true needs second classifiers of the video; build the network with second_classifier=true"),
        (
            {"target": "labelled"},
            r"labels of head verb are learned, but a batch has labels of none; give them, or set target=unlabelled",
        ),
    ],
)
def test_a_network_or_batch_that_does_not_suit_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _step(_network(), **settings)


def test_adaptation_without_a_batch_of_the_target_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the step has no batch of the target; give one, or set target=none"):
        Objective()(_network(), _batch(4), None, progress=_PROGRESS)
