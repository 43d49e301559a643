"""The operands of an expression: literals with their units, LaTeX fractions, and what words say."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from archon.answers.equations.expressions import (
    Node,
    Number,
    Operation,
    Reading,
    TooLargeError,
    evaluate,
)
from archon.answers.equations.tokens import Token
from archon.answers.equations.vocabulary import (
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
    SCALES,
    SHARES,
    UNTOLD,
)

if TYPE_CHECKING:
    from archon.answers.equations.parser import Parser

_EXACT = 99
"""Decimals of a literal that is written as a fraction, and so is never rounded."""
_MOST_UNIT_WORDS = 8
_MOST_NESTED_WORDS = 4
_GROUPING = re.compile(r"\{,\}|\\[,!;]|[,\u00a0\u2009\u202f]")


def begins_operand(parser: Parser) -> bool:
    """Whether the token here may begin an operand."""
    if parser.kind() in ("number", "open", "fraction"):
        return True
    word = parser.word()
    return (
        word in MULTIPLES
        or word in SHARES
        or (word in AGGREGATES and parser.word(1) in ("of", "between"))
        or (word in COUNTS and parser.word(1) in PARTS and parser.word(2) == "of")
    )


def operand(parser: Parser) -> Node | None:
    """The operand that begins here, without its unit."""
    token = parser.peek()
    if token is None:
        return None
    if token.kind == "number":
        return _number(parser)
    if token.kind == "open":
        before = parser.tokens[parser.position - 1] if parser.position else None
        is_call = before is not None and before.kind == "word" and token.glued
        return None if is_call else parser.group()
    if token.kind == "fraction":
        parser.position += 1
        return _latex_fraction(parser)
    return _in_words(parser) if token.kind == "word" else None


# ---------------------------------------------------------------------------------- literals


def literal(token: Token) -> Number:
    """The number that a token writes."""
    text = _GROUPING.sub("", token.text)
    if not text[-1].isdecimal():
        value = Fraction(unicodedata.normalize("NFKC", text).replace("\u2044", "/"))
        return Number(value, f"{value.numerator}/{value.denominator}", _EXACT)
    mantissa, _, power = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(power or 0)
    return _with_currency(Number(Fraction(text), text, decimals), token)


def _with_currency(number: Number, token: Token) -> Number:
    return replace(number, factor=CURRENCY_FACTOR) if token.money else number


def _number(parser: Parser) -> Number | None:
    token = parser.tokens[parser.position]
    parser.position += 1
    number = literal(token)
    number = _mixed(parser, token, number) or number
    if parser.kind() == "percent":
        parser.position += 1
        following = parser.peek()
        parser.doubtful |= following is not None and following.kind == "number"
        number = replace(number, percent=True, text=f"{number.text}%")
    return number


def _mixed(parser: Parser, first: Token, whole: Number) -> Number | None:
    """``2 1/2``, ``2½`` or LaTeX's ``2\\frac{1}{2}`` as one number."""
    if not first.text.isdecimal():
        return None
    part: Number | None = None
    second, slash, third = parser.peek(), parser.peek(1), parser.peek(2)
    if second is None:
        return None
    if second.kind == "number" and not second.text[-1].isdecimal():
        part = literal(second)
        parser.position += 1
    elif second.kind == "fraction":
        mark = parser.position
        parser.position += 1
        part = _proper(_latex_fraction(parser))
        if part is None:
            parser.position = mark
    elif (
        slash
        and third
        and (second.kind, slash.text, third.kind) == ("number", "/", "number")
        and slash.glued
        and third.glued
        and second.start == first.end + 1
    ):
        part = _proper(Operation("/", literal(second), literal(third)))
        parser.position += 3 if part else 0
    if part is None:
        return None
    return Number(whole.value + part.value, f"{whole.text} {part.text}", _EXACT)


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


def _latex_fraction(parser: Parser) -> Node | None:
    token = parser.peek()
    if token is not None and token.kind == "number" and len(token.text) == 2:
        parser.position += 1
        over, under = token.text[0], token.text[1]
        if over.isdecimal() and under.isdecimal():
            return Operation("/", Number(Fraction(over), over), Number(Fraction(under), under))
        return None
    if parser.kind() != "open":
        return None
    above = parser.group()
    if above is None or parser.kind() != "open":
        return None
    below = parser.group()
    return None if below is None else Operation("/", above, below)


# ------------------------------------------------------------------------------------- words


