"""Find the arithmetic statements in a text, and judge each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

from archon.answers.equations.expressions import (
    Node,
    Operation,
    leading,
    literal,
    render,
    render_unit,
    render_value,
)
from archon.answers.equations.in_place import flatten
from archon.answers.equations.lexer import Token, tokens_of
from archon.answers.equations.relations import Link, LinkFinder
from archon.answers.equations.verdicts import Judgement, Verdict, judge

MAX_CHARS = 100_000
MAX_TOKENS = 20_000
"""Maximum number of characters and of tokens of a text that are checked. White space, and lines
without an equals sign or a verb such as "is", count as no tokens."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An arithmetic statement ``left = right`` in a text, with a verdict.

    ``start`` and ``end`` are its position in the text. ``left`` and ``right`` are the exact values
    of its sides, without units and with ``20%`` as 0.2; a side that divides by zero is None.
    ``left_text``, ``right_text`` and ``truth_text`` (the true value of the left side) contain only
    numbers, signs and known units, so that no other text of a candidate enters a prompt.
    """

    start: int
    end: int
    left: Fraction | None
    right: Fraction | None
    verdict: Verdict
    left_text: str
    right_text: str
    truth_text: str

    def __str__(self) -> str:
        """Return the statement and its verdict as a sentence.

        >>> str(check_equations("Half of them: 48 / 2 = 26").first_wrong)
        '48 / 2 = 26 is wrong: 48 / 2 = 24'
        """
        stated = f"{self.left_text} = {self.right_text}"
        if self.verdict == "right":
            return f"{stated} is right"
        if self.left is None or self.right is None:
            return f"{stated} is wrong: nothing can be divided by 0"
        claim = "is wrong" if self.verdict == "wrong" else "is right apart from rounding"
        return f"{stated} {claim}: {self.left_text} {self.truth_text}"


@dataclass(frozen=True, slots=True)
class EquationCheck:
    """The statements in a text, in order. ``complete`` is False if part of it was not checked."""

    statements: tuple[Statement, ...]
    complete: bool = True

    @property
    def first_wrong(self) -> Statement | None:
        return next((s for s in self.statements if s.verdict == "wrong"), None)


def check_equations(text: str) -> EquationCheck:
    """Find and judge every arithmetic statement in a text.

    The rules are in the package docstring. A text that exceeds ``MAX_CHARS`` or ``MAX_TOKENS`` is
    checked only partially. The time is linear in the length of the text.

    >>> check = check_equations("5 hours × $12/hour = $60, and 60 - 15 = 44.")
    >>> [statement.verdict for statement in check.statements], str(check.first_wrong)
    (['right', 'wrong'], '60 - 15 = 44 is wrong: 60 - 15 = 45')
    """
    complete = len(text) <= MAX_CHARS
    text = flatten(text[:MAX_CHARS])
    statements: list[Statement] = []
    for part in _parts(text):
        tokens = list(islice(tokens_of(_with_blanked_lines(part)), MAX_TOKENS + 1))
        if len(tokens) > MAX_TOKENS:
            complete = False
            tokens.pop()
        statements += _statements(tokens)
    statements.sort(key=lambda statement: statement.start)
    return EquationCheck(tuple(statements), complete)


# ---------------------------------------------------------------------- parts of a text

_ANNOTATION = re.compile(r"<<([^<>\n]{1,200})>>")
_LINE = re.compile(r"[^\n]*\n?")
_MAY_STATE = re.compile(
    r"[=≈]|\b(?:is|are|was|equals?|gives?|makes?|yields|becomes|leaves|totals|comes|results|amounts"
    r"|adds)\b",
    re.I,
)


def _parts(text: str) -> Iterator[str]:
    """Yield the text without annotations like ``<<48/2=24>>``, then the annotations alone.

    Removed text is replaced with spaces, so that positions are preserved.
    """
    if "<<" not in text:
        yield text
        return
    yield _ANNOTATION.sub(lambda found: " " * len(found.group()), text)
    pieces, position = [], 0
    for found in _ANNOTATION.finditer(text):
        pieces += [" " * (found.start(1) - position - 1), "\n", found.group(1)]
        position = found.end(1)
    yield "".join(pieces)


def _with_blanked_lines(text: str) -> str:
    """Replace lines that cannot contain any part of a statement with spaces."""
    lines = _LINE.findall(text)
    stating = [_MAY_STATE.search(line) is not None for line in lines]
    for index, line in enumerate(lines):
        if not any(stating[max(0, index - 1) : index + 2]):
            lines[index] = "\n".rjust(len(line)) if line else line
    return "".join(lines)


# -------------------------------------------------------------------------------- judging


@dataclass(frozen=True, slots=True)
class _Sides:
    """The two sides that were compared, and the judgement (None if it is uncertain)."""

    judgement: Judgement | None
    left: Node
    right: Node

    @property
    def is_wrong(self) -> bool:
        return self.judgement is not None and self.judgement.verdict == "wrong"


def _statements(tokens: list[Token]) -> Iterator[Statement]:
    exact: dict[Fraction, Fraction] = {}
    carried: Fraction | None = None
    for link in LinkFinder(tokens).links():
        sides = _judge(link, exact)
        judgement = sides.judgement
        previous, carried = carried, None
        if judgement is None or (
            sides.is_wrong and (link.doubtful or _is_right_without(judgement, previous))
        ):
            continue
        if sides.right is not link.right.node:
            carried = judgement.right
        if judgement.verdict == "rounded" and literal(sides.right) is not None:
            assert judgement.left is not None
            assert judgement.right is not None
            exact[judgement.right] = judgement.left
        first = link.left.start + (sides.left is not link.left.node)
        yield Statement(
            tokens[first].start,
            tokens[link.right.end - 1].end,
            judgement.left,
            judgement.right,
            judgement.verdict,
            render(sides.left),
            render(sides.right),
            _truth(judgement, sides.right),
        )


def _truth(judgement: Judgement, stated: Node) -> str:
    """Return the true value of the left side, in the right side's unit, as text (``= 45 km``)."""
    if judgement.left is None or judgement.right is None:
        return ""
    text, number = render_value(judgement.left), literal(stated)
    if number is not None:
        return text + render_unit(number)
    return f"{text}, not {render_value(judgement.right)[2:]}"


