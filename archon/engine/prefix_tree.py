"""What the cache remembers: a tree of prompt prefixes, one cache block to a node.

A node stands for the tokens from the root down to it; its block holds the keys and values of the
last ``BLOCK_SIZE`` of them. Prompts that begin alike walk the same path, so a prefix is computed
once and shared. A prompt enters its nodes before they are computed (``ready`` is false until
then): another that begins alike and arrives meanwhile sees that it pays to wait.

A node used by a live prompt is never evicted; of the others, the least recently used leaf goes
first.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from archon.engine.kv_cache import BLOCK_SIZE

_Key = tuple[int, ...]


@dataclass(slots=True, eq=False)
class PrefixNode:
    """One block of a prefix."""

    key: _Key
    """The tokens of this block."""
    block: int
    parent: PrefixNode | None
    children: dict[_Key, PrefixNode] = field(default_factory=dict)
    users: int = 0
    """Live prompts whose path runs through this node."""
    ready: bool = False
    last_used: int = 0


class PrefixTree:
    """The tree, its users and its order of eviction. It owns the blocks of its nodes."""

    def __init__(self) -> None:
        self._root = PrefixNode((), -1, None)
        self._nodes: set[PrefixNode] = set()
        self._clock = 0

    def match(self, token_ids: Sequence[int]) -> list[PrefixNode]:
        """The longest known path of whole blocks along these tokens, ready or not."""
        path: list[PrefixNode] = []
        node = self._root
        for key in _blocks(token_ids):
            child = node.children.get(key)
            if child is None:
                break
            path.append(child)
            node = child
        return path

    def extend(
        self, path: list[PrefixNode], token_ids: Sequence[int], blocks: Sequence[int]
    ) -> list[PrefixNode]:
        """Add nodes, not ready yet, for the whole blocks of ``token_ids`` beyond ``path``.

        ``blocks`` are the cache blocks of the new nodes. Returns the whole path, which its caller
        now uses: ``release`` ends that.
        """
        node = path[-1] if path else self._root
        path = list(path)
        keys = list(_blocks(token_ids))[len(path) :]
        for key, block in zip(keys, blocks, strict=True):
            child = PrefixNode(key, block, node)
            node.children[key] = child
            self._nodes.add(child)
            path.append(child)
            node = child
        self._clock += 1
        for node in path:
            node.users += 1
            node.last_used = self._clock
        return path

    def release(self, path: Sequence[PrefixNode]) -> list[int]:
        """End a use of a path; returns the blocks of nodes that nobody will make ready now."""
        for node in path:
            node.users -= 1
        return [self._remove(node) for node in reversed(path) if not node.ready and not node.users]

    def num_evictable(self) -> int:
        """Blocks that ``evict`` could free."""
        return sum(1 for node in self._nodes if not node.users)

    def evict(self, count: int) -> list[int]:
        """Drop ``count`` unused blocks, or all there are: always the least recently used leaf."""
        leaves = [(n.last_used, n.block, n) for n in self._nodes if not n.users and not n.children]
        heapq.heapify(leaves)
        freed: list[int] = []
        while leaves and len(freed) < count:
            node = heapq.heappop(leaves)[-1]
            freed.append(self._remove(node))
            parent = node.parent
            if parent in self._nodes and not parent.users and not parent.children:
                heapq.heappush(leaves, (parent.last_used, parent.block, parent))
        return freed

    def _remove(self, node: PrefixNode) -> int:
        assert node.parent is not None
        assert not node.children
        del node.parent.children[node.key]
        self._nodes.discard(node)
        return node.block


def _blocks(token_ids: Sequence[int]) -> list[_Key]:
    whole = len(token_ids) // BLOCK_SIZE * BLOCK_SIZE
    return [tuple(token_ids[at : at + BLOCK_SIZE]) for at in range(0, whole, BLOCK_SIZE)]
