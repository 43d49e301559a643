"""The pool of samples on disk: a sample is generated once and reused by every run.

Within ``pooling`` all requests use a pool; elsewhere none does. Read ``pool`` (lookup, generation,
waiting), ``claims`` (samples in progress), ``store`` (the file), ``completion_codec`` (a completion
as bytes), ``maintenance`` (inspecting and clearing the file).
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
