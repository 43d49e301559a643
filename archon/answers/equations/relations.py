"""Find links, which are pairs of expressions joined by an equals sign or a verb such as "is"."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from archon.answers.equations.expressions import Node, Number, Operation, has_size, literal
from archon.answers.equations.lexer import END, Token
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
    """The certainty that an expression begins where the parser began, and not earlier."""

    NONE = 0
    DOUBTFUL = 1
    CLEAN = 2


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a chain ``a = b = c``, which is two expressions with a relation between them.

    - ``doubtful``: the text may mean something else.
    - ``approximate``: the relation is approximate, such as ``≈`` or "is about".
    - ``continues``: another relation follows the right side.
    - ``has_remainder``: the text names a remainder after the link.
    - ``is_range``: the left side may be a range such as ``3-5``.
    - ``other_left``: the left side without its leading dash, if the dash may not be a minus sign.
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


class LinkFinder:
    """Finds the links in the tokens of one text."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._parser = Parser(tokens)
        self._stated_end = 0

    def links(self) -> Iterator[Link]:
        """Yield the links of all chains, from left to right."""
        position = 0
        while position < len(self._tokens):
            expression = self._begin(position)
            if expression is None:
                position += 1
                continue
            position = yield from self._chain(expression)

    def _begin(self, position: int) -> Expression | None:
        if not self._parser.begins_operand(position + self._is_sign(position)):
            return None
        return self._parser.expression(position)

    def _is_sign(self, position: int) -> bool:
        return self._at(position).text == "-" and self._at(position - 1).kind not in (
            "number", "close", "percent", "opaque", "operator",
        )  # fmt: skip

    def _chain(self, left: Expression) -> Generator[Link, None, int]:
        """Yield the links of a chain whose first expression is ``left``; return the chain's end."""
        trust, in_chain = self._trust(left.start), False
        while True:
            relation = self._relation(left.end, left.node)
            if relation is None or left.cut:
                return max(left.end, left.start + 1)
            right = self._parser.expression(relation.end)
            if right is None:
                return relation.end
            link = self._link(left, right, relation, trust, in_chain)
            if link is not None and not right.cut:
                yield link
            self._stated_end = right.end
            left, trust, in_chain = right, Trust.CLEAN, True

    # --------------------------------------------------------------------------- relations

    def _relation(self, position: int, left: Node) -> _Relation | None:
        """Return the relation at a position after ``left``, with words such as "about", or None."""
        if self._at(position).text == "\n" and self._at(position + 1).kind == "relation":
            position += 1
        token = self._at(position)
        spoken = token.kind == "word"
        if spoken:
            pair = (token.text, self._at(position + 1).text)
            if not isinstance(left, Operation) or not (token.text in IS or pair in _IS_PAIRS):
                return None
            position += pair in _IS_PAIRS
        elif token.kind != "relation":
            return None
        approximate = "≈" in token.text or "~" in token.text
        position += 1
        if self._at(position).text == "\n":
            position += 1
        for _ in range(5):
            word = self._at(position).text
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
            begins = self._at(left.start - 1).kind in ("end", "newline", "stop")
            doubtful |= not (in_chain or begins) or bool(single.unit)
        if relation.spoken:
            doubtful |= self._has_loose_verb(left, right)
        doubtful |= _converts(left.node, result) or self._is_qualified(right.end, result)
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

    def _has_loose_verb(self, left: Expression, right: Expression) -> bool:
        """Return whether the verb's subject or object may differ from the two expressions."""
        if self._at(left.start - 1).text in OF_WHAT or self._at(right.end).kind not in (
            "end", "newline", "stop", "close", "relation",
        ):  # fmt: skip
            return True
        tokens = self._tokens[left.start : left.end]
        return any(t.kind == "operator" and t.text in "-/" and t.glued for t in tokens)

    def _is_qualified(self, end: int, result: Number | None) -> bool:
        """Return whether the words after a result may change or deny it.

        Examples are ``6 and 3/4`` and ``8 is wrong``. ``end`` is the position after the result.
        """
        first, second, third = (self._at(end + ahead) for ahead in range(3))
        if first.text == "?" or (first.text in IS and second.text in DENIALS):
            return True
        adds_fraction = third.text == "/" or third.text in PARTS
        adds_unit = result is not None and has_size(result) and second.kind == "number"
        return first.text == "and" and (adds_fraction or adds_unit)

    def _names_remainder(self, right: Expression) -> bool:
        for token in self._tokens[right.start : right.end + _LOOK_AHEAD]:
            if token.kind == "newline":
                return False
            if token.text in REMAINDER or _REMAINDER.fullmatch(token.text):
                return True
        return False

    def _is_range(self, left: Expression) -> bool:
        """Return whether an expression may be a range with the greater number last (``3-5``)."""
        tokens = self._tokens[left.start : left.start + 3]
        return (
            isinstance(left.node, Operation)
            and isinstance(left.node.left, Number)
            and isinstance(left.node.right, Number)
            and left.node.operator == "-"
            and left.node.left.value < left.node.right.value
            and all(token.glued for token in tokens[1:])
        )

    # ------------------------------------------------------------------ preceding tokens

    def _trust(self, start: int) -> Trust:
        """Judge from the preceding tokens whether an expression actually begins at ``start``."""
        before, token = self._at(start - 1), self._at(start)
        if before.kind in ("end", "newline", "relation"):
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
        return Trust.NONE if token.glued else self._trust_after_words(start)

    def _trust_inside(self, opening: int) -> Trust:
        """Judge an expression inside parentheses that are still open at its end."""
        before = self._at(opening - 1)
        if before.kind in ("end", "newline", "relation", "stop"):
            return Trust.CLEAN
        if before.kind == "operator" or self._at(opening).glued:
            return Trust.NONE
        return Trust.DOUBTFUL if before.kind == "open" else Trust.CLEAN

    def _trust_after_words(self, start: int) -> Trust:
        before = self._at(start - 1).text
        if before in LABELS or (len(before) == 1 and before not in "ai"):
            return Trust.DOUBTFUL
        if self._is_dash(start) and before not in ENDS_UNIT:
            return Trust.DOUBTFUL
        joined = False
        for distance in range(1, _LOOK_BACK + 1):
            position = start - distance
            token = self._at(position)
            if token.kind in ("end", "newline", "relation", "stop", "open"):
                return Trust.CLEAN
            if position < self._stated_end or self._is_dash(position):
                return Trust.CLEAN
            if token.kind != "word":
                return Trust.DOUBTFUL if distance <= 3 + joined else Trust.CLEAN
            if distance <= 4 and self._changes_meaning(position):
                return Trust.DOUBTFUL
            if token.text in CONTINUES:
                joined = True
            elif token.text in ENDS_UNIT or token.text in IS or token.text == "total":
                return Trust.CLEAN
        return Trust.CLEAN

    def _changes_meaning(self, position: int) -> bool:
        """Return whether the word at a position may change or deny the expression after it."""
        word, following = self._at(position).text, self._at(position + 1).text
        if word in ARITHMETIC_OF:
            return following in ("of", "between")
        return word in ARITHMETIC or word in DENIALS or (word == "not" and following not in IS)

    def _is_dash(self, position: int) -> bool:
        """Return whether a token is a dash with white space after it."""
        return self._at(position).text == "-" and not self._at(position + 1).glued

    def _is_bullet(self, position: int) -> bool:
        is_first = self._at(position - 1).kind in ("end", "newline")
        return is_first and not self._at(position + 1).glued

    def _is_item(self, closing: int) -> bool:
        """Return whether a parenthesis closes the number of a list item: ``1)`` or ``(1)``."""
        first = closing - 1 - (self._at(closing - 2).kind == "open")
        is_short = closing > 0 and len(self._at(closing - 1).text) <= 2
        return is_short and self._at(first - 1).kind in ("end", "newline")

    def _without_dash(self, left: Expression) -> Node | None:
        """Return the left side without its leading dash; None if there is no ambiguous dash."""
        if not self._is_dash(left.start):
            return None
        other = self._parser.expression(left.start + 1)
        return other.node if other is not None and other.end == left.end else None

    def _at(self, position: int) -> Token:
        return self._tokens[position] if 0 <= position < len(self._tokens) else END


def _singular(unit: str) -> str:
    return unit.removesuffix("s")


def _converts(left: Node, result: Number | None) -> bool:
    """Return whether a link converts a fraction to another unit (``3/4 cup = 12 spoons``)."""
    if result is None or not isinstance(left, Operation) or left.operator != "/":
        return False
    over, under = left.left, left.right
    if not (isinstance(over, Number) and isinstance(under, Number)) or over.unit:
        return False
    return bool(under.unit and result.unit) and _singular(under.unit) != _singular(result.unit)
