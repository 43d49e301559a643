from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from archon.answers import read_answer
from archon.answers.equations import check_equations
from archon.errors import SpecError, UsageError
from archon.spec.training import JsonlData, RuleData
from archon.train.sft_data import dialogues, plain_texts
from archon.train.synthetic.sums import chain_sum_of, chain_sums, plain_sums
from archon.types import Message


def write(path: Path, *rows: object) -> JsonlData:
    (path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return JsonlData(path="data.jsonl")


def test_prompts_and_messages_become_dialogues(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "s"}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]  # fmt: skip
    data = write(tmp_path, {"prompt": "p", "completion": "q"}, {"messages": turns})
    found = list(dialogues(data, tmp_path))
    assert [(len(d.messages), d.completion) for d in found] == [(1, "q"), (2, "b"), (4, "d")]
    assert found[2].messages[2] == Message("assistant", "b")
    assert found[1].place == "data.jsonl:2"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "p"}, r"data\.jsonl:2: a line must have .*; found: prompt"),
        (
            {"prompt": "p", "completion": 3},
            r"data\.jsonl:2: \$\.completion: must be a string, not 3",
        ),
        ({"messages": []}, r"\$\.messages: must not be empty"),
        (
            {"messages": [{"role": "bot", "content": "x"}]},
            r"\$\.messages\[0\]\.role: must be .*, not 'bot'",
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "the first message must not be"),
        ([1], "every line of a JSON Lines file must be an object"),
    ],
)
def test_an_error_names_a_malformed_line(tmp_path: Path, row: object, reason: str) -> None:
    data = write(tmp_path, {"prompt": "p", "completion": "q"}, row)
    with pytest.raises(SpecError, match=reason):
        list(dialogues(data, tmp_path))


def test_an_error_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.jsonl"):
        list(plain_texts(JsonlData(path="nowhere.jsonl"), tmp_path))


def test_chain_sums_have_right_answers() -> None:
    found = list(chain_sums(50, seed=3))
    assert len(set(found)) == 50
    assert found == list(chain_sums(50, seed=3))
    for question, answer in found:
        expression = question.partition(": ")[2].removesuffix(" =")
        assert read_answer(answer, "number") == str(eval(expression))


def test_a_solution_contains_no_equation() -> None:
    assert not any(check_equations(answer).statements for _, answer in chain_sums(200, seed=4))


@pytest.mark.parametrize(
    ("terms", "lines"),
    [
        ([8433, 4003], ["+ 8433 4003", "33480 30040 63421"]),
        ([41, -97], ["+ 41", "- 97", "14000", "79000", "14000 30999 44999", "- 65000"]),
        (
            [3, -5, -9],
            ["+ 3", "- 5 9", "30000", "50000 90000 41000", "30000 68999 98999", "- 11000"],
        ),
        ([4, -4], ["+ 4", "- 4", "40000", "40000", "40000 69999 00000", "+ 00000"]),
        (
            [7, 0, -2],
            ["+ 7 0", "- 2", "70000 00000 70000", "20000", "70000 89999 50000", "+ 50000"],
        ),
        ([9999] * 3, ["+ 9999 9999 9999", "99990 99990 89991 99990 79992"]),
    ],
)
def test_solutions_of_chain_sums(terms: list[int], lines: list[str]) -> None:
    answer = chain_sum_of(terms)[1].splitlines()
    assert answer[:-1] == lines
    assert answer[-1] == f"The answer is {sum(terms)}."


def test_each_running_total_is_the_sum_of_the_two_numbers_before_it() -> None:
    for _, answer in chain_sums(100, seed=5):
        for line in answer.splitlines():
            numbers = [int(n[::-1]) for n in re.findall(r"\b[0-9]{5}\b", line)]
            triples = list(zip(numbers[::2], numbers[1::2], numbers[2::2], strict=False))
            assert len(triples) == max(len(numbers) - 1, 0) / 2
            assert all(total == (a + b) % 100_000 for a, b, total in triples)


def test_chain_sums_are_of_the_search_split_only() -> None:
    from archon.evals.benchmarks.reasoning_gym import split_of

    assert all(split_of(question) == "search" for question, _ in chain_sums(200, seed=0))
    gym = pytest.importorskip("reasoning_gym")
    row = gym.create_dataset("chain_sum", seed=5, size=1)[0]
    terms = row["metadata"]["expression"].replace(" ", "").replace("-", "+-").split("+")
    assert chain_sum_of([int(term) for term in terms])[0] == row["question"]


def test_a_rule_with_too_few_texts_is_rejected() -> None:
    assert len(list(plain_sums(9000, 0))) == 9000
    with pytest.raises(UsageError, match="only about 10000 different texts, not 20000"):
        list(plain_sums(20_000, 0))


def test_a_rule_for_another_kind_of_training_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no questions and answers"):
        list(dialogues(RuleData(rule="sums", items=3), tmp_path))
    with pytest.raises(SpecError, match="has no plain texts"):
        list(plain_texts(RuleData(rule="chain-sums", items=3), tmp_path))
