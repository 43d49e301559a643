"""The commands as a user meets them: results, bad input, exit codes, interrupts."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from archon.cli import main

SCRIPTED = ["--model", "solver=scripted"]
ITEMS = [
    {"id": f"item-{a}", "question": f"What is {a} + 1?", "answer": str(a + 1)} for a in range(100)
]


class Cli:
    """Runs a command in an empty folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.stdout = self.stderr = ""

    def __call__(self, *arguments: str) -> int:
        self._capsys.readouterr()
        code = main(arguments)
        self.stdout, self.stderr = self._capsys.readouterr()
        return code

    def json(self, *arguments: str) -> Any:
        """The one JSON object on standard output of a command that succeeds."""
        assert self(*arguments, "--json") == 0, self.stderr
        return json.loads(self.stdout)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    return Cli(capsys)


# ------------------------------------------------------------------------------------------- run


def test_run_prints_the_answer_and_nothing_else_on_standard_output(cli: Cli) -> None:
    assert cli("run", "single", "What is 2 + 3?", *SCRIPTED) == 0
    assert cli.stdout.strip()
    assert "cost" not in cli.stdout
    assert "cost" in cli.stderr


def test_run_as_json_has_the_promised_keys(cli: Cli) -> None:
    result = cli.json("run", "rank-fuse", "What is 2 + 3?", *SCRIPTED, "--model", "judge=scripted")
    assert set(result) == {"text", "value", "candidates", "usage", "cost_tokens"}
    assert result["candidates"][0]["text"] == result["text"]
    assert result["usage"]["calls"] > 8


def test_run_tells_what_the_budget_cut_short(cli: Cli) -> None:
    nodes = {
        "draft": {"type": "generator", "model": "solver", "samples": 3},
        "check": {"type": "verifier", "model": "solver", "inputs": ["draft"]},
    }
    spec = {"version": 1, "name": "held", "models": {"solver": "scripted"}, "nodes": nodes}
    Path("held.json").write_text(
        json.dumps({**spec, "output": "check", "budget": {"max_calls": 4}})
    )
    assert cli("run", "held.json", "What is 2 + 3?") == 0
    assert "budget of calls cut it short: check" in cli.stderr
    assert cli.json("run", "held.json", "What is 2 + 3?")["limited_by"] == "calls"


def test_run_as_json_carries_the_trace_where_asked(cli: Cli) -> None:
    result = cli.json("run", "single", "What is 2 + 3?", *SCRIPTED, "--trace")
    (node,) = result["trace"]["nodes"]
    assert "What is 2 + 3?" in node["calls"][0]["messages"][-1]["content"]


def test_the_trace_for_people_tells_the_tests_that_were_written(cli: Cli) -> None:
    roles = ("--model", "solver=scripted", "--model", "judge=scripted")
    assert cli("run", "unit-tests", "What is 2 + 3?", *roles, "--trace") == 0
    assert cli.stderr.count("test: It works out 2 + 3.") == 1


def test_run_prints_the_trace_for_people_on_standard_error(cli: Cli) -> None:
    assert cli("run", "single", "What is 2 + 3?", *SCRIPTED, "--trace") == 0
    assert "What is 2 + 3?" in cli.stderr
    assert "What is 2 + 3?" not in cli.stdout


def test_a_trace_for_people_tells_what_was_run_and_what_was_dropped(cli: Cli) -> None:
    assert cli("run", "program-vote", "What is 2 + 3?", *SCRIPTED, "--trace") == 0
    assert "→ draft[0]: value 5, program: ok" in cli.stderr
    assert cli("run", "checked-vote", "What is 2 + 3?", *SCRIPTED, "--trace") == 0
    assert ", score 1, pass" in cli.stderr
    assert ", fail" in cli.stderr


def test_the_seed_changes_the_draws(cli: Cli) -> None:
    texts = {
        json.dumps(cli.json("run", "single", "What is 2 + 3?", *SCRIPTED, "--seed", str(seed)))
        for seed in range(8)
    }
    assert len(texts) > 1


def run_with_stdin(content: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "archon", *arguments], input=content, capture_output=True
    )


