"""From replies to the token ids that a reward model reads."""

from __future__ import annotations

from archon.errors import LMError, UsageError
from archon.lm.local.opened import OpenedDecoder
from archon.lm.local.reward import end_of_reply, reply_ids
from archon.train.replies import Replies


def token_ids(opened: OpenedDecoder, replies: Replies) -> list[tuple[int, ...]]:
    """What is read of each reply, as ``archon.lm.local.reward`` reads it.

    Raises
    ------
    UsageError : the model's chat template refuses a conversation.
    """
    end = end_of_reply(opened)
    known: dict[object, list[int]] = {}
    found = []
    for reply in replies.replies:
        if reply.messages not in known:
            try:
                known[reply.messages] = opened.chat.encode(reply.messages)
            except LMError as error:
                raise UsageError(f"question {reply.question}: {error}") from None
        found.append(reply_ids(opened, known[reply.messages], reply.text, end))
    return found
