"""A conversation as plain text, for models that continue texts and know no turns."""

from __future__ import annotations

from collections.abc import Sequence

from archon.types import Message

_SPEAKERS = {"system": "", "user": "Question: ", "assistant": "Answer: "}


def transcript(messages: Sequence[Message]) -> str:
    r"""What a base model is given to continue.

    >>> transcript([Message("system", "Be brief."), Message("user", "2 + 2?")])
    'Be brief.\n\nQuestion: 2 + 2?\n\nAnswer:'
    """
    parts = [_SPEAKERS[message.role] + message.content for message in messages]
    return "\n\n".join([*parts, _SPEAKERS["assistant"].rstrip()])
