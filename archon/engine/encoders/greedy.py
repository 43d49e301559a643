"""The likeliest next token, again and again, for many sources at once: for tests in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from archon.engine.encoders.cache import GrowingKeys
from archon.engine.encoders.encoder_decoder import EncoderDecoder


@torch.inference_mode()
def greedy_texts(
    model: EncoderDecoder, sources: Sequence[Sequence[int]], max_tokens: int
) -> list[list[int]]:
    """What the decoder says of each source, the end left out.

    Parameters
    ----------
    sources
        Token ids without an end.
    """
    config = model.config
    longest = max(map(len, sources)) + 1
    rows = [[*s, config.stop_id, *[config.start_id] * (longest - len(s) - 1)] for s in sources]
    source_BS = torch.tensor(rows)
    lengths_B = torch.tensor([len(source) + 1 for source in sources])
    is_token_BS = torch.arange(longest)[None, :] < lengths_B[:, None]
    memory = model.memory(model.encode(source_BS, is_token_BS), is_token_BS)

    keys = GrowingKeys(config.num_decoder_layers)
    last_B1 = torch.full((len(sources), 1), config.start_id)
    columns = []
    ended_B = torch.zeros(len(sources), dtype=torch.bool)
    for position in range(max_tokens):
        last_B1 = model.decode(last_B1, memory, keys, position)[:, -1].argmax(-1, keepdim=True)
        columns.append(last_B1)
        ended_B |= last_B1[:, 0] == config.stop_id
        if bool(ended_B.all()):
            break
    texts = torch.cat(columns, dim=1).tolist()
    return [t[: t.index(config.stop_id)] if config.stop_id in t else t for t in texts]
