"""A decoder with a reward head: it reads conversations and replies in the engine's own batch.

Where the same weights wrote the reply, in the same engine and under the same conversation, keys and
values of almost all of it are in the cache (``archon.engine.scheduling.hidden_state``): the reward
is nearly free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from archon import catalog
from archon.engine.loading import head_for
from archon.engine.model.reward_head import RewardHead, read_reward_head
from archon.engine.process import claim_process
from archon.engine.scheduling.hidden_state import hidden_state, read_request
from archon.errors import ModelFileError
from archon.lm.concurrency import run_all
from archon.lm.local.opened import OpenedDecoder, open_decoder
from archon.lm.local.sharing import leave
from archon.lm.local.text import TextRules
from archon.lm.reward import RewardLM
from archon.spec.model import LocalCard
from archon.types import Message, ModelStatus


def load(card: LocalCard, base_dir: Path) -> RewardLM:
    """Fetch the card's weights where they are not here yet, and load them into an engine, or take
    the engine that runs them already.

    Raises
    ------
    ModelError : the weights cannot be had.
    ModelFileError : they cannot be run, or the head is for others.
    """
    assert card.reward is not None
    head = read_reward_head(catalog.find_adapter(card.reward, base_dir, "reward head"))
    opened = open_decoder(card, base_dir)
    try:
        end = end_of_reply(opened.rules)
        fitted = head_for(opened.worker.engine, opened.file, head, opened.adapter)
    except BaseException:
        leave(opened.worker)
        raise
    return RewardLM(DecoderReward(opened, fitted, end), card.name)


class DecoderReward:
    """Rewards a reply by what the decoder makes of it.

    Parameters
    ----------
    head : in the basis of the engine's decoder.
    end : the token that ends a reply.
    """

    def __init__(self, opened: OpenedDecoder, head: RewardHead, end: int) -> None:
        self.worker, self._opened, self._head, self._end = opened.worker, opened, head, end

    async def score(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        """One reward a text, between 0 and 1; what does not fit the context is cut at its end.

        Raises
        ------
        LMError : the chat template refuses the messages.
        EngineError : the messages alone do not fit, or the engine failed.
        """
        claim_process()  # before the template's process, which a forked child shares
        opened, most = self._opened, self.worker.engine.context_length
        prompt_ids, encode = opened.chat.encode(messages), opened.tokenizer.encode
        replies = (reply_ids(prompt_ids, encode(text), self._end, most) for text in texts)
        read = (self.worker.generate(read_request(ids, opened.adapter)) for ids in replies)
        return [self._head.reward(hidden_state(g)) for [g] in await run_all(read)]

    def status(self) -> ModelStatus:
        """What the engine is doing; see ``archon.lm.base.status_of``."""
        return self.worker.engine.status()

    async def aclose(self) -> None:
        """Leave the engine, whose thread stops with its last user."""
        await asyncio.to_thread(leave, self.worker)


def end_of_reply(rules: TextRules) -> int:
    """The token that ends a reply, whose hidden state is read.

    Raises
    ------
    ModelFileError : the model's file names none.
    """
    if rules.eos not in rules.special_ids:
        raise ModelFileError(f"{rules.path}: does not say which token ends an answer")
    return rules.special_ids[rules.eos]


def reply_ids(
    prompt_ids: Sequence[int], text_ids: Sequence[int], end: int, context_length: int
) -> tuple[int, ...]:
    """A conversation, a reply as far as it fits the context, and the token that ends it."""
    room = context_length - len(prompt_ids) - 1
    return (*prompt_ids, *text_ids[: max(room, 0)], end)
