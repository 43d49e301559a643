"""Recursive-descent parser of arithmetic expressions, with units skipped between their parts.

The grammar, loosest first: sums, products (``of`` too), signs, powers and factors written side by
side, operands. An operand is a literal with its unit, a group, a LaTeX fraction, or words such as
``half of 30``. Every group is parsed at most once, so parsing is linear in the tokens.
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
from archon.answers.equations.lexer import Token
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
    UNTOLD,
)

MAX_OPERANDS = 100
MAX_DEPTH = 20
_EXACT = 99
"""Decimals of a literal that is written as a fraction, and so is never rounded."""
_MOST_UNIT_WORDS = 8
_MOST_NESTED_WORDS = 4
_GROUPING = re.compile(r"\{,\}|\\[,!;]|[,\u00a0\u2009\u202f]")
_SQUARES = {"squared": 2, "cubed": 3}


@dataclass(frozen=True, slots=True)
class Expression:
    """A tree and the tokens ``start`` to ``end`` that it was read from, units included.

    ``doubtful``: it may mean something else; ``cut``: what follows belongs to it but is unreadable.
    """

    node: Node
    start: int
    end: int
    doubtful: bool = False
    cut: bool = False


class Parser:
    """Parses expressions from the tokens of one text."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._doubtful = False
        self._depth_of_words = 0
        self._operands = 0
        self._depth = 0
        self._side_by_side = False
        self._raised = False
        self._closers = _closers(tokens)
        self._groups: dict[int, tuple[Node, bool] | None] = {}

    def expression(self, start: int) -> Expression | None:
        """The longest expression that begins with the token ``start``, or None."""
        self._position, self._doubtful, self._operands, self._depth = start, False, 0, 0
        node = self._sum()
        if node is None:
            return None
        cut = self._is_cut()
        return Expression(node, start, self._position, self._doubtful, cut)

    def _peek(self, ahead: int = 0) -> Token | None:
        position = self._position + ahead
        return self._tokens[position] if position < len(self._tokens) else None

    def _kind(self, ahead: int = 0) -> str:
        token = self._peek(ahead)
        return token.kind if token else "end"

    def _word(self, ahead: int = 0) -> str:
        """The word at a place, in lower case; empty where there is none."""
        token = self._peek(ahead)
        return token.text if token and token.kind == "word" else ""

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
            self._side_by_side = False
            right = operand()
            if right is None:
                self._position, self._doubtful = mark, doubtful
                break
            self._doubtful |= operator == "/" and self._side_by_side
            self._doubtful |= operator == "*" and _is_scaled_quotient(left, right)
            left = Operation(operator, left, right)
        return left

    def _operator(self, wanted: str, left: Node) -> str | None:
        """Consume the operator at the current token."""
        token = self._peek()
        if token is None:
            return None
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
        """Skip up to ``most`` of these words."""
        for _ in range(most):
            if self._word() not in words:
                return
            self._position += 1

    # -------------------------------------------------------------- signs, powers and groups

    def _signed(self) -> Node | None:
        """An operand with its signs."""
        negative = False
        for _ in range(4):
            token = self._peek()
            if token is None or token.kind != "operator" or token.text not in "+-":
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
        raised = self._kind() == "power" or self._word() in _SQUARES
        if raised:
            exponent = self._exponent()
            if exponent is None:
                return None
            node = Operation("^", node, exponent)
            self._doubtful |= self._kind() == "power"
        while self._kind() == "open" and not self._is_remark():
            factor = self._factor_beside()
            if factor is None:
                break
            node = Operation("*", node, factor)
            self._side_by_side = True
        token = self._peek()
        if token is not None and token.kind == "open" and token.glued and not self._is_remark():
            return None
        self._raised = raised
        return self._with_unit(node)

    def _exponent(self) -> Node | None:
        token = self._tokens[self._position]
        self._position += 1
        if token.kind == "word" or token.text != "^":
            power = _SQUARES.get(token.text) or int(token.text)
            return Number(Fraction(power), str(power))
        if self._kind() == "open":
            return self._group()
        negative = self._kind() == "operator" and self._tokens[self._position].text == "-"
        self._position += negative
        if self._kind() != "number":
            return None
        number = number_of(self._tokens[self._position])
        self._position += 1
        return Negative(number) if negative else number

    def _factor_beside(self) -> Node | None:
        """A group that multiplies what stands before it: ``2(3 + 4)``, not ``12 (3 boxes)``."""
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
        """The expression between the parenthesis here and the one that closes it."""
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
            whole = node is not None and self._position == closer
            self._groups[start] = (node, self._doubtful) if node is not None and whole else None
            self._doubtful = doubtful
        known = self._groups[start]
        if known is None:
            self._position = start
            return None
        self._position = closer + 1
        self._doubtful |= known[1]
        return known[0]

    def _is_remark(self) -> bool:
        """Whether the group here holds only words."""
        closer = self._closers.get(self._position)
        if closer is None or not 1 < closer - self._position <= 16:
            return False
        inside = self._tokens[self._position + 1 : closer]
        return all(token.kind in ("word", "stop") for token in inside)

    def _skip_group(self) -> None:
        """Skip the group here."""
        self._position = self._closers[self._position] + 1

    def _is_cut(self) -> bool:
        """Whether the next token belongs to the expression but was not parsed."""
        token = self._peek()
        if token is None:
            return False
        if token.kind == "operator":
            following = self._peek(1)
            if token.end - token.start > 1:
                return False
            if token.text in "-*" and not (following and following.glued):
                self._doubtful = True
                return False
            return True
        self._doubtful |= token.text in AFTER_NUMBER
        self._doubtful |= token.kind == "number" and self._is_beside_number()
        if token.text == "!":
            self._doubtful = True
            return self._kind(1) in ("relation", "operator")
        return token.kind in ("opaque", "power", "percent", "fraction") or (
            token.glued and token.kind in ("open", "number", "word")
        )

    def _is_beside_number(self) -> bool:
        """Whether at most a unit is between the number here and the one before: ``1 hour 30``."""
        before = self._tokens[self._position - 1]
        if before.kind == "word":
            apart = self._tokens[self._position - 2].kind == "word" or before.text in PREPOSITIONS
            return not apart
        return True

    def begins_operand(self, start: int) -> bool:
        """Whether the token ``start`` may begin an operand."""
        self._position = start
        if self._kind() in ("number", "open", "fraction"):
            return True
        word = self._word()
        return (
            word in MULTIPLES
            or word in SHARES
            or (word in AGGREGATES and self._word(1) in ("of", "between"))
            or (word in COUNTS and self._word(1) in PARTS and self._word(2) == "of")
        )

    def _operand(self) -> Node | None:
        """The operand that begins here, without its unit."""
        token = self._peek()
        if token is None:
            return None
        if token.kind == "number":
            return self._number()
        if token.kind == "open":
            before = self._tokens[self._position - 1] if self._position else None
            is_call = before is not None and before.kind == "word" and token.glued
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
        if self._kind() == "percent":
            self._position += 1
            following = self._peek()
            self._doubtful |= following is not None and following.kind == "number"
            number = replace(number, percent=True, text=f"{number.text}%")
        return number

    def _mixed(self, first: Token, whole: Number) -> Number | None:
        """``2 1/2``, ``2½`` or LaTeX's ``2\\frac{1}{2}`` as one number."""
        if not first.text.isdecimal():
            return None
        part: Number | None = None
        second, slash, third = self._peek(), self._peek(1), self._peek(2)
        if second is None:
            return None
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
            slash
            and third
            and (second.kind, slash.text, third.kind) == ("number", "/", "number")
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
        if token is not None and token.kind == "number" and len(token.text) == 2:
            self._position += 1
            over, under = token.text[0], token.text[1]
            if over.isdecimal() and under.isdecimal():
                return Operation("/", Number(Fraction(over), over), Number(Fraction(under), under))
            return None
        if self._kind() != "open":
            return None
        above = self._group()
        if above is None or self._kind() != "open":
            return None
        below = self._group()
        return None if below is None else Operation("/", above, below)

    def _in_words(self) -> Node | None:
        """``half of 30``, ``twice 6``, ``two-thirds of 12``, ``the sum of 3 and 4``."""
        if self._depth_of_words >= _MOST_NESTED_WORDS:
            return None
        self._depth_of_words += 1
        mark = self._position
        node = self._spelt_out()
        self._depth_of_words -= 1
        if node is None:
            self._position = mark
        return node

    def _spelt_out(self) -> Node | None:
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
        following = self._peek()
        self._doubtful |= following is not None and following.text in ("+", "-")
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
        """Skip the unit after an operand; a literal keeps the unit's first word and its size."""
        number = node if isinstance(node, Number) else None
        factor, unit = number.factor if number else Fraction(1), ""
        sized, divides, after_word = factor != 1, False, False
        for _ in range(_MOST_UNIT_WORDS):
            token = self._peek()
            if token is None:
                break
            word = self._word()
            if word and (not self._ends_unit(word) or self._is_of_kind(number)):
                self._position += 1
                self._doubtful |= _is_untold(word, number)
                after_word, unit = True, unit or (f"/{word}" if divides else word)
                if word in PER:
                    divides = True
                elif word in SCALES:
                    factor *= SCALES[word]
                elif word in FACTORS and (divides or not sized):
                    factor = factor / FACTORS[word] if divides else factor * FACTORS[word]
                    sized, divides = True, False
            elif token.text == "/" and self._word(1) and self._kind(2) != "open":
                self._position += 1
                divides = True
            elif token.kind == "open" and self._is_remark():
                self._doubtful |= token.glued
                self._skip_group()
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
            word in ENDS_UNIT
            or word in IS
            or word in MULTIPLES
            or word in SHARES
            or (word in OPERATORS_BY and self._word(1) == "by")
            or (word in COUNTS and self._word(1) in PARTS)
            or (following is not None and following.text == "(" and following.glued)
        )

    def _is_of_kind(self, number: Number | None) -> bool:
        """Whether "of" names the kind of things: ``2 pairs of shoes``, not ``20% of them``."""
        following = self._word(1)
        whole = number is None or (number.value >= 1 and not number.percent)
        told = bool(following) and following not in ENDS_UNIT | AFTER_OF
        return self._word() == "of" and whole and told


