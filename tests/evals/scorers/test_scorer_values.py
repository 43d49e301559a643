r"""Tables of right and wrong answers for the scorers of numbers, texts, choices and JSON."""

from __future__ import annotations

import pytest
from scorer_doubles import check_size, pairs, score_of, scorer_of

from archon.evals.scorers import Attempt, plain_scorer

# A row is ``text of the answer | target``.
RIGHT = {
    "number-exact": r"""
        5 | 5 ; The answer is 5. | 5 ; 5.0 | 5 ; 5.00 | 5 ; $5 | 5 ; -5 | -5 ; −5 | -5
        1,000 | 1000
        1/2 | 0.5 ; \frac{1}{2} | 0.5 ; 0.50 | 0.5 ; 1/3 | 1/3 ; 2/6 | 1/3 ; 1e3 | 1000 ; 50% | 50
        \boxed{7} | 7 ; #### 7 | 7 ; The answer is **7**. | 7 ; 7 apples | 7 ; ½ | 0.5 ; +3 | 3
        5 million | 5000000 ; 6 * 7 = 42 | 42 ; 1 234 567 | 1234567 ; 3.50 | 3.5
        The answer is five. | 5
    """,
    "text-exact": r"""
        Paris | paris ; paris | paris ; The answer is Paris. | paris ; PARIS! | paris
        "Paris" | paris
        **Paris** | paris ; New  York | new york ; `x` | x ; Ｐａｒｉｓ | paris ; (2,3) | (2,3)
        straße | strasse ; -5 | -5 ; [0,1) | [0,1) ; é | é ; Answer: yes | yes ; no | no
        a, b | a, b ; 10% | 10% ; C++ | c++ ; to be, or not | to be, or not ; \boxed{x} | x
        The answer is "Rome". | rome ; 東京 | 東京 ; O'Brien | o'brien ; 3.14 | 3.14 ; 1/2 | 1/2
    """,
    "json": r"""
        1 | 1 ; 1.0 | 1 ; "a" | "a" ; null | null ; true | true ; [] | [] ; {} | {}
        [1,2] | [1, 2]
        {"a":1,"b":2} | {"b":2,"a":1} ; {"a": [1, {"b": null}]} | {"a":[1,{"b":null}]}
        -0.5 | -0.50
        ["x"] | ["x"] ; {"a":1.50} | {"a":1.5} ; [true,false] | [true, false] ; "é" | "é"
        {"a":{}} | {"a": {}} ; [[1],[2]] | [[1],[2]] ; "" | "" ; {"": 0} | {"":0} ; [1e2] | [100]
        {"a":"1"} | {"a":"1"} ; [null] | [null] ; {"x":-1} | {"x":-1.0} ; [0] | [0] ; [""] | [""]
    """,
    "number-close": r"""
        100 | 100 ; 101 | 100 ; 99 | 100 ; 100.5 | 100 ; -100 | -100 ; -101 | -100 ; 0 | 0
        1/3 | 1/3
        0.333 | 1/3 ; 0.3333 | 1/3 ; 3.14 | 3.14159 ; 3.1416 | 3.14159 ; 1005 | 1000 ; 1010 | 1000
        990 | 1000 ; 1e6 | 1000000 ; 1.005e6 | 1000000 ; 0.0101 | 0.01 ; 0.0099 | 0.01 ; 50% | 50
        \frac{2}{3} | 0.6667 ; $99.50 | 100 ; The answer is 2.01. | 2 ; 7 | 7.05 ; 1,000 | 1001
    """,
    "choice": r"""
        A | A ; B | B ; (B) | B ; The answer is (C). | C ; The answer is D. | D ; D. | D
        **A** | A
        Answer: B | B ; a | A ; (a) | A ; \boxed{C} | C ; The answer is **B**. | B
        Answer: (D) | D
        The answer is (A). | A ; The correct answer is B. | B ; Answer: C | C ; C) | C ; [B] | B
        The answer is C. | C ; Answer: **D** | D ; \boxed{A} | A ; (D) | D ; B. | B ; (C) | C
    """,
    "includes": r"""
        It is 18 dollars. | 18 ; 18 | 18 ; a (18) b | 18 ; 18, 19 | 18 ; 18. | 18 ; x=18 | 18
        The capital is Paris. | Paris ; PARIS | paris ; Paris's river | Paris
        New  York | new york
        (2,3) | (2,3) ; see [0,1) there | [0,1) ; C++ is old | C++ ; 3.5 kg | 3.5 ; 18% | 18
        yes. | yes ; yes, but | yes ; "yes" | yes ; é | é ; 東京 | 東京 ; $18 | $18 ; a-b | a-b
        the end | end ; -5 | -5 ; 1/2 cup | 1/2 ; O'Brien | o'brien ; 1,000 | 1,000 ; a:18 | 18
    """,
}
WRONG = {
    "number-exact": r"""
        6 | 5 ; -5 | 5 ; 0.3333 | 1/3 ; 50 | 5 ; 5 | 50 ; 5.1 | 5 ; 15 | 5 ; none | 5 ; 5-6 | 5
        5x | 5 ; (5,6) | 5 ; 3:45 | 3 ; x > 5 | 5 ; 5 or 6 | 5 ; 0.5 | 5 ; 1,000 | 1
        1/2 | 1 ; 2^5 | 5
        \frac{5}{2} | 5 ; 5000 | 5 ; 1.5 | 5 ; H2O | 2 ; 1e5 | 5 ; 5!= | 7 ; 0 | 5
    """,
    "text-exact": r"""
        London | paris ; Paris, France | paris ; par | paris ; parish | paris ; a paris | paris
        new york city | new york ; york | new york ; 5 | -5 ; (2,3 | (2,3) ; [0,1] | [0,1)
        c | c++
        y | yes ; not yes | yes ; 1 | 1/2 ; 3.1 | 3.14 ; 東 | 東京 ; e | é ; 2,3 | (2,3)
        or | o'brien
        yes and no | yes ; 10 | 10% ; a b | a, b ; rom | rome ; rome. paris | rome ; n/a | yes
    """,
    "json": r"""
        2 | 1 ; "1" | 1 ; true | 1 ; 1 | true ; null | false ; [] | {} ; [1] | [1,2]
        [2,1] | [1,2]
        {"a":1} | {"a":2} ; {"a":1} | {"b":1} ; {"a":1,"b":2} | {"a":1} ; "A" | "a" ; [[]] | []
        {"a":null} | {} ; [1,2,3] | [1,2] ; "" | null ; 0 | false ; [true] | [1]
        {"a":"1"} | {"a":1}
        [0.1] | [0.2] ; nope | 1 ; {"a": | {} ; 1.01 | 1 ; [null] | [] ; {"a":[1]} | {"a":[2]}
    """,
    "number-close": r"""
        102 | 100 ; 98 | 100 ; 100 | -100 ; 0.1 | 0 ; 1.02 | 1 ; 0.33 | 1 ; 3 | 3.14159
        1011 | 1000
        989 | 1000 ; none | 5 ; 5x | 5 ; 10 | 1 ; 1 | 10 ; 0.0102 | 0.01 ; 2e6 | 1000000 ; -1 | 1
        1/2 | 1/3 ; 0.3 | 1/3 ; 7 | 8 ; 1,000 | 1 ; 5 or 6 | 5 ; (5,6) | 5 ; 50 | 0.5 ; 0 | 1
        0.5 | 50
    """,
    "choice": r"""
        B | A ; The answer is (C). | D ; none | A ; A and B | A ; E | A ; (B) | C ; Answer: D | A
        C | A ; D | B ; (a) | B ; Answer: A | C ; \boxed{D} | B
        \boxed{B} | A ; AB | A ; A or B | A ; The answer is C. | A ; D. | C ; b | A ; 1 | A
        ? | A
        The answer is unknown. | A ; The answer is (A). | B ; Answer: B | D ; (d) | A ; C) | B
        [B] | A ; **C** | A ; The correct answer is D. | B ; apple | A ; Because | B
    """,
    "includes": r"""
        180 | 18 ; 118 | 18 ; 1.18 | 18 ; 18.5 | 18 ; 1,018 | 18 ; 18,500 | 18 ; -18 | 18
        18th | 18
        x18 | 18 ; 18x | 18 ; 3/18 | 18 ; 18/3 | 18 ; 2^18 | 18 ; 3:18 | 18 ; 18:30 | 18
        parish | paris
        comparis | paris ; Par is | paris ; york new | new york ; eyes | yes ; yesterday | yes
        10-18 | 18 ; 18-20 | 18 ; none | 18 ; London | Paris ; 東 | 東京 ; 18_000 | 18 ; é | e
    """,
}


