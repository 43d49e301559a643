"""Cards of well-known tasks, on rows with the columns of their data sets. All rows are ours."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from archon import api
from archon.evals.benchmarks import SPLITS, Item
from archon.evals.benchmarks import huggingface as source
from archon.spec import catalog
from archon.spec.reader import load_benchmark

FOUR = ["a stone", "a cloud", "a river", "a tree"]
TESTS = "def check(candidate):\n    assert candidate(1) == 2\n"
CODE = "def after(n):\n    return n + 1\n"

ROWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "gsm8k": ({"question": "?", "answer": "So 2 + 2.\n#### 4"}, "4", ""),
    "gsm8k-platinum": (
        {"question": "?", "answer": "#### 1,000", "cleaning_status": "verified"}, "1000", ""),
    "gsm-plus": (
        {"question": "?", "solution": "s", "answer": "7", "perturbation_type": "adding operation",
         "seed_question": "q", "seed_solution": "s", "seed_answer": "6"}, "7", ""),
    "svamp": (
        {"ID": "chal-N", "Body": "There are 3 pens.", "Question": "How many?",
         "Equation": "( 3.0 )", "Answer": "3.0", "Type": "Addition"}, "3", ""),
    "asdiv": (
        {"body": "There are 9 nuts.", "question": "How many?", "solution_type": "Addition",
         "answer": "9 (nuts)", "formula": "9=9"}, "9", ""),
    "multiarith": ({"question": " How many? ", "final_ans": "12"}, "12", ""),
    "aqua": (
        {"question": "?", "options": ["A)21", "B)21.5", "C)22", "D)22.5", "E)23"],
         "rationale": "r", "correct": "E"}, "E", "21 21.5 22 22.5 23"),
    "math-500": (
        {"problem": "?", "solution": "s", "answer": "\\frac{1}{2}", "subject": "Algebra",
         "level": 1, "unique_id": "test/algebra/N.json"}, "0.5", ""),
    "aime24": (
        {"id": 60, "problem": "?", "solution": "s", "answer": "025", "url": "u", "year": "2024"},
        "25", ""),
    "aime25": ({"problem": "?", "answer": "70", "id": "0"}, "70", ""),
    "aime26": ({"problem": "?", "answer": "277", "problem_idx": 1}, "277", ""),
    "amc23": ({"id": 0, "answer": "27.0", "question": "?", "url": "u"}, "27", ""),
    "minerva-math": ({"question": "?", "answer": "4.5e33"}, "45" + "0" * 32, ""),
    "olympiadbench": (
        {"id": 1, "question": "?", "solution": ["s"], "final_answer": ["2"], "context": None,
         "is_multiple_answer": False, "subfield": "Algebra", "answer_type": "Numerical"}, "2", ""),
    "mmlu": (
        {"question": "?", "subject": "anatomy", "choices": FOUR, "answer": 0}, "A", " ".join(FOUR)),
    "mmlu-pro": (
        {"question_id": 70, "question": "?", "options": [*FOUR, "5"], "answer": "E",
         "answer_index": 4, "cot_content": "", "category": "math", "src": "x"}, "E",
        " ".join([*FOUR, "5"])),
    "arc-easy": (
        {"id": "q-N", "question": "?", "answerKey": "2",
         "choices": {"text": FOUR, "label": ["1", "2", "3", "4"]}}, "B", " ".join(FOUR)),
    "arc-challenge": (
        {"id": "q-N", "question": "?", "answerKey": "D",
         "choices": {"text": FOUR, "label": ["A", "B", "C", "D"]}}, "D", " ".join(FOUR)),
    "hellaswag": (
        {"ind": 4, "activity_label": "Walking", "ctx_a": "a", "ctx_b": "b", "ctx": "She walks.",
         "endings": FOUR, "source_id": "s", "split": "val", "split_type": "i", "label": "3"},
        "D", " ".join(FOUR)),
    "truthfulqa": (
        {"question": "?", "mc1_targets": {"choices": FOUR, "labels": [0, 1, 0, 0]},
         "mc2_targets": {"choices": FOUR, "labels": [0, 1, 1, 0]}}, "B", " ".join(FOUR)),
    "gpqa-diamond": (
        {"Question": "?", "Correct Answer": "a stone\n", "Incorrect Answer 1": "a cloud",
         "Incorrect Answer 2": "a river", "Incorrect Answer 3": "a tree", "Record ID": "rec-N",
         "High-level domain": "Physics", "Subdomain": "x"}, "A", " ".join(FOUR)),
    "bbh": ({"input": "?", "target": "(B)"}, "", ""),
    "humaneval": (
        {"task_id": "Ours/N", "prompt": "def after(n):\n", "entry_point": "after",
         "canonical_solution": "    return n + 1\n", "test": TESTS}, "", ""),
    "ifeval": (
        {"key": 1000, "prompt": "?", "instruction_id_list": ["punctuation:no_comma"],
         "kwargs": [{"num_words": None}]}, "punctuation:no_comma", ""),
    "mbpp": (
        {"task_id": 0, "text": "?", "code": CODE, "test_list": ["assert after(1) == 2"],
         "test_setup_code": "", "challenge_test_list": []}, "", ""),
}  # fmt: skip
"""Card → a row of its data set, the target (empty: anything), and the choices."""
_IDS = ("id", "key", "ID", "unique_id", "question_id", "task_id", "Record ID")


def numbered(row: dict[str, Any], number: str) -> dict[str, Any]:
    """The row with another id and question."""
    asked = ("question", "Question", "problem", "input", "prompt", "ctx", "text")
    question = next(name for name in asked if name in row)
    changed = {name: f"{row[name]} # {number}" for name in (*_IDS, question) if name in row}
    return row | changed


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A hub with one row, in as many copies as a test asks for, in every split."""
    served: dict[str, Any] = {"asked": []}

    def load_dataset(repo: str, config: str | None, revision: str) -> Any:
        served["asked"].append((repo, config, revision))
        rows = served["rows"]
        splits = ("train", "validation", "test")
        return {
            split: [numbered(row, f"{n}-{i} {config}") for i, row in enumerate(rows)]
            for n, split in enumerate(splits)
        }

    datasets, constants = ModuleType("datasets"), ModuleType("huggingface_hub.constants")
    datasets.load_dataset = load_dataset  # type: ignore[attr-defined]
    constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
    constants.ENDPOINT = "https://hub.example"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", constants)
    monkeypatch.setattr(source, "probe", lambda endpoint: None)
    return served


