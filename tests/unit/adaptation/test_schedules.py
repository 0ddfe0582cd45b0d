"""Strengths and weights over the run, in numbers of the published curves."""

from __future__ import annotations

import math

import pytest

from zoopraxis.adaptation.schedules import Progress, annealing, discrepancy_weight, run_part, scheduled_strengths


def _at(epoch: int, step: int = 0) -> Progress:
    return Progress(epoch=epoch, step=step, steps_per_epoch=4, num_epochs=30)


def _curve(coefficient: float, part: float) -> float:
    return 2 / (1 + math.exp(-coefficient * part)) - 1


def test_the_part_behind_counts_epochs_from_the_first() -> None:
    assert run_part(_at(0)) == 1 / 30
    assert run_part(_at(0), first_epoch=0) == 0
    assert run_part(_at(29, 2)) == (30 * 4 + 2) / 120


@pytest.mark.parametrize(("warmup", "last"), [("none", 1.0), ("slow", 0.462), ("dann", 1.0)])
def test_a_warm_up_ends_at_its_published_height(warmup: str, last: float) -> None:
    strengths = scheduled_strengths({"video": 1.0}, _at(29), warmup=warmup)  # type: ignore[arg-type]
    assert strengths["video"] == pytest.approx(last, abs=1e-3)


def test_strengths_of_zero_or_more_are_multiplied() -> None:
    strengths = scheduled_strengths({"relation": 0.75, "video": 0.0, "frame": 0.5}, _at(3, 2), warmup="slow")
    factor = _curve(1, (2 + 4 * 4) / 120)
    assert strengths == pytest.approx({"relation": 0.75 * factor, "video": 0.0, "frame": 0.5 * factor})


def test_strengths_below_zero_follow_the_warm_up_alone_at_each_step() -> None:
    strengths = scheduled_strengths({"video": -1.0, "frame": 0.5}, _at(3, 2), warmup="dann")
    factor = _curve(10, 18 / 120)
    assert strengths == pytest.approx({"video": factor, "frame": 0.5 * factor})


def test_strengths_below_zero_stand_still_in_an_epoch_if_asked() -> None:
    first, last = (scheduled_strengths({"video": -1.0}, _at(3, step), warmup="dann", warmup_each="epoch") for step in (0, 3))
    assert first == last == pytest.approx({"video": _curve(10, 4 / 30)})


def test_published_strengths_of_ucf_hmdb_below_zero_follow_dann_and_others_stand() -> None:
    strengths = scheduled_strengths(
        {"video": -1.0, "frame": 0.5}, _at(0, 3), warmup="none", warmup_each="epoch", below_zero="dann"
    )
    assert strengths == pytest.approx({"video": _curve(10, 1 / 30), "frame": 0.5})


def test_published_strengths_of_epic_below_zero_are_warmed_up_twice() -> None:
    strengths = scheduled_strengths({"video": -1.0}, _at(0, 3), warmup="slow", warmup_each="epoch", below_zero="slow")
    assert strengths == pytest.approx({"video": _curve(1, 1 / 30) * _curve(1, 7 / 120)})


def test_a_discrepancy_weight_below_zero_rises_each_epoch() -> None:
    assert discrepancy_weight(0.3, _at(5)) == 0.3
    assert discrepancy_weight(-1, _at(5, 3)) == discrepancy_weight(-1, _at(5)) == pytest.approx(_curve(1, 6 / 30))


def test_the_annealed_rate_has_the_published_numbers() -> None:
    assert 0.03 * annealing(1 / 30) == pytest.approx(0.02417782)
    assert 0.03 * annealing(4 / 90) == pytest.approx(0.02276909)
