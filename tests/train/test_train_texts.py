from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from archon.answers import read_answer
from archon.errors import SpecError, UsageError
from archon.spec.training import JsonlData, RuleData
from archon.train.sums import chain_sum_of, chain_sums, plain_sums
from archon.train.texts import dialogues, plain_texts
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
        ({"prompt": "p"}, r"data\.jsonl:2: has the keys prompt;"),
        ({"prompt": "p", "completion": 3}, r"data\.jsonl:2: \$\.completion: is 3, not a text"),
        ({"messages": []}, r"\$\.messages: no message"),
        ({"messages": [{"role": "bot", "content": "x"}]}, r"\$\.messages\[0\]\.role: is .bot."),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "begins with an answer"),
        ([1], "holds"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, row: object, reason: str) -> None:
    data = write(tmp_path, {"prompt": "p", "completion": "q"}, row)
    with pytest.raises(SpecError, match=reason):
        list(dialogues(data, tmp_path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere\.jsonl"):
        list(plain_texts(JsonlData(path="nowhere.jsonl"), tmp_path))


def test_chain_sums_are_worked_rightly() -> None:
    found = list(chain_sums(50, seed=3))
    assert len(set(found)) == 50
    assert found == list(chain_sums(50, seed=3))
    for question, answer in found:
        expression = question.partition(": ")[2].removesuffix(" =")
        assert read_answer(answer, "number") == str(eval(expression))
        steps = [re.fullmatch(r"(.*) \[(\d+)\] = (.*)", line) for line in answer.splitlines()[:-1]]
        for step in steps:
            assert step is not None
            left, digits, right = step.groups()
            assert eval(left) == int(right)
            assert int(digits[::-1]) == abs(int(right))


@pytest.mark.parametrize(
    ("terms", "steps"),
    [
        ([8433, 4003], ["8433 + 4003 [63421] = 12436"]),
        ([41, -97], ["41 - 97 [65] = -56"]),
        ([3, -5, -9, 11], ["3 - 5 [2] = -2", "-2 - 9 [11] = -11", "-11 + 11 [00] = 0"]),
        ([1000, -999], ["1000 - 999 [1000] = 1"]),
    ],
)
def test_the_digits_of_a_step_stand_before_its_result_units_first(
    terms: list[int], steps: list[str]
) -> None:
    assert chain_sum_of(terms)[1].splitlines()[:-1] == steps


def test_no_chain_sum_is_an_item_that_select_or_test_asks() -> None:
    from archon.evals.benchmarks.reasoning_gym import split_of

    assert all(split_of(question) == "search" for question, _ in chain_sums(200, seed=0))
    gym = pytest.importorskip("reasoning_gym")
    row = gym.create_dataset("chain_sum", seed=5, size=1)[0]
    terms = row["metadata"]["expression"].replace(" ", "").replace("-", "+-").split("+")
    assert chain_sum_of([int(term) for term in terms])[0] == row["question"]


def test_a_rule_that_cannot_make_so_many_says_so() -> None:
    assert len(list(plain_sums(9000, 0))) == 9000
    with pytest.raises(UsageError, match="about 10000 different texts, not 20000"):
        list(plain_sums(20_000, 0))


def test_a_rule_for_the_other_kind_of_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="without questions"):
        list(dialogues(RuleData(rule="sums", items=3), tmp_path))
    with pytest.raises(SpecError, match="not plain texts"):
        list(plain_texts(RuleData(rule="chain-sums", items=3), tmp_path))
