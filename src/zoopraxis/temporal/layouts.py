"""Moving modules whose weights have axes that say nothing."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["on_flat_weights"]


def on_flat_weights(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """What `nn.Module._apply` is to call for weights of five axes whose last two are of size one: `fn` without these two.

    So such a module can follow a network `.to(memory_format=channels_last)`, which tensors of five axes cannot. Weights that
    are split over devices are left to `fn` as they are.
    """

    def moved(tensor: Tensor) -> Tensor:
        is_plain = type(tensor) in (Tensor, nn.Parameter)
        return fn(tensor.flatten(2)).reshape(tensor.shape) if is_plain and tensor.ndim == 5 else fn(tensor)

    return moved
