"""Benchmarks in Python: from a program, from a file, and the location of their errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon import api
from archon.errors import SpecError, UsageError
from archon.evals.benchmarks import SPLITS, PythonBenchmark, function
from archon.evals.benchmarks.function import is_python, load_python
from archon.evals.benchmarks.items import divide
from archon.evals.benchmarks.rows import items_from_rows

ROWS = [{"question": f"What is {n} + {n}?", "answer": 2 * n} for n in range(10)]

FILE = """\
import beside
from archon import PythonBenchmark

def sums():
    for n in range(beside.COUNT):
        yield {"question": f"What is {n} + {n}?", "answer": 2 * n}

def judged():
    print("loading")
    return PythonBenchmark(sums, answer="text", score=judge, examples="pool.jsonl")

def judge(text, target):
    return text == target

def breaks():
    yield {"question": "1?", "answer": 1}
    beside.fail()

rows = list(sums())
number = 7
"""
BESIDE = """\
COUNT = 10

def fail():
    raise ValueError("no luck\\nat all")
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[str]:
    """A file with benchmarks, whose neighbour it imports."""
    (tmp_path / "mine.py").write_text(FILE)
    (tmp_path / "beside.py").write_text(BESIDE)
    (tmp_path / "pool.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    path = list(sys.path)
    yield str(tmp_path / "mine.py")
    assert sys.path == path
    for name in ("mine", "beside", "archon_user_mine"):
        sys.modules.pop(name, None)


def sums() -> list[dict[str, Any]]:
    return ROWS


def items_of(ref: Any, split: str = "test", **choices: Any) -> api.Benchmark:
    return api.benchmark(ref, split=split, **choices)


# ------------------------------------------------------------------------------------ from Python


@pytest.mark.parametrize("ref", [sums, PythonBenchmark(ROWS), PythonBenchmark(sums)])
def test_rows_are_divided_between_three_disjoint_splits(ref: Any) -> None:
    splits = [items_of(ref, split).items for split in SPLITS]
    assert [len(items) for items in splits] == [3, 3, 4]
    for a, b in combinations(splits, 2):
        assert not {item.question for item in a} & {item.question for item in b}
    for item in splits[2]:
        assert item.question == f"What is {int(item.target) // 2} + {int(item.target) // 2}?"
        assert item.id == f"row-{int(item.target) // 2 + 1}"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), min_size=1, max_size=30))
def test_no_question_of_any_rows_is_in_two_splits(pairs: list[tuple[str, int]]) -> None:
    loaded = load_python(PythonBenchmark([{"question": q, "answer": a} for q, a in pairs]))
    dealt = divide(items_from_rows(function.rows_of(loaded), loaded.spec))
    assert sum(len(items) for items in dealt.values()) == len(pairs)
    for a, b in combinations(dealt.values(), 2):
        assert not {item.question for item in a} & {item.question for item in b}


def test_the_run_is_described_by_the_functions_name() -> None:
    card = items_of(sums).selection.card
    assert card.name == "sums"
    assert card.model_dump()["source"] == {"python": "test_evals_function.py:sums"}
    assert card.score == "number-exact"


def test_fields_marks_and_the_kind_of_answer_are_those_of_a_card() -> None:
    rows = [{"q": f"{n}?", "a": f"So. #### Paris {n}", "key": f"k{n}"} for n in range(10)]
    fields = {"question": "q", "answer": "a", "id": "key"}
    mine = PythonBenchmark(
        rows, "towns", answer="text", score="text-exact", answer_after="####", fields=fields
    )
    found = items_of(mine)
    assert found.selection.card.name == "towns"
    for item in found.items:
        assert (item.id, item.target) == (f"k{item.question[:-1]}", f"paris {item.question[:-1]}")


@pytest.mark.parametrize(("kind", "scorer"), [("number", "number-exact"), ("text", "text-exact")])
def test_the_scorer_follows_the_kind_of_answer(kind: Any, scorer: str) -> None:
    found = items_of(PythonBenchmark(ROWS, answer=kind))
    assert found.selection.card.score == scorer


def test_numbers_of_other_types_are_read_as_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    rows = [{"question": f"{n}?", "answer": numpy.int64(n)} for n in range(10)]
    assert {item.target for item in items_of(PythonBenchmark(rows)).items} < set("0123456789")


def test_a_custom_scorer_gets_the_target_in_the_row() -> None:
    rows = [{"question": f"{n}?", "answer": "A  Long-Winded Target."} for n in range(10)]
    mine = PythonBenchmark(rows, answer="text", score=lambda text, target: text == target)
    found = items_of(mine)
    assert found.items[0].target == "A  Long-Winded Target."
    assert found.scorer(None, "A  Long-Winded Target.", found.items[0].target).value == 1
    assert found.selection.card.score.startswith("test_evals_function.py:")