def _in_words(parser: Parser) -> Node | None:
    """``half of 30``, ``twice 6``, ``two-thirds of 12``, ``the sum of 3 and 4``."""
    if parser.depth_of_words >= _MOST_NESTED_WORDS:
        return None
    parser.depth_of_words += 1
    mark = parser.position
    node = _spelt_out(parser)
    parser.depth_of_words -= 1
    if node is None:
        parser.position = mark
    return node


def _spelt_out(parser: Parser) -> Node | None:
    word = parser.word()
    parser.position += 1
    if word in AGGREGATES and parser.word() in ("of", "between"):
        parser.position += 1
        return _aggregate(parser, AGGREGATES[word])
    if word in MULTIPLES or word in SHARES:
        return _share_of(parser, MULTIPLES.get(word) or SHARES[word])
    if word in COUNTS and parser.word() in PARTS and parser.word(1) == "of":
        share = Fraction(COUNTS[word], PARTS[parser.word()])
        parser.position += 1
        return _share_of(parser, share)
    return None


def _share_of(parser: Parser, share: Fraction) -> Node | None:
    if parser.word() == "of":
        parser.position += 1
        parser.skip(AFTER_OF, 3)
    elif share.denominator != 1:
        return None
    whole = parser.signed()
    if whole is None:
        return None
    following = parser.peek()
    parser.doubtful |= following is not None and following.text in ("+", "-")
    if share.denominator == 1:
        return Operation("*", Number(share, str(share)), whole)
    return Operation("of", Number(share, str(share), _EXACT), whole)


def _aggregate(parser: Parser, operator: str) -> Node | None:
    parser.skip(AFTER_OF, 3)
    first = parser.sum()
    if first is None or parser.word() != "and":
        return None
    parser.position += 1
    second = parser.sum()
    if second is None:
        return None
    parser.doubtful |= isinstance(second, Operation) or parser.word() == "and"
    if operator == "-":
        try:
            if evaluate(first, Reading.PLAIN) < evaluate(second, Reading.PLAIN):
                first, second = second, first
        except (ZeroDivisionError, TooLargeError):
            return None
    return Operation(operator, first, second)


# ------------------------------------------------------------------------------------- units


def with_unit(parser: Parser, node: Node) -> Node:
    """Step over the unit that follows an operand; a literal keeps its first word and its size."""
    number = node if isinstance(node, Number) else None
    factor, unit = number.factor if number else Fraction(1), ""
    sized, divides, after_word = factor != 1, False, False
    for _ in range(_MOST_UNIT_WORDS):
        token = parser.peek()
        if token is None:
            break
        word = parser.word()
        if word and (not _ends_unit(parser, word) or _is_of_kind(parser, number)):
            parser.position += 1
            parser.doubtful |= _is_untold(word, number)
            after_word, unit = True, unit or (f"/{word}" if divides else word)
            if word in PER:
                divides = True
            elif word in SCALES:
                factor *= SCALES[word]
            elif word in FACTORS and (divides or not sized):
                factor = factor / FACTORS[word] if divides else factor * FACTORS[word]
                sized, divides = True, False
        elif token.text == "/" and parser.word(1) and parser.kind(2) != "open":
            parser.position += 1
            divides = True
        elif token.kind == "open" and parser.is_remark():
            parser.doubtful |= token.glued
            parser.skip_group()
        elif token.kind == "power" and after_word:
            parser.position += 1 if token.text != "^" else 2
            factor = Fraction(1)
        else:
            break
    if number is None or not (unit or factor != number.factor):
        return node
    return replace(number, unit=unit, factor=factor)


def _ends_unit(parser: Parser, word: str) -> bool:
    following = parser.peek(1)
    return (
        word in ENDS_UNIT
        or word in IS
        or word in MULTIPLES
        or word in SHARES
        or (word in OPERATORS_BY and parser.word(1) == "by")
        or (word in COUNTS and parser.word(1) in PARTS)
        or (following is not None and following.text == "(" and following.glued)
    )


def _is_of_kind(parser: Parser, number: Number | None) -> bool:
    """Whether "of" tells of what kind the things are: ``2 pairs of shoes``, not ``20% of them``."""
    following = parser.word(1)
    whole = number is None or (number.value >= 1 and not number.percent)
    told = bool(following) and following not in ENDS_UNIT | AFTER_OF
    return parser.word() == "of" and whole and told


def _is_untold(word: str, number: Number | None) -> bool:
    """Whether a word in its unit lets a number mean something that is not written."""
    if word in CHANGES:
        return number is not None and number.percent
    return word in UNTOLD or (len(word) == 1 and word != "a")
