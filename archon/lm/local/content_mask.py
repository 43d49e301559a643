"""Distinction between control tokens that the template wrote and those that messages contain.

A message may contain the name of a control token, or a part that the template or the next message
completes. Neither must end a turn. Escaping messages before rendering would change what the
template does with them (``split``, ``trim``, ``startswith``, ``tojson``). Therefore the prompt is
rendered twice, in one call of the worker:

- *plain*, from the messages as they are: this is the prompt;
- *masked*, from messages in which a mask character replaces every character that could be part of a
  control token.

If the two differ only by that character, the control tokens of the masked prompt are those that the
template wrote, and they have the same positions in the plain one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from archon.errors import UnsupportedError
from archon.lm.local.template import ChatTemplate
from archon.lm.local.tokenizer.added_tokens import is_marker
from archon.types import Role

# Punctuation first: a template treats it like the punctuation in control tokens. Then characters of
# private use: more than a message of ordinary length can contain.
_MASKS = (*map(ord, "~^`@$%&*;!?#+=:,"), *range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE))


class ContentMask:
    """Masks messages for one template and the control tokens of one model.

    Parameters
    ----------
    control_names
        The text of each control token.
    template
        Strings that it may search for in messages stay unmasked where they cannot be part of a
        control token. Those that it certainly searches for and that are control tokens, such as the
        end of reasoning that it removes, stay unmasked in the model's messages, except for the
        markers of turns.
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
        """Find a mask character that occurs neither in these texts nor in the template.

        Raises
        ------
        UnsupportedError
            There is none.
        """
        taken = self._taken.union(*texts)
        mask = next((chr(code) for code in _MASKS if chr(code) not in taken), None)
        if mask is None:
            raise UnsupportedError(
                "the messages contain every character that could mask others; shorten them"
            )
        return mask

    def masked(self, value: Any, mask: str, role: Role = "user") -> Any:
        """Mask a message's text, or the texts of any other plain data."""
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
        """Return a pattern of the texts that masking would change, the longest first."""
        words = (text for text in texts if self._alphabet.intersection(text))
        longest_first = sorted(words, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")


def differs_only_by(mask: str, plain: str, masked: str) -> bool:
    """Return True if the texts are equal except where the second has the mask."""
    if len(plain) != len(masked):
        return False
    a, b = (np.frombuffer(text.encode("utf-32-le"), "<u4") for text in (plain, masked))
    return bool(((a == b) | (b == ord(mask))).all())


def _may_share(text: str, name: str) -> bool:
    """Return True if the two may overlap in a longer text, regardless of case.

    >>> _may_share("</think>", "<|im_end|>"), _may_share("a<|", "<|im_end|>")
    (False, True)
    """
    text, name = text.lower(), name.lower()
    return (
        text in name
        or name in text
        or any(name.startswith(text[-n:]) or name.endswith(text[:n]) for n in range(1, len(text)))
    )