def _judge(link: Link, exact: dict[Fraction, Fraction]) -> _Sides:
    """Return the most favourable judgement of a link.

    A leading dash is tried as a minus sign and as punctuation. If the text continues to calculate
    from a result, as in ``3 + 4 = 7 + 2 = 9``, the first operand is tried as the right side.
    """
    left, right = link.left.node, link.right.node
    tried = [_judge_sides(link, left, right, exact)]
    if link.other_left is not None:
        tried.insert(0, _judge_sides(link, link.other_left, right, exact))
    best = next((sides for sides in tried if not sides.is_wrong), tried[0])
    if not best.is_wrong or not isinstance(right, Operation):
        return best
    first = _judge_sides(link, best.left, leading(right), exact)
    if first.is_wrong or first.judgement is None:
        return best
    if not link.continues and first.judgement.verdict == "rounded":
        return best
    counts = link.continues and literal(left) is None
    return first if counts else replace(first, judgement=None)


def _judge_sides(link: Link, left: Node, right: Node, exact: dict[Fraction, Fraction]) -> _Sides:
    judgement = judge(
        left,
        right,
        approximate=link.approximate,
        with_remainder=link.has_remainder,
        exact=exact,
    )
    sides = _Sides(judgement, left, right)
    if sides.is_wrong and link.is_range and judgement and (judgement.right or 0) >= 0:
        return replace(sides, judgement=None)
    return sides


def _is_right_without(judgement: Judgement, carried: Fraction | None) -> bool:
    """Return whether a link is right without the previous result: ``2 * 3 = 6 + 4 * 1 = 4``.

    Here ``6`` is ``carried`` from the previous link, and ``4 * 1 = 4`` is right without it.
    """
    if carried is None or judgement.left is None:
        return False
    return judgement.left - carried == judgement.right
