from __future__ import annotations

import math

import pytest
import torch
from engine_doubles import CPU, tiny_config
from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE, KVCache
from archon.engine.cache.layout import LayerPlace
from archon.engine.model.attention import (
    AttentionPlan,
    CachedPart,
    FreshPart,
    attend,
    partial_attention,
    plain_attention,
)

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def written_out(q_THD: Tensor, k_LGD: Tensor, v_LGD: Tensor, visible_TL: Tensor) -> Tensor:
    """Compute attention for one query head of one token at a time."""
    T, H, D = q_THD.shape
    out_THD = torch.zeros(T, H, D)
    for t in range(T):
        for h in range(H):
            g = h // (H // k_LGD.shape[1])
            keys = visible_TL[t].nonzero().squeeze(1)
            weights = (k_LGD[keys, g] @ q_THD[t, h] / math.sqrt(D)).softmax(0)
            out_THD[t, h] = weights @ v_LGD[keys, g]
    return out_THD


def assert_same(
    found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], dtype: torch.dtype
) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert (ours.float() - theirs.float()).abs().max() <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("H", "G"), [(4, 4), (6, 2), (7, 1)])
class TestPartialAttentionEqualsPlainAttention:
    def test_of_every_key(self, H: int, G: int, dtype: torch.dtype) -> None:
        q, k, v = (normal(3, n, m, 16, dtype=dtype) for n, m in ((H, 5), (G, 33), (G, 33)))
        assert_same(partial_attention(q, k, v), plain_attention(q, k, v), dtype)

    def test_under_a_mask(self, H: int, G: int, dtype: torch.dtype) -> None:
        q, k, v = (normal(3, n, m, 16, dtype=dtype) for n, m in ((H, 5), (G, 48), (G, 48)))
        padding = torch.arange(48) >= torch.tensor([1, 17, 48]).unsqueeze(1)
        mask = torch.zeros(3, 48, dtype=dtype).masked_fill_(padding, -math.inf).unsqueeze(1)
        found = partial_attention(q, k, v, mask_BTL=mask)
        assert_same(found, plain_attention(q, k, v, mask_BTL=mask), dtype)
        alone = partial_attention(q[:1], k[:1, :, :1], v[:1, :, :1])
        assert_same((found[0][:1], found[1][:1]), alone, dtype)

    @pytest.mark.parametrize("T", [1, 2, 40, 600])
    def test_causally(self, T: int, H: int, G: int, dtype: torch.dtype) -> None:
        q, k, v = (normal(1, n, T, 16, dtype=dtype) for n in (H, G, G))
        assert_same(
            partial_attention(q, k, v, causal=True), plain_attention(q, k, v, causal=True), dtype
        )


def test_plain_attention_is_softmax_of_scaled_products_one_head_at_a_time() -> None:
    T, H, G, D = 9, 6, 3, 8
    q, k, v = normal(T, H, D), normal(T, G, D, seed=1), normal(T, G, D, seed=2)
    out, _ = plain_attention(*(x.transpose(0, 1).unsqueeze(0) for x in (q, k, v)), causal=True)
    expected = written_out(q, k, v, torch.ones(T, T).tril().bool())
    assert (out[0].transpose(0, 1) - expected).abs().max() < 1e-5


# A step of three sequences of one prompt and one of another, and a chunk of a third prompt.
SHARED, OWN, OTHER, CHUNK_BEFORE, CHUNK = 32, (3, 20, 16), 5, 16, 7


def test_merged_parts_equal_attention_over_all_keys() -> None:
    config = tiny_config(num_heads=6, num_kv_heads=2, head_width=8)
    cache = KVCache(config, 16, torch.float32, CPU)
    lengths = [SHARED + own for own in OWN] + [OTHER, CHUNK_BEFORE + CHUNK]
    N = len(OWN) + 1 + CHUNK
    q_NHD = normal(N, 6, 8)
    blocks = [[0, 1, 2], [0, 1, 3, 4], [0, 1, 5], [6], [7, 8]]
    k, v = cache.k[1].flatten(0, 1), cache.v[1].flatten(0, 1)
    k.copy_(normal(*k.shape, seed=1))
    v.copy_(normal(*v.shape, seed=2))

    def slots(sequence: int) -> Tensor:
        places = [b * BLOCK_SIZE + i for b in blocks[sequence] for i in range(BLOCK_SIZE)]
        return torch.tensor(places[: lengths[sequence]])

    fresh_slots = slots(4)[CHUNK_BEFORE:]
    newest = torch.cat([slots(i)[-1:] for i in range(4)] + [fresh_slots])
    plan = AttentionPlan(
        cached=(
            # The shared blocks for three sequences at once, and the chunk's earlier block.
            CachedPart(
                token_M=torch.tensor([0, 1, 2, *range(4, 11)]),
                row_M=torch.tensor([0, 1, 2, *range(7, 14)]),
                query_BR=torch.tensor([[0, 1, 2, 0, 0, 0, 0], list(range(4, 11))]),
                blocks_SBK=torch.tensor([[[0, 1], [7, 0]]]),
                mask_BTL=mask(2, SHARED, CHUNK_BEFORE),
            ),
            CachedPart(
                token_M=torch.arange(4),
                row_M=torch.arange(4),
                query_BR=torch.arange(4).unsqueeze(1),
                blocks_SBK=torch.tensor([[[2, 0], [3, 4], [5, 0], [6, 0]]]),
                mask_BTL=mask(2, *OWN, OTHER),
            ),
        ),
        fresh=(FreshPart(4, 11),),
    )
    found_NHD = attend(q_NHD, k[newest], v[newest], cache, LayerPlace(0, 0, 1), plan)
    for row in range(N):
        sequence, num_keys = (row, lengths[row]) if row < 4 else (4, CHUNK_BEFORE + row - 4 + 1)
        keys = slots(sequence)[:num_keys]
        expected = written_out(
            q_NHD[row : row + 1], k[keys], v[keys], torch.ones(1, num_keys).bool()
        )
        assert (found_NHD[row] - expected[0]).abs().max() < 1e-5, row


def mask(num_blocks: int, *num_keys: int) -> Tensor:
    padding = torch.arange(num_blocks * BLOCK_SIZE) >= torch.tensor(num_keys).unsqueeze(1)
    return torch.zeros(padding.shape).masked_fill_(padding, -math.inf).unsqueeze(1)
