"""The other commands: serve, files, models, bench."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runner import SCRIPTED, Cli


def test_serve_prints_its_address_and_stops_on_an_interrupt() -> None:
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


def test_validate_reports_every_file_and_fails_if_one_is_invalid(cli: Cli) -> None:
    Path("good.json").write_text('{"name": "m", "backend": "scripted"}')
    Path("bad.json").write_text('{"name": "m", "backend": "scripted", "acuracy": 1}')
    Path("twice.json").write_text('{"name": "m", "name": "n", "backend": "scripted"}')
    assert cli("validate", "good.json") == 0
    assert cli("validate", "good.json", "bad.json", "twice.json", "none.json", "--json") == 2
    result = json.loads(cli.stdout)
    assert [row["valid"] for row in result["files"]] == [True, False, False, False]
    assert not result["valid"]
    assert "bad.json: $.acuracy" in cli.stderr


def test_validate_reads_the_rows_of_a_benchmark(cli: Cli) -> None:
    card = {"version": 1, "name": "rows", "source": {"jsonl": "rows.jsonl"}}
    Path("rows.json").write_text(json.dumps(card))
    rows = [json.dumps({"question": f"What is {n} + 0?", "answer": str(n)}) for n in range(10)]
    Path("rows.jsonl").write_text("\n".join(rows))
    assert cli("validate", "rows.json") == 0
    assert "rows.json: valid benchmark: 3 search, 3 select, 4 test items" in cli.stdout
    rows[4] = '{"question": "What is 4 + 0?"}'
    Path("rows.jsonl").write_text("\n".join(rows))
    assert cli("validate", "rows.json") == 2
    assert "rows.jsonl:5" in cli.stderr


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
    assert "draft" in cli.stdout
    assert "at most" in cli.stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["ls", "spaces"], "small"),
        (["models", "ls"], "scripted"),
        (["cache", "ls"], "total"),
        (["show", "small"], "parameter"),
        (["show", "single", "--cost"], "at most"),
        (["validate", "model.json"], "model.json: valid model"),
        (["eval", "single", "smoke", *SCRIPTED, "--limit", "2"], "accuracy"),
    ],
)
def test_results_go_to_standard_output_and_with_json_only_the_object(
    cli: Cli, arguments: list[str], part: str
) -> None:
    Path("model.json").write_text('{"name": "m", "backend": "scripted"}')
    assert cli(*arguments) == 0
    assert part in cli.stdout
    assert cli.json(*arguments)


def test_models_ls_shows_the_catalogue(cli: Cli) -> None:
    names = [row["name"] for row in cli.json("models", "ls")["models"]]
    assert {"scripted", "smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"} <= set(names)
    assert cli("models", "ls") == 0
    assert "smollm2-135m" in cli.stdout


def test_models_pull_show_and_rm_work_with_folders(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_unavailable_weights_are_a_failure_with_reasons(
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


def test_bench_graph_prints_figures(cli: Cli) -> None:
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
