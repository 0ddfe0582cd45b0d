"""Actions of clips in several views: a verb and a noun that were seen together count more than two that were not.

B clips, V views, K verbs, M nouns, A actions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoopraxis.evaluation.actions import PUBLISHED_NUM_ACTIONS

__all__ = ["top_view_actions"]


def top_view_actions(
    verbs_BVxK: Tensor, nouns_BVxM: Tensor, num_views: int, *, num_actions: int = PUBLISHED_NUM_ACTIONS
) -> tuple[Tensor, Tensor]:
    """The best actions of each clip by the mean over its views of the product of a verb's and a noun's probability.

    Args:
        verbs_BVxK: Logits of the verbs, shape (B * num_views, K), the views of a clip side by side.
        nouns_BVxM: Logits of the nouns, shape (B * num_views, M).
        num_views: Views a clip.
        num_actions: How many are kept of each clip, at most.

    Returns:
        Class numbers verb * M + noun, int32, and probabilities, float32, the best first, both of shape
        (B, min(num_actions, K * M)).

    Source: TAdaConv, EPIC-KITCHENS meter (`action_class_ind_pred`) and submission (`sum`).

    Differs: the mean in place of the sum, so that what is kept is a probability; the order is the same.
    """
    verbs_BVK = verbs_BVxK.float().softmax(-1).reshape(-1, num_views, verbs_BVxK.shape[-1])
    nouns_BVM = nouns_BVxM.float().softmax(-1).reshape(-1, num_views, nouns_BVxM.shape[-1])
    actions_BKM = torch.einsum("bvk,bvm->bkm", verbs_BVK, nouns_BVM) / num_views
    flat = actions_BKM.flatten(1)
    best = flat.topk(min(num_actions, flat.shape[1]), dim=1)
    return best.indices.int(), best.values
