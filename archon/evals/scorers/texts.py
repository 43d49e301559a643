"""Scorers of texts: ``includes`` and ``f1``."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter

from pydantic import Field

from archon.answers import read_target
from archon.evals.scorers.declaration import Attempt, Judge, Score, ScorerType, Setup
from archon.spec.common import StrictModel
from archon.spec.messages import shown

# ------------------------------------------------------------------------------------ includes


class Includes(StrictModel):
    """Parameters of ``includes``."""

    ignore_case: bool = Field(True, description="Whether to ignore letter case.")


def _make_includes(setup: Setup) -> Judge:
    def normal(text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        return " ".join((text.casefold() if setup.parameters.ignore_case else text).split())

    def judge(attempt: Attempt) -> Score:
        text = normal(attempt.text)
        for target in attempt.written_targets:
            if includes(text, normal(target)):
                return Score(1, target, f"the text includes {shown(target)}")
        if not text:
            return Score(0, None, "no text in the answer")
        answer = text[:_MAX_SHOWN]
        return Score(0, answer, f"{shown(answer)} does not include {shown(attempt.target)}")

    return judge


_MAX_SHOWN = 200


def includes(text: str, part: str) -> bool:
    """Return whether a text includes a part that is not a piece of a longer word or number.

    >>> includes("it is 18 dollars", "18"), includes("it is 180", "18"), includes("1.18", "18")
    (True, False, False)
    """
    start = text.find(part) if part else -1
    while start >= 0:
        end = start + len(part)
        if _begins(text, start) and _ends(text, end):
            return True
        start = text.find(part, start + 1)
    return False


def _begins(text: str, start: int) -> bool:
    """Return whether no word or number that begins before ``start`` continues there."""
    first, before = text[start], text[start - 1 : start]
    if not before or not _is_word(first):
        return True
    if _is_word(before):
        return False
    if not first.isdigit():
        return True
    earlier = text[start - 2 : start - 1] if start > 1 else ""
    if before in "-\u2212.^":  # a sign, a decimal point or a power
        return False
    return not (before in ",:/" and earlier.isdigit())


def _ends(text: str, end: int) -> bool:
    """Return whether no word or number that contains the character before ``end`` continues."""
    last, after = text[end - 1], text[end : end + 1]
    if not after or not _is_word(last):
        return True
    if _is_word(after):
        return False
    return not (last.isdigit() and after in ".,:/^-\u2212" and text[end + 1 : end + 2].isdigit())


def _is_word(character: str) -> bool:
    """Return whether a character is part of words: a letter, a digit or a mark, such as a vowel."""
    if character.isalnum() or character == "_":
        return True
    return not character.isascii() and unicodedata.category(character).startswith("M")


# ------------------------------------------------------------------------------------------ F1

_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")


def f1_tokens(text: str) -> list[str]:
    """Return the tokens of a text as SQuAD's evaluation compares them (Rajpurkar et al. 2016).

    Without letter case, ASCII punctuation and the words "a", "an" and "the", split at white space.
    A text that contains nothing else keeps its articles and punctuation. Unlike SQuAD, variants of
    a character, such as full-width letters, are the same.

    >>> f1_tokens("The U.S. Army"), f1_tokens("a")
    (['us', 'army'], ['a'])
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = _PUNCTUATION.sub("", text).split()
    return [word for word in words if word not in _ARTICLES] or words or text.split()


def f1(answer: str, target: str) -> float:
    """Compute the harmonic mean of precision and recall of the answer's tokens.

    >>> f1("the quick brown fox", "brown fox jumps")
    0.6666666666666666
    """
    ours, theirs = Counter(f1_tokens(answer)), Counter(f1_tokens(target))
    common = (ours & theirs).total()
    return 2 * common / (ours.total() + theirs.total()) if common else 0.0


def _make_f1(setup: Setup) -> Judge:
    kind = setup.kind

    def judge(attempt: Attempt) -> Score:
        answer = attempt.read(kind)
        if answer is None:
            return Score(0, None, f"no {kind} in the answer")
        targets = attempt.written_targets
        if kind != "text":  # the answer's value is canonical; of a choice, the option's text
            choices = attempt.choices
            values = tuple(read_target(target, kind, choices=choices) for target in targets)
            targets = (*(() if choices else targets), *filter(None, values)) or targets
        best = max(targets, key=lambda target: f1(answer, target))
        points = f1(answer, best)
        return Score(points, answer, f"F1 {points:.3g} of {shown(answer)} with {shown(best)}")

    return judge


SCORER_TYPES = (
    ScorerType(
        name="includes",
        description="Right if the text includes the target, but not as a piece of a longer word "
        "or number.",
        kinds=("text", "number", "math", "choice", "code", "json"),
        make=_make_includes,
        parameters=Includes,
        reads="text",
        reads_row_targets=True,
    ),
    ScorerType(
        name="f1",
        description="Partial score: F1 of the words that the answer and the target share, as "
        "SQuAD computes it.",
        kinds=("text", "number", "math", "choice", "code", "json"),
        make=_make_f1,
        reads_row_targets=True,
    ),
)
