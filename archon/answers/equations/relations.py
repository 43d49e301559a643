"""Relations between expressions: the links that a text states, and how certain each is."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from archon.answers.equations.expressions import Node, Number, Operation, has_size, literal
from archon.answers.equations.lexer import Token
from archon.answers.equations.parser import Expression, Parser
from archon.answers.equations.vocabulary import (
    APPROXIMATELY,
    ARITHMETIC,
    ARITHMETIC_OF,
    BEFORE_RESULT,
    CONTINUES,
    DENIALS,
    ENDS_UNIT,
    IS,
    LABELS,
    OF_WHAT,
    PARTS,
    REMAINDER,
)

_LOOK_BACK = 8
_LOOK_AHEAD = 8
_IS_PAIRS = frozenset({("comes", "to"), ("results", "in"), ("amounts", "to"), ("adds", "to")})


_REMAINDER = re.compile(r"r[0-9]*")


class Trust(IntEnum):
    """How certain it is that an expression begins where the parser began it."""

    NONE = 0
    DOUBTFUL = 1
    CLEAN = 2


@dataclass(frozen=True, slots=True)
class Link:
    """Two expressions with a relation between them, one link of a chain.

    ``other_left``: the left side if a leading dash is no sign. ``continues``: another relation
    follows. ``has_remainder``: the text names a remainder after it. ``is_range``: the left side may
    be a range such as ``3-5``.
    """

    left: Expression
    right: Expression
    doubtful: bool
    approximate: bool
    continues: bool
    has_remainder: bool
    is_range: bool
    other_left: Node | None = None


@dataclass(frozen=True, slots=True)
class _Relation:
    end: int
    approximate: bool
    spoken: bool


def links_of(tokens: Sequence[Token]) -> Iterator[Link]:
    """The links of all chains, from left to right."""
    return _LinkFinder(tokens).links()


class _LinkFinder:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.parser = Parser(tokens)
        self._stated = 0

    def links(self) -> Iterator[Link]:
        position = 0
        while position < len(self.tokens):
            expression = self._begin(position)
            if expression is None:
                position += 1
                continue
            position = yield from self._chain(expression)

    def _begin(self, position: int) -> Expression | None:
        if not self.parser.begins_operand(position + self._is_sign(position)):
            return None
        return self.parser.expression(position)

    def _is_sign(self, position: int) -> bool:
        token = self.tokens[position]
        if token.kind != "operator" or token.text != "-":
            return False
        return self._kind(position - 1) not in ("number", "close", "percent", "opaque", "operator")

    def _chain(self, left: Expression) -> Generator[Link, None, int]:
        """The links of the chain that begins with an expression; returns where it ends."""
        trust, in_chain = self._trust(left.start), False
        while True:
            relation = self._relation(left.end, left.node)
            if relation is None or left.cut:
                return max(left.end, left.start + 1)
            right = self.parser.expression(relation.end)
            if right is None:
                return relation.end
            link = self._link(left, right, relation, trust, in_chain)
            if link is not None and not right.cut:
                yield link
            self._stated = right.end
            left, trust, in_chain = right, Trust.CLEAN, True

    # --------------------------------------------------------------------------- relations

    def _relation(self, position: int, left: Node) -> _Relation | None:
        """The relation at a position, with the words that belong to it."""
        if self._text(position) == "\n" and self._kind(position + 1) == "relation":
            position += 1
        token = self._at(position)
        if token is None:
            return None
        spoken = token.kind == "word"
        if spoken:
            pair = (token.text, self._text(position + 1))
            if not isinstance(left, Operation) or not (token.text in IS or pair in _IS_PAIRS):
                return None
            position += pair in _IS_PAIRS
        elif token.kind != "relation":
            return None
        approximate = "≈" in token.text or "~" in token.text
        position += 1
        if self._text(position) == "\n":
            position += 1
        for _ in range(5):
            word = self._text(position)
            approximate |= word in APPROXIMATELY or word == "~"
            if word not in BEFORE_RESULT and word != "~" and not (spoken and word == ":"):
                break
            position += 1
        return _Relation(position, approximate, spoken)

    def _link(
        self,
        left: Expression,
        right: Expression,
        relation: _Relation,
        trust: Trust,
        in_chain: bool,
    ) -> Link | None:
        if trust is Trust.NONE:
            return None
        single, result = literal(left.node), literal(right.node)
        doubtful = trust is Trust.DOUBTFUL or left.doubtful or right.doubtful
        if single is not None and result is not None:
            if not in_chain:
                return None
            doubtful |= _singular(single.unit) != _singular(result.unit)
            doubtful |= single.factor != result.factor
        elif single is not None:
            begins = self._kind(left.start - 1) in ("end", "newline", "stop")
            doubtful |= not (in_chain or begins) or bool(single.unit)
        if relation.spoken:
            doubtful |= self._is_loose(left, right)
        doubtful |= _converts(left.node, result) or self._goes_on(right.end, result)
        return Link(
            left,
            right,
            doubtful,
            relation.approximate,
            self._relation(right.end, right.node) is not None,
            self._names_remainder(right),
            self._is_range(left),
            None if in_chain else self._without_dash(left),
        )

    def _is_loose(self, left: Expression, right: Expression) -> bool:
        """Whether a verb may speak of more than the expression before it."""
        if self._text(left.start - 1) in OF_WHAT or self._kind(right.end) not in (
            "end", "newline", "stop", "close", "relation",
        ):  # fmt: skip
            return True
        tokens = self.tokens[left.start : left.end]
        return any(t.kind == "operator" and t.text in "-/" and t.glued for t in tokens)

    def _goes_on(self, end: int, result: Number | None) -> bool:
        """Whether what follows may change or deny a result: ``6 and 3/4``, ``8 is wrong``."""
        following = [self._text(end + ahead) for ahead in range(3)]
        verb, claim = following[:2]
        if verb == "?" or (verb in IS and claim in DENIALS):
            return True
        if following[0] != "and":
            return False
        parted = following[2] == "/" or following[2] in PARTS
        sized = result is not None and has_size(result)
        return parted or (sized and self._kind(end + 1) == "number")

    def _names_remainder(self, right: Expression) -> bool:
        for token in self.tokens[right.start : right.end + _LOOK_AHEAD]:
            if token.kind == "newline":
                return False
            if token.text in REMAINDER or _REMAINDER.fullmatch(token.text):
                return True
        return False

    def _is_range(self, left: Expression) -> bool:
        """Whether the left side is a number, a dash without spaces, and a greater number."""
        tokens = self.tokens[left.start : left.start + 3]
        return (
            isinstance(left.node, Operation)
            and isinstance(left.node.left, Number)
            and isinstance(left.node.right, Number)
            and left.node.operator == "-"
            and left.node.left.value < left.node.right.value
            and all(token.glued for token in tokens[1:])
        )

    # ------------------------------------------------------------------ what stands before

    def _trust(self, start: int) -> Trust:
        """Whether an expression that begins here is whole, judged by what stands before it."""
        before = self._at(start - 1)
        token = self.tokens[start]
        if before is None or before.kind in ("newline", "relation"):
            return Trust.CLEAN
        if before.kind == "open":
            return self._trust_inside(start - 1)
        if before.kind == "stop":
            in_number = before.text == "." and before.glued and token.glued
            return Trust.NONE if in_number else Trust.CLEAN
        if before.kind == "operator":
            return Trust.CLEAN if self._is_bullet(start - 1) else Trust.NONE
        if before.kind in ("opaque", "power"):
            return Trust.NONE
        if before.kind == "close" and self._is_item(start - 1):
            return Trust.CLEAN
        if before.kind != "word":
            return Trust.DOUBTFUL
        if token.glued:
            return Trust.NONE
        return self._trust_after_words(start)

    def _trust_inside(self, opening: int) -> Trust:
        """The trust in what follows a parenthesis that is not closed, or holds a statement."""
        token, before = self.tokens[opening], self._at(opening - 1)
        if before is None or before.kind in ("newline", "relation", "stop"):
            return Trust.CLEAN
        if before.kind == "operator" or token.glued:
            return Trust.NONE
        return Trust.DOUBTFUL if before.kind == "open" else Trust.CLEAN

    def _trust_after_words(self, start: int) -> Trust:
        before = self.tokens[start - 1].text
        if before in LABELS or (len(before) == 1 and before not in "ai"):
            return Trust.DOUBTFUL
        if self._is_dash(start) and before not in ENDS_UNIT:
            return Trust.DOUBTFUL
        joined = False
        for distance in range(1, _LOOK_BACK + 1):
            token = self._at(start - distance)
            if token is None or token.kind in ("newline", "relation", "stop", "open"):
                return Trust.CLEAN
            if start - distance < self._stated or self._is_dash(start - distance):
                return Trust.CLEAN
            if token.kind != "word":
                return Trust.DOUBTFUL if distance <= 3 + joined else Trust.CLEAN
            if distance <= 4 and self._changes(start - distance):
                return Trust.DOUBTFUL
            if token.text in CONTINUES:
                joined = True
            elif token.text in ENDS_UNIT or token.text in IS or token.text == "total":
                return Trust.CLEAN
        return Trust.CLEAN

    def _changes(self, position: int) -> bool:
        """Whether the word here may change or deny what follows it."""
        word, following = self._text(position), self._text(position + 1)
        if word in ARITHMETIC_OF:
            return following in ("of", "between")
        return word in ARITHMETIC or word in DENIALS or (word == "not" and following not in IS)

    def _is_dash(self, position: int) -> bool:
        """Whether a minus sign here stands apart from what follows."""
        return self._text(position) == "-" and not self._is_glued(position + 1)

    def _is_bullet(self, position: int) -> bool:
        first = self._kind(position - 1) in ("end", "newline")
        return first and not self._is_glued(position + 1)

    def _is_item(self, closing: int) -> bool:
        """Whether a parenthesis closes the number of an item: ``1)`` or ``(1)``."""
        first = closing - 1 - (self._kind(closing - 2) == "open")
        short = closing > 0 and len(self._text(closing - 1)) <= 2
        return short and self._kind(first - 1) in ("end", "newline")

    def _without_dash(self, left: Expression) -> Node | None:
        """The expression read without the dash before it, where that is no sign."""
        if not self._is_dash(left.start):
            return None
        other = self.parser.expression(left.start + 1)
        return other.node if other is not None and other.end == left.end else None

    # ------------------------------------------------------------------------------ places

    def _at(self, position: int) -> Token | None:
        return self.tokens[position] if 0 <= position < len(self.tokens) else None

    def _is_glued(self, position: int) -> bool:
        token = self._at(position)
        return token is not None and token.glued

    def _kind(self, position: int) -> str:
        token = self._at(position)
        return token.kind if token else "end"

    def _text(self, position: int) -> str:
        token = self._at(position)
        return token.text if token else ""


def _singular(unit: str) -> str:
    return unit.removesuffix("s")


def _converts(left: Node, result: Number | None) -> bool:
    """Whether a fraction of one unit is given in another: ``3/4 cup = 12 spoons``."""
    if result is None or not isinstance(left, Operation) or left.operator != "/":
        return False
    over, under = left.left, left.right
    if not (isinstance(over, Number) and isinstance(under, Number)) or over.unit:
        return False
    return bool(under.unit and result.unit) and _singular(under.unit) != _singular(result.unit)