def test_a_named_scorer_replaces_the_custom_one() -> None:
    mine = PythonBenchmark(ROWS, score=lambda text, target: False)
    found = items_of(mine, scorer="number-exact")
    assert found.scorer(None, "The answer is 8.0.", "8").value == 1
    assert found.selection.card.score == "number-exact"


# ---------------------------------------------------------------------------------- from a file


def test_a_function_of_a_file_can_import_modules_next_to_it(file: str) -> None:
    found = items_of(f"{file}:sums")
    assert len(found.items) == 4
    assert found.selection.card.name == "sums"
    assert found.selection.card.model_dump()["source"] == {"python": f"{file}:sums"}
    assert items_of(f"{file}:rows").items == found.items


def test_a_function_of_a_module_in_the_working_folder_is_loaded(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(file).parent)
    assert len(items_of("mine:sums", "search").items) == 3


def test_a_function_may_return_a_benchmark_with_a_scorer_and_a_pool(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = items_of(f"{file}:judged")
    assert found.selection.card.name == "judged"
    assert found.selection.card.score == "mine.py:judge"
    assert found.scorer(None, "8", "8").value == 1
    assert found.examples is not None
    assert found.examples[0].answer == "2"
    assert capsys.readouterr() == ("", "loading\n")


# ----------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            ":breaks",
            r"^\S+mine\.py:17: ValueError: no luck$",
        ),
        (":sms", r"mine\.py: the code defines no 'sms'; did you mean 'sums'\?"),
        (":number", r"mine\.py:number: must return rows, not 7"),
        ("", r"mine\.py: must name a function, such as file\.py:function"),
    ],
)
def test_an_error_in_a_file_is_reported_with_its_location(
    file: str, name: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        items_of(file + name)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(:", r"bad\.py:1: SyntaxError: invalid syntax"),
        ("import no_such_module", r"bad\.py:1: ModuleNotFoundError: No module named"),
        ("import sys\n\nsys.exit(3)", r"bad\.py:3: SystemExit: 3"),
        ("def f(split): ...", r"bad\.py:f: TypeError: f\(\) missing 1 required"),
        ("async def f(): ...", r"bad\.py:f: must return rows, not a Python coroutine"),
        ("def f(): return []", r"bad\.py:f: returns no rows"),
        ("def f(): return ['a']", r"bad\.py:f: row 1: a row must be a mapping, not 'a'"),
        ("def f(): return {'question': 'a'}", "must return rows, not an object with 1 key"),
        ("def f(): return [{'question': '1?'}]", r"row 1: the row has no 'answer' field"),
        ("def f(): return [{'question': '1?', 'answer': 'x'}]", "row 1: no number can be read"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine 'f' was never awaited")
def test_wrong_code_is_reported_with_its_location(tmp_path: Path, code: str, message: str) -> None:
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(SpecError, match=message):
        items_of(f"{tmp_path / 'bad.py'}:f")


def test_a_missing_file_or_module_is_reported() -> None:
    with pytest.raises(SpecError, match=r"nowhere\.py: no such file"):
        items_of("nowhere.py:f")
    with pytest.raises(SpecError, match="no_such: ModuleNotFoundError: No module named 'no_such'"):
        items_of("no_such:f")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer": "nubmer"}, r"\$\.answer: unknown value 'nubmer'; did you mean 'number'"),
        ({"score": "number-exat"}, r"\$\.score: unknown scorer .* did you mean"),
        ({"score": "text-exact"}, "judges a text, but the card's 'answer' is 'number'"),
        ({"fields": {"qestion": "q"}}, "did you mean 'question'"),
        ({"examples": "gsm9k"}, "did you mean 'gsm8k'"),
    ],
)
def test_a_wrong_setting_is_reported_with_the_closest_valid_one(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        items_of(PythonBenchmark(ROWS, **fields))


def test_rows_that_never_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "MAX_ROWS", 100)
    with pytest.raises(SpecError, match="must return at most 100 rows"):
        items_of(PythonBenchmark(iter(lambda: ROWS[0], None)))


def test_an_unknown_scorer_of_the_users_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'number-exact'"):
        items_of(sums, scorer="number-exat")


@pytest.mark.parametrize("ref", ["gsm8k", "mine.json", "./folder/mine.json", {"version": 1}])
def test_names_paths_and_cards_are_not_code(ref: Any) -> None:
    assert not is_python(ref)