@pytest.mark.parametrize("name", RIGHT)
def test_each_table_has_fifty_values(name: str) -> None:
    check_size(pairs(RIGHT[name]), pairs(WRONG[name]))


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("points", [0, 1])
async def test_answers_are_right_or_wrong(name: str, points: int) -> None:
    scorer, table = scorer_of(name), RIGHT if points else WRONG
    scores = {row: (await score_of(scorer, *row)).value for row in pairs(table[name])}
    assert [row for row, value in scores.items() if value != points] == []


@pytest.mark.parametrize("name", RIGHT)
async def test_one_of_several_targets_is_enough(name: str) -> None:
    scorer = scorer_of(name)
    for text, target in pairs(RIGHT[name])[:5]:
        targets = ("Z" if name == "choice" else "77", target)
        score = await score_of(scorer, text, targets[0], targets=targets)
        assert score.value == 1, (text, targets)


F1 = [
    ("the quick brown fox", "brown fox jumps", 2 / 3),
    ("Paris", "paris", 1),
    ("the Paris", "Paris", 1),
    ("Paris, France", "Paris", 2 / 3),
    ("w x y z", "w x", 2 / 3),
    ("x y", "p q", 0),
    ("U.S.", "US", 1),
    ("one two three four", "one", 0.4),
    ("one one", "one", 2 / 3),
    ("one two", "two one", 1),
    ("nothing", "something", 0),
    ("a", "the", 0),
    ("the", "the", 1),
    ("...", "...", 1),
    ("it's", "its", 1),
    ("well-known", "wellknown", 1),
    ("forty two", "42", 0),
    ("1,000", "1000", 1),
    ("red green blue", "green", 0.5),
    ("red green blue", "green red", 0.8),
    ("red", "green red", 2 / 3),
    ("É", "é", 1),
    ("x\ty", "x y", 1),
    ("an apple", "apple", 1),
    ("Anna", "anna", 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "target", "points"), F1 + [(b, a, p) for a, b, p in F1])
