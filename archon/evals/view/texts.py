"""Deduplicated texts of a page: those that several answers share, and those of one answer.

A page has each answer as a compressed chunk, which the browser opens on demand. Exemplars are in
the prompt of every question, so messages that occur in several chunks go into one shared list.
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
    """Messages in the prompts of several chunks."""

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
        """Return the number of a text; None if it is not shared."""
        return self._numbers.get(text)

    def packed(self) -> str:
        """Return the shared messages as a chunk."""
        return pack(list(self._numbers))


def _messages(trace: Mapping[str, Any]) -> Iterator[str]:
    for node in trace["nodes"]:
        for call in node["calls"]:
            yield from (message["content"] for message in call["messages"])
            for completion in call["completions"]:
                if "trace" in completion:
                    yield from _messages(completion["trace"])


class Texts:
    """The texts of one chunk: number n is its n-th text, number -1 - n the n-th shared one."""

    def __init__(self, shared: SharedTexts) -> None:
        self._shared = shared
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Add a text if it is new; return its number."""
        shared = self._shared.number(text)
        if shared is not None:
            return -1 - shared
        return self._numbers.setdefault(text, len(self._numbers))

    def packed(self, data: Mapping[str, Any]) -> str:
        """Return ``data`` with the texts that its numbers refer to, as a chunk."""
        return pack({"texts": list(self._numbers), **data})


def pack(data: Any) -> str:
    """Encode data as JSON, deflated (zlib, RFC 1950), in base64."""
    text = json.dumps(data, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode("ascii"))).decode("ascii")
