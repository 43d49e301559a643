r"""``math`` agrees with math-verify on a table, and ends hostile comparisons at its time limit."""

from __future__ import annotations

import time

import pytest
from scorer_doubles import check_size, score_of, scorer_of

from archon.answers import read_target

math_verify = pytest.importorskip("math_verify")

# (answer, target, whether they are equal)
TABLE = [
    (r"\frac{1}{2}", "0.5", 1), ("0.5", r"\frac{1}{2}", 1), (r"\frac12", r"\frac{2}{4}", 1),
    ("x^2+1", "1+x^2", 1), ("x^2+1", "x^2-1", 0), ("(x+1)^2", "x^2+2x+1", 1),
    (r"\sqrt{8}", r"2\sqrt{2}", 1), (r"\sqrt{8}", "2", 0), (r"\frac{\pi}{2}", r"\pi/2", 1),
    (r"\{1,2\}", r"\{2,1\}", 1), (r"\{1,2\}", r"\{1,2,3\}", 0), ("1,2,3", r"\{3,2,1\}", 1),
    ("[0,1)", "[0,1)", 1), ("[0,1)", "[0,1]", 0), ("(0,1)", "[0,1)", 0), ("(1,2)", "(1,2)", 1),
    ("(1,2)", "(2,1)", 0), (r"(-\infty,3]", r"(-\infty, 3]", 1),
    (r"[0,1]\cup[2,3]", r"[2,3]\cup[0,1]", 1),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}", 1),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}", 0),
    (r"\begin{pmatrix}1&0\\0&1\end{pmatrix}", r"\begin{pmatrix}1&0\\0&1\end{pmatrix}", 1),
    (r"5\text{ cm}", "5", 1), ("5", r"5\text{ cm}", 1), (r"5\text{ cm}", "6", 0),
    (r"90^\circ", "90", 1),
    (r"10\%", "10", 1), (r"\$5", "5", 1), ("x=3", "3", 1), ("3", "x=3", 1), ("x=3", "4", 0),
    (r"\text{Evelyn}", r"\text{Evelyn}", 1), (r"\text{Evelyn}", r"\text{Peter}", 0),
    ("11,111,111", r"11,\! 111,\! 111", 1), ("2^{10}", "1024", 1), ("10!", "3628800", 1),
    (r"\log_2 8", "3", 1), (r"\sin(0)", "0", 1), ("3", "3.0000001", 0), ("-3", "3", 0),
    ("3", "33", 0),
    ("33", "3", 0), ("a+b", "b+a", 1), ("ab", "ba", 1), ("a-b", "b-a", 0),
    (r"\frac{a}{b}", "a/b", 1),
    ("2:3", r"\frac{2}{3}", 1), (r"\dfrac{3}{4}", r"\tfrac{3}{4}", 1), ("x>3", "x>3", 1),
    ("x>3", "x<3", 0),
    (r"x\geq 3", r"x \ge 3", 1), (r"\frac{1}{3}", "0.333", 0), ("1+i", "i+1", 1), ("0", "1", 0),
    ("y=2x+1", "y=1+2x", 1), (r"\infty", r"\infty", 1), (r"\emptyset", r"\emptyset", 1),
]  # fmt: skip
check_size(TABLE)


def by_math_verify(answer: str, target: str) -> bool:
    gold, given = (math_verify.parse(rf"\boxed{{{text}}}") for text in (target, answer))
    return bool(math_verify.verify(gold, given))


async def test_expressions_are_equal_as_the_table_and_math_verify_say() -> None:
    scorer = scorer_of("math")
    found = {}
    for answer, target, wanted in TABLE:
        score = await score_of(scorer, "", target, value=answer)
        if score.value != wanted:
            found[answer, target] = score.explanation
    assert found == {}
    differing = [row for row in TABLE if row[0] != row[1]]
    for answer, target, wanted in differing[::5]:
        assert by_math_verify(answer, target) == wanted, (answer, target)


@pytest.mark.parametrize(
    ("answer", "target", "equal"),
    [("glean", "angle", 0), (r"\text{glean}", r"\text{angle}", 0), ("Angle", "angle", 1),
     ("angle", r"\text{angle}", 1), ("night song", "thing song", 0), ("xy", "yx", 1)],
)  # fmt: skip
async def test_words_are_no_products_of_letters(answer: str, target: str, equal: int) -> None:
    value = read_target(answer, "math")
    assert (await score_of(scorer_of("math"), "", target, value=value)).value == equal


@pytest.mark.parametrize(
    "answer",
    ["9^{9^{9^{9^9}}}", "(" * 3000, "7" * 1_000_000, r"\frac{" * 100_000],
)
async def test_hostile_expressions_end_at_the_limit(answer: str) -> None:
    scorer = scorer_of({"name": "math", "seconds": 0.3})
    started = time.monotonic()
    score = await score_of(scorer, "", "x^2", value=answer)
    assert (score.value, bool(score.explanation)) == (0, True)
    assert time.monotonic() - started < 60  # a new process may have to be started
    assert (await score_of(scorer_of("math"), "", "x^2", value="x x")).value == 1