def test_run_reads_the_question_from_standard_input() -> None:
    done = run_with_stdin(b"What is 2 + 3?\n", "run", "single", *SCRIPTED, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["value"] is not None


@pytest.mark.parametrize("content", [b"", b" \n\t\n", b"\xff\xfe\xff"])
def test_an_empty_or_undecodable_question_is_the_users_mistake(content: bytes) -> None:
    done = run_with_stdin(content, "run", "single", *SCRIPTED)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr


def test_a_question_of_megabytes_is_answered() -> None:
    content = b"What is 2 + 3? " + b"x " * 1_000_000
    assert run_with_stdin(content, "run", "single", *SCRIPTED).returncode == 0


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["run", "no-such", "q"], "no architecture 'no-such'"),
        (["run", "./missing.json", "q"], "./missing.json: no such file"),
        (["run", "single", "q", "--model", "solver"], "ROLE=NAME"),
        (["run", "single", "q", "--model", "=scripted"], "ROLE=NAME"),
        (["run", "single", "q", *SCRIPTED, *SCRIPTED], "twice"),
        (["run", "single", "q", "--model", "solvr=scripted"], "did you mean 'solver'?"),
        (["run", "single", "q", "--model", "solver=scripte"], "did you mean 'scripted'?"),
        (["run", "single", "q", "--seed", "x"], "--seed"),
        (["run", "single", "q", "--no-such-flag"], "--no-such-flag"),
        (["eval", "single", "no-such", *SCRIPTED], "no benchmark 'no-such'"),
        (["eval", "single", "smoke", *SCRIPTED, "--limit", "0"], "limit"),
        (["eval", "single", "smoke", *SCRIPTED, "--split", "tset"], "did you mean 'test'?"),
        (["eval", "single", "smoke", *SCRIPTED, "--epochs", "0"], "epoch"),
        (["eval", "single", "smoke", *SCRIPTED, "--data", "missing.jsonl"], "missing.jsonl"),
        (["eval", "single", "smoke", *SCRIPTED, "--require", "speed=3"], "accuracy=SHARE"),
        (["eval", "single", "smoke", *SCRIPTED, "--require", "accuracy=60"], "from 0 to 1"),
        (["eval", "single", "smoke", *SCRIPTED, "--require", "accuracy=nan"], "from 0 to 1"),
        (["compare", "single", "-b", "smoke", *SCRIPTED], "at least two"),
        (["compare", "single", "single", *SCRIPTED], "--benchmark"),
        (["serve", "single", "single", *SCRIPTED], "two of those to serve have the name"),
        (["serve", "single", *SCRIPTED, "--port", "99999"], "--port"),
        (["validate"], "FILE"),
        (["schema", "modle"], "modle"),
        (["models", "pull", "no-such"], "no model 'no-such'"),
        (["models", "pull", "scripted"], "has no weights"),
        (["models", "rm", "scripted"], "has no weights"),
        (["bench", "engine", "--model", "scripted"], "not a local model"),
        (["bench", "graph", "--num-questions", "0"], "num-questions"),
        (["evla"], "evla"),
    ],
)
def test_bad_input_has_exit_code_2_and_a_reason(
    cli: Cli, arguments: list[str], reason: str
) -> None:
    assert cli(*arguments) == 2
    assert reason in cli.stderr
    assert "Traceback" not in cli.stderr
    assert cli.stdout == ""


def test_a_damaged_file_of_weights_has_exit_code_2_and_is_named(
    cli: Cli, tiny_chat_file: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny_chat_file.read_bytes()[:-100])
    assert cli("run", "single", "Hi", "--model", f"solver={write_card(damaged)}") == 2
    assert "damaged.gguf" in cli.stderr
    assert "reaches past the end of the file" in cli.stderr


def test_a_question_longer_than_the_context_has_exit_code_2(cli: Cli, tiny_chat_file: Path) -> None:
    card = write_card(tiny_chat_file)
    assert cli("run", "single", "word " * 5000, "--model", f"solver={card}") == 2
    assert "do not fit the model's context" in cli.stderr


def write_card(weights: Path) -> Path:
    """A model card, in the current folder, for a file of weights."""
    card = Path.cwd() / "card.json"
    source = {"path": str(weights)}
    card.write_text(json.dumps({"name": "tiny", "backend": "local", "sources": [source]}))
    return card


