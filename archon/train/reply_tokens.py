"""From replies to the token ids that a reward model reads."""

from __future__ import annotations

from archon.errors import LMError, UsageError
from archon.lm.local.chat import ChatFormat
from archon.lm.local.reward import reply_ids
from archon.lm.local.tokenizer import TextTokenizer
from archon.spec.messages import shown
from archon.train.reward_data import Replies


def token_ids(
    replies: Replies, chat: ChatFormat, tokenizer: TextTokenizer, end: int, context_length: int
) -> list[tuple[int, ...]]:
    """What is read of each reply, as ``archon.lm.local.reward`` reads it.

    Parameters
    ----------
    end : the token that ends a reply.
    context_length : tokens that a conversation and a reply may have together.

    Raises
    ------
    UsageError : the model's chat template refuses a conversation, or one leaves no room for a
        reply.
    """
    known: dict[object, list[int]] = {}
    found = []
    for reply in replies.replies:
        if reply.messages not in known:
            place = f"question {shown(reply.question)}"
            try:
                prompt_ids = known[reply.messages] = chat.encode(reply.messages)
            except LMError as error:
                raise UsageError(f"{place}: {error}") from None
            if len(prompt_ids) >= context_length:
                raise UsageError(
                    f"{place}: the conversation has {len(prompt_ids):,} tokens, so that no reply "
                    f"fits the model's context of {context_length:,}"
                )
        text_ids = tokenizer.encode(reply.text)
        found.append(reply_ids(known[reply.messages], text_ids, end, context_length))
    return found
