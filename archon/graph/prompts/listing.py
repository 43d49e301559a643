"""Numbered lists of candidates, critiques and unit tests for a prompt.

Each text is fenced with more backticks than any run of backticks in the text, so that the text
cannot close the fence and imitate another candidate or the prompt. Unpaired surrogates, which
tokenizers reject, become question marks. The middle of a text longer than ``MAX_BYTES`` is removed,
so that one text cannot fill the context. The end of the text, where the answer is, is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from archon.types import Candidate

_BACKTICKS = re.compile("`{3,}")

MAX_BYTES = 8000
"""Maximum bytes of one text in UTF-8, and thus maximum tokens."""

OF_ALL = "of all candidates"
"""The reason of a critique that could not be split by candidate."""


def list_texts(texts: Iterable[str]) -> str:
    """List the texts in fences, each under its number (from 1)."""
    return "\n\n".join(f"[{number}]\n{_fenced(text)}" for number, text in enumerate(texts, 1))


def list_critiques(candidates: Sequence[Candidate]) -> str:
    """List the critiques, each under the number of its candidate.

    A critique that could not be split is listed once, under ``[all]``. Return an empty string if
    there are no critiques.
    """
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


def without_surrogates(text: str) -> str:
    """Replace unpaired surrogates, which tokenizers reject, with ``?``."""
    return text.encode("utf-8", "replace").decode()


def shortened(text: str) -> str:
    """Replace the middle of a text longer than ``MAX_BYTES`` with a note of its length."""
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