def test_an_unexpected_failure_is_told_shortly_and_the_traceback_where_asked(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("archon.api.Loader.architecture", fail)
    assert cli("show", "single") == 1
    assert "ZeroDivisionError: oh" in cli.stderr
    assert "Traceback" not in cli.stderr
    assert cli("show", "single", "--log-level", "debug") == 1
    assert "Traceback" in cli.stderr


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "archon", "schema", "architecture"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


# ------------------------------------------------------------------------------ eval and compare


def test_eval_as_json_has_the_promised_keys(cli: Cli) -> None:
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


def test_eval_tells_people_accuracy_and_interval(cli: Cli) -> None:
    assert cli("eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl") == 0
    assert cli.stdout == ""
    assert "accuracy" in cli.stderr
    assert "95 % interval" in cli.stderr


def test_eval_tells_what_was_found_from_earlier_runs(cli: Cli) -> None:
    arguments = ["eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl"]
    assert cli(*arguments) == 0
    assert "from earlier runs" not in cli.stderr
    assert cli(*arguments) == 0
    assert "100 % of what the models wrote was there from earlier runs" in cli.stderr
    assert cli(*arguments, "--no-cache") == 0
    assert "from earlier runs" not in cli.stderr


def test_a_run_is_not_written_over(cli: Cli) -> None:
    arguments = ["eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl", "--output", "out"]
    assert cli(*arguments) == 0
    assert cli(*arguments) == 2
    assert "out holds a run already" in cli.stderr


@pytest.mark.parametrize(("share", "code"), [("0", 0), ("1", 100)])
def test_a_missed_requirement_has_its_own_exit_code(cli: Cli, share: str, code: int) -> None:
    arguments = ["eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl"]
    assert cli(*arguments, "--require", f"accuracy={share}") == code


def test_an_evaluation_in_which_everything_failed_is_a_failure(cli: Cli) -> None:
    card = {
        "name": "nobody",
        "backend": "openai",
        "base_urls": ["http://127.0.0.1:9/v1"],
        "model": "x",
        "timeout_seconds": 0.2,
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


def test_compare_tells_people_what_is_cheapest_and_what_cannot_be_told(cli: Cli) -> None:
    pytest.importorskip("scipy")
    arguments = ["compare", "single", "self-consistency", "single", "-b", "smoke", *SCRIPTED]
    assert cli(*arguments, "--data", "items.jsonl", "--limit", "9") == 0
    assert cli.stdout == ""
    assert "single (2)" in cli.stderr
    assert "p (Holm)" in cli.stderr
    assert "single and single (2): 9 items cannot tell which is better" in cli.stderr
    tables = cli.stderr[cli.stderr.index("architecture ") : cli.stderr.index("single and ")]
    assert max(map(len, tables.splitlines())) <= 80
    assert cli(*arguments[:3], *arguments[4:], "--data", "items.jsonl", "--limit", "9") == 0
    assert "p (Holm)" not in cli.stderr


def test_eval_tells_people_what_more_draws_buy_and_whether_the_items_suffice(cli: Cli) -> None:
    arguments = ["eval", "self-consistency", "smoke", *SCRIPTED, "--data", "items.jsonl"]
    assert cli(*arguments, "--limit", "9") == 0
    assert "draft: pass@1 " in cli.stderr
    assert "; vote@4 " in cli.stderr
    assert "9 items leave the accuracy open by ±" in cli.stderr


def test_an_interrupt_keeps_what_is_finished(cli: Cli, tmp_path: Path) -> None:
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


def test_a_run_is_resumed_and_comes_out_as_if_it_had_never_stopped(cli: Cli) -> None:
    arguments = ["eval", "best-of-n", "smoke", *SCRIPTED, "--model", "judge=scripted"]
    arguments += ["--data", "items.jsonl", "--split", "test", "--epochs", "2", "--resume"]
    whole = cli.json(*arguments, "--output", "whole")
    assert not whole["interrupted"]
    journal = Path("whole", "journal").read_bytes()
    Path("half").mkdir()
    Path("half", "run.json").write_bytes(Path("whole", "run.json").read_bytes())
    Path("half", "journal").write_bytes(journal[: len(journal) // 2])
    resumed = cli.json(*arguments, "--output", "half")
    assert resumed["num_runs"] == whole["num_runs"]
    assert cli("export", "whole") == 0
    expected = [{**json.loads(line), "seconds": 0} for line in cli.stdout.splitlines()]
    assert cli("export", "half") == 0
    assert [{**json.loads(line), "seconds": 0} for line in cli.stdout.splitlines()] == expected
    written = Path("half", "journal").read_bytes()
    assert cli.json(*arguments, "--output", "half")["num_runs"] == whole["num_runs"]
    assert Path("half", "journal").read_bytes() == written


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["--seed", "5"], "$.specification.seed: 0 there, 5 now"),
        (["--limit", "2"], "$.items.count: "),
        (["--epochs", "3"], "$.epochs: 1 there, 3 now"),
        (["--split", "search"], "$.items.split: 'select' there, 'search' now"),
        (["--data", "other.jsonl"], "$.items.digest"),
        (["--model", "solver=slow.json"], "$.specification.models.solver.delay_seconds"),
    ],
)
def test_a_changed_run_is_not_resumed(cli: Cli, changed: list[str], told: str) -> None:
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
    assert "holds another run" in cli.stderr
    assert told in cli.stderr


def test_ablate_tells_what_each_node_buys(cli: Cli) -> None:
    pytest.importorskip("scipy")
    arguments = ["eval", "best-of-n", "smoke", *SCRIPTED, "--model", "judge=scripted"]
    arguments += ["--data", "items.jsonl", "--output", "out", "--ablate"]
    result = cli.json(*arguments)
    assert [row["node"] for row in result["ablations"]] == ["best"]
    assert result["not_ablated"] == {"draft": "a ranker needs inputs"}
    assert "it buys" in cli.stderr
    again = cli.json(*arguments, "--resume")
    assert again == result


def test_resuming_needs_a_folder(cli: Cli) -> None:
    assert cli("eval", "single", "smoke", *SCRIPTED, "--resume") == 2
    assert "--resume needs --output" in cli.stderr


def test_a_comparison_is_resumed_where_it_was_stopped(cli: Cli) -> None:
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
    ("arguments", "told"),
    [
        (["nowhere"], "nowhere holds no run"),
        (["out", "--format", "csv", "--traces"], "do not fit into CSV"),
        (["out", "--format", "csv", "--json"], "--json prints one object"),
        (["out", "--output", "no/such/file"], "cannot write no/such/file"),
    ],
)
def test_export_tells_what_cannot_be_done(cli: Cli, arguments: list[str], told: str) -> None:
    start = ["eval", "single", "smoke", *SCRIPTED, "--data", "items.jsonl", "--output", "out"]
    assert cli(*start) == 0
    assert cli("export", *arguments) in (1, 2)
    assert told in cli.stderr