def test_f1_of_words(text: str, target: str, points: float) -> None:
    assert plain_scorer("f1")(text, "", target).value == pytest.approx(points)
    assert len(F1) * 2 >= 50


def test_f1_takes_the_best_target() -> None:
    scorer = plain_scorer("f1")
    attempt = Attempt("", "x y z", "w x", targets=("x y z", "w x y"))
    score = scorer.function(attempt)
    assert score.value == pytest.approx(0.8)  # type: ignore[union-attr]
    assert "'w x y'" in score.explanation  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "value", "target", "points"),
    [("number", "1000", "1,000", 1), ("number", "18.5", "18.50", 1), ("number", "18", "18.50", 0),
     ("number", None, "18", 0), ("math", "0.5", "\\frac{1}{2}", 1), ("json", "[1,2]", "[1, 2]", 1),
     ("choice", "Rome", "A", 1), ("choice", "Both Rome and Oslo", "A", 0.4)],
)  # fmt: skip
async def test_f1_judges_every_kind_of_answer(
    kind: str, value: str | None, target: str, points: float
) -> None:
    choices = CHOICES if kind == "choice" else ()
    attempt = Attempt("", target, value, targets=(target,), choices=choices)
    assert (await scorer_of("f1", kind).score(attempt)).value == pytest.approx(points)


CHOICES = ("Rome", "Paris", "Oslo", "Both Rome and Oslo")


@pytest.mark.parametrize(
    ("value", "target", "points"),
    [("Paris", "B", 1), ("paris", "B", 1), ("Rome", "B", 0), ("Rome", "A", 1), ("Oslo", "C", 1),
     ("Both Rome and Oslo", "D", 1), ("Pari", "B", 0), (None, "B", 0)],
)  # fmt: skip
async def test_options_are_compared_by_their_texts(
    value: str | None, target: str, points: int
) -> None:
    score = await score_of(scorer_of("choice"), "", target, value=value, choices=CHOICES)
    assert score.value == points


async def test_a_letter_refers_to_the_order_that_the_question_shows() -> None:
    parts = {"choices": CHOICES, "shown_choices": CHOICES[::-1]}
    score = await score_of(scorer_of("choice"), "The answer is (C).", "B", **parts)
    assert (score.value, score.answer) == (1, "Paris")


@pytest.mark.parametrize(
    ("given", "text", "target", "points"),
    [("number-close:0.1", "110", "100", 1), ("number-close:0", "100", "100", 1),
     ("number-close:0", "100.1", "100", 0),
     ({"name": "number-close", "relative": 0.0, "absolute": 0.5}, "0.5", "0", 1),
     ({"name": "number-close", "relative": 0.0, "absolute": 0.5}, "0.6", "0", 0),
     ({"name": "includes", "ignore_case": False}, "paris", "Paris", 0)],
)  # fmt: skip
async def test_parameters(given: object, text: str, target: str, points: int) -> None:
    assert (await score_of(scorer_of(given), text, target)).value == points
