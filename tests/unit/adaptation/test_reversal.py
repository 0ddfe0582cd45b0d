"""Gradients are turned round, values are not."""

from __future__ import annotations

import torch

from zoopraxis.adaptation.reversal import reverse_gradient, scale_gradient


def test_reversed_values_are_the_same_and_their_gradient_is_not() -> None:
    values = torch.tensor([1.0, -2.0], requires_grad=True)
    found = reverse_gradient(values, 0.75)
    torch.testing.assert_close(found, values, rtol=0, atol=0)
    found.backward(torch.tensor([4.0, -8.0]))
    assert values.grad is not None
    assert values.grad.tolist() == [-3.0, 6.0]


def test_a_scale_keeps_the_sign() -> None:
    values = torch.ones(2, requires_grad=True)
    scale_gradient(values, 0.5).backward(torch.tensor([4.0, -8.0]))
    assert values.grad is not None
    assert values.grad.tolist() == [2.0, -4.0]


def test_no_strength_gives_no_gradient_and_no_work() -> None:
    values = torch.ones(2, requires_grad=True)
    found = reverse_gradient(values, 0.0)
    assert not found.requires_grad
    assert found.tolist() == [1.0, 1.0]
