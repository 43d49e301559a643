"""Lists of candidates, critiques and tests for a prompt, numbered from 1 and fenced.

Text of a model is fenced by more backticks than it has itself, so that it cannot end its fence and
pose as another candidate or as the prompt. Half surrogate pairs, which tokenizers refuse, become
question marks. A text longer than ``MAX_BYTES`` loses its middle, so that it cannot push others out
of a context. Its end, where the answer is, stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from archon.types import Candidate

_BACKTICKS = re.compile("`{3,}")

MAX_BYTES = 8000
"""Largest size of one text in UTF-8; a token has at least one byte."""

OF_ALL = "of all candidates"
"""``reason`` of a critique that could not be divided among candidates."""


def list_texts(texts: Iterable[str]) -> str:
    """List each text under its number, between fences that do not occur in it."""
    return "\n\n".join(f"[{number}]\n{_fenced(text)}" for number, text in enumerate(texts, 1))


def list_critiques(candidates: Sequence[Candidate]) -> str:
    """List each critique under the number of its candidate; an undivided one under ``[all]``."""
    own: list[str] = []
    of_all: dict[str, None] = {}
    for number, candidate in enumerate(candidates, 1):
        for critique in candidate.critiques:
            if critique.reason == OF_ALL:
                of_all[f"[all]\n{_fenced(str(critique.value))}"] = None
            else:
                own.append(f"[{number}]\n{_fenced(str(critique.value))}")
    if not own and not of_all:
        return ""
    return "\n\n".join(["Critiques of the candidates:", *own, *of_all])


def is_long(text: str) -> bool:
    """Return True if ``shortened`` would shorten the text."""
    return len(text.encode("utf-8", "replace")) > MAX_BYTES


def without_half_pairs(text: str) -> str:
    """Replace each half of a surrogate pair, which tokenizers refuse, by ``?``."""
    return text.encode("utf-8", "replace").decode()


def shortened(text: str) -> str:
    """Replace the middle of a text longer than ``MAX_BYTES`` by a mark."""
    data = text.encode("utf-8", "replace")
    if not is_long(text):
        return data.decode()
    half = MAX_BYTES // 2
    head, tail = (part.decode("utf-8", "ignore") for part in (data[:half], data[-half:]))
    return f"{head}\n[… {len(data) - 2 * half} bytes left out …]\n{tail}"


def _fenced(text: str) -> str:
    text = shortened(text)
    runs = _BACKTICKS.findall(text)
    fence = "`" * max(3, 1 + max(map(len, runs), default=0))
    return f"{fence}\n{text}\n{fence}"
