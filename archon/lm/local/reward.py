"""Reward models that consist of a decoder in the engine and a reward head.

If the same engine generated the reply, its cache contains the keys and values of almost the entire
conversation (``archon.engine.scheduling.hidden_state``). Computing the reward is then almost free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from archon.engine.loading import head_in_engine_basis
from archon.engine.model.reward_head import RewardHead, read_reward_head
from archon.engine.process import claim_process
from archon.engine.scheduling.hidden_state import hidden_state, hidden_state_request
from archon.errors import ModelFileError
from archon.lm.compute import report_scored
from archon.lm.concurrency import run_all
from archon.lm.local.card_loading import OpenedDecoder, open_decoder, release
from archon.lm.local.compute import decoder_compute
from archon.lm.local.tokenizer import TokenizerConfig
from archon.lm.reward import RewardLM
from archon.spec import catalog
from archon.spec.model import LocalCard
from archon.types import Message


def load(card: LocalCard, base_dir: Path) -> RewardLM:
    """Load a card's decoder and reward head, or share the engine that already runs the decoder.

    Raises
    ------
    ModelError
        The weights are unavailable.
    ModelFileError
        The weights cannot be run, or the head was trained for other weights.
    """
    assert card.reward is not None
    head = read_reward_head(catalog.find_adapter(card.reward, base_dir, "reward head"))
    opened = open_decoder(card, base_dir)
    try:
        end = end_of_reply(opened.tokenizer_config)
        fitted = head_in_engine_basis(opened.worker.engine, opened.file, head, opened.adapter)
    except BaseException:
        release(opened.worker)
        raise
    return RewardLM(DecoderReward(opened, fitted, end), card.name)


class DecoderReward:
    """Reward model that computes a reply's reward from the decoder's hidden state at its end.

    Parameters
    ----------
    head
        The reward head, in the basis of the engine's decoder.
    end
        Id of the token that ends a reply.
    """

    def __init__(self, opened: OpenedDecoder, head: RewardHead, end: int) -> None:
        self.worker, self._opened, self._head, self._end = opened.worker, opened, head, end

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """Return one reward between 0 and 1 per text.

        A text that exceeds the context is truncated.

        Raises
        ------
        LMError
            The chat template refuses the messages.
        EngineError
            The messages alone do not fit in the context, or the engine failed.
        """
        claim_process()  # before the template is rendered by a process that a forked child shares
        opened, context_length = self._opened, self.worker.engine.context_length
        prompt_ids, encode = opened.chat.encode(messages), opened.tokenizer.encode_continuation
        encoded = list(map(encode, texts))
        replies = [reply_ids(prompt_ids, ids, self._end, context_length) for ids in encoded]
        longest = max(map(len, encoded), default=0)
        is_truncated = len(prompt_ids) + longest + 1 > context_length
        self._report(len(prompt_ids), replies, is_truncated=is_truncated)
        calls = (self.worker.generate(hidden_state_request(ids, opened.adapter)) for ids in replies)
        return [self._head.reward(hidden_state(g)) for [g] in await run_all(calls)]

    def _report(
        self, prompt_tokens: int, replies: Sequence[tuple[int, ...]], *, is_truncated: bool
    ) -> None:
        """Report the work: the messages once, and each reply after them."""
        compute = decoder_compute(self.worker.engine.decoder.config)
        lengths = [len(ids) - prompt_tokens for ids in replies]
        flops = sum(compute.read(prompt_tokens, length) for length in lengths)
        report_scored(
            prompt_tokens + sum(lengths),
            compute.prompt(prompt_tokens) + flops,
            is_truncated=is_truncated,
        )

    async def aclose(self) -> None:
        """Release the engine. Its thread stops when no other model uses the engine."""
        await asyncio.to_thread(release, self.worker)


def end_of_reply(config: TokenizerConfig) -> int:
    """Return the id of the token that ends a reply, whose hidden state is the head's input.

    Raises
    ------
    ModelFileError
        The model's files do not name such a token.
    """
    if config.eos not in config.special_ids:
        raise ModelFileError(
            f"{config.path}: the tokenizer has no eos_token; a reward head needs one at the end "
            f"of each reply"
        )
    return config.special_ids[config.eos]


def reply_ids(
    prompt_ids: Sequence[int], text_ids: Sequence[int], end: int, context_length: int
) -> tuple[int, ...]:
    """Return the token ids of the prompt, the reply and the end token, joined.

    The reply is truncated if the result would exceed ``context_length``.
    """
    num_free = context_length - len(prompt_ids) - 1
    return (*prompt_ids, *text_ids[: max(num_free, 0)], end)
