"""Tree of cached prefixes, one cache block per node.

A node represents the tokens on the path from the root to itself; its block has the keys and values
of the last ``BLOCK_SIZE`` tokens. Texts with a common prefix share a path, so the prefix is
computed once (the idea of RadixAttention: Zheng et al. 2023, arXiv 2312.07104). Keys and values
depend on the adapter, so each adapter has its own root.

A prompt adds its nodes before they are computed (``ready`` is False until then). A later prompt
with the same prefix finds them and waits, instead of computing the prefix again.

Nodes that a live prompt uses are never evicted. Of the others, the least recently used leaf is
evicted first. Nodes that a ``Hold`` pins, because they will be read again, are evicted last. The
blocks of a finished sample have the same time of last use as its prompt, so they are evicted before
later prompts.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.types import Hold

_Key = tuple[int, ...]


@dataclass(slots=True, eq=False)
class PrefixNode:
    """A node of the prefix tree, with one block of a prefix."""

    key: _Key
    """The tokens of this block."""
    block: int
    parent: PrefixNode | None
    children: dict[_Key, PrefixNode] = field(default_factory=dict)
    users: int = 0
    """Number of live prompts that use this node."""
    pins: int = 0
    """Number of unreleased holds that pin this node."""
    ready: bool = False
    last_used: int = 0


class PrefixTree:
    """Tree of cached prefixes, with its order of eviction. It owns the blocks of its nodes."""

    def __init__(self) -> None:
        self._roots: dict[str, PrefixNode] = {}
        self._nodes: set[PrefixNode] = set()
        self.num_evictable = 0
        """Number of blocks that ``evict`` could free."""
        self._clock = 0
        self._pinned: dict[Hold, set[PrefixNode]] = {}
        self._leaves: list[tuple[bool, int, int, PrefixNode]] = []
        """Heap of leaves that may be evicted: (pinned, last used, tie-breaker, node). Entries that
        no longer describe their node are skipped."""
        self._tie_breaker = count()

    def _root(self, adapter: str) -> PrefixNode:
        return self._roots.setdefault(adapter, PrefixNode((), -1, None))

    def match(self, token_ids: Sequence[int], adapter: str = "") -> list[PrefixNode]:
        """Return the longest path of full blocks whose tokens are a prefix of these tokens.

        Its nodes may not be ready yet.
        """
        path: list[PrefixNode] = []
        node = self._root(adapter)
        for at in range(0, len(token_ids) - BLOCK_SIZE + 1, BLOCK_SIZE):
            child = node.children.get(tuple(token_ids[at : at + BLOCK_SIZE]))
            if child is None:
                break
            path.append(child)
            node = child
        return path

    def extend(
        self,
        path: list[PrefixNode],
        token_ids: Sequence[int],
        blocks: Sequence[int],
        adapter: str = "",
    ) -> list[PrefixNode]:
        """Extend ``path`` by one node per block, and mark its nodes as in use until ``release``.

        Parameters
        ----------
        token_ids
            Tokens of the text, starting at the root.
        blocks
            Cache blocks of the new nodes, which are not ready yet.

        Returns
        -------
        The extended path.
        """
        node = path[-1] if path else self._root(adapter)
        path = list(path)
        for block in blocks:
            at = len(path) * BLOCK_SIZE
            node = self._add(node, tuple(token_ids[at : at + BLOCK_SIZE]), block)
            path.append(node)
        self._clock += 1
        for node in path:
            self.num_evictable -= not node.users
            node.users += 1
            node.last_used = self._clock
        return path

    def adopt(
        self,
        path: Sequence[PrefixNode],
        token_ids: Sequence[int],
        blocks: Sequence[int],
        adapter: str = "",
    ) -> set[int]:
        """Add ready nodes for computed blocks, which continue a path that is in use.

        Parameters
        ----------
        token_ids
            Tokens of the text, starting at the root.
        blocks
            Cache blocks of the tokens after ``path``.

        Returns
        -------
        The blocks that the tree now owns. If it already has a node for the same tokens, it does not
        take the block. It also takes no blocks after a node that is still being computed.
        """
        node = path[-1] if path else self._root(adapter)
        last_used = node.last_used
        taken: set[int] = set()
        for number, block in enumerate(blocks, len(path)):
            key = tuple(token_ids[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE])
            child = node.children.get(key)
            if child is None:
                child = self._add(node, key, block)
                child.ready, child.last_used = True, last_used
                taken.add(block)
            elif not child.ready:
                break
            node = child
        self._queue_if_leaf(node)
        return taken

    def release(self, path: Sequence[PrefixNode]) -> list[int]:
        """End one use of a path; return the blocks of its unused nodes that are not ready.

        These nodes are removed, because no sequence will compute them.
        """
        freed: list[int] = []
        for node in reversed(path):
            node.users -= 1
            if not node.users:
                self.num_evictable += 1
                if node.ready:
                    self._queue_if_leaf(node)
                else:
                    freed.append(self._remove(node))
        return freed

    # ----------------------------------------------------------------------------------- pins

    def pin(self, hold: Hold, path: Iterable[PrefixNode]) -> None:
        """Pin a path that is in use, so that it is evicted last until the hold is released."""
        if hold.released:
            return
        nodes = self._pinned.setdefault(hold, set())
        for node in path:
            if node not in nodes:
                nodes.add(node)
                node.pins += 1

    def drop_released_pins(self) -> None:
        """Unpin the nodes of all released holds."""
        for hold in [hold for hold in self._pinned if hold.released]:
            for node in self._pinned.pop(hold):
                node.pins -= 1
                self._queue_if_leaf(node)

    # ------------------------------------------------------------------------------- eviction

    def drop(self, adapter: str) -> list[int]:
        """Remove all nodes of an adapter and return their blocks; no live prompt may use it."""
        nodes = list(self._roots.pop(adapter, PrefixNode((), -1, None)).children.values())
        for node in nodes:  # the list grows during the loop: children come after their parents
            nodes += node.children.values()
        return [self._remove(node) for node in reversed(nodes)]

    def evict(self, count: int) -> list[int]:
        """Remove up to ``count`` unused nodes, pinned ones last; return their blocks."""
        freed: list[int] = []
        while self._leaves and len(freed) < count:
            entry = heapq.heappop(self._leaves)
            if self._is_current(entry):
                freed.append(self._remove(entry[-1]))
        return freed

    def _queue_if_leaf(self, node: PrefixNode) -> None:
        """Add a node to the heap if it can be evicted."""
        if node in self._nodes and not node.users and not node.children:
            entry = (node.pins > 0, node.last_used, next(self._tie_breaker), node)
            heapq.heappush(self._leaves, entry)
            if len(self._leaves) > 2 * len(self._nodes) + 64:
                newest = {e[-1]: e for e in self._leaves if self._is_current(e)}
                self._leaves = sorted(newest.values())

    def _is_current(self, entry: tuple[bool, int, int, PrefixNode]) -> bool:
        pinned, last_used, _, node = entry
        is_free = node in self._nodes and not node.users and not node.children
        return is_free and (pinned, last_used) == (node.pins > 0, node.last_used)

    def _add(self, parent: PrefixNode, key: _Key, block: int) -> PrefixNode:
        assert len(key) == BLOCK_SIZE
        child = parent.children[key] = PrefixNode(key, block, parent)
        self._nodes.add(child)
        self.num_evictable += 1
        return child

    def _remove(self, node: PrefixNode) -> int:
        parent = node.parent
        assert parent is not None
        assert not node.children
        assert not node.users
        del parent.children[node.key]
        self._nodes.discard(node)
        self.num_evictable -= 1
        self._queue_if_leaf(parent)
        return node.block
