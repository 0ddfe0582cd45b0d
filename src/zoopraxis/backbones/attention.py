"""The layers of transformers over the tokens of a clip.

# N rows (clips, or their frames), L tokens, D features
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

__all__ = ["NORM_EPS", "Attention", "FeedForward", "TransformerLayer", "drop_path_rates", "initialize_maps"]

NORM_EPS = 1e-6
_INIT_STD = 0.02


class Attention(nn.Module):
    """Self-attention among the tokens of a row.

    Args:
        dim: D.
        num_heads: Heads.
        head_dim: Features of a head; none: D divided by the number of heads.
        attention_dropout: Probability that a weight of the softmax is dropped, in training.
        dropout: Likewise a feature of the result.

    Attributes:
        to_qkv: Queries, keys and values one after the other, in each the heads one after the other.

    Source: Arnab et al., ViViT: A Video Vision Transformer, ICCV 2021, and the published code of TAdaConv's authors. The
    softmax over all pairs of tokens is never stored: `scaled_dot_product_attention`.
    """

    def __init__(
        self, dim: int, *, num_heads: int, head_dim: int | None = None, attention_dropout: float = 0.0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_dropout = attention_dropout
        inner = num_heads * (head_dim or dim // num_heads)
        self.to_qkv = nn.Linear(dim, 3 * inner)
        self.proj = nn.Linear(inner, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens_NLD: Tensor) -> Tensor:
        """(N, L, D) to the same."""
        return self.merge(self.attend(*self.split(tokens_NLD)))

    def split(self, tokens_NLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (N, heads, L, features of a head)."""
        qkv = self.to_qkv(tokens_NLD).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Softmax of the scaled products over the keys, times the values: the last two axes are tokens and features."""
        probability = self.attention_dropout if self.training else 0.0
        return functional.scaled_dot_product_attention(query, key, value, dropout_p=probability)

    def merge(self, heads: Tensor) -> Tensor:
        """(N, heads, L, features of a head) to (N, L, D)."""
        merged: Tensor = self.dropout(self.proj(heads.transpose(1, 2).flatten(2)))
        return merged


class FeedForward(nn.Module):
    """Two linear maps of each token with an exact GELU between them, and dropout behind both."""

    def __init__(self, dim: int, *, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.net = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim), nn.Dropout(dropout)
        )

    def forward(self, tokens_NLD: Tensor) -> Tensor:
        """(N, L, D) to the same."""
        mapped: Tensor = self.net(tokens_NLD)
        return mapped


class TransformerLayer(nn.Module):
    """Attention and a feed-forward network, each behind a layer norm and beside a residual connection.

    Args:
        dim: D.
        num_heads: Heads of the attention.
        head_dim: Features of a head; none: D divided by the number of heads.
        mlp_ratio: Hidden features of the feed-forward network over D.
        drop_path: Probability that a row's residual branch is dropped, in training.
        attention_dropout: Of the softmax's weights.
        ffn_dropout: Of the feed-forward network's features, and of what the attention gives.

    Source: as for `Attention`.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        head_dim: int | None = None,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        attention_dropout: float = 0.0,
        ffn_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(
            dim, num_heads=num_heads, head_dim=head_dim, attention_dropout=attention_dropout, dropout=ffn_dropout
        )
        self.norm_ffn = nn.LayerNorm(dim, eps=NORM_EPS)
        self.ffn = FeedForward(dim, mlp_ratio=mlp_ratio, dropout=ffn_dropout)
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, tokens_NLD: Tensor) -> Tensor:
        """(N, L, D) to the same."""
        tokens_NLD = tokens_NLD + self.drop_path(self.attn(self.norm(tokens_NLD)))
        out: Tensor = tokens_NLD + self.drop_path(self.ffn(self.norm_ffn(tokens_NLD)))
        return out


def drop_path_rates(last: float, depth: int) -> list[float]:
    """A rate for each of `depth` layers, rising evenly from 0 to `last`."""
    return [last * number / max(1, depth - 1) for number in range(depth)]


def initialize_maps(network: nn.Module, *embeddings: nn.Parameter) -> None:
    """Start linear maps and embeddings from a normal distribution of standard deviation 0.02, biases from zero."""
    for embedding in embeddings:
        nn.init.trunc_normal_(embedding, std=_INIT_STD)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=_INIT_STD)
            nn.init.zeros_(module.bias)
