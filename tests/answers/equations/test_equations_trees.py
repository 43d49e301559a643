"""Random expressions in many spellings have the value of exact arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archon.answers.equations import check_equations


@dataclass(frozen=True)
class Tree:
    """An operator with its operands, or a literal if ``operator`` is empty."""

    operator: str
    operands: tuple[Tree, ...] = ()
    text: str = ""


LITERALS = st.one_of(
    st.integers(0, 999).map(str),
    st.integers(1000, 10**9).map(lambda n: f"{n:,}"),
    st.decimals(0, 99, places=2).map(str),
).map(lambda text: Tree("", (), text))


def _grown(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    binary = st.builds(
        lambda operator, left, right: Tree(operator, (left, right)),
        st.sampled_from("+-*/"),
        children,
        children,
    )
    power = st.builds(
        lambda base, exponent: Tree("^", (base, Tree("", (), str(exponent)))),
        children,
        st.integers(0, 3),
    )
    return st.one_of(binary, binary, power, children.map(lambda child: Tree("neg", (child,))))


TREES = st.recursive(LITERALS, _grown, max_leaves=8).filter(lambda tree: len(tree.operands) == 2)

STYLES = {
    "plain": {"+": " + ", "-": " - ", "*": " * ", "/": " / ", "^": "^"},
    "tight": {"+": "+", "-": "-", "*": "*", "/": "/", "^": "**"},
    "printed": {"+": " + ", "-": " − ", "*": " × ", "/": " ÷ ", "^": " ^ "},
    "letter": {"+": " + ", "-": " – ", "*": " x ", "/": " / ", "^": " ** "},
    "latex": {"+": " + ", "-": " - ", "*": r" \times ", "/": r" \div ", "^": "^"},
    "words": {"+": " plus ", "-": " minus ", "*": " times ", "/": " divided by ", "^": "^"},
}
STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "^": 4, "": 5}


def value(tree: Tree) -> Fraction:
    if not tree.operator:
        return Fraction(tree.text.replace(",", ""))
    if tree.operator == "neg":
        return -value(tree.operands[0])
    left, right = map(value, tree.operands)
    if tree.operator == "^":
        return Fraction(left ** int(right))
    return {"+": left + right, "-": left - right, "*": left * right}.get(
        tree.operator, left / right if right else Fraction(0)
    )


def divides_by_zero(tree: Tree) -> bool:
    if (
        tree.operator == "/"
        and not divides_by_zero(tree.operands[1])
        and not value(tree.operands[1])
    ):
        return True
    return any(map(divides_by_zero, tree.operands))


def written(tree: Tree, style: str, context: int = 0) -> str:
    """Render the tree with as few parentheses as possible, and with ``\\frac`` in LaTeX."""
    strength = STRENGTH[tree.operator]
    if not tree.operator:
        text = tree.text
    elif tree.operator == "neg":
        text = f"-{written(tree.operands[0], style, 5)}"
    elif tree.operator == "/" and style == "latex":
        over, under = (written(child, style) for child in tree.operands)
        return rf"\frac{{{over}}}{{{under}}}" if context < 4 else rf"(\frac{{{over}}}{{{under}}})"
    else:
        left = written(tree.operands[0], style, strength + (tree.operator == "^"))
        right = written(tree.operands[1], style, strength + 1)
        text = f"{left}{STYLES[style][tree.operator]}{right}"
    return f"({text})" if strength < context else text


def stated(number: Fraction) -> str:
    return f"{number.numerator}/{number.denominator}" if number.denominator > 1 else f"{number}"


@settings(max_examples=150, deadline=None)
@given(TREES, st.sampled_from(sorted(STYLES)))
def test_the_left_side_has_its_exact_value(tree: Tree, style: str) -> None:
    assume(not divides_by_zero(tree))
    truth = value(tree)
    assume(max(abs(truth.numerator), truth.denominator) < 10**50)
    (statement,) = check_equations(f"{written(tree, style)} = {stated(truth)}").statements
    assert (statement.verdict, statement.left, statement.right) == ("right", truth, truth)


@settings(max_examples=150, deadline=None)
@given(TREES, st.sampled_from(sorted(STYLES)), st.integers(1, 10**6))
def test_another_result_is_wrong(tree: Tree, style: str, slip: int) -> None:
    assume(not divides_by_zero(tree))
    truth = value(tree)
    assume(max(abs(truth.numerator), truth.denominator) < 10**50)
    text = f"{written(tree, style)} = {stated(truth - slip)}"
    verdicts = [statement.verdict for statement in check_equations(text).statements]
    assert verdicts == ["wrong"]


@settings(max_examples=150, deadline=None)
@given(st.fractions(-(10**6), 10**6, max_denominator=10**4), st.integers(0, 8))
def test_a_correctly_rounded_result_is_accepted_and_its_neighbours_are_not(
    number: Fraction, places: int
) -> None:
    unit = Fraction(1, 10**places)
    rounded = round(number / unit)
    left = f"{abs(number.numerator)} / {number.denominator} * {-1 if number < 0 else 1}"

    def verdict(scaled: int) -> str:
        digits = str(abs(scaled)).rjust(places + 1, "0")
        cut = len(digits) - places
        text = f"{'-' if scaled < 0 else ''}{digits[:cut]}{'.' if places else ''}{digits[cut:]}"
        (statement,) = check_equations(f"{left} = {text}").statements
        return statement.verdict

    assert verdict(rounded) == ("right" if rounded * unit == number else "rounded")
    assert verdict(rounded + 2) == verdict(rounded - 2) == "wrong"
