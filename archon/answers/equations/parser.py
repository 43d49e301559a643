"""Recursive-descent parser for arithmetic expressions, which skips units between operands.

The levels of the grammar, from the lowest precedence, are sums, products (including ``of``), signs,
powers and adjacent factors, and operands. An operand is a number with its unit, a group in
parentheses, a LaTeX fraction, or words such as ``half of 30``. Every group is parsed at most once,
so the time is linear in the number of tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from archon.answers.equations.expressions import (
    Negative,
    Node,
    Number,
    Operation,
    Reading,
    TooLargeError,
    evaluate,
    is_percentage,
    literal,
)
from archon.answers.equations.lexer import END, Token
from archon.answers.equations.vocabulary import (
    AFTER_NUMBER,
    AFTER_OF,
    AGGREGATES,
    CHANGES,
    COUNTS,
    CURRENCY_FACTOR,
    ENDS_UNIT,
    FACTORS,
    IS,
    MULTIPLES,
    OPERATORS_BY,
    PARTS,
    PER,
    PREPOSITIONS,
    SCALES,
    SHARES,
    UNWRITTEN_MEANING,
)

MAX_OPERANDS = 100
MAX_DEPTH = 20
_EXACT = 99
"""Value of ``decimals`` for a number that is written as a fraction. Exact values are not rounded to
it."""
_MAX_UNIT_WORDS = 8
_MAX_NESTED_WORDS = 4
_GROUPING = re.compile(r"\{,\}|\\[,!;]|[,\u00a0\u2009\u202f]")
_SQUARES = {"squared": 2, "cubed": 3}


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression, which spans the tokens from ``start`` up to ``end``, including units.

    ``doubtful`` is True if the text may mean something else. ``cut`` is True if the expression
    continues with tokens that cannot be parsed.
    """

    node: Node
    start: int
    end: int
    doubtful: bool = False
    cut: bool = False


