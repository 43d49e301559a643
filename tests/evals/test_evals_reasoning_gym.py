"""Generated items: the same every time, disjoint between splits, in the shares of the card."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import combinations
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archon.answers import canonical_number, read_answer
from archon.errors import MissingExtraError, SpecError
from archon.evals.benchmarks import SPLITS, load_items
from archon.evals.benchmarks import reasoning_gym as source
from archon.spec.benchmark import GymData, ReasoningGymTask
from archon.spec.reader import load_benchmark

reasoning_gym = pytest.importorskip("reasoning_gym")

ARITHMETIC = load_benchmark("arithmetic")


def gym(*tasks: dict[str, Any], **fields: Any) -> GymData:
    return GymData.model_validate({"tasks": list(tasks), "items_per_split": 20, **fields})


def test_the_splits_of_arithmetic_have_a_thousand_items_each_and_share_no_question() -> None:
    splits = [load_items(ARITHMETIC.spec, ARITHMETIC.base_dir, split) for split in SPLITS]
    assert [len(items) for items in splits] == [1000, 1000, 1000]
    assert [len({item.question for item in items}) for items in splits] == [1000, 1000, 1000]
    for a, b in combinations(splits, 2):
        assert not {item.question for item in a} & {item.question for item in b}
        assert not {item.id for item in a} & {item.id for item in b}


def test_the_tasks_of_arithmetic_have_their_shares_and_are_mixed() -> None:
    items = load_items(ARITHMETIC.spec, ARITHMETIC.base_dir)
    tasks = [item.metadata["task"] for item in items]
    assert Counter(tasks) == {"chain_sum": 400, "basic_arithmetic": 300, "gsm_symbolic": 300}
    assert len(set(tasks[:20])) == 3


def test_the_items_of_arithmetic_have_not_changed() -> None:
    digest = hashlib.sha256()
    for split in SPLITS:
        for item in load_items(ARITHMETIC.spec, ARITHMETIC.base_dir, split):
            digest.update(f"{item.id}\n{item.question}\n{item.target}\n".encode())
    # Another digest means other items: figures in docs/log.md no longer compare with new ones.
    assert digest.hexdigest()[:16] == "b76501b6e9cd3db2"


@pytest.mark.parametrize("task", get_args(ReasoningGymTask))
def test_the_answers_of_every_listed_task_are_numbers_and_nothing_else(task: str) -> None:
    rows = reasoning_gym.create_dataset(task, seed=11, size=30)
    for row in rows:
        target = canonical_number(row["answer"])
        assert target is not None
        assert read_answer(row["answer"], "number") == target


@given(
    seed=st.integers(0, 2**32 - 2),
    tasks=st.lists(st.sampled_from(["chain_sum", "gcd", "aiw"]), min_size=1, max_size=3),
)
@settings(max_examples=10, deadline=None)
def test_splits_share_no_question_and_close_seeds_no_item(seed: int, tasks: list[str]) -> None:
    specs = [{"task": task} for task in tasks]
    here, near = (gym(*specs, seed=s, items_per_split=6) for s in (seed, seed + 1))
    splits = {split: source.load(here, split, None) for split in SPLITS}
    for a, b in combinations(SPLITS, 2):
        assert not {i.question for i in splits[a]} & {i.question for i in splits[b]}
    ids = {item.id for items in splits.values() for item in items}
    assert len(ids) == 18
    assert not ids & {item.id for split in SPLITS for item in source.load(near, split, None)}


@pytest.mark.parametrize("limit", [1, 7, 19])
def test_a_limit_does_not_change_the_items(limit: int) -> None:
    tasks = gym({"task": "chain_sum"}, {"task": "gcd", "weight": 2})
    every = source.load(tasks, "search", None)
    assert len(every) == 20
    assert source.load(tasks, "search", limit) == every[:limit]


def test_one_task_twice_gives_different_items() -> None:
    items = source.load(gym({"task": "chain_sum"}, {"task": "chain_sum"}), "test", None)
    assert len({item.id for item in items}) == len({item.question for item in items}) == 20


def test_another_seed_gives_other_items() -> None:
    one, two = (source.load(gym({"task": "chain_sum"}, seed=seed), "test", None) for seed in (0, 9))
    assert not {item.question for item in one} & {item.question for item in two}


def test_an_unknown_parameter_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"did you mean 'max_terms'") as error:
        source.load(gym({"task": "chain_sum", "params": {"maxterms": 3}}), "test", None)
    assert error.value.path == "$.source.reasoning_gym.tasks[0].params.maxterms"


@pytest.mark.parametrize("params", [{"min_terms": 9}, {"min_terms": "x"}, {"min_digits": 0}])
def test_a_parameter_that_the_generator_rejects_is_an_error(params: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="chain_sum rejects the parameters"):
        source.load(gym({"task": "chain_sum", "params": params}), "test", None)


def test_too_few_distinct_questions_are_an_error_and_not_an_endless_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source, "STREAM_ITEMS", 500)
    params = {"min_terms": 1, "max_terms": 1, "min_digits": 1, "max_digits": 1}
    with pytest.raises(SpecError, match="too few distinct questions"):
        source.load(gym({"task": "chain_sum", "params": params}), "test", None)


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "reasoning_gym", None)
    with pytest.raises(MissingExtraError, match=r"archon-inference\[evals\]"):
        source.load(gym({"task": "chain_sum"}), "test", None)
