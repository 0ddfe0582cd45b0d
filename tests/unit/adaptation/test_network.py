"""What the network of adaptation finds in two domains, and what passes back through it."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from zoopraxis.adaptation.network import AdaptationNetwork, DomainOutput
from zoopraxis.adaptation.norms import DomainNorms

AGGREGATIONS = ("relations", "relation", "average", "rnn", "temconv")
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {"aggregation": name} for name in AGGREGATIONS},
    "gru": {"aggregation": "rnn", "rnn_cell": "gru", "rnn_layers": 2, "rnn_directions": 2},
    "general": {"attention": "general", "frame_attention": "general"},
    "general_average": {"aggregation": "average", "attention": "general"},
    "attended_frames": {"frame_attention": "transferable", "num_shared_layers": 3},
    "no_attention": {"attention": "none"},
    "average_prediction": {"prediction": "average"},
    "frames_prediction": {"prediction": "frames", "second_classifier": True},
    "adabn": {"norm": "adabn", "aggregation": "temconv"},
    "autodial": {"norm": "autodial"},
    "own_layers": {"share_parameters": False, "second_classifier": True, "num_shared_layers": 2},
}
HEADS = {"verb": 4, "noun": 6}
WIDTH, SEGMENTS = 10, 3


def _network(**changes: Any) -> AdaptationNetwork:
    torch.manual_seed(0)
    settings = {"shared_dim": 8, "relation_dim": 5, "dropout": 0.0, "video_dropout": 0.0, **changes}
    network = AdaptationNetwork(feature_dim=WIDTH, num_segments=SEGMENTS, heads=HEADS, **settings)
    # The published first weights are so small that outputs would hardly differ.
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name != "alpha":
                parameter.add_(0.4 * torch.randn_like(parameter))
    return network


def _clips(num: int, *, seed: int = 1) -> Tensor:
    return torch.randn(num, SEGMENTS, WIDTH, generator=torch.Generator().manual_seed(seed))


def _tensors(output: DomainOutput) -> dict[str, Tensor]:
    parts = {"logits": output.logits, "second": output.second_logits, "domain": output.domain_logits, "seen": output.features}
    found = {f"{part}.{name}": values for part, entries in parts.items() for name, values in entries.items()}
    return found if output.attention is None else found | {"attention": output.attention}


def _same(found: DomainOutput, expected: DomainOutput) -> None:
    torch.testing.assert_close(_tensors(found), _tensors(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_domains_seen_together_are_as_seen_alone(variant: str) -> None:
    network = _network(**VARIANTS[variant]).eval()
    for norms in (module for module in network.modules() if isinstance(module, DomainNorms)):
        norms.source.running_mean.add_(1)
    source, target = network.domains(_clips(2), _clips(5, seed=2))
    _same(source, network.describe(_clips(2), "source"))
    _same(target, network.describe(_clips(5, seed=2)))
    rows = SEGMENTS if network.prediction == "frames" else 1
    assert {name: values.shape for name, values in target.logits.items()} == {"verb": (5 * rows, 4), "noun": (5 * rows, 6)}
    levels = {"frame": (5, SEGMENTS, 2), "video": (5, 2)}
    if network.aggregator.level == "relation":
        levels["relation"] = (5, SEGMENTS - 1, 2)
    assert {level: values.shape for level, values in target.domain_logits.items()} == levels


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_learns_from_domains_of_unlike_size(variant: str) -> None:
    network = _network(**VARIANTS[variant])
    outputs = network.domains(_clips(2), _clips(5, seed=2), strengths=dict.fromkeys(("relation", "video", "frame"), 1.0))
    total = sum(
        values.square().mean() for output in outputs for name, values in _tensors(output).items() if not name.startswith("seen")
    )
    assert isinstance(total, Tensor)
    total.backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_network_is_built_again_copied_and_pickled(variant: str) -> None:
    network, clips = _network(**VARIANTS[variant]).eval(), _clips(2)
    expected = network(clips)
    again = AdaptationNetwork(**network.arguments).eval()
    again.load_state_dict(network.state_dict())
    for other in (again, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(other(clips), expected, rtol=0, atol=0)


@pytest.mark.parametrize("variant", ["relations", "rnn", "own_layers"])
def test_a_compiled_network_gives_the_same(variant: str) -> None:
    network, clips = _network(**VARIANTS[variant]).eval(), _clips(2)
    torch.testing.assert_close(torch.compile(network, backend="eager")(clips), network(clips))


@pytest.mark.parametrize("variant", ["relations", "average", "adabn", "own_layers"])
def test_forward_is_exported_for_any_number_of_clips(variant: str) -> None:
    network = _network(**VARIANTS[variant]).eval()
    exported = torch.export.export(network, (_clips(3),), dynamic_shapes=({0: torch.export.Dim("clips", min=2)},))
    torch.testing.assert_close(exported.module()(_clips(5)), network(_clips(5)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_in_bfloat16_is_near_that_in_full_precision(variant: str) -> None:
    network = _network(**VARIANTS[variant])
    expected = network.domains(_clips(4), _clips(6, seed=2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network.domains(_clips(4), _clips(6, seed=2), strengths={"video": 1.0})
        (found[0].domain_logits["video"].sum() + found[1].logits["verb"].sum()).backward()
    for head in HEADS:
        torch.testing.assert_close(found[1].logits[head].float(), expected[1].logits[head], rtol=0.2, atol=0.3)


@torch.no_grad()
def test_a_training_pass_compiles_with_its_discriminators() -> None:
    network = _network(norm="autodial")
    strengths = {"video": 0.3}
    compiled = torch.compile(copy.deepcopy(network).domains, backend="eager")
    for found, expected in zip(
        compiled(_clips(2), _clips(5, seed=2), strengths=strengths),
        network.domains(_clips(2), _clips(5, seed=2), strengths=strengths),
        strict=True,
    ):
        _same(found, expected)


def test_the_target_is_classified_by_its_norms_and_layers() -> None:
    for changes in ({"norm": "adabn"}, {"share_parameters": False}):
        network = _network(**changes).eval()
        if network.frame_norms is not None:
            network.frame_norms.source.running_mean.add_(1)
        torch.testing.assert_close(network(_clips(2)), network.describe(_clips(2), "target").logits)
        assert not torch.allclose(network(_clips(2))["verb"], network.describe(_clips(2), "source").logits["verb"])


def test_predictions_of_frames_are_averaged() -> None:
    frames = _network(prediction="frames").eval()
    average = AdaptationNetwork(**{**frames.arguments, "prediction": "average"}).eval()
    average.load_state_dict(frames.state_dict())
    torch.testing.assert_close(average(_clips(2)), frames(_clips(2)))
    logits = frames.describe(_clips(2)).logits["verb"].view(2, SEGMENTS, 4)
    torch.testing.assert_close(average.describe(_clips(2)).logits["verb"], logits.mean(dim=1))


@pytest.mark.parametrize("level", ["relation", "video", "frame"])
def test_a_discriminator_turns_its_gradient_round(level: str) -> None:
    network = _network(attention="none")

    def gradient(strength: float) -> Tensor:
        network.zero_grad()
        outputs = network.domains(_clips(2), _clips(3, seed=2), strengths={level: strength})
        sum(output.domain_logits[level].square().sum() for output in outputs).backward()
        found = network.frame_layers[0].weight.grad
        assert found is not None
        return found.clone()

    plain = gradient(-1.0)
    assert float(plain.abs().max()) > 1e-3
    torch.testing.assert_close(gradient(0.75), -0.75 * plain)


def test_a_discriminator_without_strength_learns_alone() -> None:
    network = _network(attention="none")
    source, _ = network.domains(_clips(2), _clips(3, seed=2))
    sum(logits.square().sum() for logits in source.domain_logits.values()).backward()
    learning = {name.partition(".")[0] for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert learning == {"discriminators"}


def test_classifiers_turn_their_gradient_round_when_asked() -> None:
    network = _network(second_classifier=True)

    def gradients(strength: float | None) -> tuple[Tensor, Tensor]:
        network.zero_grad()
        _, target = network.domains(_clips(2), _clips(3, seed=2), classifier_strength=strength)
        (target.logits["verb"] - target.second_logits["verb"]).square().sum().backward()
        before, behind = network.frame_layers[0].weight.grad, network.classifiers["verb"].weight.grad
        assert before is not None
        assert behind is not None
        return before.clone(), behind.clone()

    plain, reversed_ = gradients(None), gradients(0.5)
    torch.testing.assert_close(reversed_[0], -0.5 * plain[0])
    torch.testing.assert_close(reversed_[1], plain[1])


@pytest.mark.parametrize(
    ("changes", "levels", "run"),
    [
        ({"attention": "none"}, [], []),
        ({"attention": "none"}, ["video"], ["video"]),
        ({}, [], ["relation"]),
        ({"aggregation": "average"}, ["video"], ["frame", "video"]),
        ({"aggregation": "rnn"}, ["relation"], []),
        ({"frame_attention": "transferable"}, ["relation"], ["frame", "relation"]),
    ],
)
def test_only_discriminators_that_are_needed_run(changes: dict[str, Any], levels: list[Any], run: list[str]) -> None:
    network = _network(**changes)
    seen: list[str] = []
    for level, discriminator in network.discriminators.items():
        discriminator.register_forward_hook(lambda *_, level=level: seen.append(level))
    source, _ = network.domains(_clips(2), _clips(3, seed=2), levels=levels)
    assert sorted(seen) == run
    assert list(source.domain_logits) == [level for level in levels if level in network.discriminators]


def test_transferable_attention_is_how_surely_the_domain_is_told() -> None:
    output = _network().describe(_clips(3))
    probabilities = output.domain_logits["relation"].softmax(dim=-1)
    entropy = -(probabilities * probabilities.log()).sum(dim=-1)
    assert output.attention is not None
    torch.testing.assert_close(output.attention, 1 - entropy)


def test_general_attention_sums_to_one() -> None:
    output = _network(attention="general").describe(_clips(3))
    assert output.attention is not None
    torch.testing.assert_close(output.attention.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("variant", ["relations", "frames_prediction", "no_attention"])
def test_rows_are_the_first_clips(variant: str) -> None:
    network = _network(**VARIANTS[variant]).eval()
    _same(network.describe(_clips(5)).rows(2), network.describe(_clips(5)[:2]))


def test_logits_of_frames_are_averaged_over_each_clip() -> None:
    logits = torch.tensor([[0.0, 2.0], [2.0, 4.0], [1.0, 1.0], [3.0, 5.0]])
    of_frames = DomainOutput({"label": logits}, {}, {}, None, {"video": torch.zeros(2, 3)})
    assert of_frames.clip_logits()["label"].tolist() == [[1.0, 3.0], [2.0, 3.0]]
    of_clips = DomainOutput({"label": logits}, {}, {}, None, {"video": torch.zeros(4, 3)})
    assert of_clips.clip_logits()["label"] is logits


def test_without_second_classifiers_their_logits_are_the_first() -> None:
    output = _network().describe(_clips(2))
    assert output.second_logits is output.logits
    assert output.rows(1).second_logits is not None


def test_alpha_learns_but_in_the_published_way() -> None:
    learned, published = (_network(norm="autodial", autodial=way) for way in ("learned", "published"))
    assert learned.alpha is not None
    assert published.alpha is not None
    assert learned.alpha.requires_grad
    assert not published.alpha.requires_grad
    for network in (learned, published):
        source, _ = network.domains(_clips(4), _clips(6, seed=2))
        source.logits["verb"].square().sum().backward()
    assert learned.alpha.grad is not None
    assert abs(learned.alpha.grad.item()) > 0
    assert published.alpha.grad is None


def test_first_weights_are_as_published() -> None:
    network = AdaptationNetwork(feature_dim=256, num_segments=5, heads={"verb": 97})
    for layer in (network.frame_layers[0], network.classifiers["verb"], network.discriminators["video"][2]):
        assert layer.weight.std().item() == pytest.approx(0.001, rel=0.1)
        assert not layer.bias.any()
    assert network.discriminators["relation"][0][0].weight.std().item() == pytest.approx(3**-0.5 / 16, rel=0.1)
    assert network.frame_layers[0].out_features == 256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": {}}, r"^heads of a network must name at least one, such as {'verb': 97, 'noun': 300}$"),
        ({"heads": {"verb": 0}}, r"^the classes of head verb \(0\) must be at least 1$"),
        ({"aggregation": "max"}, r"^unknown aggregation 'max'; known: relations, relation, average, rnn, temconv$"),
        ({"num_shared_layers": 4}, r"^num_shared_layers \(4\) must be 1 to 3$"),
        ({"relation_dim": 0}, r"^relation_dim \(0\) must be at least 1$"),
        ({"dropout": 1.0}, r"^dropout \(1\.0\) must be at least 0 and below 1$"),
    ],
)
def test_arguments_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdaptationNetwork(**{"feature_dim": 8, "num_segments": 3, "heads": HEADS, **changes})


@pytest.mark.parametrize("aggregation", ["relations", "relation"])
def test_clips_of_another_length_are_refused_where_it_matters(aggregation: str) -> None:
    message = rf"^aggregation='{aggregation}' is made for 3 features a clip, not 4; give 3, or train with num_segments=4$"
    with pytest.raises(ValueError, match=message):
        _network(aggregation=aggregation)(torch.randn(2, 4, WIDTH))


@pytest.mark.parametrize("aggregation", ["average", "rnn", "temconv"])
def test_clips_of_any_length_are_taken_where_it_does_not(aggregation: str) -> None:
    assert _network(aggregation=aggregation)(torch.randn(2, 4, WIDTH))["verb"].shape == (2, 4)


def test_features_of_another_width_are_refused() -> None:
    message = r"^features must have shape \(clips, frames, 10\), not \(2, 3, 7\); give the modalities that the network was "
    with pytest.raises(ValueError, match=message):
        _network().domains(_clips(2), torch.randn(2, 3, 7))


def test_a_domain_without_clips_trains_nothing_of_its_own() -> None:
    network = _network(share_parameters=False, norm="adabn", num_shared_layers=2, second_classifier=True)
    sum(_tensors(network.domains(_clips(3), _clips(0))[0])["logits.verb"].flatten()).backward()
    trained = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert "frame_layers.0.weight" in trained
    assert not [name for name in trained if name.startswith("target_") or ".target." in name]
