"""From frames to a video, against the definitions written out."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from zoopraxis.adaptation.aggregation import (
    Average,
    Recurrent,
    SingleRelation,
    TemporalConvolution,
    TemporalRelations,
    published_tuples,
)

DIM = 4


def _frames(num_frames: int, num_clips: int = 2) -> Tensor:
    return torch.randn(num_clips, num_frames, DIM, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("num_segments", [2, 3, 5, 8])
def test_tuples_are_evenly_spread_over_all(num_segments: int) -> None:
    for scale in range(2, num_segments + 1):
        every = list(itertools.combinations(range(num_segments), scale))
        count = min(3, len(every))
        expected = [every[math.ceil(number * len(every) / count)] for number in range(count)]
        assert list(published_tuples(num_segments, scale)) == expected


@pytest.mark.parametrize("num_segments", [2, 3, 5])
def test_relations_sum_over_their_tuples(num_segments: int) -> None:
    relations, frames = TemporalRelations(frame_dim=DIM, num_segments=num_segments, relation_dim=6), _frames(num_segments)
    found = relations(frames)
    assert found.shape == (2, num_segments - 1, 6)
    for number, scale in enumerate(range(num_segments, 1, -1)):
        layer = relations.layers[number]
        parts = [layer(frames[:, list(chosen)].flatten(1).relu()).relu() for chosen in published_tuples(num_segments, scale)]
        torch.testing.assert_close(found[:, number], torch.stack(parts).sum(dim=0))


def test_items_are_summed_with_one_more_than_their_weight() -> None:
    items, weights = torch.tensor([[[1.0, 2.0], [10.0, 20.0]]]), torch.tensor([[0.5, 0.0]])
    relations = TemporalRelations(frame_dim=DIM, num_segments=3, relation_dim=2)
    assert relations.pool(items, weights).tolist() == [[11.5, 23.0]]
    assert relations.pool(items, None).tolist() == [[11.0, 22.0]]
    average = Average(frame_dim=2)
    assert average.pool(items, weights).tolist() == [[5.75, 11.5]]
    assert average.pool(items, None).tolist() == [[5.5, 11.0]]


def test_one_relation_sees_all_frames_side_by_side() -> None:
    relation, frames = SingleRelation(frame_dim=DIM, num_segments=3, relation_dim=6), _frames(3)
    torch.testing.assert_close(relation(frames), relation.layer(frames.relu().flatten(1)).relu())


def test_a_convolution_over_time_is_the_same_for_all_features() -> None:
    aggregator, frames = TemporalConvolution(frame_dim=DIM), _frames(5)
    weight, bias = aggregator.convolution.weight.flatten(), aggregator.convolution.bias
    padded = torch.nn.functional.pad(frames, (0, 0, 1, 1))
    convolved = sum(weight[place] * padded[:, place : place + 5] for place in range(3)) + bias
    torch.testing.assert_close(aggregator(frames), convolved.relu().mean(dim=1))


@pytest.mark.parametrize(
    ("num_frames", "spans"),
    [
        (2, [[0], [1], [1], [1], [1]]),
        (5, [[0], [1], [2], [3], [4]]),
        (8, [[0, 1], [2, 3], [4, 5], [6, 7], [7, 7]]),
        (11, [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]),
    ],
)
def test_a_recurrent_network_reads_the_maxima_of_spans(num_frames: int, spans: list[list[int]]) -> None:
    aggregator = Recurrent(frame_dim=DIM, cell="gru", num_layers=2, num_directions=2, num_bins=5)
    frames = _frames(num_frames)
    maxima = torch.stack([frames[:, span].amax(dim=1) for span in spans], dim=1)
    torch.testing.assert_close(aggregator(frames), aggregator.rnn(maxima)[0][:, -1])


def test_numbers_that_fit_no_aggregation_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^num_segments \(1\) of relations must be 2 to 64; published: 5$"):
        TemporalRelations(frame_dim=DIM, num_segments=1, relation_dim=4)
    with pytest.raises(ValueError, match=r"^frame_dim \(3\) must be even for a recurrent network of 2 directions$"):
        Recurrent(frame_dim=3, cell="lstm", num_layers=1, num_directions=2, num_bins=5)
