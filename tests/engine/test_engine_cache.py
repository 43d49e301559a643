"""The paged cache, and the tree of prefixes that owns part of its blocks."""

from __future__ import annotations

import pytest
import torch
from engine_doubles import CPU, tiny_config
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from archon.engine.cache.block_pool import BlockPool
from archon.engine.cache.kv_cache import BLOCK_SIZE, KVCache, bytes_per_block, num_blocks_for
from archon.engine.cache.prefix_tree import PrefixNode, PrefixTree
from archon.types import Hold

# ----------------------------------------------------------------------------------- KV cache


def make_cache(num_blocks: int = 6, dtype: torch.dtype = torch.float32) -> KVCache:
    return KVCache(tiny_config(), num_blocks, dtype, CPU)


def test_blocks_are_allocated_once_and_freed() -> None:
    pool = BlockPool(6)
    first, second = pool.allocate(2), pool.allocate(4)
    assert sorted(first + second) == list(range(6))
    assert pool.num_free == 0
    pool.free(first)
    assert sorted(pool.allocate(2)) == sorted(first)


def test_a_shared_block_is_freed_with_its_last_reference() -> None:
    pool = BlockPool(3)
    blocks = pool.allocate(2)
    pool.share(blocks)
    pool.free(blocks)
    assert pool.num_free == 1
    pool.free(blocks[:1])
    assert pool.num_free == 2
    assert blocks[1] not in pool.allocate(2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keys_written_to_a_slot_are_gathered_from_its_block(dtype: torch.dtype) -> None:
    cache = make_cache(dtype=dtype)
    k, v = torch.randn(3, 2, 8), torch.randn(3, 2, 8)
    slots = torch.tensor([5 * BLOCK_SIZE, 2 * BLOCK_SIZE + 15, 7])
    cache.write(1, slots, k, v)
    k_BGLD, v_BGLD = cache.gather(1, torch.tensor([[5, 2], [0, 5]]))
    assert k_BGLD.shape == v_BGLD.shape == (2, 2, 2 * BLOCK_SIZE, 8)
    for stored, given in ((k_BGLD, k.to(dtype)), (v_BGLD, v.to(dtype))):
        assert torch.equal(stored[0, :, 0], given[0])
        assert torch.equal(stored[0, :, BLOCK_SIZE + 15], given[1])
        assert torch.equal(stored[1, :, 7], given[2])
        assert torch.equal(stored[1, :, BLOCK_SIZE], given[0])
        assert stored[1, :, 8].abs().max() == 0
    assert cache.k[0].abs().max() == 0


@pytest.mark.parametrize("num_layers", [1, 3])
def test_a_block_is_copied_in_every_layer(num_layers: int) -> None:
    cache = KVCache(tiny_config(num_layers=num_layers), 4, torch.float32, CPU)
    cache.k[:, 2] = torch.randn(cache.k[:, 2].shape)
    cache.v[:, 2] = torch.randn(cache.v[:, 2].shape)
    cache.copy_blocks(2, [0, 3])
    for storage in (cache.k, cache.v):
        assert torch.equal(storage[:, 0], storage[:, 2])
        assert torch.equal(storage[:, 3], storage[:, 2])
        assert storage[:, 1].abs().max() == 0


def test_bytes_per_block_is_the_size_of_a_block() -> None:
    cache = make_cache(dtype=torch.bfloat16)
    assert cache.k.nbytes + cache.v.nbytes == 6 * bytes_per_block(tiny_config(), torch.bfloat16)


def test_num_blocks_rounds_up() -> None:
    assert [num_blocks_for(n) for n in (0, 1, 16, 17, 32)] == [0, 1, 1, 2, 2]


# -------------------------------------------------------------------------------- prefix tree


def tokens(*blocks: int) -> tuple[int, ...]:
    """Return one full block for each number."""
    return tuple(block for block in blocks for _ in range(BLOCK_SIZE))


def enter(tree: PrefixTree, ids: tuple[int, ...], blocks: list[int]) -> list[PrefixNode]:
    path = tree.extend(tree.match(ids), ids, [[block] for block in blocks])
    for node in path:
        node.ready = True
    return path


def test_a_path_is_matched_by_full_blocks() -> None:
    tree = PrefixTree()
    path = enter(tree, tokens(1, 2, 3), [10, 11, 12])
    assert tree.match(tokens(1, 2, 3, 4)) == path
    assert tree.match(tokens(1, 2, 4)) == path[:2]
    assert tree.match(tokens(1, 2, 3)[:-1]) == path[:2]
    assert tree.match(tokens(2)) == tree.match(()) == []


def test_a_new_branch_shares_the_blocks_before_it() -> None:
    tree = PrefixTree()
    first = enter(tree, tokens(1, 2), [10, 11])
    second = enter(tree, tokens(1, 3), [12])
    assert [node.blocks for node in second] == [[10], [12]]
    assert first[0] is second[0]
    assert first[0].users == 2


def test_the_least_recently_used_leaf_is_evicted_first() -> None:
    tree = PrefixTree()
    old, new = enter(tree, tokens(1, 2), [10, 11]), enter(tree, tokens(3, 4), [12, 13])
    tree.release(new)
    tree.release(old)
    tree.release(enter(tree, tokens(1), []))
    assert tree.num_evictable == 4
    assert tree.evict(1) == [11]
    assert tree.evict(2) == [13, 12]
    assert tree.match(tokens(1, 2)) == old[:1]
    assert tree.evict(5) == [10]
    assert tree.evict(1) == []


def test_the_order_of_eviction_survives_many_uses() -> None:
    tree = PrefixTree()
    for number in range(4):
        tree.release(enter(tree, tokens(number), [number]))
    for _ in range(300):
        tree.release(enter(tree, tokens(2), []))
    tree.release(enter(tree, tokens(0), []))
    assert len(tree._candidates) < 100
    assert tree.evict(4) == [1, 3, 2, 0]


def test_nodes_in_use_are_never_evicted() -> None:
    tree = PrefixTree()
    tree.release(enter(tree, tokens(1, 2, 3), [10, 11, 12]))
    enter(tree, tokens(1, 2), [])
    assert tree.num_evictable == 1
    assert tree.evict(3) == [12]


def test_unready_nodes_are_removed_with_their_last_user() -> None:
    tree = PrefixTree()
    path = tree.extend([], tokens(1, 2, 3), [[10], [11], [12]])
    path[0].ready = True
    other = tree.extend(tree.match(tokens(1, 2)), tokens(1, 2), [])
    assert tree.release(path) == [12]
    assert tree.release(other) == [11]
    assert tree.match(tokens(1, 2, 3)) == path[:1]


def test_blocks_of_samples_are_evicted_before_later_prompts() -> None:
    tree = PrefixTree()
    first = enter(tree, tokens(1), [10])
    tree.release(enter(tree, tokens(2), [11]))
    assert tree.adopt(first, tokens(1, 5, 6), [[12], [13]]) == {12, 13}
    assert tree.adopt(first, tokens(1, 5, 7), [[14], [15]]) == {15}  # 14 stays with its sequence
    tree.release(first)
    assert tree.num_evictable == 5
    assert tree.evict(4) == [13, 15, 12, 10]
    assert tree.evict(1) == [11]


def test_a_sample_that_is_read_again_becomes_recent() -> None:
    tree = PrefixTree()
    first = enter(tree, tokens(1), [10])
    tree.adopt(first, tokens(1, 5), [[12]])
    tree.release(enter(tree, tokens(2), [11]))
    tree.release(enter(tree, tokens(1, 5), []))
    tree.release(first)
    assert tree.evict(3) == [11, 12, 10]


class TreeMachine(RuleBasedStateMachine):
    """Random sequences of operations on the tree; no block is ever lost."""

    paths = Bundle("paths")

    @initialize()
    def start(self) -> None:
        self.tree = PrefixTree()
        self.free = set(range(12))
        self.users: list[list[PrefixNode]] = []
        self.holds = [Hold(), Hold()]
        self.pinned: list[set[PrefixNode]] = [set(), set()]

    @rule(target=paths, numbers=st.lists(st.integers(0, 2), max_size=5))
    def enter(self, numbers: list[int]) -> list[PrefixNode]:
        ids = tokens(*numbers)
        matched = self.tree.match(ids)
        assert [node.key[0] for node in matched] == numbers[: len(matched)]
        held = self.tree.extend(matched, ids[:0], [])
        missing = len(numbers) - len(matched) - len(self.free)
        if missing > 0:
            self.free.update(self.tree.evict(missing))
        if len(numbers) - len(matched) > len(self.free):
            self.free.update(self.tree.release(held))
            return []
        blocks = [[self.free.pop()] for _ in range(len(numbers) - len(matched))]
        path = self.tree.extend(matched, ids, blocks)
        self.tree.release(held)
        assert [node.key[0] for node in path] == numbers
        self.users.append(path)
        return path

    @rule(path=paths, count=st.integers(1, 5))
    def compute(self, path: list[PrefixNode], count: int) -> None:
        if path in self.users:
            for node in path[:count]:
                node.ready = True

    @rule(path=consumes(paths))
    def leave(self, path: list[PrefixNode]) -> None:
        if path in self.users:
            self.users.remove(path)
            self.free.update(self.tree.release(path))

    @rule(path=paths, which=st.integers(0, 1))
    def pin(self, path: list[PrefixNode], which: int) -> None:
        if path in self.users:
            self.tree.pin(self.holds[which], path)
            self.pinned[which].update(path)

    @rule(which=st.integers(0, 1))
    def release_hold(self, which: int) -> None:
        self.holds[which].release()
        self.tree.drop_released_pins()
        self.holds[which] = Hold()
        self.pinned[which].clear()

    @rule(count=st.integers(1, 12))
    def make_room(self, count: int) -> None:
        before = self.tree.num_evictable
        candidates = {n.blocks[0]: n for n in self.tree._nodes if not n.users}
        kept = self.pinned[0] | self.pinned[1]
        freed = self.tree.evict(count)
        assert len(freed) == min(count, before)
        num_loose = sum(node not in kept for node in candidates.values())
        assert [candidates[block] in kept for block in freed] == [
            i >= num_loose for i in range(len(freed))
        ]
        assert self.free.isdisjoint(freed)
        self.free.update(freed)

    @invariant()
    def every_block_is_free_or_in_the_tree(self) -> None:
        nodes = self.tree._nodes
        assert {node.blocks[0] for node in nodes} | self.free == set(range(12))
        assert len(nodes) + len(self.free) == 12

    @invariant()
    def users_are_counted(self) -> None:
        for node in self.tree._nodes:
            assert node.users == sum(any(n is node for n in path) for path in self.users)
            assert node.ready or node.users
            assert node.pins == sum(node in pinned for pinned in self.pinned)
        assert self.tree.num_evictable == sum(not node.users for node in self.tree._nodes)


TestTree = TreeMachine.TestCase
TestTree.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
