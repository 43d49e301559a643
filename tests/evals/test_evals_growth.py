"""Raising the limit of a stored run asks only the new items."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from eval_doubles import SELECTION, FakeArchitecture, echo, make_items

from archon.errors import UsageError
from archon.evals.folder import RunFolder
from archon.evals.run import read_run
from archon.evals.runner import Evaluation, evaluate
from archon.evals.scorers import Scorer, custom_scorer, plain_scorer


def evaluation(limit: int, architecture: FakeArchitecture, **options: int) -> Evaluation:
    items = make_items(40)[:limit]
    return Evaluation(
        architecture,
        items,
        plain_scorer("number-exact"),
        replace(SELECTION, limit=limit),
        **options,
    )


async def run(folder: RunFolder, limit: int, **options: int) -> list[str]:
    """Run or continue the evaluation of the first items; return the questions it asked."""
    architecture = FakeArchitecture(echo)
    await evaluate(evaluation(limit, architecture, **options), folder)
    return [question.text for question, _, _ in architecture.asked]


async def test_a_finished_run_asks_only_the_new_items(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "grown", "x")
    await run(folder, 4, epochs=2)
    before = folder.read_description()
    asked = await run(folder, 6, epochs=2)
    assert sorted(asked) == ["What is 4?"] * 2 + ["What is 5?"] * 2
    stored = json.loads((folder.path / "report.json").read_text())
    assert (stored["num_items"], stored["limit"], stored["interrupted"]) == (6, 6, False)
    whole = RunFolder.create(tmp_path / "whole", "x")
    await run(whole, 6, epochs=2)
    after, direct = folder.read_description(), whole.read_description()
    same = ("specification", "digest", "items", "limit", "epochs")
    assert {key: after[key] for key in same} == {key: direct[key] for key in same}
    assert after["id"] == before["id"]  # the samples of the run stay its own
    results = ("accuracy", "accuracy_interval", "warnings", "cost_tokens")
    reports = [read_run(each.path).report() for each in (folder, whole)]
    assert [getattr(reports[0], key) for key in results] == [
        getattr(reports[1], key) for key in results
    ]


async def test_an_interrupted_growth_is_an_unfinished_run(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x")
    await run(folder, 3)
    larger = evaluation(8, FakeArchitecture(echo))
    assert not larger.is_finished_in(folder)
    await evaluate(larger, folder, num_items=5)
    assert read_run(tmp_path).report().interrupted
    assert await run(folder, 8) == ["What is 5?", "What is 6?", "What is 7?"]
    assert larger.is_finished_in(folder)


async def test_a_run_does_not_shrink(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x")
    await run(folder, 5)
    with pytest.raises(UsageError, match=r"5 stored, 4 now\n.*set --limit to at least 5"):
        await run(folder, 4)
    assert folder.read_description()["items"]["count"] == 5


async def test_other_items_and_other_settings_are_refused(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x")
    await run(folder, 3)
    with pytest.raises(UsageError, match=r"\$\.specification\.seed: 0 stored, 1 now"):
        await run(folder, 6, seed=1)
    other = make_items(40)[1:7]
    moved = Evaluation(FakeArchitecture(echo), other, plain_scorer("number-exact"), SELECTION)
    with pytest.raises(UsageError, match=r"\$\.items\.count: 3 stored, 6 now"):
        await evaluate(moved, folder)
    assert folder.read_description()["items"]["count"] == 3


async def test_the_command_of_the_last_session_is_stored(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x")
    for limit in (2, 3):
        stored = {"command": {"limit": limit}}
        await evaluate(evaluation(limit, FakeArchitecture(echo)), folder, command=stored)
    assert folder.read_description()["command"] == {"limit": 3}


def with_tests(number: int, test: str) -> Evaluation:
    """An evaluation of items whose rows have a column with a test."""
    items = [replace(item, metadata={"test": test}) for item in make_items(number)]
    return Evaluation(FakeArchitecture(echo), items, reader_of_rows(), SELECTION)


def reader_of_rows() -> Scorer:
    def judge(text: str, row: dict[str, str]) -> bool:
        return row["test"] in text

    return custom_scorer(judge, "number")


async def test_rows_are_part_of_the_items_if_the_scorer_reads_them(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x")
    await evaluate(with_tests(3, "a"), folder)
    await evaluate(with_tests(4, "a"), folder)
    with pytest.raises(UsageError, match=r"\$\.items\.digest"):
        await evaluate(with_tests(4, "b"), folder)
    with pytest.raises(UsageError, match=r"\$\.items"):
        await evaluate(with_tests(5, "b"), folder)


def test_rows_are_no_part_of_the_items_if_no_scorer_reads_them() -> None:
    plain = evaluation(3, FakeArchitecture(echo))
    items = [replace(item, metadata={"test": "a"}) for item in plain.items]
    assert replace(plain, items=items).description["items"] == plain.description["items"]
    assert "with_rows" not in plain.description["items"]
