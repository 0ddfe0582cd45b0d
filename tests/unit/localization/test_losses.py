"""The losses of boundary maps against their definitions, and where the published ones are not a number."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from zoopraxis.localization.losses import LocalizationLoss, balanced_cross_entropy, draw_cells, overlap_loss
from zoopraxis.localization.network import BoundaryMaps
from zoopraxis.localization.targets import Targets, boundary_targets, shift_targets

BALANCES: list[Any] = ["tadaconv", "mmaction", "epic"]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
STEPS, DURATIONS, CLASSES = 12, 8, 5


def _uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _maps(num_windows: int = 2, *, shift: bool = False, heads: Iterable[str] = (), seed: int = 0) -> BoundaryMaps:
    shape = (num_windows, 2, DURATIONS, STEPS)
    classes = {head: _uniform(num_windows, CLASSES, *shape[2:], seed=seed + 5) for head in heads}
    starts_BT, ends_BT = (_uniform(num_windows, STEPS, seed=seed + part) for part in (0, 1))
    shift_B2DT = _uniform(*shape, seed=seed + 3) if shift else None
    return BoundaryMaps(starts_BT, ends_BT, _uniform(*shape, seed=seed + 2), shift_B2DT, classes)


def _targets(*windows: list[tuple[float, float]]) -> Targets:
    most = max(len(segments) for segments in windows)
    present_BG = torch.tensor([[row < len(segments) for row in range(most)] for segments in windows]).reshape(
        len(windows), most
    )
    segments_BG2 = torch.zeros(len(windows), most, 2, dtype=torch.float64)
    for row, segments in enumerate(windows):
        segments_BG2[row, : len(segments)] = torch.tensor(segments, dtype=torch.float64).reshape(-1, 2)
    return boundary_targets(segments_BG2, present_BG, num_steps=STEPS, max_duration=DURATIONS)


def _usual() -> Targets:
    return _targets([(0.0, 0.25), (0.5, 0.76)], [(0.17, 0.83)])


def _moved(values: Any, device: str) -> Any:
    return type(values)(*(v.to(device) if isinstance(v, Tensor) else v for v in values))


@pytest.mark.parametrize(("balance", "epsilon"), [("tadaconv", 1e-6), ("mmaction", 1e-5), ("epic", 1e-6)])
def test_positives_and_negatives_weigh_the_same_together(balance: Any, epsilon: float) -> None:
    probabilities, is_positive = _uniform(4, 10), _uniform(4, 10, seed=1) < 0.2
    gains = (probabilities[is_positive] + epsilon).log().mean() / 2
    losses = (1 - probabilities[~is_positive] + epsilon).log().mean() / 2
    torch.testing.assert_close(balanced_cross_entropy(probabilities, is_positive, balance=balance), -gains - losses)


def test_only_what_is_counted_counts() -> None:
    probabilities, is_positive, is_counted = _uniform(40), torch.arange(40) < 5, torch.arange(40) < 20
    found = balanced_cross_entropy(probabilities, is_positive, is_counted)
    torch.testing.assert_close(found, balanced_cross_entropy(probabilities[:20], is_positive[:20]))


def test_mmaction_bounds_what_rare_positives_weigh() -> None:
    probabilities, is_positive = torch.full((100,), 0.25), torch.arange(100) < 1
    gain, loss = -math.log(0.25 + 1e-5), -math.log(0.75 + 1e-5)
    expected = (10.5 * gain + 99 * 0.5 * 21 / 20 * loss) / 100
    assert balanced_cross_entropy(probabilities, is_positive, balance="mmaction").item() == pytest.approx(expected)
    expected = (99 * 0.5 * 1.05 * loss + 0.5 * 1.05 / 0.05 * gain) / 100
    assert balanced_cross_entropy(1 - probabilities, ~is_positive, balance="mmaction").item() == pytest.approx(expected)
    expected = 100 * 0.5 * 21 / 20 * loss
    none = torch.zeros(100, dtype=torch.bool)
    assert balanced_cross_entropy(probabilities, none, balance="mmaction").item() == pytest.approx(expected / 100)
    of_all = balanced_cross_entropy(probabilities, none, ~none, balance="mmaction")
    assert of_all.item() == pytest.approx(expected / 101)


@pytest.mark.parametrize("balance", ["tadaconv", "epic"])
@pytest.mark.parametrize("kind", [False, True])
def test_one_kind_alone_weighs_half_and_has_a_finite_gradient(balance: Any, kind: bool) -> None:
    probabilities = _uniform(40).requires_grad_()
    right = probabilities if kind else 1 - probabilities
    found = balanced_cross_entropy(probabilities, torch.full((40,), kind), balance=balance)
    torch.testing.assert_close(found, -0.5 * (right + 1e-6).log().mean())
    (gradient,) = torch.autograd.grad(found, probabilities)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("balance", BALANCES)
def test_cells_of_middle_and_low_overlap_are_drawn_by_the_number_of_high_ones(balance: Any) -> None:
    overlap_BDT = torch.zeros(1, 10, 100)
    overlap_BDT[0, 0, :20], overlap_BDT[0, 1:3], overlap_BDT[0, 3:7] = 0.8, 0.7, 0.3
    draws = _uniform(1, 10, 100), _uniform(1, 10, 100, seed=1)
    times_BDT = draw_cells(overlap_BDT, torch.ones(10, 100), draws, balance=balance)
    expected_BDT = (overlap_BDT > 0.7).float()
    expected_BDT[0, 1:3] = (draws[0][0, 1:3] > 1 - 20 / 200).float()
    expected_BDT[0, 3:7] = (draws[1][0, 3:7] > 1 - 20 / 400).float()
    assert torch.equal(times_BDT, expected_BDT)


@pytest.mark.parametrize(("balance", "of_one"), [("tadaconv", 0), ("mmaction", 1), ("epic", 1)])
def test_with_more_high_cells_than_others_all_count_again(balance: Any, of_one: int) -> None:
    overlap_BDT = torch.zeros(1, 4, 10)
    overlap_BDT[0, 0, 0], overlap_BDT[0, 1] = 0.9, 0.2
    draws = torch.full_like(overlap_BDT, 0.5), torch.zeros_like(overlap_BDT)
    times_BDT = draw_cells(overlap_BDT, torch.ones(4, 10), draws, balance=balance)
    assert torch.equal(times_BDT, (overlap_BDT > 0.7).float() + of_one)
    overlap_BDT[0, 0, :2] = 0.9
    assert torch.equal(draw_cells(overlap_BDT, torch.ones(4, 10), draws, balance=balance), (overlap_BDT > 0.7).float() + 1)


def test_overlap_loss_is_half_the_squared_error_of_the_cells_that_count() -> None:
    predicted, overlap, times = _uniform(2, 3, 4), _uniform(2, 3, 4, seed=1), (_uniform(2, 3, 4, seed=2) < 0.5).float()
    expected = 0.5 * (predicted - overlap)[times > 0].square().mean()
    torch.testing.assert_close(overlap_loss(predicted, overlap, times), expected)
    assert overlap_loss(predicted, overlap, torch.zeros_like(times)).item() == 0


def test_total_is_the_weighted_sum_of_the_parts() -> None:
    weights = {"boundary": 2.0, "overlap": 3.0, "confidence": 0.5, "classes": 0.25, "shift": 4.0}
    labels = {head: torch.tensor([[0, 4], [2, -1]]) for head in ("verb", "noun", "unused")}
    maps = _maps(shift=True, heads=("verb", "noun"))
    total, parts = LocalizationLoss(**weights)(maps, _usual(), labels, generator=torch.Generator().manual_seed(0))
    by_part = {f"{name}_loss": weight for name, weight in weights.items() if name != "classes"}
    by_part |= {f"{head}_loss": weights["classes"] for head in ("verb", "noun")}
    assert set(parts) == set(by_part)
    torch.testing.assert_close(total, torch.stack([weight * parts[name] for name, weight in by_part.items()]).sum())


def test_cells_past_the_window_are_not_learned() -> None:
    maps, targets = _maps(heads=["verb"], shift=True), _usual()
    other = maps._replace(
        confidence_B2DT=maps.confidence_B2DT.where(targets.valid_DT.bool(), 0.5),
        classes={"verb": maps.classes["verb"].where(targets.valid_DT.bool(), 9.0)},
    )
    draws = _uniform(2, DURATIONS, STEPS), _uniform(2, DURATIONS, STEPS, seed=1)
    labels = {"verb": torch.tensor([[0, 4], [2, 0]])}
    one, two = (LocalizationLoss()(each, targets, labels, draws=draws)[0] for each in (maps, other))
    torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_classes_are_learned_where_a_segment_with_a_class_is_overlapped() -> None:
    targets, maps = _usual(), _maps(heads=["verb"])
    is_learned_BDT = (targets.overlap_BDT >= 0.6) & targets.valid_DT.bool() & (targets.segment_BDT == 0)
    labels_BG = torch.tensor([[3, -1], [1, 0]])
    logits_NK = maps.classes["verb"].permute(0, 2, 3, 1)[is_learned_BDT]
    labels_N = labels_BG[:, :1, None].expand(-1, DURATIONS, STEPS)[is_learned_BDT]
    assert 1 < len(labels_N) < is_learned_BDT.numel()
    parts = LocalizationLoss(class_above=0.6)(maps, targets, {"verb": labels_BG})[1]
    torch.testing.assert_close(parts["verb_loss"], F.cross_entropy(logits_NK, labels_N))


def test_shift_loss_is_zero_at_its_targets_and_looks_at_overlapping_cells_alone() -> None:
    targets = _usual()
    aim_B2DT = shift_targets(targets)
    is_far_BDT = (targets.overlap_BDT < 0.75)[:, None]
    for shift_B2DT in (aim_B2DT, aim_B2DT + is_far_BDT):
        assert LocalizationLoss()(_maps()._replace(shift_B2DT=shift_B2DT), targets)[1]["shift_loss"].item() == 0
    moved = LocalizationLoss()(_maps()._replace(shift_B2DT=aim_B2DT + 2), targets)[1]["shift_loss"]
    torch.testing.assert_close(moved, torch.tensor(3.0))


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("windows", [[[], []], [[(0.5, 0.51)], []], [[(0.0, 1.0)], [(0.9, 0.99)]], [[(0.0, 1.0)] * 2, []]])
def test_every_batch_has_a_finite_loss_and_gradient(balance: Any, windows: list[list[tuple[float, float]]]) -> None:
    maps = _maps(shift=True, heads=["verb"])
    leaves = [*maps[:4], maps.classes["verb"]]
    for leaf in leaves:
        leaf.requires_grad_()
    targets = _targets(*windows)
    labels = {"verb": torch.zeros(targets.segments_BG2.shape[:2], dtype=torch.int64)}
    total, parts = LocalizationLoss(balance=balance)(maps, targets, labels)
    assert all(part.isfinite() for part in (total, *parts.values()))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(total, leaves))


@pytest.mark.parametrize(("balance", "is_silent"), [("tadaconv", True), ("mmaction", False), ("epic", False)])
def test_without_a_confident_cell_only_tadaconv_teaches_nothing(balance: Any, is_silent: bool) -> None:
    maps, targets = _maps(), _targets([], [])
    maps.confidence_B2DT.requires_grad_()
    parts = LocalizationLoss(balance=balance)(maps, targets)[1]
    (gradient,) = torch.autograd.grad(parts["confidence_loss"], maps.confidence_B2DT)
    assert (parts["confidence_loss"].item() == 0) is is_silent
    assert (not gradient.any()) is is_silent


@pytest.mark.parametrize("balance", BALANCES)
def test_extreme_probabilities_have_finite_losses_and_gradients(balance: Any) -> None:
    maps = BoundaryMaps(*(values.round() for values in _maps()[:3]), None, {})
    for values in maps[:3]:
        values.requires_grad_()
    total, _ = LocalizationLoss(balance=balance)(maps, _usual())
    assert total.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(total, maps[:3]))


def test_gradients_are_those_of_finite_differences() -> None:
    draws = _uniform(2, DURATIONS, STEPS), _uniform(2, DURATIONS, STEPS, seed=1)
    targets, labels = _usual(), {"verb": torch.tensor([[1, 4], [2, 0]])}
    given = _maps(shift=True, heads=["verb"])
    leaves = [values.double().mul(0.8).add(0.1).requires_grad_() for values in (*given[:4], given.classes["verb"])]

    def loss(starts: Tensor, ends: Tensor, confidence: Tensor, shift: Tensor, verbs: Tensor) -> Tensor:
        maps = BoundaryMaps(starts, ends, confidence, shift, {"verb": verbs})
        return LocalizationLoss()(maps, targets, labels, draws=draws)[0]

    assert torch.autograd.gradcheck(loss, leaves, fast_mode=True)


def test_draws_come_from_the_generator_given() -> None:
    loss, maps, targets = LocalizationLoss(), _maps(), _usual()
    generator = torch.Generator().manual_seed(7)
    drawn = torch.Generator().manual_seed(7)
    draws = tuple(torch.rand(2, DURATIONS, STEPS, generator=drawn) for _ in range(2))
    state = torch.get_rng_state()
    first, again = (loss(maps, targets, generator=generator)[1]["overlap_loss"] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first != again
    assert loss(maps, targets, draws=(draws[0], draws[1]))[1]["overlap_loss"] == first
    torch.manual_seed(7)
    assert loss(maps, targets)[1]["overlap_loss"] == first


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_losses_are_precise_for_maps_of_any_precision(device: str, dtype: torch.dtype) -> None:
    targets, draws = _usual(), (_uniform(2, DURATIONS, STEPS), _uniform(2, DURATIONS, STEPS, seed=1))
    maps = BoundaryMaps(*(values.to(dtype) for values in _maps()[:3]), None, {})
    expected = LocalizationLoss()(BoundaryMaps(*(values.double() for values in maps[:3]), None, {}), targets, draws=draws)[0]
    total, _ = LocalizationLoss()(_moved(maps, device), _moved(targets, device), draws=draws)
    assert total.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert total.device.type == device
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    total, _ = LocalizationLoss()(_moved(maps, device), _moved(targets, device), generator=torch.Generator().manual_seed(0))
    assert total.isfinite()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balance": "tada"}, r"no balance is called 'tada'; there are tadaconv, mmaction, epic"),
        ({"low_below": 0.7}, r"low_below \(0\.7\) must be below high_above \(0\.7\)"),
        ({"high_above": 1.5}, r"both from 0 to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalizationLoss(**settings)


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maps of shapes \(3, 12\) and \(3, 2, 8, 12\) do not fit the targets, \(2, 12\) and"):
        LocalizationLoss()(_maps(3), _usual())
    with pytest.raises(ValueError, match=r"no labels for noun, of which the network has class maps; given are \['verb'\]"):
        LocalizationLoss()(_maps(heads=["noun"]), _usual(), {"verb": torch.zeros(2, 2, dtype=torch.int64)})
