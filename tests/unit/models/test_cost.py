"""What a network costs: counted without computing, for networks of ours and of a user's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zoopraxis
from zoopraxis.errors import ConfigError
from zoopraxis.models import Preprocessing, VideoModel, create_model, measure_cost, measure_speed

FRAMES, SIZE, WIDTH, CLASSES = 3, 4, 5, 7


class _Scaled(torch.autograd.Function):
    """A matrix product with a backward of its own, as temporal modules write them."""

    @staticmethod
    def forward(ctx: Any, frames_BTN: Tensor, weight_NW: Tensor) -> Tensor:
        ctx.save_for_backward(frames_BTN, weight_NW)
        return frames_BTN @ weight_NW

    @staticmethod
    def backward(ctx: Any, grad_BTW: Tensor) -> tuple[Tensor, Tensor]:
        frames_BTN, weight_NW = ctx.saved_tensors
        return grad_BTW @ weight_NW.T, torch.einsum("btn,btw->nw", frames_BTN, grad_BTW)


class _OwnModel(VideoModel):
    """A network as a user writes one: no backbone of ours, a Function of its own."""

    def __init__(self, *, looks_at_values: bool = False) -> None:
        preprocessing = Preprocessing(size=SIZE, num_segments=FRAMES)
        super().__init__(nn.Identity(), heads={"label": CLASSES}, preprocessing=preprocessing)
        self.weight = nn.Parameter(torch.ones(3 * SIZE * SIZE, WIDTH))
        self.norm = nn.BatchNorm1d(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.head.bias.requires_grad_(False)
        self.looks_at_values = looks_at_values
        self.calls = 0
        self.kept: Tensor | None = None

    def forward(self, clip_BTCHW: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        if self.kept is None:
            self.kept = torch.ones(1, device=clip_BTCHW.device)
        if self.looks_at_values and clip_BTCHW.max() > 1:
            clip_BTCHW = clip_BTCHW / 2
        pooled_BW = _Scaled.apply(clip_BTCHW.flatten(2), self.weight).mean(1)
        return {"label": self.head(self.norm(pooled_BW)) * self.kept}


EXPECTED_MACS = FRAMES * 3 * SIZE * SIZE * WIDTH + WIDTH * CLASSES


@pytest.mark.parametrize("looks_at_values", [False, True])
def test_a_hand_written_function_in_a_users_own_network_is_counted(looks_at_values: bool) -> None:
    cost = measure_cost(_OwnModel(looks_at_values=looks_at_values))
    assert cost.gmacs * 1e9 == pytest.approx(EXPECTED_MACS)
    assert cost.num_parameters == 3 * SIZE * SIZE * WIDTH + 2 * WIDTH + WIDTH * CLASSES + CLASSES
    assert cost.num_trainable == cost.num_parameters - CLASSES
    assert (cost.num_frames, cost.size) == (FRAMES, SIZE)


def test_a_network_on_meta_is_counted_and_told_that_it_cannot_run() -> None:
    model = _OwnModel().to("meta")
    assert measure_cost(model).gmacs * 1e9 == pytest.approx(EXPECTED_MACS)
    with pytest.raises(ConfigError, match="device 'meta' has no weights and cannot run"):
        measure_speed(model)


def test_counting_and_timing_leave_the_network_as_it_was() -> None:
    model = _OwnModel()
    model.train()
    model.head.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    measure_cost(model)
    measure_speed(model, num_runs=2)
    assert (model.training, model.norm.training, model.head.training) == (True, True, False)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_a_network_keeps_of_its_first_pass_is_not_kept_of_the_counting() -> None:
    model = _OwnModel().eval()
    measure_cost(model)
    assert (model.calls, model.kept) == (0, None)
    assert model(torch.ones(1, FRAMES, 3, SIZE, SIZE))["label"].isfinite().all()


def test_a_compiled_network_is_counted_as_it_is_written() -> None:
    model = _OwnModel()
    model.compile(backend=_refuse)
    assert measure_cost(model).gmacs * 1e9 == pytest.approx(EXPECTED_MACS)


def _refuse(*_: Any) -> Any:
    raise AssertionError("counting must not compile")


def test_frames_and_size_may_be_other_than_in_training() -> None:
    with torch.device("meta"):
        model = create_model("tsn", backbone="resnet18", heads={"label": 2}, num_segments=2)
    usual, longer = measure_cost(model, size=64), measure_cost(model, num_frames=4, size=64)
    head = 512 * 2 / 1e9
    assert longer.gmacs - head == pytest.approx(2 * (usual.gmacs - head))
    assert measure_cost(model, size=128).gmacs - head == pytest.approx(4 * (usual.gmacs - head))


def test_attention_and_the_shift_are_counted_as_papers_count_them() -> None:
    with torch.device("meta"):
        plain = create_model("tsn", backbone="vit_tiny_patch16_224", heads={"label": 2}, num_segments=2)
        shifted = create_model("tsn", backbone="vit_tiny_patch16_224", temporal="shift", heads={"label": 2}, num_segments=2)
    tokens, width, depth = 197, 192, 12
    layer = tokens * width * (4 * width + 8 * width) + 2 * tokens * tokens * width
    expected = 2 * (196 * 768 * width + depth * layer) + 2 * width
    assert measure_cost(plain).gmacs * 1e9 == pytest.approx(expected)
    assert measure_cost(shifted).gmacs == measure_cost(plain).gmacs


def test_speed_is_told_with_what_was_run() -> None:
    model = _OwnModel()
    speed = measure_speed(model, batch_size=2, num_runs=3, num_frames=4)
    assert model.calls == 1 + 3
    assert speed.clips_per_second > 0
    assert (speed.device, speed.peak_memory) == ("cpu", None)
    assert (speed.batch_size, speed.num_frames, speed.size) == (2, 4, SIZE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": 0}, r"num_frames \(0\) must be at least 1"),
        ({"size": 0}, r"size \(0\) must be at least 1"),
        ({"batch_size": 0}, r"batch_size \(0\) must be at least 1"),
        ({"num_runs": 0}, r"num_runs \(0\) must be at least 1"),
    ],
)
def test_a_count_below_one_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measure_speed(_OwnModel(), **arguments)


def test_both_are_public_names() -> None:
    assert zoopraxis.measure_cost is measure_cost
    assert zoopraxis.measure_speed is measure_speed
