"""Which control tokens of a rendered prompt the template wrote, and which the messages say.

A message may name a control token, or a part of one that the template's text or the next message
completes. Neither must end a turn. Guarding the messages before they are rendered would change what
the template makes of them (``split``, ``trim``, ``startswith``, ``tojson``). So the prompt is
rendered twice, in one call of the worker:

- *plain*, from the messages as they are: this is the prompt;
- *masked*, from messages in which one other character stands for every character that could be part
  of a control token.

If the two differ in nothing but that character, the control tokens of the masked prompt are those
that the template wrote, and they stand at the same places in the plain one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from archon.errors import UnsupportedError
from archon.lm.local.added_tokens import is_marker
from archon.lm.local.template import ChatTemplate
from archon.types import Role

# Signs first: a template treats them as it treats those that control tokens are made of. Then
# characters of private use: more than a message of ordinary length can hold.
_MASKS = (*map(ord, "~^`@$%&*;!?#+=:,"), *range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE))


class ContentMask:
    """Masks messages for one template and the control tokens of one model.

    Parameters
    ----------
    control_names : the control tokens as they are written.
    template : the strings that it may look for in messages are kept where they cannot be part of
        a control token. Those that it surely looks for and that are control tokens, such as the
        end of a reasoning that it takes out, are kept in the model's own messages, but for the
        marks of turns.
    """

    def __init__(self, control_names: Iterable[str], template: ChatTemplate) -> None:
        names = set(control_names)
        cased = chain.from_iterable((name, name.lower(), name.upper()) for name in names)
        self._alphabet = frozenset(chain.from_iterable(cased)) - frozenset(" \t\r\n\v\f")
        self._taken = self._alphabet | frozenset(template.source)
        harmless = {
            text for text in template.literals if not any(_may_share(text, name) for name in names)
        }
        self._kept = self._pattern(harmless)
        ends_reasoning = {
            name for name in names.intersection(template.sought) if not is_marker(name)
        }
        self._kept_in_assistant = self._pattern(harmless | ends_reasoning)
        self._table = cache(lambda mask: str.maketrans(dict.fromkeys(self._alphabet, mask)))

    def mask_for(self, texts: Iterable[str]) -> str:
        """The character that masks others in these texts: one that is neither in them nor in the
        template.

        Raises
        ------
        UnsupportedError : there is none.
        """
        taken = self._taken.union(*texts)
        mask = next((chr(code) for code in _MASKS if chr(code) not in taken), None)
        if mask is None:
            raise UnsupportedError("the messages use every character that could mask others")
        return mask

    def masked(self, value: Any, mask: str, role: Role = "user") -> Any:
        """A message's text, or any other plain data, with its texts masked."""
        if isinstance(value, str):
            kept = self._kept_in_assistant if role == "assistant" else self._kept
            parts = kept.split(value)
            parts[::2] = [part.translate(self._table(mask)) for part in parts[::2]]
            return "".join(parts)
        if isinstance(value, Mapping):
            return {key: self.masked(part, mask) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.masked(part, mask) for part in value]
        return value

    def _pattern(self, texts: Iterable[str]) -> re.Pattern[str]:
        """Finds texts that have something to mask; the longest one where several begin."""
        words = (text for text in texts if self._alphabet.intersection(text))
        longest_first = sorted(words, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")


def differs_only_by(mask: str, plain: str, masked: str) -> bool:
    """The texts are the same but for places where the second has the mask."""
    if len(plain) != len(masked):
        return False
    a, b = (np.frombuffer(text.encode("utf-32-le"), "<u4") for text in (plain, masked))
    return bool(((a == b) | (b == ord(mask))).all())


def _may_share(text: str, name: str) -> bool:
    """Whether characters of both may be the same ones in some longer text, in upper or lower case.

    >>> _may_share("</think>", "<|im_end|>"), _may_share("a<|", "<|im_end|>")
    (False, True)
    """
    text, name = text.lower(), name.lower()
    return (
        text in name
        or name in text
        or any(name.startswith(text[-n:]) or name.endswith(text[:n]) for n in range(1, len(text)))
    )
