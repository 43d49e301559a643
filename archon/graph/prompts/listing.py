"""Candidates, critiques and tests as they stand in a prompt: numbered from 1 and fenced.

What a model wrote stands between lines of more backticks than it has itself, so that no text can
end its own fence, speak for another candidate or for us. Half surrogate pairs, which no tokenizer
takes, become question marks; and a text longer than ``MAX_BYTES`` is cut in the middle, so that
none can push the others or the question out of a context. Its end stays: the answer is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from archon.types import Candidate

_BACKTICKS = re.compile("`{3,}")

MAX_BYTES = 8000
"""Of one candidate's, or critique's, text in UTF-8; a token has a byte at least."""

OF_ALL = "of all candidates"
"""``reason`` of a critique that could not be divided among the candidates it speaks of."""


def list_texts(texts: Iterable[str]) -> str:
    """Each text between fences that do not occur in it, under its number."""
    return "\n\n".join(f"[{number}]\n{_fenced(text)}" for number, text in enumerate(texts, 1))


def list_critiques(candidates: Sequence[Candidate]) -> str:
    """Every critique under the number of its candidate; an undivided one once, under ``[all]``."""
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
    """Whether a text is shown without its middle."""
    return len(text.encode("utf-8", "replace")) > MAX_BYTES


def without_half_pairs(text: str) -> str:
    """A text with ``?`` for each half of a surrogate pair, which tokenizers refuse."""
    return text.encode("utf-8", "replace").decode()


def shortened(text: str) -> str:
    """A text as it is, or of one that is too long both ends with a mark between them."""
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
