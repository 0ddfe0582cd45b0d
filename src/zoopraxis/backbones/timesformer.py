"""TimeSformer's layers: attention divided into time and space.

# B clips; t moments, s patches of a moment; L = 1 + t * s tokens, the class token's first; D features

Source: Bertasius et al., Is Space-Time Attention All You Need for Video Understanding?, ICML 2021, and the published code of
TAdaConv's authors, which differs from the paper's: the class token takes part in both attentions, and no further linear map
follows the one in time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from zoopraxis.backbones.attention import NORM_EPS, Attention, FeedForward

__all__ = ["DividedAttention", "DividedLayer"]


class DividedAttention(Attention):
    """Attention of each token to the class token and to those of the same place (in time) or moment (in space).

    The class token attends to all. Arguments as for `Attention`.

    Args:
        is_temporal: Whether tokens of the same place attend to each other, or those of the same moment.
    """

    def __init__(self, dim: int, *, is_temporal: bool, **args: Any) -> None:
        super().__init__(dim, **args)
        self.is_temporal = is_temporal

    def forward(self, tokens_BLD: Tensor, length: int = 1) -> Tensor:
        """(B, L, D) of `length` moments to the same."""
        query, key, value = self.split(tokens_BLD)
        first = self.attend(query[:, :, :1], key, value)
        grouped_query, grouped_key, grouped_value = (self._group(tensor[:, :, 1:], length) for tensor in (query, key, value))
        grouped = self.attend(grouped_query, self._with_class(key, grouped_key), self._with_class(value, grouped_value))
        if self.is_temporal:
            grouped = grouped.transpose(2, 3)
        return self.merge(torch.cat([first, grouped.flatten(2, 3)], dim=2))

    def _group(self, heads: Tensor, length: int) -> Tensor:
        """(B, heads, t * s, d) to (B, heads, s, t, d) in time, to (B, heads, t, s, d) in space."""
        moments = torch.unflatten(heads, 2, (length, -1))
        return moments.transpose(2, 3) if self.is_temporal else moments

    @staticmethod
    def _with_class(heads: Tensor, grouped: Tensor) -> Tensor:
        """Put the class token's own before those of each group."""
        first = heads[:, :, None, :1].expand(-1, -1, grouped.shape[2], -1, -1)
        return torch.cat([first, grouped], dim=3)


class DividedLayer(nn.Module):
    """Attention in time, attention in space and a feed-forward network, each behind a layer norm and beside a residual one.

    Arguments as for `attention.TransformerLayer`, in whose place it makes a `vivit.JointTransformer` a TimeSformer.

    Differs: the published network cannot be trained, for it changes in place what the backward pass needs.
    """

    is_divided = True

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
        args: dict[str, Any] = {"num_heads": num_heads, "head_dim": head_dim}
        args |= {"attention_dropout": attention_dropout, "dropout": ffn_dropout}
        self.norm_temporal = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn_temporal = DividedAttention(dim, is_temporal=True, **args)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = DividedAttention(dim, is_temporal=False, **args)
        self.norm_ffn = nn.LayerNorm(dim, eps=NORM_EPS)
        self.ffn = FeedForward(dim, mlp_ratio=mlp_ratio, dropout=ffn_dropout)
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, tokens_BLD: Tensor, length: int) -> Tensor:
        """(B, L, D) of `length` moments to the same."""
        tokens_BLD = tokens_BLD + self.drop_path(self.attn_temporal(self.norm_temporal(tokens_BLD), length))
        tokens_BLD = tokens_BLD + self.drop_path(self.attn(self.norm(tokens_BLD), length))
        out: Tensor = tokens_BLD + self.drop_path(self.ffn(self.norm_ffn(tokens_BLD)))
        return out
