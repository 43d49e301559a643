"""Reading an expression from tokens: recursive descent, with units skipped between its parts.

The grammar, loosest first: sums, products (``of`` too), signs, powers and factors written side by
side, operands. Every group is tried at most once, so that the whole is linear in the tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from archon.answers.equations import operands
from archon.answers.equations.expressions import (
    Negative,
    Node,
    Number,
    Operation,
    is_percentage,
    literal,
)
from archon.answers.equations.tokens import Token
from archon.answers.equations.vocabulary import AFTER_NUMBER, AFTER_OF, OPERATORS_BY, PREPOSITIONS

MAX_OPERANDS = 100
MAX_DEPTH = 20
_SQUARES = {"squared": 2, "cubed": 3}


@dataclass(frozen=True, slots=True)
class Expression:
    """A tree and the tokens ``start`` to ``end`` that it was read from, units included.

    ``doubtful``: it may mean something else; ``cut``: it goes on with what cannot be read.
    """

    node: Node
    start: int
    end: int
    doubtful: bool = False
    cut: bool = False


class Parser:
    """Reads expressions from the tokens of one text."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.doubtful = False
        self.depth_of_words = 0
        self._operands = 0
        self._depth = 0
        self._side_by_side = False
        self._raised = False
        self._closers = _closers(tokens)
        self._groups: dict[int, tuple[Node, bool] | None] = {}

    def expression(self, start: int) -> Expression | None:
        """The longest expression that begins with the token ``start``, or None."""
        self.position, self.doubtful, self._operands, self._depth = start, False, 0, 0
        node = self.sum()
        if node is None:
            return None
        cut = self._is_cut()
        return Expression(node, start, self.position, self.doubtful, cut)

    def peek(self, ahead: int = 0) -> Token | None:
        position = self.position + ahead
        return self.tokens[position] if position < len(self.tokens) else None

    def kind(self, ahead: int = 0) -> str:
        token = self.peek(ahead)
        return token.kind if token else "end"

    def word(self, ahead: int = 0) -> str:
        """The word at a place, in lower case; empty where there is none."""
        token = self.peek(ahead)
        return token.text if token and token.kind == "word" else ""

    # -------------------------------------------------------------------- sums and products

    def sum(self) -> Node | None:
        return self._chain("+-", self._product)

    def _product(self) -> Node | None:
        return self._chain("*/", self.signed)

    def _chain(self, operators: str, operand: Callable[[], Node | None]) -> Node | None:
        left = operand()
        while left is not None:
            mark, doubtful = self.position, self.doubtful
            operator = self._operator(operators, left)
            if operator is None or self._operands >= MAX_OPERANDS:
                self.position = mark
                break
            self._side_by_side = False
            right = operand()
            if right is None:
                self.position, self.doubtful = mark, doubtful
                break
            self.doubtful |= operator == "/" and self._side_by_side
            self.doubtful |= operator == "*" and _is_scaled_quotient(left, right)
            left = Operation(operator, left, right)
        return left

    def _operator(self, wanted: str, left: Node) -> str | None:
        """The operator at this place, stepped over."""
        token = self.peek()
        if token is None:
            return None
        if token.kind == "operator" and token.text in wanted:
            self.position += 1
            return token.text
        if token.kind != "word" or wanted != "*/":
            return None
        if token.text in OPERATORS_BY and self.word(1) == "by":
            self.position += 2
            return OPERATORS_BY[token.text]
        if token.text == "of" and _is_share(left):
            self.position += 1
            self.skip(AFTER_OF, 3)
            return "of"
        return None

    def skip(self, words: frozenset[str], most: int) -> None:
        """Step over at most so many of these words."""
        for _ in range(most):
            if self.word() not in words:
                return
            self.position += 1

    # -------------------------------------------------------------- signs, powers and groups

    def signed(self) -> Node | None:
        """An operand with its signs."""
        negative = False
        for _ in range(4):
            token = self.peek()
            if token is None or token.kind != "operator" or token.text not in "+-":
                break
            negative ^= token.text == "-"
            self.position += 1
        node = self._power()
        if node is None or not negative:
            return node
        self.doubtful |= self._raised
        return Negative(node)

    def _power(self) -> Node | None:
        self._operands += 1
        node = operands.operand(self)
        if node is None:
            return None
        raised = self.kind() == "power" or self.word() in _SQUARES
        if raised:
            exponent = self._exponent()
            if exponent is None:
                return None
            node = Operation("^", node, exponent)
            self.doubtful |= self.kind() == "power"
        while self.kind() == "open" and not self.is_remark():
            factor = self._factor_beside()
            if factor is None:
                break
            node = Operation("*", node, factor)
            self._side_by_side = True
        token = self.peek()
        if token is not None and token.kind == "open" and token.glued and not self.is_remark():
            return None
        self._raised = raised
        return operands.with_unit(self, node)

    def _exponent(self) -> Node | None:
        token = self.tokens[self.position]
        self.position += 1
        if token.kind == "word" or token.text != "^":
            power = _SQUARES.get(token.text) or int(token.text)
            return Number(Fraction(power), str(power))
        if self.kind() == "open":
            return self.group()
        negative = self.kind() == "operator" and self.tokens[self.position].text == "-"
        self.position += negative
        if self.kind() != "number":
            return None
        number = operands.literal(self.tokens[self.position])
        self.position += 1
        return Negative(number) if negative else number

    def _factor_beside(self) -> Node | None:
        """A group that multiplies what stands before it: ``2(3 + 4)``, not ``12 (3 boxes)``."""
        opening = self.tokens[self.position]
        closer = self._closers.get(self.position)
        if closer is None or closer - self.position > 60:
            return None
        inside = self.tokens[self.position + 1 : closer]
        if not opening.glued and any(token.kind == "word" for token in inside):
            return None
        node = self.group()
        if node is not None:
            self._operands += 1
            self.doubtful |= not opening.glued and isinstance(node, Number)
        return node

    def group(self) -> Node | None:
        """What stands between the parenthesis here and the one that closes it."""
        start = self.position
        closer = self._closers.get(start)
        if closer is None or self._depth >= MAX_DEPTH:
            return None
        if start not in self._groups:
            doubtful, self.doubtful = self.doubtful, False
            self._depth += 1
            self.position = start + 1
            node = self.sum()
            self._depth -= 1
            whole = node is not None and self.position == closer
            self._groups[start] = (node, self.doubtful) if node is not None and whole else None
            self.doubtful = doubtful
        known = self._groups[start]
        if known is None:
            self.position = start
            return None
        self.position = closer + 1
        self.doubtful |= known[1]
        return known[0]

    def is_remark(self) -> bool:
        """Whether the group here holds only words."""
        closer = self._closers.get(self.position)
        if closer is None or not 1 < closer - self.position <= 16:
            return False
        inside = self.tokens[self.position + 1 : closer]
        return all(token.kind in ("word", "stop") for token in inside)

    def skip_group(self) -> None:
        """Step over the group here."""
        self.position = self._closers[self.position] + 1

    def _is_cut(self) -> bool:
        """Whether what follows belongs to the expression, and yet was not read."""
        token = self.peek()
        if token is None:
            return False
        if token.kind == "operator":
            following = self.peek(1)
            if token.end - token.start > 1:
                return False
            if token.text in "-*" and not (following and following.glued):
                self.doubtful = True
                return False
            return True
        self.doubtful |= token.text in AFTER_NUMBER
        self.doubtful |= token.kind == "number" and self._is_beside_number()
        if token.text == "!":
            self.doubtful = True
            return self.kind(1) in ("relation", "operator")
        return token.kind in ("opaque", "power", "percent", "fraction") or (
            token.glued and token.kind in ("open", "number", "word")
        )

    def _is_beside_number(self) -> bool:
        """Whether at most a unit is between the number here and the one before: ``1 hour 30``."""
        before = self.tokens[self.position - 1]
        if before.kind == "word":
            apart = self.tokens[self.position - 2].kind == "word" or before.text in PREPOSITIONS
            return not apart
        return True


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
