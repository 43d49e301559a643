"""Distinguish control tokens written by the template from names of control tokens in messages.

A message may contain the name of a control token, or a part of a name that the template or the next
message completes. This text must not become a control token. Escaping the messages before rendering
would change what the template does with them (``split``, ``trim``, ``startswith``, ``tojson``).
Therefore the prompt is rendered twice, in one call of the worker:

- *plain*, from the messages as they are: this is the prompt; - *masked*, from messages in which a
mask character replaces each character that could be part of a control token.

If the two prompts differ only in the masked positions, the template wrote exactly the control
tokens of the masked prompt, and they have the same positions in the plain prompt.
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

# Possible mask characters, in the order of preference: first punctuation, which templates treat
# like the punctuation in control tokens; then Unicode's private-use characters, of which there are
# more than a message of ordinary length can contain.
_MASKS = (*map(ord, "~^`@$%&*;!?#+=:,"), *range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE))


class ContentMask:
    """Masks messages for one chat template and one model's control tokens.

    Strings that the template may search for in messages are not masked if they cannot be part of a
    control token. Control tokens that the template certainly searches for, such as the end marker
    of the reasoning that it removes, are not masked in assistant messages. This exception does not
    apply to markers of turns.

    Parameters
    ----------
    control_names
        The text of each control token.
    template
        The model's chat template.
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
        """Return a mask character that occurs neither in these texts nor in the template.

        Raises
        ------
        UnsupportedError
            The texts contain every possible mask character.
        """
        taken = self._taken.union(*texts)
        mask = next((chr(code) for code in _MASKS if chr(code) not in taken), None)
        if mask is None:
            raise UnsupportedError(
                "the messages contain too many different characters to mask control tokens; "
                "shorten the messages",
                field="messages",
            )
        return mask

    def masked(self, value: Any, mask: str, role: Role = "user") -> Any:
        """Mask a message's text, or every text in JSON data."""
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
        """Return a pattern that matches the texts that must not be masked, longest first."""
        words = (text for text in texts if self._alphabet.intersection(text))
        longest_first = sorted(words, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")


def differs_only_by(mask: str, plain: str, masked: str) -> bool:
    """Return True if the texts are equal except at positions where ``masked`` has the mask."""
    if len(plain) != len(masked):
        return False
    a, b = (np.frombuffer(text.encode("utf-32-le"), "<u4") for text in (plain, masked))
    return bool(((a == b) | (b == ord(mask))).all())


def _may_share(text: str, name: str) -> bool:
    """Return True if ``text`` and ``name`` could overlap in a longer text, regardless of case.

    >>> _may_share("</think>", "<|im_end|>"), _may_share("a<|", "<|im_end|>")
    (False, True)
    """
    text, name = text.lower(), name.lower()
    return (
        text in name
        or name in text
        or any(name.startswith(text[-n:]) or name.endswith(text[:n]) for n in range(1, len(text)))
    )
