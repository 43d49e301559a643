"""Random weights, keys and values for the tests of the kernels, and attention in torch."""

from __future__ import annotations

from array import array

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.engine.kernels.native import NativeCache
from archon.engine.model.attention import Scores, plain_attention
from archon.engine.model.config import DecoderConfig
from archon.engine.model.linear import GROUP_INPUTS, GroupedWeight

NUM_BLOCKS = 64


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_grouped_weight(outputs: int, inputs: int) -> GroupedWeight:
    generator = torch.Generator().manual_seed(outputs)
    whole = torch.randint(-8, 8, (outputs, inputs), generator=generator, dtype=torch.int8)
    return GroupedWeight(normal(outputs, inputs // GROUP_INPUTS).bfloat16(), whole)


class Keys:
    """Random keys and values of one layer, (blocks, 16, G, D), and a cache of them."""

    def __init__(self, config: DecoderConfig, size: float) -> None:
        generator = torch.Generator().manual_seed(0)
        G, D = config.num_kv_heads, config.head_width
        shape = (NUM_BLOCKS, BLOCK_SIZE, G, D)
        self.k = (size * torch.randn(shape, generator=generator)).bfloat16()
        self.v = torch.randn(shape, generator=generator).bfloat16()
        self.cache = NativeCache(config, NUM_BLOCKS)
        pairs_of_channels = self.k.permute(2, 0, 3, 1).unflatten(2, (D // 2, 2)).transpose(-1, -2)
        pairs_of_tokens = self.v.permute(2, 0, 1, 3).unflatten(2, (BLOCK_SIZE // 2, 2))
        self.cache.blocks[0] = torch.cat(
            [pairs_of_channels.flatten(2), pairs_of_tokens.transpose(-1, -2).flatten(2)], dim=2
        )


def expected_attention(
    q_HD: Tensor, keys: Keys, table: array[int], position: int, config: DecoderConfig
) -> Tensor:
    first = max(0, position + 1 - (config.layers[0].window or position + 1))
    k, v = (x[list(table)].flatten(0, 1)[first : position + 1] for x in (keys.k, keys.v))
    out, _ = plain_attention(
        q_HD.bfloat16().float()[None, :, None],
        k.transpose(0, 1)[None],
        v.transpose(0, 1)[None],
        scores=Scores(config.attention_scale, config.attention_softcap),
    )
    return out[0, :, 0]
