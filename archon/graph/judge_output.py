"""Output formats of judges: constraints on the last line of a reply, and parsers of replies.

The default templates ask for a last line such as ``Verdict: correct``. A model with the
``constraint`` capability argues freely and is then forced to write the last line in this format.
Other models often deviate from the format, so each parser also accepts a few common deviations. For
a reply that it cannot read, it returns a neutral result, such as *abstain*. All parsers run in time
linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from archon.types import Constraint, FreeText, UnitTestMethod, VerdictKind

_MAX_RANKED = 64
"""Maximum number of candidates in a ranking that a constraint enforces."""
_MAX_TESTS = 64
"""Maximum number of tests that a constraint enforces."""
_MAX_TEST_LENGTH = 300
"""Maximum number of characters of one test."""

# Prompts number candidates from 1, and these functions return indices from 0. A number of more
# than five digits cannot be a candidate, because a count is at most 10,000.
_NUMBER = r"\d{1,5}(?!\d)"


def _free_text(label: str, longest: str) -> FreeText:
    """Return a constraint that allows any text up to ``label``, which begins the last line.

    Within ``max_tokens``, one token per byte of the longest possible last line is reserved.
    """
    return FreeText(label, room=len(f"\n{label} {longest}".encode()))


def _choice(label: str, choices: Sequence[str]) -> Constraint:
    return Constraint(
        regex="|".join(map(re.escape, choices)), after=_free_text(label, max(choices, key=len))
    )


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    match = None
    for match in pattern.finditer(text):  # noqa: B007 - only the last one counts
        pass
    return match


# ------------------------------------------------------------------------------------ rankings


def ranking_constraint(count: int) -> Constraint | None:
    """Constrain the last line to ``Ranking: [2] > [1]``, in which each candidate occurs once.

    Return None, for no constraint, if there are more than ``_MAX_RANKED`` candidates.
    """
    if count > _MAX_RANKED:
        return None
    labels = tuple(f"[{number}]" for number in range(1, count + 1))
    return Constraint(order_of=labels, after=_free_text("Ranking:", " > ".join(labels)))


_BRACKETED_CHAIN = re.compile(rf"\[{_NUMBER}\](?:[ \t]*+(?:>=|[>≥=])[ \t]*+\[{_NUMBER}\])+")
_BARE_CHAIN = re.compile(rf"(?:^|:)[ \t*]*+{_NUMBER}(?:[ \t]*+>[ \t]*+{_NUMBER})+[ \t*.]*+$", re.M)
_BRACKETED_LINE = re.compile(rf"(?:^|:)[ \t*]*+(?:\[{_NUMBER}\][ \t,*.]*+)+$", re.M)
_ITEM_LINE = re.compile(rf"^[ \t]*+\d{{1,5}}[.)][ \t*]*+\[({_NUMBER})\]", re.M)
_BARE_LIST = re.compile(rf"\s*+{_NUMBER}(?:[ \t]*+,[ \t]*+{_NUMBER})*+\s*+")
_DIGITS = re.compile(r"\d+")


def read_ranking(text: str, count: int) -> list[int] | None:
    """Return the ranking of ``count`` candidates as indices from 0, best first, or None.

    The first of these formats that the text contains is used: the last chain ``[2] > [1]``; the
    last line, or part of a line after a colon, with only ``2 > 1``; the last one with only
    ``[2], [1]``; a numbered list ``1. [2]``; a text of numbers alone, ``2, 1``. Unknown numbers and
    repetitions are ignored. Candidates that the text does not mention follow in their original
    order.
    """
    order = list(dict.fromkeys(i for i in _ranked_numbers(text, count) if 0 <= i < count))
    if not order:
        return None
    mentioned = set(order)
    return order + [i for i in range(count) if i not in mentioned]


def _ranked_numbers(text: str, count: int) -> list[int]:
    for pattern in (_BRACKETED_CHAIN, _BARE_CHAIN, _BRACKETED_LINE):
        found = [match.group() for match in pattern.finditer(text)]
        if found:
            return _indices(found[-1])
    items = _ITEM_LINE.findall(text)
    if items:
        return [int(number) - 1 for number in items]
    return _indices(text) if _BARE_LIST.fullmatch(text) else []


def _indices(text: str) -> list[int]:
    return [int(digits) - 1 for digits in _DIGITS.findall(text)]


# ------------------------------------------------------------------------------------ verdicts

VERDICT_CONSTRAINT = _choice("Verdict:", ("correct", "incorrect"))
"""Constrains the last line to ``Verdict: correct`` or ``Verdict: incorrect``."""

_WORDS: dict[VerdictKind, tuple[str, ...]] = {
    "pass": ("pass", "passes", "correct", "right", "true", "yes"),
    "fail": ("fail", "fails", "incorrect", "wrong", "false", "no"),
    "abstain": ("abstain", "unsure", "unknown"),
}
_VERDICTS = {word: verdict for verdict, words in _WORDS.items() for word in words}
_WORD = "|".join(
    # "no mistakes found" and "yes and no" are not verdicts
    rf"{word}(?![ \t]+\w)" if word in ("yes", "no") else word
    for word in sorted(_VERDICTS, key=len, reverse=True)
)
_LABELLED = re.compile(
    rf"\bverdict\b[ \t*_\"]*+(?:is\b)?[ \t*_:\"=-]*+(?:(not)[ \t]+)?({_WORD})\b", re.I
)
_LAST_LINE = re.compile(rf"(?:(not)[ \t]+)?({_WORD})")
_STATED = re.compile(
    r"(?<!if the )(?<!whether the )\b(?:candidate|answer|solution|response)[ \t]+"
    r"(?:\[?\d{1,5}\]?[ \t]+)?is[ \t]+(?:(not)[ \t]+)?(correct|incorrect|right|wrong)\b",
    re.I,
)


def read_verdict(text: str) -> VerdictKind:
    """Return the verdict that a judge's reply states, or *abstain* if it states none.

    The first of these formats that the text contains is used: the last ``Verdict: correct`` (or a
    synonym of *correct* or *incorrect*); a line at the end with only this word; the last statement
    such as "the answer is incorrect".
    """
    labelled = _last(_LABELLED, text)
    if labelled is not None:
        return _decision(labelled)
    line = text.strip().rpartition("\n")[2].strip(" \t*_.!\"'`[]()").lower()
    alone = _LAST_LINE.fullmatch(line)
    if alone is not None:
        return _decision(alone)
    stated = _last(_STATED, text)
    return "abstain" if stated is None else _decision(stated)


def _decision(match: re.Match[str]) -> VerdictKind:
    negated, word = match.groups()
    verdict = _VERDICTS[word.lower()]
    if not negated or verdict == "abstain":
        return verdict
    return "fail" if verdict == "pass" else "pass"


# --------------------------------------------------------------------------------- preferences

PREFERENCE_CONSTRAINT = _choice("Better:", ("[1]", "[2]"))
"""Constrains the last line to ``Better: [1]`` or ``Better: [2]``."""

_PREFERRED = re.compile(r"\bbetter\b[ \t*_]*+:[ \t*_]*+\[?([12])(?!\d)", re.I)
_BARE_PREFERENCE = re.compile(r"\[?([12])\]?")


def read_preference(text: str) -> int | None:
    """Return the index (0 or 1) of the candidate that a judge's reply prefers, or None.

    The last ``Better: [2]`` is used or, if there is none, a last line with only the number.
    """
    labelled = _last(_PREFERRED, text)
    if labelled is None:
        line = text.strip().rpartition("\n")[2].strip(" \t*_.")
        labelled = _BARE_PREFERENCE.fullmatch(line)
    return None if labelled is None else int(labelled.group(1)) - 1


# ------------------------------------------------------------------------------ unit tests


def unit_tests_constraint(method: UnitTestMethod, max_tests: int) -> Constraint:
    """Constrain the reply to one test per line, ``1. It is even.`` or ``assert f(2) == 4``."""
    start = "assert" if method == "program" else r"[1-9][0-9]{0,4}\."
    count = f"{{1,{max_tests}}}" if max_tests <= _MAX_TESTS else "+"
    return Constraint(regex=f"(?:{start} .{{1,{_MAX_TEST_LENGTH}}}\n){count}")


_ITEM = r"(?:[-*•]|\[?\d{1,5}[.):\]]+)[ \t]++"
_STATEMENT = re.compile(rf"^[ \t]*+{_ITEM}([^\n]*+)$", re.MULTILINE)
_ASSERTION = re.compile(rf"^[ \t]*+(?:{_ITEM})?`?(assert\b[^\n]*+)$", re.MULTILINE)


def read_tests(text: str, method: UnitTestMethod, max_tests: int) -> list[str]:
    """Return the first ``max_tests`` distinct unit tests that a reply lists.

    With the *reason* method, tests are the items of a list, numbered or with bullets. With
    *program*, they are the lines that begin with ``assert``, in a list or a code block.

    >>> read_tests("Tests:\\n1. It is even.\\n2. It is even.\\n- It is **large**.", "reason", 5)
    ['It is even.', 'It is **large**.']
    >>> read_tests("1. `assert f(2) == 4`\\nassert f(0) == 0", "program", 5)
    ['assert f(2) == 4', 'assert f(0) == 0']
    """
    pattern = _ASSERTION if method == "program" else _STATEMENT
    found = (match.group(1).strip(" \t\r`") for match in pattern.finditer(text))
    return list(dict.fromkeys(filter(None, found)))[:max_tests]


# ---------------------------------------------------------------------------- results of tests


def results_constraint(num_tests: int) -> Constraint | None:
    """Constrain the last line to ``Tests: [1] pass, [2] fail``, with a verdict for each test.

    Return None, for no constraint, if there are more than ``_MAX_TESTS`` tests.
    """
    if num_tests > _MAX_TESTS:
        return None
    numbers = range(1, num_tests + 1)
    regex = ", ".join(rf"\[{number}\] (?:pass|fail)" for number in numbers)
    longest = ", ".join(f"[{number}] pass" for number in numbers)
    return Constraint(regex=regex, after=_free_text("Tests:", longest))


_RESULTS = re.compile(r"^[ \t*]*+tests[ \t*]*+:([^\n]*+)$", re.M | re.I)
_RESULT = re.compile(rf"\[({_NUMBER})\][ \t*:=-]*+(pass|fail)", re.I)


def read_results(text: str, count: int) -> list[VerdictKind]:
    """Return a judge's verdict on each of ``count`` tests; *abstain* for tests without one.

    Verdicts are read from the last line ``Tests: [1] pass, [2] fail`` or, if there is none, from
    the complete text. If a test has several verdicts, the last one counts.
    """
    line = _last(_RESULTS, text)
    results: list[VerdictKind] = ["abstain"] * count
    for number, word in _RESULT.findall(text if line is None else line.group(1)):
        if 1 <= int(number) <= count:
            results[int(number) - 1] = "pass" if word.lower() == "pass" else "fail"
    return results


# ----------------------------------------------------------------------------------- critiques

_MARKUP = r"^[ \t#>*-]*+"
_HEADINGS = (
    re.compile(rf"{_MARKUP}\[({_NUMBER})\][ \t*]*+[:.)-]?", re.M),
    re.compile(
        rf"{_MARKUP}(?:candidate|answer|solution|response)[ \t]+(?:#[ \t]*)?\[?({_NUMBER})\]?"
        r"[ \t*]*+[:.)-]?",
        re.M | re.I,
    ),
    re.compile(rf"^[ \t]*+({_NUMBER})[.:)]", re.M),
)


def read_critiques(text: str, count: int) -> dict[int, str]:
    """Split a critic's reply by candidate; return candidate index (from 0) → critique.

    A part begins at a line that starts with ``[2]``. If no line does, ``Candidate 2`` and then
    ``2.`` are tried. Several parts about one candidate are joined. A candidate without a part is
    missing from the result.
    """
    for heading in _HEADINGS:
        parts = _sections(text, list(heading.finditer(text)), count)
        if parts:
            return parts
    return {}


def _sections(text: str, headings: list[re.Match[str]], count: int) -> dict[int, str]:
    parts: dict[int, str] = {}
    ends = [match.start() for match in headings[1:]] + [len(text)]
    for match, end in zip(headings, ends, strict=False):
        index = int(match.group(1)) - 1
        body = text[match.end() : end].strip(" \t\n*")
        if body and 0 <= index < count:
            parts[index] = f"{parts[index]}\n{body}" if index in parts else body
    return parts
