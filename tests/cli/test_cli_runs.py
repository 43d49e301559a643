"""Commands on stored runs: resume, ls runs, compare, rm, and the served index."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cli_runner import SCRIPTED, Cli

from archon.cli.run_table import run_list
from archon.cli.view_server import IndexServer, start_server

STORED_RUNS = Path(__file__).parents[1] / "contracts" / "stored_runs"
DATA = ["arithmetic", "--data", "items.jsonl", "--limit", "4"]
EVAL = ["eval", "single", *DATA, *SCRIPTED, "--no-cache", "--output", "a run"]


def description(path: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((Path(path) / "run.json").read_text())
    return data


def cut(path: str, lines: int) -> None:
    """Leave only the first answers of a run."""
    journal = Path(path) / "journal"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:lines]))


def test_resume_repeats_the_options(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cli.json(*EVAL)
    cut("a run", 2)
    here = Path.cwd()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")  # --data is relative to the folder of the first command
    report = cli.json("resume", "../a run")
    assert Path.cwd() == here / "elsewhere"
    assert report["accuracy"] == whole["accuracy"]
    assert report["num_runs"] == 4


def test_resume_with_a_higher_limit_asks_the_new_items(cli: Cli) -> None:
    cli.json(*EVAL)
    assert cli.json("resume", "a run", "--limit", "6")["num_runs"] == 6
    assert description("a run")["limit"] == 6
    assert len((Path("a run") / "journal").read_bytes().splitlines()) == 6
    assert cli.json("resume", "a run")["num_runs"] == 6  # the new limit is stored
    assert cli("resume", "a run", "--limit", "5") == 2
    assert "set --limit to at least 6" in cli.stderr


def test_an_interrupted_eval_prints_how_to_continue(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(jobs: Any, *_: Any) -> None:
        [job] = jobs
        job.folder.write_description({**job.evaluation.description, **job.command, "id": "x"})
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("archon.cli.evaluate.measure", interrupt)
        assert cli(*EVAL) == 130
    assert "to continue: archon resume 'a run'" in cli.stderr
    assert cli.json("resume", "a run")["num_runs"] == 4


def test_a_run_without_a_stored_command_is_refused_with_the_cure(cli: Cli) -> None:
    shutil.copytree(STORED_RUNS, "stored")
    for path in ("stored/1-judged", "stored"):
        assert cli("resume", path) == 2
        assert "does not contain the command that started it" in cli.stderr
    assert cli("resume", "stored/1-judged") == 2
    assert "archon eval ARCH BENCH --limit 2 --split test --seed 5 --epochs 1" in cli.stderr
    assert cli("resume", ".") == 2
    assert "contains no run, comparison or study" in cli.stderr


def test_a_comparison_is_resumed_listed_compared_and_deleted(cli: Cli) -> None:
    pair = ["compare", "single", "self-consistency", "-b", *DATA, *SCRIPTED]
    whole = cli.json(*pair, "--output", "runs/both")
    cut("runs/both/1-single", 3)
    shutil.rmtree("runs/both/2-self-consistency")
    resumed = cli.json("resume", "runs/both")
    figures = ("name", "accuracy", "accuracy_interval", "cost_tokens", "num_runs")
    for before, after in zip(whole["rows"], resumed["rows"], strict=True):
        assert [before[key] for key in figures] == [after[key] for key in figures]

    listed = cli.json("ls", "runs")
    assert [row["name"] for row in listed["runs"]] == [row["run"] for row in resumed["rows"]]
    assert listed["comparisons"][0]["path"] == "runs/both"
    assert cli("ls", "runs") == 0
    assert "finished" in cli.stdout
    assert "runs/both: 2 runs" in cli.stdout

    again = cli.json("compare", "runs/both")
    assert again["pairs"] == resumed["pairs"]
    assert again["equal_cost"] == resumed["equal_cost"]
    assert cli("compare", "runs/both", "rank-fuse") == 2
    assert "compare either architectures or finished runs" in cli.stderr
    assert cli("compare", "runs/both", "--limit", "3") == 2
    assert "leave out --limit" in cli.stderr
    assert cli("compare", "single", "rank-fuse") == 2
    assert "add -b BENCH" in cli.stderr

    assert cli("rm", "runs/both") == 2
    assert "add --yes" in cli.stderr
    assert Path("runs/both/1-single").is_dir()
    assert len(cli.json("rm", "runs/both", "--yes")["removed"]) == 2
    assert not Path("runs/both").exists()
    assert cli.json("ls", "runs") == {"runs": [], "comparisons": [], "studies": []}


def test_a_folder_has_an_index_and_a_comparison_its_page(cli: Cli) -> None:
    shutil.copytree(STORED_RUNS, "runs/stored")
    assert cli.json("view", "runs/stored") == {
        "output": "runs/stored/view.html", "runs": 2, "num_items": 2,
    }  # fmt: skip
    found = cli.json("view", "runs")
    assert found == {"output": "runs/index.html", "runs": 2, "comparisons": 1, "studies": 0}
    Path("empty").mkdir()
    assert cli("view", "empty") == 2
    assert "contains no runs and no studies" in cli.stderr


def test_the_served_index_shows_new_answers_and_only_listed_runs(cli: Cli) -> None:
    shutil.copytree(STORED_RUNS, "runs")
    server = IndexServer(run_list("runs"), lambda path: f"the page of {path}")
    with start_server(server, 0) as http:
        threading.Thread(target=http.serve_forever, args=[0.05], daemon=True).start()
        root = f"http://127.0.0.1:{http.server_port}"

        def get(path: str, **headers: str) -> tuple[int, str]:
            request = urllib.request.Request(root + path, headers=headers)
            try:
                with urllib.request.urlopen(request) as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        status, page = get("/")
        assert status == 200
        assert "connect-src 'self'" in page
        first = json.loads(get("/data.json")[1])
        assert [row["state"] for row in first["runs"]] == ["finished", "finished"]
        assert set(json.loads(get(f"/data.json?known={first['key']}")[1])) == {"key", "made"}
        cut("runs/1-judged", 1)
        Path("runs/1-judged/report.json").unlink()
        second = json.loads(get(f"/data.json?known={first['key']}")[1])
        assert second["runs"][0]["state"] == "interrupted"
        assert get("/" + second["runs"][1]["href"])[0] == 200
        assert get("/compare?run=runs/1-judged&run=runs/2-three-votes")[0] == 200
        for path in ("/run?path=/etc", "/run?path=runs/../runs/1-judged", "/run", "/x", "/study"):
            assert get(path)[0] == 404
        assert get("/", Host="evil.example:80")[0] == 403
        http.shutdown()


def test_a_curve_agrees_with_runs_and_is_resumed(cli: Cli) -> None:
    options = ["-b", *DATA, "--model", "scripted", "--samples", "1,2,4"]
    found = cli.json("curve", "program-and-prose", "rank-fuse", *options, "--output", "c")
    names = [curve["name"] for curve in found["curves"]]
    assert names == ["program-and-prose", "rank-fuse-vote-draft", "rank-fuse"]
    assert [point["k"] for point in found["curves"][0]["points"]] == [1, 2, 4]
    for name, folder in (("program-and-prose", "1"), ("rank-fuse-vote-draft", "2")):
        report = json.loads(Path(f"c/{folder}-{name}-4/report.json").read_text())
        last = found["curves"][names.index(name)]["points"][-1]
        assert last["accuracy"] == pytest.approx(report["accuracy"])
        assert last["tokens"] == pytest.approx(report["cost_tokens"])
    assert [curve["is_averaged"] for curve in found["curves"]] == [True, True, False]
    assert {"curve.svg", "curve.csv", "curve.json"} <= {path.name for path in Path("c").iterdir()}
    cut("c/5-rank-fuse-1", 1)
    again = cli.json("resume", "c")
    assert [curve["points"][0]["accuracy"] for curve in again["curves"]] == [
        curve["points"][0]["accuracy"] for curve in found["curves"]
    ]
    assert cli("curve", "single", *options[:-1], "0,2") == 2
    assert "--samples must be numbers from 1" in cli.stderr
