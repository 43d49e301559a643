"""``archon eval``, ``compare`` and ``export``."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from cli_runner import SCRIPTED, Cli

from archon.lm.openai import client
from archon.lm.retry import Backoff
from archon.spec import catalog


def test_eval_as_json_has_the_documented_keys(cli: Cli) -> None:
    report = cli.json("eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl", "--limit", "9")
    promised = {
        "architecture",
        "benchmark",
        "split",
        "num_items",
        "num_errors",
        "accuracy",
        "accuracy_interval",
        "cost_tokens",
        "usage",
        "wall_seconds",
        "tokens_per_second",
        "seed",
        "run",
    }
    assert promised <= set(report)
    assert report["num_items"] == 9
    assert Path(report["run"], "report.json").exists()


def test_eval_prints_accuracy_and_interval(cli: Cli) -> None:
    assert cli("eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl") == 0
    assert "accuracy" in cli.stdout
    assert "95% interval" in cli.stdout
    assert "run: runs/" in cli.stdout
    assert "30 of 30" in cli.stderr
    assert "with 30 items the accuracy is uncertain" in cli.stderr


def test_eval_prints_the_share_of_stored_samples(cli: Cli) -> None:
    arguments = ["eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl"]
    assert cli(*arguments) == 0
    assert "from the sample pool" not in cli.stdout
    assert cli(*arguments) == 0
    assert "100% of the completion tokens came from the sample pool" in cli.stdout
    assert cli(*arguments, "--no-cache") == 0
    assert "from the sample pool" not in cli.stdout


def test_a_run_is_not_overwritten(cli: Cli) -> None:
    arguments = ["eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl", "--output", "out"]
    assert cli(*arguments) == 0
    assert cli(*arguments) == 2
    assert "out already contains a run" in cli.stderr


@pytest.mark.parametrize(("share", "code"), [("0", 0), ("1", 100)])
def test_a_missed_requirement_has_its_own_exit_code(cli: Cli, share: str, code: int) -> None:
    arguments = ["eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl"]
    assert cli(*arguments, "--require", f"accuracy={share}") == code


def test_an_evaluation_in_which_everything_failed_is_a_failure(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "Backoff", partial(Backoff, max_attempts=1))
    card = {
        "name": "nobody",
        "backend": "openai",
        "base_urls": ["http://127.0.0.1:9/v1"],
        "model": "x",
    }
    Path("nobody.json").write_text(json.dumps(card))
    arguments = ["eval", "single", "smoke", "--model", "solver=./nobody.json", "--limit", "2"]
    assert cli(*arguments) == 1
    assert "2 of 2 failed: 2 × node 'draft'" in cli.stderr


def test_compare_as_json_has_rows_and_pairs(cli: Cli) -> None:
    pytest.importorskip("scipy")
    arguments = ["single", "self-consistency", "best-of-n", "-b", "smoke", *SCRIPTED]
    data = ["--data", "items.jsonl", "--output", "out"]
    result = cli.json("compare", *arguments, "--model", "judge=scripted", *data)
    assert [row["architecture"] for row in result["rows"]] == [
        "single",
        "self-consistency",
        "best-of-n",
    ]
    assert len(result["pairs"]) == 3
    assert {"a", "b", "difference", "interval", "p_value"} <= set(result["pairs"][0])
    assert {"accuracy", "cost_tokens", "seconds", "on_cost_front"} <= set(result["rows"][0])


def test_compare_marks_the_cheapest_and_warns_of_undecided_pairs(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scipy")
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["compare", "single", "self-consistency", "single", "-b", "smoke", *SCRIPTED]
    assert cli(*arguments, "--data", "items.jsonl", "--limit", "9") == 0
    assert "single (2)" in cli.stdout
    assert "p (Holm)" in cli.stdout
    assert "single and single (2): 9 items do not show which is better" in cli.stderr
    tables = cli.stdout[: cli.stdout.index("run of ")]
    assert max(map(len, tables.splitlines())) <= 80
    assert cli(*arguments[:3], *arguments[4:], "--data", "items.jsonl", "--limit", "9") == 0
    assert "p (Holm)" not in cli.stdout


def test_compare_says_why_it_has_no_table_at_equal_cost(cli: Cli) -> None:
    pytest.importorskip("scipy")
    rest = ["-b", "smoke", *SCRIPTED, "--data", "items.jsonl", "--limit", "3"]
    assert cli("compare", "single", "single", *rest) == 0
    assert "no comparison at equal cost: none of the architectures is a plain vote" in cli.stdout
    assert cli("compare", "self-consistency", "self-consistency", *rest) == 0
    assert "no comparison at equal cost: all architectures are plain votes" in cli.stdout
    assert cli("compare", "single", "self-consistency", *rest) == 0
    assert "no comparison at equal cost" not in cli.stdout


def test_piped_tables_keep_long_names(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    monkeypatch.delenv("COLUMNS", raising=False)
    name = f"single-{'x' * 100}"
    architecture = json.loads(catalog.find("architecture", "single").read_text())
    Path("long.json").write_text(json.dumps({**architecture, "name": name}))
    rest = ["-b", "smoke", *SCRIPTED, "--data", "items.jsonl", "--limit", "3"]
    assert cli("compare", "single", "./long.json", *rest) == 0
    assert cli.stdout.count(f"{name} ") >= 2
    monkeypatch.setenv("COLUMNS", "80")
    assert cli("compare", "single", "./long.json", *rest) == 0
    assert f"{name} " not in cli.stdout


def test_eval_prints_pass_at_k_and_warns_of_too_few_items(cli: Cli) -> None:
    arguments = ["eval", "self-consistency", "smoke", *SCRIPTED, "--data", "items.jsonl"]
    assert cli(*arguments, "--limit", "9") == 0
    assert "draft: pass@1 " in cli.stdout
    assert "; vote@4 " in cli.stdout
    assert "with 9 items the accuracy is uncertain by ±" in cli.stderr


def test_an_interrupt_keeps_finished_answers(cli: Cli, tmp_path: Path) -> None:
    Path("slow.json").write_text(
        json.dumps({"name": "slow", "backend": "scripted", "delay_seconds": 0.2})
    )
    command = [sys.executable, "-m", "archon", "eval", "single", "smoke", "--json"]
    command += ["--model", "solver=./slow.json", "--data", "items.jsonl", "--split", "test"]
    command += ["--output", "out", "--epochs", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        journal = Path("out", "journal")
        while process.poll() is None and not (journal.exists() and journal.stat().st_size):
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert b"Traceback" not in stderr
    report = json.loads(stdout)
    assert report["interrupted"]
    assert report["num_runs"] == len(cli.json("export", "out")["records"]) > 0


def test_a_resumed_run_has_the_same_result_as_an_uninterrupted_one(cli: Cli) -> None:
    arguments = ["eval", "best-of-n", "smoke", *SCRIPTED, "--model", "judge=scripted"]
    arguments += ["--data", "items.jsonl", "--split", "test", "--epochs", "2", "--resume"]
    complete = cli.json(*arguments, "--output", "complete")
    assert not complete["interrupted"]
    journal = Path("complete", "journal").read_bytes()
    Path("half").mkdir()
    Path("half", "run.json").write_bytes(Path("complete", "run.json").read_bytes())
    Path("half", "journal").write_bytes(journal[: len(journal) // 2])
    resumed = cli.json(*arguments, "--output", "half")
    assert resumed["num_runs"] == complete["num_runs"]
    assert cli("export", "complete") == 0
    expected = [{**json.loads(line), "seconds": 0} for line in cli.stdout.splitlines()]
    assert cli("export", "half") == 0
    assert [{**json.loads(line), "seconds": 0} for line in cli.stdout.splitlines()] == expected
    written = Path("half", "journal").read_bytes()
    assert cli.json(*arguments, "--output", "half")["num_runs"] == complete["num_runs"]
    assert Path("half", "journal").read_bytes() == written


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (["--seed", "5"], "$.specification.seed: 0 stored, 5 now"),
        (["--limit", "2"], "$.items.count: "),
        (["--epochs", "3"], "$.epochs: 1 stored, 3 now"),
        (["--split", "search"], "$.items.split: 'select' stored, 'search' now"),
        (["--data", "other.jsonl"], "$.items.digest"),
        (["--model", "solver=slow.json"], "$.specification.models.solver.delay_seconds"),
    ],
)
def test_a_changed_run_is_not_resumed(cli: Cli, changed: list[str], reason: str) -> None:
    Path("slow.json").write_text(
        json.dumps({"name": "scripted", "backend": "scripted", "delay_seconds": 0.001})
    )
    rows = Path("items.jsonl").read_text().splitlines()
    Path("other.jsonl").write_text("\n".join([rows[-1].replace("What", "Which"), *rows[:-1]]))
    start = ["eval", "single", "smoke", "--output", "out"]
    data = ["--data", "items.jsonl"]
    assert cli(*start, *data, *SCRIPTED) == 0
    model = [] if "--model" in changed else SCRIPTED
    data = [] if "--data" in changed else data
    assert cli(*start, *data, *model, *changed, "--resume") == 2
    assert "contains another run" in cli.stderr
    assert reason in cli.stderr


def test_ablate_prints_the_gain_of_each_node(cli: Cli) -> None:
    pytest.importorskip("scipy")
    arguments = ["eval", "best-of-n", "smoke", *SCRIPTED, "--model", "judge=scripted"]
    arguments += ["--data", "items.jsonl", "--output", "out", "--ablate"]
    result = cli.json(*arguments)
    assert [row["node"] for row in result["ablations"]] == ["best"]
    assert result["not_ablated"] == {"draft": "a ranker needs inputs"}
    assert "extra cost" in cli.stderr
    again = cli.json(*arguments, "--resume")
    assert again == result


def test_resuming_needs_a_folder(cli: Cli) -> None:
    assert cli("eval", "single", "smoke", *SCRIPTED, "--resume") == 2
    assert "--resume needs the folder of the run" in cli.stderr


def test_a_comparison_is_resumed(cli: Cli) -> None:
    pytest.importorskip("scipy")
    arguments = ["compare", "single", "self-consistency", "-b", "smoke", *SCRIPTED]
    arguments += ["--data", "items.jsonl", "--output", "out", "--resume"]
    first = cli.json(*arguments)
    journal = Path("out", "2-self-consistency", "journal")
    journal.write_bytes(journal.read_bytes()[:-100])
    again = cli.json(*arguments)
    assert again["pairs"] == first["pairs"]
    assert [row["num_runs"] for row in again["rows"]] == [row["num_runs"] for row in first["rows"]]


def test_export_as_csv_has_a_row_for_each_answer(cli: Cli) -> None:
    arguments = ["eval", "self-consistency", "smoke", *SCRIPTED, "--data", "items.jsonl"]
    assert cli(*arguments, "--output", "out") == 0
    assert cli("export", "out", "--format", "csv", "--output", "out.csv") == 0
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    records = cli.json("export", "out", "--traces")["records"]
    assert [row["item"] for row in rows] == [record["item"] for record in records]
    assert {row["draft.num_draws"] for row in rows} == {"8"}
    assert records[0]["trace"]["nodes"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "nowhere does not contain a run"),
        (["out", "--format", "csv", "--traces"], "--traces is not available for CSV"),
        (["out", "--format", "csv", "--json"], "--json cannot be combined"),
        (["out", "--output", "no/such/file"], "cannot write no/such/file"),
    ],
)
def test_export_rejects_impossible_combinations(
    cli: Cli, arguments: list[str], reason: str
) -> None:
    start = ["eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl", "--output", "out"]
    assert cli(*start) == 0
    assert cli("export", *arguments) in (1, 2)
    assert reason in cli.stderr
