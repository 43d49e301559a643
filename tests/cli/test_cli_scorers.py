"""``--scorer``, ``--by`` and ``archon ls scorers``, with the scripted model."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from cli_runner import Cli

from archon.evals.scorers import SCORERS

SCRIPTED = ("--model", "scripted", "--no-cache")


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A table of sums with a column ``size``."""
    with (tmp_path / "sums.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["question", "answer", "size"])
        table.writerows(
            [f"What is {n} + {n}?", 2 * n, "large" if n > 4 else "small"] for n in range(1, 10)
        )
    return "sums.csv"


def test_further_scorers_and_groups_are_reported(cli: Cli, data: str) -> None:
    asked = ("eval", "single", data, "--split", "all", *SCRIPTED)
    scorers = ("--score", "number-exact", "--scorer", "number-close:0.5", "--score", "includes")
    report = cli.json(*asked, *scorers, "--by", "size", "--output", "run")
    assert report["scorer"] == "number-exact"
    assert set(report["metrics"]) == {"number-close:0.5", "includes"}
    assert [group["name"] for group in report["groups"]["size"]] == ["large", "small"]
    assert sum(group["num_items"] for group in report["groups"]["size"]) == 9
    assert cli.json("eval", "single", "sums.csv", "--split", "all", *SCRIPTED, *scorers, "--by",
                    "size", "--output", "run", "--resume") == report  # fmt: skip
    cli(*asked, *scorers, "--by", "size")
    assert "number-close:0.5: " in cli.stdout
    assert "p (Holm)" in cli.stdout


def test_a_wrong_column_or_scorer_is_a_usage_error(cli: Cli, data: str) -> None:
    asked = ("eval", "single", data, "--split", "all", *SCRIPTED)
    assert cli(*asked, "--by", "sizes") == 2
    assert "no column 'sizes'" in cli.stderr
    assert "did you mean 'size'" in cli.stderr
    assert cli(*asked, "--scorer", "number-close:x") == 2
    assert "must be followed by a number" in cli.stderr
    assert cli(*asked, "--scorer", "includes", "--scorer", "includes") == 2
    assert "named twice" in cli.stderr


def test_a_function_of_a_file_scores(cli: Cli, data: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "async def short(text, row):\n    print('scoring')\n    return row['size'] == 'small'\n"
    )
    report = cli.json(
        "eval", "single", data, "--split", "all", "--scorer", "mine.py:short", *SCRIPTED
    )
    assert (report["scorer"], report["accuracy"]) == ("mine.py:short", pytest.approx(4 / 9))


def test_a_model_judges(cli: Cli, data: str) -> None:
    judge = json.dumps({"name": "judge", "model": "scripted", "rubric": "It is short."})
    report = cli.json("eval", "single", data, "--split", "all", "--scorer", judge, *SCRIPTED)
    assert report["scorer"] == "judge:model=scripted"
    assert (report["num_errors"], report["num_items"]) == (0, 9)
    assert report["curves"] == {}


def test_scorers_are_listed_with_their_parameters(cli: Cli) -> None:
    rows = {row["name"]: row for row in cli.json("ls", "scorers")["scorers"]}
    assert list(rows) == list(SCORERS)
    assert rows["number-exact"]["aliases"] == ["number"]
    assert {p["name"] for p in rows["number-close"]["parameters"]} == {"relative", "absolute"}
    assert all(row["description"].endswith(".") for row in rows.values())
    cli("ls", "scorers")
    assert all(name in cli.stdout for name in rows)
