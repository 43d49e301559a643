"""Expressions as answers: how they are read, and which are the same."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from archon.answers import equivalence, first_same, read_answer, read_target, same_value
from archon.workers.process import Worker, WorkError, WorkTimeoutError, shared_worker

READ = {
    r"So $\boxed{\frac{1}{2}}$": "0.5",
    r"\boxed{\frac12}": "0.5",
    "The answer is 1/2.": "0.5",
    "The answer is $0.5$.": "0.5",
    r"\boxed{\tfrac{1}{3}}": "1/3",
    r"\boxed{ -\dfrac{ 3 }{ 4 } }": "-0.75",
    r"\boxed{1,000}": "1000",
    r"\boxed{11,\! 111}": "11111",
    r"\boxed{\$1,234.50}": "1234.5",
    r"\boxed{25\%}": "25",
    r"\boxed{90^\circ}": "90",
    r"\boxed{5 \text{ cm}}": "5",
    r"\boxed{x = 5}": "5",
    "#### 18": "18",
    "The answer is 42 apples in total": "42",
    "The answer is 12 for $n=3$.": "12",
    r"The answer is $\frac{\sqrt3}{2}$.": r"\frac{\sqrt{3}}{2}",
    r"\boxed{\left(1, 2\right)}": "(1,2)",
    r"\boxed{(-\infty, 2] \cup [3, \infty)}": r"(-\infty,2]\cup[3,\infty)",
    r"The answer is the set $\{1, 2\}$.": r"\{1,2\}",
    r"\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}": r"\begin{pmatrix}1\\2\end{pmatrix}",
    r"\boxed{x \in [1,2]}": "[1,2]",
    r"\boxed{f(x)=x^{2}}": "x^2",
    r"\boxed{3x + 2y = 7}": "3x+2y=7",
    r"\boxed{2i}": "2i",
    r"\boxed{4 n}": "4n",  # a letter may be a variable
    r"\boxed{6 - 5i}": "6-5i",
    r"\boxed{3 \pi}": r"3\pi",
    r"$\pi r^2$": r"\pi r^2",
    "x^2 + 1": "x^2+1",
    "Answer: $x^2+1$": "x^2+1",
    r"Final answer: \(x^2\)": "x^2",
    "The answer is\n\\[\nx^{2} + 1\n\\]\n": "x^2+1",
    "Thus we get\n$$y = \\frac{3}{4}$$": "0.75",
    r"\boxed{1} and \boxed{2}": "1,2",
    r"\boxed{2 \text{ or } 3}": "2,3",
    "The answer is $x = 1$ or $x = 3$.": "x=1,x=3",
    r"first \boxed{1}. Then, finally, \boxed{3}.": "3",
    "The answer is the value of $x$, which is $5$.": "5",
    r"\boxed{\text{Evelyn}}": "evelyn",
    "The answer is Saturday.": "saturday",
    "I do not know the answer to this.": None,
    r"\boxed{}": None,
    "": None,
}


@pytest.mark.parametrize("text", READ)
def test_an_expression_is_read(text: str) -> None:
    assert read_answer(text, "math") == READ[text]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is 12", None),
        ("The answer is 5. No, the answer is $x + 1", None),
        (r"The answer is $\boxed{12}", "12"),
        ("The answer is 12. Let me check", "12"),
        ("x + 1", None),
    ],
)
def test_a_value_that_may_have_been_cut_off_is_not_read(text: str, value: str | None) -> None:
    assert read_answer(text, "math", is_truncated=True) == value


@pytest.mark.parametrize(
    "target",
    [
        r"\frac{1}{2}", "x+1", "(1,2)", r"\text{Saturday}", "2i", r"3 \sqrt{13}", r"10\%",
        r"\left[ -2, 7 \right]", "y = 2x + 3", "E", "1,-2", r"(3,\frac{\pi}{2})", "4210_5",
        r"5.4 \text{ cents}", r"\$32,\!348", r"(\text{C})", r"x \in [-2,7]", "3:2", "12 m",
    ],
)  # fmt: skip
def test_a_target_is_read_back_from_its_canonical_form_and_from_a_box(target: str) -> None:
    value = read_target(target, "math")
    assert value is not None
    assert read_target(value, "math") == value
    assert read_answer(rf"Hence it is $\boxed{{{target}}}$.", "math") == value


class SlowWorker:
    """A worker that finds numbers in words, and never ends on powers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def call(self, seconds: float, a: str, b: str) -> bool:
        self.calls.append((a, b))
        if "^" in a + b:
            raise WorkTimeoutError
        return sorted(a) == sorted(b)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowWorker]:
    slow = SlowWorker()
    monkeypatch.setattr(equivalence, "shared_worker", lambda work: slow)
    monkeypatch.setattr(equivalence, "find_spec", lambda name: name)
    equivalence._compared.cache_clear()
    yield slow
    equivalence._compared.cache_clear()


def test_values_are_compared_only_with_the_first_of_each_group(worker: SlowWorker) -> None:
    values = ["a+b", "0.5", "b+a", "1/3", "saturday", "sunday", "a+b", "c"]
    grouped = ["a+b", "0.5", "a+b", "1/3", "saturday", "sunday", "a+b", "c"]
    assert first_same(values, "math") == grouped
    assert ("0.5", "1/3") not in worker.calls  # different numbers need no comparison
    assert all(first != "b+a" for first, _ in worker.calls)


def test_slow_comparisons_are_limited(worker: SlowWorker) -> None:
    values = [f"x^{{{i}}}" for i in range(50)]
    assert first_same(values, "math") == values
    assert len(worker.calls) == 3


def test_comparisons_are_limited(worker: SlowWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equivalence, "_MAX_COMPARISONS", 10)
    values = [f"x+{i}" for i in range(50)]
    assert first_same(values, "math") == values
    assert len(worker.calls) == 10


def test_without_the_package_strings_are_compared_and_this_is_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(equivalence, "find_spec", lambda name: None)
    logged: list[str] = []
    monkeypatch.setattr(equivalence, "warn_once", logged.append)
    equivalence._compared.cache_clear()
    assert not same_value("x+1", "1+x", "math")
    assert same_value("x+1", "x+1", "math")
    assert "archon-inference[evals]" in logged[0]
    equivalence._compared.cache_clear()


@pytest.mark.skipif(find_spec("math_verify") is None, reason="needs math-verify")
def test_equivalent_expressions_are_the_same_value() -> None:
    pairs: dict[tuple[str, str], bool] = {
        ("x+1", "1+x"): True,
        (r"\sqrt{4}", "2"): True,
        (r"\{1,2\}", r"\{2,1\}"): True,
        ("(1,2)", "(2,1)"): False,
        ("x^2-1", "(x-1)(x+1)"): True,
        (r"\frac{\pi}{2}", r"\frac{\pi}{3}"): False,
    }
    assert {pair: same_value(*pair, "math") for pair in pairs} == pairs
    assert not same_value(None, None, "math")


def test_a_process_that_cannot_start_is_an_error() -> None:
    with pytest.raises(WorkError, match="cannot start the process for nonsense"):
        Worker("nonsense").call(1, a="1", b="1")


@pytest.mark.skipif(find_spec("math_verify") is None, reason="needs math-verify")
def test_a_comparison_ends_at_its_time_limit() -> None:
    with pytest.raises(WorkTimeoutError):
        shared_worker("math").call(0.2, a="99999999!", b="3")
    assert shared_worker("math").call(2, a="x", b="x") is True