class Parser:
    """Parses arithmetic expressions in the tokens of one text."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._doubtful = False
        self._word_depth = 0
        self._operands = 0
        self._depth = 0
        self._has_adjacent_factor = False
        self._raised = False
        self._closers = _closers(tokens)
        self._groups: dict[int, tuple[Node, bool] | None] = {}

    def expression(self, start: int) -> Expression | None:
        """Return the longest expression that begins at the token ``start``, or None."""
        self._position, self._doubtful, self._operands, self._depth = start, False, 0, 0
        node = self._sum()
        if node is None:
            return None
        cut = self._is_cut()
        return Expression(node, start, self._position, self._doubtful, cut)

    def _peek(self, ahead: int = 0) -> Token:
        position = self._position + ahead
        return self._tokens[position] if position < len(self._tokens) else END

    def _word(self, ahead: int = 0) -> str:
        """Return a token's text in lower case if it is a word, else "".

        ``ahead`` is the token's distance from the current one.
        """
        token = self._peek(ahead)
        return token.text if token.kind == "word" else ""

    # ------------------------------------------------------------------ sums and products

    def _sum(self) -> Node | None:
        return self._chain("+-", self._product)

    def _product(self) -> Node | None:
        return self._chain("*/", self._signed)

    def _chain(self, operators: str, operand: Callable[[], Node | None]) -> Node | None:
        left = operand()
        while left is not None:
            mark, doubtful = self._position, self._doubtful
            operator = self._operator(operators, left)
            if operator is None or self._operands >= MAX_OPERANDS:
                self._position = mark
                break
            self._has_adjacent_factor = False
            right = operand()
            if right is None:
                self._position, self._doubtful = mark, doubtful
                break
            self._doubtful |= operator == "/" and self._has_adjacent_factor
            self._doubtful |= operator == "*" and _is_scaled_quotient(left, right)
            left = Operation(operator, left, right)
        return left

    def _operator(self, wanted: str, left: Node) -> str | None:
        """Consume and return an operator, which may be a word such as ``of``; None without one."""
        token = self._peek()
        if token.kind == "operator" and token.text in wanted:
            self._position += 1
            return token.text
        if token.kind != "word" or wanted != "*/":
            return None
        if token.text in OPERATORS_BY and self._word(1) == "by":
            self._position += 2
            return OPERATORS_BY[token.text]
        if token.text == "of" and _is_share(left):
            self._position += 1
            self._skip(AFTER_OF, 3)
            return "of"
        return None

    def _skip(self, words: frozenset[str], most: int) -> None:
        """Skip up to ``most`` tokens that are in ``words``."""
        for _ in range(most):
            if self._word() not in words:
                return
            self._position += 1

    # -------------------------------------------------------------- signs, powers and groups

    def _signed(self) -> Node | None:
        """Parse an operand with up to four signs before it."""
        negative = False
        for _ in range(4):
            token = self._peek()
            if token.kind != "operator" or token.text not in "+-":
                break
            negative ^= token.text == "-"
            self._position += 1
        node = self._power()
        if node is None or not negative:
            return node
        self._doubtful |= self._raised
        return Negative(node)

    def _power(self) -> Node | None:
        self._operands += 1
        node = self._operand()
        if node is None:
            return None
        raised = self._peek().kind == "power" or self._word() in _SQUARES
        if raised:
            exponent = self._exponent()
            if exponent is None:
                return None
            node = Operation("^", node, exponent)
            self._doubtful |= self._peek().kind == "power"
        while self._peek().kind == "open" and not self._is_remark():
            factor = self._adjacent_factor()
            if factor is None:
                break
            node = Operation("*", node, factor)
            self._has_adjacent_factor = True
        token = self._peek()
        if token.kind == "open" and token.glued and not self._is_remark():
            return None
        self._raised = raised
        return self._with_unit(node)

    def _exponent(self) -> Node | None:
        token = self._tokens[self._position]
        self._position += 1
        if token.kind == "word" or token.text != "^":
            power = _SQUARES.get(token.text) or int(token.text)
            return Number(Fraction(power), str(power))
        if self._peek().kind == "open":
            return self._group()
        negative = self._peek().text == "-"
        self._position += negative
        token = self._peek()
        if token.kind != "number":
            return None
        self._position += 1
        return Negative(number_of(token)) if negative else number_of(token)

    def _adjacent_factor(self) -> Node | None:
        """Parse a group that multiplies the operand before it, such as ``2(3 + 4)``.

        Return None for a remark in parentheses, such as ``12 (3 boxes)``.
        """
        opening = self._tokens[self._position]
        closer = self._closers.get(self._position)
        if closer is None or closer - self._position > 60:
            return None
        inside = self._tokens[self._position + 1 : closer]
        if not opening.glued and any(token.kind == "word" for token in inside):
            return None
        node = self._group()
        if node is not None:
            self._operands += 1
            self._doubtful |= not opening.glued and isinstance(node, Number)
        return node

    def _group(self) -> Node | None:
        """Parse the expression in parentheses that begins at the current token."""
        start = self._position
        closer = self._closers.get(start)
        if closer is None or self._depth >= MAX_DEPTH:
            return None
        if start not in self._groups:
            doubtful, self._doubtful = self._doubtful, False
            self._depth += 1
            self._position = start + 1
            node = self._sum()
            self._depth -= 1
            complete = node is not None and self._position == closer
            self._groups[start] = (node, self._doubtful) if node is not None and complete else None
            self._doubtful = doubtful
        group = self._groups[start]
        if group is None:
            self._position = start
            return None
        self._position = closer + 1
        self._doubtful |= group[1]
        return group[0]

    def _is_remark(self) -> bool:
        """Return whether the parentheses that open at the current token contain only words."""
        closer = self._closers.get(self._position)
        if closer is None or not 1 < closer - self._position <= 16:
            return False
        inside = self._tokens[self._position + 1 : closer]
        return all(token.kind in ("word", "stop") for token in inside)

    def _is_cut(self) -> bool:
        """Return whether the expression continues with the next token, which was not parsed.

        Set ``_doubtful`` as well if the next token may belong to the expression.
        """
        token, following = self._peek(), self._peek(1)
        if token.kind == "operator":
            if token.end - token.start > 1:
                return False
            if token.text in "-*" and not following.glued:
                self._doubtful = True
                return False
            return True
        self._doubtful |= token.text in AFTER_NUMBER
        self._doubtful |= token.kind == "number" and self._follows_number()
        if token.text == "!":
            self._doubtful = True
            return following.kind in ("relation", "operator")
        return token.kind in ("opaque", "power", "percent", "fraction") or (
            token.glued and token.kind in ("open", "number", "word")
        )

    def _follows_number(self) -> bool:
        """Return whether two numbers are separated by at most a unit, as in ``1 hour 30``."""
        first, before = self._tokens[self._position - 2], self._tokens[self._position - 1]
        return before.kind != "word" or (first.kind != "word" and before.text not in PREPOSITIONS)

    def begins_operand(self, start: int) -> bool:
        """Return whether an operand can begin at the token ``start``."""
        self._position = start
        if self._peek().kind in ("number", "open", "fraction"):
            return True
        word = self._word()
        return (
            word in MULTIPLES
            or word in SHARES
            or (word in AGGREGATES and self._word(1) in ("of", "between"))
            or (word in COUNTS and self._word(1) in PARTS and self._word(2) == "of")
        )

    def _operand(self) -> Node | None:
        """Parse the operand that begins at the current token, without its unit."""
        token = self._peek()
        if token.kind == "number":
            return self._number()
        if token.kind == "open":
            before = self._tokens[self._position - 1] if self._position else END
            is_call = before.kind == "word" and token.glued
            return None if is_call else self._group()
        if token.kind == "fraction":
            self._position += 1
            return self._latex_fraction()
        return self._in_words() if token.kind == "word" else None

    def _number(self) -> Number | None:
        token = self._tokens[self._position]
        self._position += 1
        number = number_of(token)
        number = self._mixed(token, number) or number
        if self._peek().kind == "percent":
            self._position += 1
            self._doubtful |= self._peek().kind == "number"
            number = replace(number, percent=True, text=f"{number.text}%")
        return number

    def _mixed(self, first: Token, whole: Number) -> Number | None:
        """Parse a mixed number such as ``2 1/2``, ``2½`` or ``2\\frac{1}{2}``; None without one."""
        if not first.text.isdecimal():
            return None
        part: Number | None = None
        second, slash, third = self._peek(), self._peek(1), self._peek(2)
        if second.kind == "number" and not second.text[-1].isdecimal():
            part = number_of(second)
            self._position += 1
        elif second.kind == "fraction":
            mark = self._position
            self._position += 1
            part = _proper(self._latex_fraction())
            if part is None:
                self._position = mark
        elif (
            (second.kind, slash.text, third.kind) == ("number", "/", "number")
            and slash.glued
            and third.glued
            and second.start == first.end + 1
        ):
            part = _proper(Operation("/", number_of(second), number_of(third)))
            self._position += 3 if part else 0
        if part is None:
            return None
        return Number(whole.value + part.value, f"{whole.text} {part.text}", _EXACT)

    def _latex_fraction(self) -> Node | None:
        token = self._peek()
        if token.kind == "number" and len(token.text) == 2:
            self._position += 1
            over, under = token.text[0], token.text[1]
            if over.isdecimal() and under.isdecimal():
                return Operation("/", Number(Fraction(over), over), Number(Fraction(under), under))
            return None
        above = self._group()
        below = self._group() if above is not None else None
        return Operation("/", above, below) if above is not None and below is not None else None

    def _in_words(self) -> Node | None:
        """Parse an expression in words, such as ``half of 30`` or ``the sum of 3 and 4``."""
        if self._word_depth >= _MAX_NESTED_WORDS:
            return None
        self._word_depth += 1
        mark = self._position
        node = self._share_or_aggregate()
        self._word_depth -= 1
        if node is None:
            self._position = mark
        return node

    def _share_or_aggregate(self) -> Node | None:
        word = self._word()
        self._position += 1
        if word in AGGREGATES and self._word() in ("of", "between"):
            self._position += 1
            return self._aggregate(AGGREGATES[word])
        if word in MULTIPLES or word in SHARES:
            return self._share_of(MULTIPLES.get(word) or SHARES[word])
        if word in COUNTS and self._word() in PARTS and self._word(1) == "of":
            share = Fraction(COUNTS[word], PARTS[self._word()])
            self._position += 1
            return self._share_of(share)
        return None

    def _share_of(self, share: Fraction) -> Node | None:
        if self._word() == "of":
            self._position += 1
            self._skip(AFTER_OF, 3)
        elif share.denominator != 1:
            return None
        whole = self._signed()
        if whole is None:
            return None
        self._doubtful |= self._peek().text in ("+", "-")
        if share.denominator == 1:
            return Operation("*", Number(share, str(share)), whole)
        return Operation("of", Number(share, str(share), _EXACT), whole)

    def _aggregate(self, operator: str) -> Node | None:
        self._skip(AFTER_OF, 3)
        first = self._sum()
        if first is None or self._word() != "and":
            return None
        self._position += 1
        second = self._sum()
        if second is None:
            return None
        self._doubtful |= isinstance(second, Operation) or self._word() == "and"
        if operator == "-":
            try:
                if evaluate(first, Reading.PLAIN) < evaluate(second, Reading.PLAIN):
                    first, second = second, first
            except (ZeroDivisionError, TooLargeError):
                return None
        return Operation(operator, first, second)

    def _with_unit(self, node: Node) -> Node:
        """Skip the unit after an operand; return the operand.

        If the operand is a number, the first word of the unit and the unit's size are stored in it.
        """
        number = node if isinstance(node, Number) else None
        factor, unit = number.factor if number else Fraction(1), ""
        sized, divides, after_word = factor != 1, False, False
        for _ in range(_MAX_UNIT_WORDS):
            token = self._peek()
            word = self._word()
            if word and (not self._ends_unit(word) or self._is_of_kind(number)):
                self._position += 1
                self._doubtful |= _has_unwritten_meaning(word, number)
                after_word, unit = True, unit or (f"/{word}" if divides else word)
                if word in PER:
                    divides = True
                elif word in SCALES:
                    factor *= SCALES[word]
                elif word in FACTORS and (divides or not sized):
                    factor = factor / FACTORS[word] if divides else factor * FACTORS[word]
                    sized, divides = True, False
            elif token.text == "/" and self._word(1) and self._peek(2).kind != "open":
                self._position += 1
                divides = True
            elif token.kind == "open" and self._is_remark():
                self._doubtful |= token.glued
                self._position = self._closers[self._position] + 1
            elif token.kind == "power" and after_word:
                self._position += 1 if token.text != "^" else 2
                factor = Fraction(1)
            else:
                break
        if number is None or not (unit or factor != number.factor):
            return node
        return replace(number, unit=unit, factor=factor)

    def _ends_unit(self, word: str) -> bool:
        following = self._peek(1)
        return (
            any(word in words for words in (ENDS_UNIT, IS, MULTIPLES, SHARES))
            or (word in OPERATORS_BY and following.text == "by")
            or (word in COUNTS and following.text in PARTS)
            or (following.text == "(" and following.glued)
        )

    def _is_of_kind(self, number: Number | None) -> bool:
        """Return whether "of" is part of a unit, as in ``2 pairs of shoes``, and not a product."""
        following = self._word(1)
        counts = number is None or (number.value >= 1 and not number.percent)
        names_things = bool(following) and following not in ENDS_UNIT | AFTER_OF
        return self._word() == "of" and counts and names_things


def _is_share(node: Node) -> bool:
    """Return whether "of" after this expression means multiplication.

    This is the case after a percentage, a fraction, or a decimal below one.
    """
    if is_percentage(node):
        return True
    if isinstance(node, Number):
        return node.value < 1 and not node.unit
    if isinstance(node, Operation) and node.operator == "of":
        return _is_share(node.right)
    return (
        isinstance(node, Operation)
        and node.operator == "/"
        and isinstance(node.left, Number)
        and isinstance(node.right, Number)
        and not node.right.unit
    )


def _is_scaled_quotient(left: Node, right: Node) -> bool:
    """Return whether this is a quotient times a power of ten, such as ``6 * 10^3 / 2 * 10^2``.

    Such a text usually means (6 · 10³) / (2 · 10²), so its value is doubtful.
    """
    quotient = isinstance(left, Operation) and left.operator == "/"
    power = right if isinstance(right, Operation) and right.operator == "^" else None
    base = literal(power.left) if power else None
    return quotient and base is not None and base.value == 10


def _closers(tokens: Sequence[Token]) -> dict[int, int]:
    """Return position of an opening parenthesis → position of its closing parenthesis.

    The two must be on one line, with no relation (``=``) between them.
    """
    closers: dict[int, int] = {}
    open_ones: list[int] = []
    for position, token in enumerate(tokens):
        if token.kind == "open":
            open_ones.append(position)
        elif token.kind == "close" and open_ones:
            closers[open_ones.pop()] = position
        elif token.kind in ("relation", "newline"):
            open_ones.clear()
    return closers


def number_of(token: Token) -> Number:
    """Convert a ``number`` token to a number."""
    text = _GROUPING.sub("", token.text)
    if not text[-1].isdecimal():
        value = Fraction(unicodedata.normalize("NFKC", text).replace("\u2044", "/"))
        return Number(value, f"{value.numerator}/{value.denominator}", _EXACT)
    mantissa, _, power = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(power or 0)
    factor = CURRENCY_FACTOR if token.money else Fraction(1)
    return Number(Fraction(text), text, decimals, factor=factor)


def _proper(node: Node | None) -> Number | None:
    """Return a fraction of integers as a single number if it is below one; otherwise None."""
    if not isinstance(node, Operation) or node.operator != "/":
        return None
    over, under = node.left, node.right
    if not (isinstance(over, Number) and isinstance(under, Number)):
        return None
    if over.decimals or under.decimals or not over.value < under.value:
        return None
    return Number(over.value / under.value, f"{over.text}/{under.text}", _EXACT)


def _has_unwritten_meaning(word: str, number: Number | None) -> bool:
    """Return whether a word in a number's unit changes its meaning, as in "9 am" or "20% off"."""
    if word in CHANGES:
        return number is not None and number.percent
    return word in UNWRITTEN_MEANING or (len(word) == 1 and word != "a")
