"""``archon export`` in the formats of Inspect and lm-eval, with the scripted model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_runner import Cli

from archon.evals.export_parts import encoded

ROWS = [
    {"question": "What is 2 + 3?", "answer": ["5", "5.0"], "size": "small"},
    {"question": "What is 20 + 31?", "answer": ["51"], "size": "large"},
]
SCORERS = ("number-exact", "inspect-f1", "lm-eval-flexible-extract")


@pytest.fixture
def run(cli: Cli, tmp_path: Path) -> str:
    """A run of two items and two epochs."""
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    scorers = [option for name in SCORERS for option in ("--scorer", name)]
    asked = ("eval", "self-consistency", "rows.jsonl", "--split", "all", "--epochs", "2")
    assert cli(*asked, *scorers, "--model", "scripted", "--no-cache", "--output", "run") == 0
    return "run"


def log_of(cli: Cli, *options: str) -> dict[str, Any]:
    assert cli("export", "run", "--format", "inspect", *options) == 0
    log: dict[str, Any] = json.loads(cli.stdout)
    return log


def test_a_log_has_every_answer_with_its_prompt_and_scores(cli: Cli, run: str) -> None:
    log, records = log_of(cli), cli.json("export", run)["records"]
    assert (log["version"], log["status"]) == (2, "success")
    assert [(s["id"], s["epoch"] - 1) for s in log["samples"]] == [
        (record["item"], record["epoch"]) for record in records
    ]
    for sample, record in zip(log["samples"], records, strict=True):
        assert sample["output"]["completion"] == record["text"]
        assert sample["messages"][-1]["content"] == record["text"]
        assert record["question"] in sample["messages"][0]["content"]
        assert sample["target"] in (["5", "5.0"], "51")
        assert sample["scores"]["number-exact"]["value"] == ("C" if record["score"] == 1 else "I")
        assert sample["scores"]["inspect-f1"]["value"] == record["other_scores"]["inspect-f1"]
        assert sample["metadata"]["size"] in ("small", "large")
        assert sample["store"]["archon:draws"]["draft"]
        assert "events" not in sample
    scores = {score["name"]: score["metrics"] for score in log["results"]["scores"]}
    report = json.loads(Path(run, "report.json").read_text())
    assert list(scores) == list(SCORERS)
    assert scores["number-exact"]["accuracy"]["value"] == report["accuracy"]
    assert scores["inspect-f1"]["mean"]["value"] == pytest.approx(
        report["metrics"]["inspect-f1"]["mean"]
    )


def test_traces_become_events(cli: Cli, run: str) -> None:
    events = log_of(cli, "--traces")["samples"][0]["events"]
    kinds = [event["event"] for event in events]
    assert kinds == ["span_begin", "model", "span_end", "span_begin", "span_end"]
    assert len(events[1]["output"]["choices"]) == 8
    assert (events[1]["role"], events[1]["model"]) == ("solver", "scripted")
    assert len({event["uuid"] for event in events}) == len(events)


def test_a_log_in_a_folder_has_a_name_that_is_found(cli: Cli, run: str) -> None:
    assert cli("export", run, "--format", "inspect", "--output", "logs") == 0
    assert cli("export", run, "--format", "inspect", "--output", "mine.json") == 0
    (log,) = Path("logs").iterdir()
    assert log.read_bytes() == Path("mine.json").read_bytes()
    package = pytest.importorskip("inspect_ai.log")
    assert len(package.list_eval_logs("logs")) == 1
    read = package.read_eval_log(str(log))
    assert (read.status, len(read.samples)) == ("success", 4)


def test_results_and_samples_of_lm_eval(cli: Cli, run: str) -> None:
    assert cli("export", run, "--format", "lm-eval", "--output", "out") == 0
    samples_file, results_file = sorted(Path("out").iterdir(), reverse=True)
    samples = [json.loads(line) for line in samples_file.read_text().splitlines()]
    assert len(samples) == 4 * len(SCORERS)
    assert {s["filter"] for s in samples} == {"number-exact", "inspect-f1", "flexible-extract"}
    assert {s["doc_id"] for s in samples} == {0, 1}
    assert samples[0]["doc"]["targets"] == ["5", "5.0"]
    (messages,) = samples[0]["arguments"]["gen_args_0"]["arg_0"]
    assert "What is 2 + 3?" in json.loads(messages)[0]["content"]
    results = json.loads(results_file.read_text())
    (figures,) = results["results"].values()
    report = json.loads(Path(run, "report.json").read_text())
    assert figures["exact_match,number-exact"] == report["accuracy"]
    assert figures["score,inspect-f1"] == pytest.approx(report["metrics"]["inspect-f1"]["mean"])
    assert "score,number-exact" not in figures
    assert results["n-samples"] == {"rows": {"original": 2, "effective": 2}}
    utils = pytest.importorskip("lm_eval.utils")
    assert utils.get_file_task_name(samples_file.name) == "rows"
    assert "flexible-extract" in utils.make_table(results)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["lm-eval"], "name a folder with --output"),
        (["lm-eval", "--traces", "--output", "out"], "--traces is not available for lm-eval"),
        (["lm-eval", "--output", "rows.jsonl"], "rows.jsonl is not a folder"),
        (["inspect", "--output", "log.eval"], "choose a name with .json"),
        (["inspect", "--json"], "--json cannot be combined"),
    ],
)
def test_impossible_options_are_usage_errors(
    cli: Cli, run: str, options: list[str], reason: str
) -> None:
    assert cli("export", run, "--format", *options) == 2
    assert reason in cli.stderr


def test_unpaired_surrogates_are_replaced() -> None:
    assert encoded({"a": "\ud800 \U0001f600 \\ud"}) == '{"a": "? \\ud83d\\ude00 \\\\ud"}'