# ---------------------------------------------------------------------------------------- serve


def test_serve_tells_its_address_and_ends_with_an_interrupt() -> None:
    pytest.importorskip("uvicorn")
    import httpx

    command = [sys.executable, "-m", "archon", "serve", "single", "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, *SCRIPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        body = {"model": "single", "messages": [{"role": "user", "content": "What is 2 + 3?"}]}
        reply = httpx.post(f"{ready['address']}/v1/chat/completions", json=body, trust_env=False)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert ready["models"] == ["single"]
    assert reply.json()["choices"][0]["message"]["content"]
    assert ready["address"] in stderr
    assert "Traceback" not in stderr
    assert process.returncode == 130


# ---------------------------------------------------------------------------------------- files


def test_validate_tells_of_every_file_and_fails_if_one_is_wrong(cli: Cli) -> None:
    Path("good.json").write_text('{"name": "m", "backend": "scripted"}')
    Path("bad.json").write_text('{"name": "m", "backend": "scripted", "acuracy": 1}')
    Path("twice.json").write_text('{"name": "m", "name": "n", "backend": "scripted"}')
    assert cli("validate", "good.json") == 0
    assert cli("validate", "good.json", "bad.json", "twice.json", "none.json", "--json") == 2
    result = json.loads(cli.stdout)
    assert [row["valid"] for row in result["files"]] == [True, False, False, False]
    assert not result["valid"]
    assert "bad.json: $.acuracy" in cli.stderr


def test_validate_checks_the_graph_of_an_architecture(cli: Cli) -> None:
    spec = {
        "version": 1,
        "name": "loop",
        "models": {"m": "scripted"},
        "nodes": {
            "a": {"type": "fuser", "model": "m", "inputs": ["b"]},
            "b": {"type": "fuser", "model": "m", "inputs": ["a"]},
        },
        "output": "a",
    }
    Path("loop.json").write_text(json.dumps(spec))
    assert cli("validate", "loop.json") == 2
    assert "[no_cycle]" in cli.stderr


@pytest.mark.parametrize("kind", ["architecture", "model", "benchmark"])
def test_schema_prints_a_json_schema(cli: Cli, kind: str) -> None:
    assert cli("schema", kind) == 0
    assert "$schema" in json.loads(cli.stdout)
    assert "$schema" in cli.json("schema", kind)


def test_show_prints_a_flowchart(cli: Cli) -> None:
    assert cli("show", "rank-fuse") == 0
    assert cli.stdout.startswith("flowchart TD")
    flowchart = cli.stdout
    assert cli.json("show", "rank-fuse")["mermaid"] == flowchart


def test_show_estimates_the_cost_where_asked(cli: Cli) -> None:
    assert "cost" not in cli.json("show", "self-consistency", *SCRIPTED)
    cost = cli.json("show", "self-consistency", *SCRIPTED, "--cost", "--completion-tokens", "50")[
        "cost"
    ]
    assert cost["worst"]["calls"] == cost["expected"]["calls"] == 8
    assert (cost["worst"]["completion_tokens"], cost["expected"]["completion_tokens"]) == (
        2560,
        400,
    )
    assert cli("show", "self-consistency", *SCRIPTED, "--cost") == 0
    assert "draft" in cli.stderr
    assert "at most" in cli.stderr


# --------------------------------------------------------------------------------------- models


def test_models_ls_shows_the_catalogue(cli: Cli) -> None:
    names = [row["name"] for row in cli.json("models", "ls")["models"]]
    assert {"scripted", "smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"} <= set(names)
    assert cli("models", "ls") == 0
    assert "smollm2-135m" in cli.stderr


def test_models_pull_show_and_rm_know_folders(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHON_CACHE", str(Path("cache").absolute()))
    Path("model").mkdir()
    Path("model/config.json").write_bytes(b"{}")
    Path("model/model.safetensors").write_bytes(b"weights")
    Path("model/README.md").write_text("not counted")
    card = {"version": 1, "name": "mine", "backend": "local", "sources": [{"path": "model"}]}
    Path("mine.json").write_text(json.dumps(card))
    result = cli.json("models", "pull", "./mine.json")
    assert result["path"].endswith("model")
    assert result["bytes"] == len(b"{}weights")
    card["sources"] = [{"path": "model", "sha256": result["sha256"]}]
    Path("mine.json").write_text(json.dumps(card))
    assert cli.json("models", "pull", "./mine.json") == result
    assert cli.json("models", "show", "./mine.json")["path"] == result["path"]
    assert cli.json("models", "rm", "./mine.json")["freed_bytes"] > 0
    assert Path("model/config.json").exists()
    Path("model/config.json").unlink()
    assert cli("models", "pull", "./mine.json") == 1
    assert "the folder has no config.json" in cli.stderr


def test_models_pull_and_rm(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHON_CACHE", "cache")
    Path("w.gguf").write_bytes(b"weights")
    card = {"name": "mine", "backend": "local", "sources": [{"path": "w.gguf"}]}
    Path("mine.json").write_text(json.dumps(card))
    result = cli.json("models", "pull", "./mine.json")
    assert set(result) == {"name", "path", "sha256", "bytes"}
    assert (result["bytes"], result["name"]) == (7, "mine")
    assert Path(result["path"]).read_bytes() == b"weights"
    assert result["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert cli.json("models", "show", "./mine.json")["path"] is not None
    assert cli.json("models", "rm", "./mine.json")["freed_bytes"] == 0
    assert Path("w.gguf").exists()


def test_weights_that_cannot_be_had_are_a_failure_with_its_reasons(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHON_CACHE", "cache")
    source = {"path": "missing.gguf", "sha256": "0" * 64}
    card = {"name": "mine", "backend": "local", "sources": [source]}
    Path("mine.json").write_text(json.dumps(card))
    assert cli("models", "pull", "./mine.json") == 1
    assert "path missing.gguf: No such file" in cli.stderr
    assert cli("run", "single", "q", "--model", "solver=./mine.json") == 1
    assert "path missing.gguf: No such file" in cli.stderr


# ---------------------------------------------------------------------------------------- bench


def test_bench_graph_gives_its_figures(cli: Cli) -> None:
    figures = cli.json("bench", "graph", "--num-questions", "20")
    assert figures["architecture"] == "archon-figure"
    assert figures["milliseconds_per_question"] > 0
    assert figures["calls_per_question"] > 10


def test_help_is_quick_and_imports_no_engine() -> None:
    script = (
        "import sys\nfrom archon.cli import main\n"
        "main(['--help'])\nassert not {'torch', 'rich', 'networkx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Answer one question." in done.stdout
