"""The toy kitchen: a generated data set in EPIC-KITCHENS-100's own format.

Untrimmed videos of things that move in kitchens, with labelled and unlabelled stretches. Verbs are motions of which each is
another played backwards, so that a single frame cannot tell them; nouns are told by shape and color; two groups of participants
are two domains.
"""

from __future__ import annotations

from zoopraxis.toy.config import ToyConfig
from zoopraxis.toy.generate import ToyKitchen, generate

__all__ = ["ToyConfig", "ToyKitchen", "generate"]