def test_every_card_of_a_data_set_is_tested() -> None:
    of_hub = {
        name
        for name in catalog.names("benchmark")
        if load_benchmark(name).spec.source.huggingface is not None
    }
    assert of_hub == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_card_reads_the_columns_of_its_data_set(name: str, hub: dict[str, Any]) -> None:
    row, target, choices = ROWS[name]
    hub["rows"] = [row] * 10
    found = {split: api.benchmark(name, split=split) for split in SPLITS}
    card = found["test"].selection.card
    assert card.name == name
    items = [item for opened in found.values() for item in opened.items]
    assert len({item.question for item in items}) == len(items)
    assert all(opened.items for opened in found.values())
    for item in items:
        assert item.target == (target or item.target) != ""
        assert " ".join(item.choices) == choices
        assert item.choices == () or card.answer == "choice"
        assert all(column in item.metadata for column in card.by)
    assert len(api.benchmark(name, split="all").items) == len(items)


def items_of(name: str, split: str = "all") -> list[Item]:
    return api.benchmark(name, split=split).items


def test_questions_of_several_fields_are_joined(hub: dict[str, Any]) -> None:
    hub["rows"] = [ROWS["svamp"][0]]
    assert items_of("svamp")[0].question.startswith("There are 3 pens. How many? #")
    hub["rows"] = [ROWS["mbpp"][0]]
    question = items_of("mbpp")[0].question
    assert question.endswith("The program must pass these tests:\nassert after(1) == 2")


def test_problems_without_a_number_are_left_out_and_counted(
    hub: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    row = ROWS["gsm-plus"][0]
    hub["rows"] = [row, row | {"answer": "None"}, row]
    assert len(items_of("gsm-plus")) == 2
    assert "gsm-plus: 1 of 3 rows are left out, because no number can be read" in caplog.text


def test_bbh_joins_its_tasks_and_keeps_their_names(hub: dict[str, Any]) -> None:
    hub["rows"] = [ROWS["bbh"][0]]
    items = items_of("bbh")
    assert {config for _, config, _ in hub["asked"]} == {item.metadata["config"] for item in items}
    assert len(items) == 27
