"""Actions by views: the mean of each view's product, from the network's logits to what a test keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from zoopraxis.models.preprocessing import Preprocessing
from zoopraxis.training.system import RecognitionSystem
from zoopraxis.training.trainer import inference_trainer, quiet_lightning
from zoopraxis.training.view_actions import top_view_actions

NUM_VERBS, NUM_NOUNS, NUM_VIEWS = 3, 4, 2


def mean_of_products(verbs: Tensor, nouns: Tensor, num_views: int) -> Tensor:
    """One by one: shape (clips, verbs * nouns)."""
    products = [torch.outer(verb, noun).flatten() for verb, noun in zip(verbs.softmax(1), nouns.softmax(1), strict=True)]
    return torch.stack(products).unflatten(0, (-1, num_views)).mean(1)


def test_actions_are_ranked_by_the_mean_of_each_views_product() -> None:
    generator = torch.Generator().manual_seed(0)
    verbs = 3 * torch.randn(5 * 3, NUM_VERBS, generator=generator)
    nouns = 3 * torch.randn(5 * 3, NUM_NOUNS, generator=generator)
    expected = mean_of_products(verbs, nouns, 3).sort(1, descending=True)
    classes, probabilities = top_view_actions(verbs, nouns, 3, num_actions=7)
    assert classes.tolist() == expected.indices[:, :7].tolist()
    assert torch.allclose(probabilities, expected.values[:, :7])
    assert (classes.dtype, probabilities.dtype) == (torch.int32, torch.float32)
    assert top_view_actions(verbs, nouns, 3)[0].shape == (5, NUM_VERBS * NUM_NOUNS)


def test_what_was_seen_together_counts_more_than_the_product_of_averages() -> None:
    verbs = torch.tensor([[9.0, 0, 0], [0, 9.0, 0]])
    nouns = torch.tensor([[9.0, 0, 0, 0], [0, 9.0, 0, 0]])
    classes, probabilities = top_view_actions(verbs, nouns, 2, num_actions=3)
    assert sorted(classes[0, :2].tolist()) == [0, NUM_NOUNS + 1]  # the product of averages also has verb 0 with noun 1
    assert probabilities[0, :2].tolist() == pytest.approx([0.5, 0.5], abs=1e-2)
    assert float(probabilities[0, 2]) < 1e-3


class _Pixels(nn.Module):
    """Logits from the first pixels of a clip."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1))

    def forward(self, clip: Tensor) -> dict[str, Tensor]:
        pixels = 20 * clip[:, 0, 0].flatten(1)
        return {"verb": pixels[:, :NUM_VERBS], "noun": pixels[:, NUM_VERBS : NUM_VERBS + NUM_NOUNS]}


@pytest.mark.parametrize("num_views", [1, NUM_VIEWS])
def test_a_test_of_several_views_keeps_them_in_the_order_of_the_rows(num_views: int) -> None:
    clips = torch.randint(0, 256, (6, num_views, 1, 3, 2, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    rows = torch.tensor([4, 0, 1, 3, 2, 5])
    labels = torch.zeros(2, dtype=torch.long)
    batches = [
        {
            "clip": clips[part] if num_views > 1 else clips[part, 0],
            "index": rows[part],
            "labels": {"verb": labels, "noun": labels},
        }
        for part in torch.arange(6).split(2)
    ]
    system = RecognitionSystem(_Pixels())
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    with quiet_lightning():
        inference_trainer(accelerator="cpu", devices=1, show_progress=False).test(system, loader, verbose=False)
    assert system.tested is not None
    assert system.tested[0].tolist() == list(range(6))
    if num_views == 1:
        assert system.view_actions is None
        return
    pixels = clips[rows.argsort(), :, 0, 0].flatten(0, 1).flatten(1) / 255 * 20
    expected = mean_of_products(pixels[:, :NUM_VERBS], pixels[:, NUM_VERBS : NUM_VERBS + NUM_NOUNS], num_views)
    assert system.view_actions is not None
    found = system.view_actions.classes(NUM_NOUNS)
    assert found.tolist() == expected.argsort(1, descending=True).tolist()
    np.testing.assert_allclose(system.view_actions.probabilities, expected.sort(1, descending=True).values, rtol=1e-4)
