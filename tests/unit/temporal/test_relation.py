"""TRN's relations: the plain form's numbers, the published draws, a fixed evaluation, and what they refuse."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoopraxis.temporal.relation import (
    MultiScaleRelation,
    SingleScaleRelation,
    draw_published_relations,
    draw_relations,
    tuples_at,
)

NUM_FRAMES = 5
DRAWN_FROM_SEED_0 = {
    8: [[0, 1, 2, 3, 4, 5, 6, 7]],
    7: [[0, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 6, 7], [0, 1, 2, 3, 4, 5, 7]],
    6: [[0, 1, 3, 4, 5, 7], [2, 3, 4, 5, 6, 7], [0, 2, 4, 5, 6, 7]],
    5: [[2, 4, 5, 6, 7], [0, 1, 2, 3, 6], [0, 3, 5, 6, 7]],
    4: [[0, 3, 4, 5], [0, 1, 3, 6], [0, 2, 6, 7]],
    3: [[3, 5, 6], [4, 5, 6], [0, 1, 7]],
    2: [[6, 7], [1, 4], [2, 3]],
}


def _multi(**settings: Any) -> MultiScaleRelation:
    torch.manual_seed(0)
    return MultiScaleRelation(
        **{"feature_dim": 6, "num_frames": NUM_FRAMES, "num_classes": 4, "bottleneck": 7, **settings}
    ).eval()


def _frames(num_frames: int = NUM_FRAMES, num_clips: int = 3) -> Tensor:
    return torch.randn(num_clips, num_frames, 6, generator=torch.Generator().manual_seed(1))


def _plain(module: MultiScaleRelation, frames: Tensor, relations: dict[int, Tensor]) -> Tensor:
    """One tuple after the other through the whole MLP, as the published code does it."""
    logits = torch.zeros(())
    for number, scale in enumerate(module.scales):
        mlp = module.fc_fusion_scales[number]
        classifier = getattr(module, "classifier_scales", [nn.Identity()] * len(module.scales))[number]
        for frame_numbers in relations[scale].tolist():
            logits = logits + classifier(mlp(frames[:, frame_numbers].flatten(1)))
    return logits


def _all_tuples(num_frames: int) -> dict[int, Tensor]:
    return {scale: torch.tensor(list(itertools.combinations(range(num_frames), scale))) for scale in range(num_frames, 1, -1)}


def test_the_seeded_draw_is_the_published_one() -> None:
    drawn = draw_published_relations(8, np.random.RandomState(0))
    assert list(drawn) == list(DRAWN_FROM_SEED_0)
    assert {scale: tuples.tolist() for scale, tuples in drawn.items()} == DRAWN_FROM_SEED_0
    state = np.random.RandomState(0)
    draw_published_relations(8, state)
    assert draw_published_relations(8, state)[2].tolist() != DRAWN_FROM_SEED_0[2]


def test_tuples_are_numbered_as_combinations_are() -> None:
    assert tuples_at(7, 3, range(35)).tolist() == [list(frames) for frames in itertools.combinations(range(7), 3)]
    assert tuples_at(64, 32, [math.comb(64, 32) - 1]).tolist() == [list(range(32, 64))]
    with pytest.raises(ValueError, match=r"position 10 must be in \[0, 10\), the 3-tuples of 5 frames"):
        tuples_at(5, 3, [0, 10])


@pytest.mark.parametrize("num_frames", [2, 3, 12])
def test_draws_of_torch_are_distinct_tuples_and_follow_its_seed(num_frames: int) -> None:
    torch.manual_seed(3)
    drawn = draw_relations(num_frames)
    for scale, tuples in drawn.items():
        listed = tuples.tolist()
        assert len({tuple(frames) for frames in listed}) == len(listed) == min(3, math.comb(num_frames, scale))
        assert all(frames == sorted(set(frames)) and frames[0] >= 0 and frames[-1] < num_frames for frames in listed)
    torch.manual_seed(3)
    again = draw_relations(num_frames)
    assert all(torch.equal(tuples, again[scale]) for scale, tuples in drawn.items())


@pytest.mark.parametrize("dropout", [None, 0.6])
def test_given_tuples_give_the_plain_forms_numbers_and_gradients(dropout: float | None) -> None:
    module, frames = _multi(dropout=dropout), _frames().requires_grad_()
    relations = draw_published_relations(NUM_FRAMES, np.random.RandomState(1))
    parts = [frames, *module.parameters()]
    ours, plain = module(frames, relations=relations), _plain(module, frames, relations)
    torch.testing.assert_close(ours, plain)
    weights = torch.randn(ours.shape)
    gradients = torch.autograd.grad((ours * weights).sum(), parts)
    torch.testing.assert_close(gradients, torch.autograd.grad((plain * weights).sum(), parts))
    assert all(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("dropout", [None, 0.6])
def test_evaluation_of_all_tuples_is_their_plain_sum(dropout: float | None) -> None:
    module, frames = _multi(evaluation="all", dropout=dropout), _frames()
    torch.testing.assert_close(module(frames), _plain(module, frames, _all_tuples(NUM_FRAMES)))


def test_evaluation_is_by_default_the_mean_of_all_draws() -> None:
    module, frames = _multi(num_frames=4), _frames(4)
    triples, pairs = (list(itertools.combinations(tuples_at(4, s, range(math.comb(4, s))), 3)) for s in (3, 2))
    rest = {4: tuples_at(4, 4, [0])}
    draws = [{**rest, 3: torch.stack(triples[n % 4]), 2: torch.stack(pair)} for n, pair in enumerate(pairs)]
    assert len(draws) % len(triples) == 0  # each draw of a scale comes equally often
    mean = torch.stack([_plain(module, frames, relations) for relations in draws]).mean(0)
    torch.testing.assert_close(module(frames), mean)
    assert not torch.allclose(module(frames), _plain(module, frames, draws[0]), rtol=1e-2)


def test_evaluation_of_long_clips_is_near_the_mean_of_all_tuples() -> None:
    module, frames = _multi(num_frames=12), _frames(12)
    relations = _all_tuples(12)
    assert max(len(tuples) for tuples in relations.values()) > 3 * max(len(tuples) for tuples in module.buffers())
    expected = torch.zeros(())
    for scale, mlp in zip(module.scales, module.fc_fusion_scales, strict=True):
        tuples = relations[scale]
        expected = expected + min(3, len(tuples)) * mlp(frames[:, tuples].flatten(2)).mean(1)
    spread = torch.stack([module(frames, relations=draw_relations(12)) for _ in range(50)]).std(0).max()
    assert (module(frames) - expected).abs().max() < 0.2 * spread


def test_evaluation_is_the_same_at_each_call_and_in_each_batch() -> None:
    module, frames = _multi(), _frames(num_clips=4)
    both = module(frames)
    torch.manual_seed(9)
    assert torch.equal(module(frames), both)
    torch.testing.assert_close(module(frames[2:3]), both[2:3])
    assert not torch.allclose(module(frames.flip(1)), both, rtol=1e-2)


def test_random_evaluation_draws_as_training_does() -> None:
    module, frames = _multi(evaluation="random", num_frames=7), _frames(7)
    torch.manual_seed(4)
    first, second = module(frames), module(frames)
    assert not torch.equal(first, second)
    torch.manual_seed(4)
    assert torch.equal(module(frames), first)
    in_training = _multi(num_frames=7).train()
    torch.manual_seed(4)
    assert torch.equal(in_training(frames), first)
    torch.manual_seed(4)
    torch.testing.assert_close(first, _plain(module, frames, draw_relations(7)))


def test_a_single_scale_sees_all_frames_in_their_order() -> None:
    module = SingleScaleRelation(feature_dim=6, num_frames=NUM_FRAMES, num_classes=4)
    assert {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()} == {
        "classifier.1.weight": (512, 30),
        "classifier.1.bias": (512,),
        "classifier.3.weight": (4, 512),
        "classifier.3.bias": (4,),
    }
    frames = _frames()
    assert not torch.allclose(module(frames.flip(1)), module(frames), rtol=1e-2)


def test_parameters_have_the_published_names_and_tuples_are_not_saved() -> None:
    plain = _multi().state_dict()
    assert list(plain) == [f"fc_fusion_scales.{i}.{j}.{part}" for i in range(4) for j in (1, 3) for part in ("weight", "bias")]
    assert plain["fc_fusion_scales.3.1.weight"].shape == (7, 12)
    variant = _multi(dropout=0.6).state_dict()
    assert "fc_fusion_scales.0.4.weight" in variant
    assert variant["classifier_scales.3.weight"].shape == (4, 7)


def test_compiles_in_one_graph_and_exports_for_any_number_of_clips() -> None:
    module, frames = _multi(), _frames()
    torch.compiler.reset()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(frames), module(frames))
    exported = torch.export.export(module, (frames,), dynamic_shapes=({0: torch.export.Dim("num_clips", min=2, max=16)},))
    torch.testing.assert_close(exported.module()(frames[:2]), module(frames[:2]))


def test_a_compiled_module_draws_anew_at_each_training_step() -> None:
    module, frames = _multi(num_frames=8).train(), _frames(8)
    torch.compiler.reset()
    compiled = torch.compile(module, backend="eager")
    torch.manual_seed(5)
    scores = [compiled(frames) for _ in range(3)]
    torch.manual_seed(5)
    expected = [module(frames) for _ in range(3)]
    torch.testing.assert_close(scores, expected)
    assert not torch.equal(scores[0], scores[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 1}, r"num_frames \(1\) of a multi-scale relation must be 2 to 64; published: 8"),
        ({"num_frames": 65}, r"num_frames \(65\)"),
        ({"feature_dim": 0}, r"feature_dim \(0\) of a relation must be at least 1"),
        ({"evaluation": "mean"}, "unknown evaluation 'mean' of relations; known: expected, all, random"),
        ({"evaluation": "all", "num_frames": 20}, r"evaluation='all' takes up to 16 frames, not 20 \(1048555 tuples\); use"),
    ],
)
def test_bad_arguments_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _multi(**settings)


@pytest.mark.parametrize("num_frames", [3, 8])
def test_clips_of_another_length_are_refused(num_frames: int) -> None:
    single = SingleScaleRelation(feature_dim=6, num_frames=NUM_FRAMES, num_classes=4)
    for module in (_multi(), single):
        with pytest.raises(ValueError, match=f"made for clips of 5 frames, not {num_frames}; sample 5 frames a clip, or train"):
            module(_frames(num_frames))
        with pytest.raises(ValueError, match=r"must have shape \(B, T, D\), not \(5, 6\)"):
            module(_frames()[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({6: torch.zeros(1, 6)}, r"tuples for the scales 2 to 5, not \[2, 3, 4, 5, 6\]"),
        ({3: torch.zeros(2, 4, dtype=torch.int64)}, r"tuples of scale 3 must have shape \(N, 3\), not \(2, 4\)"),
        ({2: torch.tensor([[0, 5]])}, r"tuples of scale 2 must name frames in \[0, 5\), not 0 to 5"),
    ],
)
def test_tuples_that_do_not_fit_are_refused(changed: dict[int, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _multi()(_frames(), relations={**draw_relations(NUM_FRAMES), **changed})
