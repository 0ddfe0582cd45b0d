"""The transformer's layers against the formulas, written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from zoopraxis.backbones.attention import Attention, TransformerLayer, drop_path_rates
from zoopraxis.backbones.timesformer import DividedAttention

DIM, HEADS = 12, 3


def _plain(attention: Attention, tokens_NLD: Tensor, mask_LL: Tensor | None = None) -> Tensor:
    """Softmax(q k^T / sqrt(d)) v, head by head, tokens attending where the mask is true."""
    query, key, value = attention.to_qkv(tokens_NLD).chunk(3, dim=-1)
    heads = []
    for part in range(HEADS):
        q, k, v = (tensor.chunk(HEADS, dim=-1)[part] for tensor in (query, key, value))
        scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        if mask_LL is not None:
            scores = scores.masked_fill(~mask_LL, -torch.inf)
        heads.append(scores.softmax(dim=-1) @ v)
    return attention.proj(torch.cat(heads, dim=-1))


@pytest.fixture
def tokens() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 7, DIM)


@pytest.mark.parametrize("head_dim", [None, 5])
def test_attention_is_the_formula(tokens: Tensor, head_dim: int | None) -> None:
    attention = Attention(DIM, num_heads=HEADS, head_dim=head_dim)
    torch.testing.assert_close(attention(tokens), _plain(attention, tokens))


def test_a_layer_normalizes_first_and_adds(tokens: Tensor) -> None:
    layer = TransformerLayer(DIM, num_heads=HEADS, mlp_ratio=2)
    inner = tokens + layer.attn(layer.norm(tokens))
    first, second = layer.ffn.net[0], layer.ffn.net[3]
    expected = inner + second(functional.gelu(first(layer.norm_ffn(inner))))
    torch.testing.assert_close(layer(tokens), expected)
    assert first.weight.shape == (2 * DIM, DIM)
    assert layer.norm.eps == 1e-6


@pytest.mark.parametrize("is_temporal", [True, False])
def test_divided_attention_is_attention_within_places_or_moments_and_with_the_class_token(is_temporal: bool) -> None:
    torch.manual_seed(0)
    length, patches = 3, 4
    tokens = torch.randn(2, 1 + length * patches, DIM)
    attention = DividedAttention(DIM, is_temporal=is_temporal, num_heads=HEADS)
    moments, places = (torch.arange(length * patches) // patches, torch.arange(length * patches) % patches)
    group = places if is_temporal else moments
    mask = torch.ones(len(group) + 1, len(group) + 1, dtype=torch.bool)
    mask[1:, 1:] = group[:, None] == group[None]
    torch.testing.assert_close(attention(tokens, length), _plain(attention, tokens, mask))


def test_dropouts_are_of_training_only(tokens: Tensor) -> None:
    layer = TransformerLayer(DIM, num_heads=HEADS, drop_path=0.5, attention_dropout=0.5, ffn_dropout=0.5)
    assert not torch.equal(layer(tokens), layer(tokens))
    layer.eval()
    assert torch.equal(layer(tokens), layer(tokens))


def test_drop_path_drops_whole_rows() -> None:
    torch.manual_seed(0)
    layer = TransformerLayer(DIM, num_heads=HEADS, drop_path=0.5)
    tokens = torch.randn(1, 7, DIM).expand(64, -1, -1)
    rows = layer(tokens).unique(dim=0)
    assert 1 < len(rows) <= 4


def test_rates_rise_evenly() -> None:
    assert drop_path_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert drop_path_rates(0.3, 1) == [0]