def _is_share(node: Node) -> bool:
    """Whether "of" after this multiplies: a percentage, a fraction, a decimal below one."""
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
    """Whether a power of ten follows a quotient: ``6 * 10^3 / 2 * 10^2`` is meant as 30."""
    quotient = isinstance(left, Operation) and left.operator == "/"
    power = right if isinstance(right, Operation) and right.operator == "^" else None
    base = literal(power.left) if power else None
    return quotient and base is not None and base.value == 10


def _closers(tokens: Sequence[Token]) -> dict[int, int]:
    """Where each parenthesis is closed, if no relation and no end of line is before that."""
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
    """The number that a token writes."""
    text = _GROUPING.sub("", token.text)
    if not text[-1].isdecimal():
        value = Fraction(unicodedata.normalize("NFKC", text).replace("\u2044", "/"))
        return Number(value, f"{value.numerator}/{value.denominator}", _EXACT)
    mantissa, _, power = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(power or 0)
    factor = CURRENCY_FACTOR if token.money else Fraction(1)
    return Number(Fraction(text), text, decimals, factor=factor)


def _proper(node: Node | None) -> Number | None:
    """A fraction of whole numbers below one as a literal."""
    if not isinstance(node, Operation) or node.operator != "/":
        return None
    over, under = node.left, node.right
    if not (isinstance(over, Number) and isinstance(under, Number)):
        return None
    if over.decimals or under.decimals or not over.value < under.value:
        return None
    return Number(over.value / under.value, f"{over.text}/{under.text}", _EXACT)


def _is_untold(word: str, number: Number | None) -> bool:
    """Whether a word in its unit lets a number mean something that is not written."""
    if word in CHANGES:
        return number is not None and number.percent
    return word in UNTOLD or (len(word) == 1 and word != "a")
