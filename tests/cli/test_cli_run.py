"""``archon run`` and bad input of every command: answers, traces, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runner import SCRIPTED, Cli

from archon.cli.console import console


def test_run_prints_the_answer_and_nothing_else_on_standard_output(cli: Cli) -> None:
    assert cli("run", "single", "What is 2 + 3?", *SCRIPTED) == 0
    assert cli.stdout.strip()
    assert "cost" not in cli.stdout
    assert "cost" in cli.stderr


def test_run_as_json_has_the_documented_keys(cli: Cli) -> None:
    result = cli.json("run", "rank-fuse", "What is 2 + 3?", *SCRIPTED, "--model", "judge=scripted")
    assert set(result) == {"text", "value", "candidates", "usage", "cost_tokens"}
    assert result["candidates"][0]["text"] == result["text"]
    assert result["usage"]["calls"] > 8


@pytest.mark.parametrize(
    ("kind", "question", "value"),
    [
        ("math", "What is 2 + 3?", "5"),
        ("json", "What is 2 + 3?", "5"),
        ("choice", "What is 2 + 3?\nA. 4\nB. 5", "B"),
        ("text", "What is 2 + 3?", "5"),
    ],
)
def test_run_asks_for_a_type_of_answer(cli: Cli, kind: str, question: str, value: str) -> None:
    Path("exact.json").write_text('{"name": "exact", "backend": "scripted", "accuracy": 1}')
    asked = ("run", "self-consistency", question, "--model", "exact.json")
    assert cli.json(*asked, "--answer", kind)["value"] == value


def test_run_refuses_an_unknown_type_of_answer(cli: Cli) -> None:
    assert cli("run", "single", "What is 2 + 3?", *SCRIPTED, "--answer", "numbre") == 2
    assert "numbre" in cli.stderr


def test_run_prints_which_nodes_the_budget_cut_short(cli: Cli) -> None:
    nodes = {
        "draft": {"type": "generator", "model": "solver", "samples": 3},
        "check": {"type": "verifier", "model": "solver", "inputs": ["draft"]},
    }
    spec = {"version": 1, "name": "held", "models": {"solver": "scripted"}, "nodes": nodes}
    Path("held.json").write_text(
        json.dumps({**spec, "output": "check", "budget": {"max_calls": 4}})
    )
    assert cli("run", "held.json", "What is 2 + 3?") == 0
    assert "budget of calls cut the answer short at: check" in cli.stderr
    assert cli.json("run", "held.json", "What is 2 + 3?")["limited_by"] == "calls"


def test_run_as_json_has_the_trace_on_request(cli: Cli) -> None:
    result = cli.json("run", "single", "What is 2 + 3?", *SCRIPTED, "--trace")
    (node,) = result["trace"]["nodes"]
    assert "What is 2 + 3?" in node["calls"][0]["messages"][-1]["content"]


def test_a_printed_trace_has_the_generated_tests(cli: Cli) -> None:
    roles = ("--model", "solver=scripted", "--model", "judge=scripted")
    assert cli("run", "unit-tests", "What is 2 + 3?", *roles, "--trace") == 0
    assert cli.stderr.count("test: It works out 2 + 3.") == 1


def test_run_prints_the_trace_on_standard_error(cli: Cli) -> None:
    assert cli("run", "single", "What is 2 + 3?", *SCRIPTED, "--trace") == 0
    assert "What is 2 + 3?" in cli.stderr
    assert "What is 2 + 3?" not in cli.stdout


def test_a_printed_trace_has_program_results_and_dropped_candidates(cli: Cli) -> None:
    assert cli("run", "program-vote", "What is 2 + 3?", *SCRIPTED, "--trace") == 0
    assert "→ draft[0]: value 5, program: ok" in cli.stderr
    assert cli("run", "checked-vote", "What is 2 + 3?", *SCRIPTED, "--trace") == 0
    assert ", score 1, pass" in cli.stderr
    assert ", fail" in cli.stderr


def test_the_seed_changes_the_samples(cli: Cli) -> None:
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
def test_an_empty_or_undecodable_question_has_exit_code_2(content: bytes) -> None:
    done = run_with_stdin(content, "run", "single", *SCRIPTED)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr


def test_a_question_of_megabytes_is_answered() -> None:
    content = b"What is 2 + 3? " + b"x " * 1_000_000
    assert run_with_stdin(content, "run", "single", *SCRIPTED).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["run", "no-such", "q"], "no architecture named 'no-such'"),
        (["run", "./missing.json", "q"], "./missing.json: no such file"),
        (["run", "single", "q", "--model", "solver"], "ROLE=NAME"),
        (["run", "single", "q", "--model", "=scripted"], "ROLE=NAME"),
        (["run", "single", "q", *SCRIPTED, *SCRIPTED], "twice"),
        (["run", "single", "q", "--model", "solvr=scripted"], "did you mean 'solver'?"),
        (
            ["run", "single", "q", "--model", "solver=scripte"],
            "did you mean 'scripted', 'ollama:scripte' or ",
        ),
        (["run", "single", "q", "--seed", "x"], "--seed"),
        (["run", "single", "q", "--no-such-flag"], "--no-such-flag"),
        (["eval", "single", "no-such", *SCRIPTED], "no benchmark named 'no-such'"),
        (["eval", "single", "smoke", *SCRIPTED, "--limit", "0"], "limit"),
        (["eval", "single", "smoke", *SCRIPTED, "--split", "tset"], "did you mean 'test'?"),
        (["eval", "single", "smoke", *SCRIPTED, "--epochs", "0"], "epoch"),
        (["eval", "single", "smoke", *SCRIPTED, "--data", "missing.jsonl"], "missing.jsonl"),
        (["eval", "single", "smoke", *SCRIPTED, "--require", "speed=3"], "accuracy=SHARE"),
        (["eval", "single", "smoke", *SCRIPTED, "--require", "accuracy=60"], "from 0 to 1"),
        (["eval", "single", "smoke", *SCRIPTED, "--require", "accuracy=nan"], "from 0 to 1"),
        (["compare", "single", "-b", "smoke", *SCRIPTED], "at least two"),
        (["compare", "single", "single", *SCRIPTED], "--benchmark"),
        (["serve", "single", "single", *SCRIPTED], "two served models have the name"),
        (["serve", "single", *SCRIPTED, "--port", "99999"], "--port"),
        (["validate"], "FILE"),
        (["schema", "modle"], "modle"),
        (["models", "pull", "no-such"], "no model 'no-such'"),
        (["models", "pull", "scripted"], "has no weights"),
        (["models", "rm", "scripted"], "has no weights"),
        (["bench", "engine", "--model", "scripted"], "choose a local model"),
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


def test_an_internal_error_is_one_line_with_a_traceback_on_request(
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


def test_a_closed_standard_output_prints_no_traceback() -> None:
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


def test_a_terminal_that_cannot_redraw_gets_no_moving_display(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "0")
    console.cache_clear()
    try:
        assert cli("run", "self-consistency", "What is 2 + 3?", *SCRIPTED) == 0
    finally:
        console.cache_clear()
    assert "\x1b[?25l" not in cli.stderr  # a display that moves hides the cursor
