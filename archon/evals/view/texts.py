"""Deduplicate the texts of a page, within each answer and between answers.

A page contains each answer as a compressed chunk, which the browser unpacks on demand. Messages
that occur in several chunks, such as exemplars, are stored once in a shared list.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

_MIN_SHARED_CHARS = 40


class SharedTexts:
    """The list of messages that occur in the prompts of several answers."""

    def __init__(self, traces: Iterable[Mapping[str, Any]] = ()) -> None:
        seen: set[bytes] = set()
        shared: set[str] = set()
        for trace in traces:
            texts = {text for text in _messages(trace) if len(text) >= _MIN_SHARED_CHARS}
            for text in texts - shared:
                digest = sha256(text.encode("utf-8", "surrogatepass")).digest()
                if digest in seen:
                    shared.add(text)
                seen.add(digest)
        self._numbers = {text: number for number, text in enumerate(sorted(shared))}

    def number(self, text: str) -> int | None:
        """Return the index of a text in this list; None if the list does not contain the text."""
        return self._numbers.get(text)

    def packed(self) -> str:
        """Return this list as a chunk."""
        return pack(list(self._numbers))


def _messages(trace: Mapping[str, Any]) -> Iterator[str]:
    for node in trace["nodes"]:
        for call in node["calls"]:
            yield from (message["content"] for message in call["messages"])
            for completion in call["completions"]:
                if "trace" in completion:
                    yield from _messages(completion["trace"])


class Texts:
    """The list of texts of one chunk.

    A text is referred to by a number: n is text n of this list, and -1 - n is text n of the shared
    list, both counted from 0.
    """

    def __init__(self, shared: SharedTexts) -> None:
        self._shared = shared
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text; if the text is new, add it to the list first."""
        shared = self._shared.number(text)
        if shared is not None:
            return -1 - shared
        return self._numbers.setdefault(text, len(self._numbers))

    def packed(self, data: Mapping[str, Any]) -> str:
        """Return a chunk with ``data`` and the list of texts to which its numbers refer."""
        return pack({"texts": list(self._numbers), **data})


def pack(data: Any) -> str:
    """Encode data as JSON, compress it with zlib, and encode the result in base64."""
    text = json.dumps(data, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode("ascii"))).decode("ascii")
