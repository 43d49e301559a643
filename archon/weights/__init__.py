"""Where model files come from and where they are kept.

``pull`` tries a card's sources in order and returns a file whose bytes have the right digest;
``find`` answers the same question without touching the network.
"""

from archon.weights.cache import cache_dir, find, find_anywhere, model_dir, remove
from archon.weights.progress import OnProgress, PullProgress
from archon.weights.pull import identity, pull

__all__ = [
    "OnProgress",
    "PullProgress",
    "cache_dir",
    "find",
    "find_anywhere",
    "identity",
    "model_dir",
    "pull",
    "remove",
]
