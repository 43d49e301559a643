"""The sample pool, a file on disk: a sample is generated once and reused by later runs.

Requests use a pool only inside a ``pooling`` block. ``pool`` answers requests from it, ``claims``
tracks samples in progress, ``store`` reads and writes the file, ``completion_codec`` encodes
completions, and ``maintenance`` inspects and clears the file.
"""

from archon.lm.pool.maintenance import ModelDraws, PoolContents, clear, contents
from archon.lm.pool.pool import DrawPool, pooling
from archon.lm.pool.store import max_pool_bytes, pool_path

__all__ = [
    "DrawPool",
    "ModelDraws",
    "PoolContents",
    "clear",
    "contents",
    "max_pool_bytes",
    "pool_path",
    "pooling",
]
