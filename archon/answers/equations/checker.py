"""Checker of a text: finds its statements, links of chains ``a = b = c``, and judges each."""

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
from archon.answers.equations.relations import Link, links_of
from archon.answers.equations.verdicts import Judgement, Verdict, judge

MAX_CHARS = 100_000
MAX_TOKENS = 20_000
"""Limits of what is read of a text (white space and lines without a relation are no tokens)."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One ``left = right`` of a text.

    ``start`` and ``end`` are its position in the text, ``left`` and ``right`` the exact values of
    its sides (None after a division by zero), with ``%`` as a hundredth and without units. The
    rendered texts contain numbers, signs and known units only, so that nothing else gets through.
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
        """A sentence for a person.

        >>> str(check_equations("Half of them: 48 / 2 = 26").first_wrong)
        '48 / 2 = 26 is wrong: 48 / 2 = 24'
        """
        stated = f"{self.left_text} = {self.right_text}"
        if self.verdict == "right":
            return f"{stated} is right"
        if self.left is None or self.right is None:
            return f"{stated} is wrong: nothing can be divided by 0"
        claim = "is wrong" if self.verdict == "wrong" else "is right but for rounding"
        return f"{stated} {claim}: {self.left_text} {self.truth_text}"


@dataclass(frozen=True, slots=True)
class EquationCheck:
    """The statements of a text in their order; ``complete`` unless the text was too long."""

    statements: tuple[Statement, ...]
    complete: bool = True

    @property
    def first_wrong(self) -> Statement | None:
        return next((s for s in self.statements if s.verdict == "wrong"), None)

    def count(self, verdict: Verdict) -> int:
        """How many statements have this verdict."""
        return sum(statement.verdict == verdict for statement in self.statements)


def check_equations(text: str) -> EquationCheck:
    """Find and judge every arithmetic statement of a text; the rules are the package's.

    Time is linear in the text, and bounded.

    >>> check = check_equations("5 hours × $12/hour = $60, and 60 - 15 = 44.")
    >>> [statement.verdict for statement in check.statements], str(check.first_wrong)
    (['right', 'wrong'], '60 - 15 = 44 is wrong: 60 - 15 = 45')
    """
    complete = len(text) <= MAX_CHARS
    text = flatten(text[:MAX_CHARS])
    statements: list[Statement] = []
    for part in _parts(text):
        tokens = list(islice(tokens_of(_without_idle_lines(part)), MAX_TOKENS + 1))
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
    """The text without its ``<<48/2=24>>`` annotations, then these, at their positions."""
    if "<<" not in text:
        yield text
        return
    yield _ANNOTATION.sub(lambda found: " " * len(found.group()), text)
    pieces, position = [], 0
    for found in _ANNOTATION.finditer(text):
        pieces += [" " * (found.start(1) - position - 1), "\n", found.group(1)]
        position = found.end(1)
    yield "".join(pieces)


def _without_idle_lines(text: str) -> str:
    """The text with lines blanked that cannot contain any part of a statement."""
    lines = _LINE.findall(text)
    stating = [_MAY_STATE.search(line) is not None for line in lines]
    for index, line in enumerate(lines):
        if not any(stating[max(0, index - 1) : index + 2]):
            lines[index] = "\n".rjust(len(line)) if line else line
    return "".join(lines)


# -------------------------------------------------------------------------------- judging


@dataclass(frozen=True, slots=True)
class _Sides:
    """A judgement and the two sides that it is about."""

    judgement: Judgement | None
    left: Node
    right: Node

    @property
    def is_wrong(self) -> bool:
        return self.judgement is not None and self.judgement.verdict == "wrong"


def _statements(tokens: list[Token]) -> Iterator[Statement]:
    exact: dict[Fraction, Fraction] = {}
    ran_on: Fraction | None = None
    for link in links_of(tokens):
        sides = _judge(link, exact)
        judgement = sides.judgement
        follows, ran_on = ran_on, None
        if judgement is None or (sides.is_wrong and (link.doubtful or _ends(judgement, follows))):
            continue
        if sides.right is not link.right.node:
            ran_on = judgement.right
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
    """The value of the left side, in the unit of the right side."""
    if judgement.left is None or judgement.right is None:
        return ""
    text, number = render_value(judgement.left), literal(stated)
    if number is not None:
        return text + render_unit(number)
    return f"{text}, not {render_value(judgement.right)[2:]}"


def _judge(link: Link, exact: dict[Fraction, Fraction]) -> _Sides:
    """The best judgement that a link allows.

    A leading dash may be no sign, and the right side may be its first operand alone, from which
    the text calculates on: ``3 + 4 = 7 + 2 = 9``.
    """
    left, right = link.left.node, link.right.node
    tried = [_judge_sides(link, left, right, exact)]
    if link.other_left is not None:
        tried.insert(0, _judge_sides(link, link.other_left, right, exact))
    good = next((sides for sides in tried if not sides.is_wrong), tried[0])
    if not good.is_wrong or not isinstance(right, Operation):
        return good
    begun = _judge_sides(link, good.left, leading(right), exact)
    if begun.is_wrong or begun.judgement is None:
        return good
    if not link.continues and begun.judgement.verdict == "rounded":
        return good
    counts = link.continues and literal(left) is None
    return begun if counts else replace(begun, judgement=None)


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


def _ends(judgement: Judgement, ran_on: Fraction | None) -> bool:
    """Whether a sum is right without the result that it goes on from: ``2 * 3 = 6 + 4 * 1 = 4``."""
    if ran_on is None or judgement.left is None:
        return False
    return judgement.left - ran_on == judgement.right
