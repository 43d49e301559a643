"""Complete searches on the scripted model, as a function and as a command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import archon
from archon import api
from archon.cli import main
from archon.errors import LMError, StorageError, UsageError
from archon.evals.run import read_run
from archon.lm.scripted.lm import ScriptedLM
from archon.spec.reader import load_architecture
from archon.types import Request

optuna = pytest.importorskip("optuna")

ITEMS = [
    {"id": f"item-{a}-{b}", "question": f"What is {a} + {b}?", "answer": str(a + b)}
    for a in range(10)
    for b in range(12)
]
SPACE: dict[str, Any] = {
    "version": 1,
    "name": "tiny",
    "models": {"solver": "scripted"},
    "nodes": {
        "draft": {
            "type": "generator",
            "model": "solver",
            "samples": {"$choice": [1, 3, 9], "$name": "samples"},
            "prompt": {"template": {"$choice": ["cot", "concise"], "$name": "template"}},
            "sampling": {"temperature": 0.8, "top_p": 0.95, "max_tokens": 320},
        },
        "checked": {
            "$choice": [None, {"type": "verifier", "method": "equations", "inputs": ["draft"]}],
            "$name": "check",
        },
        "answer": {"type": "vote", "inputs": ["checked"]},
    },
    "output": "answer",
    "$forbid": [{"samples": 1, "check": {"not": None}}],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    Path("space.json").write_text(json.dumps(SPACE))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return tmp_path


def searched(**given: Any) -> archon.SearchResult:
    usual: dict[str, Any] = {"trials": 5, "limit": 20, "final_limit": 20, "data": "items.jsonl"}
    return archon.search(SPACE, "smoke", **{**usual, **given})


def test_the_winner_is_an_ordinary_architecture_with_its_evidence() -> None:
    result = searched(study="one")
    assert result.num_trials == 5
    assert result.best is not None
    assert result.search is not None
    assert result.select is not None
    assert result.test is not None
    saved = load_architecture(Path(result.output or "")).spec
    assert saved.name == "tiny-best"
    assert "against a vote over" in saved.description
    assert archon.load(Path(result.output or "")).run("What is 2 + 3?").text
    assert saved.model_dump(mode="json", exclude_defaults=True) == result.best["architecture"]
    assert result.equal_cost is not None
    assert result.equal_cost["is_enough"]
    json.dumps(result.to_json())


def test_the_three_splits_share_no_item() -> None:
    result = searched(study="one")
    assert result.search is not None
    assert result.select is not None
    assert result.test is not None
    runs = (result.search["run"], result.select["run"], result.test["run"])
    asked = [{record.item for record in read_run(run).records()} for run in runs]
    assert all(len(items) == 20 for items in asked)
    assert len(set().union(*asked)) == 60


def test_trials_share_their_samples() -> None:
    result = searched(study="one", stops_early=False, finalists=0)
    tokens = result.trials_tokens
    assert 0 < tokens["generated"] < 0.7 * tokens["without_pool"]
    assert tokens["without_pool"] == tokens["without_pool_and_stopping"]
    assert result.generated_tokens == tokens["generated"]
    assert (result.select, result.test) == (None, None)


def test_a_finished_study_is_reported_again_without_asking() -> None:
    first = searched(study="one")
    again = searched(study="one", resume=True)
    assert again == first


def test_a_study_continues_with_more_trials() -> None:
    searched(study="one", trials=2, finalists=0)
    result = searched(study="one", trials=5, finalists=0, resume=True)
    assert result.num_trials == 5


def test_a_search_is_reproducible() -> None:
    first, second = searched(study="one", finalists=0), searched(study="two", finalists=0)
    assert first.best == {**(second.best or {}), "architecture": (first.best or {})["architecture"]}
    assert [row["accuracy"] for row in first.front] == [row["accuracy"] for row in second.front]


def test_known_architectures_are_the_first_trials() -> None:
    known = {
        "version": 1,
        "name": "known",
        "models": {"m": "scripted"},
        "nodes": {
            "a": {
                "type": "generator",
                "model": "m",
                "samples": 9,
                "sampling": {"temperature": 0.8, "top_p": 0.95, "max_tokens": 320},
            },
            "b": {"type": "vote", "inputs": ["a"]},
        },
        "output": "b",
    }
    searched(study="one", trials=2, finalists=0, warm_start=[known])
    study = optuna.load_study(study_name="one", storage="sqlite:///runs/one/study.db")
    first = study.get_trials()[0]
    assert first.params == {"samples": "9", "template": '"cot"', "check": "null"}
    with pytest.raises(UsageError, match="no configuration of the tiny space builds rank-fuse"):
        searched(study="two", warm_start=["rank-fuse"])


def test_time_is_measured_on_generated_samples() -> None:
    result = searched(study="one", trials=3, objective=["accuracy", "seconds"], finalists=0)
    assert result.trials_tokens["generated"] == result.trials_tokens["without_pool"]


def test_compute_is_an_objective_if_the_model_has_a_size(folder: Path) -> None:
    sized = {"version": 1, "name": "sized", "backend": "scripted", "parameters": {"total": 1000}}
    (folder / "sized.json").write_text(json.dumps(sized))
    options: dict[str, Any] = {"objective": ["accuracy", "compute"], "trials": 2, "cost": "compute"}
    result = searched(study="one", models={"solver": "./sized.json"}, **options)
    assert all(row["compute"] > 2000 for row in result.front)
    row = result.equal_cost
    assert row is not None
    assert row["cost"] == "compute"
    assert row["amount"] == pytest.approx((result.test or {})["compute"])
    again = searched(study="one", models={"solver": "./sized.json"}, resume=True, **options)
    assert again.front == result.front
    with pytest.raises(UsageError, match='parameters of scripted is not known; add "parameters"'):
        searched(study="two", finalists=0, **options)


def test_a_trial_whose_time_is_used_up_is_cut_short(folder: Path) -> None:
    slow = {"version": 1, "name": "slow", "backend": "scripted", "delay_seconds": 0.2}
    (folder / "slow.json").write_text(json.dumps(slow))
    models = {"solver": "./slow.json"}
    result = searched(study="one", trials=1, models=models, max_seconds=0.001, finalists=0)
    assert (result.best, result.num_stopped) == (None, 1)
    study = optuna.load_study(study_name="one", storage="sqlite:///runs/one/study.db")
    record = next(t.user_attrs["told"] for t in study.get_trials() if "told" in t.user_attrs)
    assert record["reason"] == "above the limit of 0.001 seconds per answer"
    assert 0 < len(record["seconds"]) <= 10


def test_the_winner_has_the_chosen_models(folder: Path) -> None:
    own = {"version": 1, "name": "own", "backend": "scripted", "accuracy": 0.9}
    (folder / "own.json").write_text(json.dumps(own))
    result = searched(study="one", trials=2, finalists=0, models={"solver": "./own.json"})
    assert (result.best or {})["architecture"]["models"] == {"solver": str(folder / "own.json")}
    with pytest.raises(UsageError, match="the tiny space has no role 'judge'"):
        searched(models={"judge": "scripted"})


def test_a_space_serves_a_custom_study() -> None:
    space = archon.Space.load(SPACE)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: Any) -> float:
        point = space.suggest(trial)
        if space.forbidding(point) is not None:
            raise optuna.TrialPruned
        architecture = archon.load(space.build(point).model_dump(mode="json"))
        report = archon.evaluate(architecture, "smoke", limit=4, data="items.jsonl")
        return report.accuracy or 0.0

    study.optimize(objective, n_trials=4)
    assert any(trial.value is not None for trial in study.get_trials())


def test_an_exhausted_space_is_named_as_the_reason_for_fewer_trials() -> None:
    result = searched(trials=60, sampler="exhaustive", finalists=0, limit=2)
    assert result.warnings[0] == (
        "the search ended after 10 of 60 trials: all 10 configurations of the space were tried"
    )
    assert not searched(trials=2, finalists=0, limit=2).warnings


def test_searches_that_start_in_the_same_second_are_different_studies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("archon.study.session.time.strftime", lambda *_: "20260101-000000")
    names = [searched(trials=1, finalists=0, limit=1).study for _ in range(3)]
    stem = "20260101-000000-tiny-smoke"
    assert names == [stem, f"{stem}-2", f"{stem}-3"]


# --------------------------------------------------------------------------------------- command

ARGUMENTS = ["search", "space.json", "smoke", "--data", "items.jsonl", "--trials", "3"]
ARGUMENTS += ["--limit", "20", "--final-limit", "20"]


def test_the_command_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--study", "one", "--json", "--output", "found.json"]) == 0
    stdout, stderr = capsys.readouterr()
    result = json.loads(stdout)
    promised = {"study", "num_trials", "best", "front", "search", "select", "test"}
    assert promised | {"generated_tokens", "cost_tokens"} <= set(result)
    assert result["output"] == "found.json"
    assert "against a vote over" in stderr
    assert "without the sample pool:" in stderr
    assert "archon view runs/one" in stderr
    assert main(["view", "runs/one"]) == 0
    assert main(["validate", "found.json"]) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--objective", "speed"], "unknown objective 'speed'"),
        (["--objective", "accuracy,accuracy"], "appears twice"),
        (["--sampler", "bayes"], "unknown sampler 'bayes'"),
        (["--trials", "0"], "at least one trial"),
        (["--resume"], "--resume needs the name of the study"),
        (["--model", "judge=scripted"], "no role 'judge'"),
        (["--max-tokens", "-1"], "must be above 0"),
        (["--warm-start", "nothing"], "no architecture named 'nothing'"),
        (["--storage", "nosuch://x"], "cannot open the storage"),
        (["--output", "."], "is a folder"),
    ],
)
def test_wrong_input_is_reported(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ARGUMENTS
    if "--trials" in arguments:  # an option is not taken twice
        place = ARGUMENTS.index("--trials")
        given = [*ARGUMENTS[:place], *ARGUMENTS[place + 2 :]]
    assert main([*given, *arguments]) == 2
    assert reason in capsys.readouterr().err


def test_another_study_is_refused_before_models_are_opened(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    searched(study="one", trials=1, finalists=0)
    monkeypatch.setattr("archon.cli.weights.open_all", lambda lms: pytest.fail("opened"))
    assert main([*ARGUMENTS, "--study", "one", "--resume", "--seed", "3"]) == 2
    assert "$.seed: 0 stored, 3 now" in capsys.readouterr().err


def test_the_winner_of_several_workers_is_written_by_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = searched(study="one", finalists=0)
    Path(first.output or "").unlink()

    @asynccontextmanager
    async def another_has_it(*_: Any) -> AsyncIterator[bool]:
        yield False

    with monkeypatch.context() as patch:
        patch.setattr("archon.study.session.leased", another_has_it)
        result = searched(study="one", resume=True)
    assert result.output is None
    assert result.test is None
    assert "another worker" in result.warnings[-1]
    assert not Path(first.output or "").exists()


def test_the_next_worker_reports_finished_finals_without_asking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = searched(study="one")
    shutil.rmtree("runs/one/select")
    monkeypatch.setattr("archon.study.session.Finals", lambda *_: pytest.fail("asked again"))
    assert searched(study="one", resume=True) == first


def test_resuming_asks_failed_items_of_the_finals_again() -> None:
    items = api.benchmark("smoke", split="test", limit=20, data="items.jsonl").items
    lost = {items[3].question}

    def reply(request: Request, draw: int) -> str:
        if any(question in request.messages[-1].content for question in lost):
            raise LMError("the server is away")
        return "The answer is 5."

    given = {"study": "one", "trials": 1, "models": {"solver": ScriptedLM(reply)}, "cache": False}
    first = searched(**given)
    assert first.test is not None
    assert first.test["num_errors"] == 1
    lost.clear()
    again = searched(**given, resume=True)
    assert again.test is not None
    assert (again.test["num_errors"], again.num_tested) == (0, 1)
    study = optuna.load_study(study_name="one", storage="sqlite:///runs/one/study.db")
    assert len(study.user_attrs["finals_held"]) == 1


def test_a_longer_study_has_new_finals_and_counts_uses_of_the_test() -> None:
    first = searched(study="one", trials=1)
    assert first.num_tested == 1
    assert first.best is not None
    again = searched(study="one", trials=9, resume=True)
    study = optuna.load_study(study_name="one", storage="sqlite:///runs/one/study.db")
    held = study.user_attrs["finals_held"]
    assert [entry["num_trials"] for entry in held] == [1, again.num_trials]
    assert held[0]["winner"] == first.best["trial"]
    assert again.best is not None
    assert again.best["trial"] != first.best["trial"]
    assert again.num_tested == 2
    assert any("were used 2 times" in warning for warning in again.warnings)


def test_limits_that_no_trial_keeps_find_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--study", "one", "--max-tokens", "1", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["best"] is None
    assert "was closest to being accepted" in result["warnings"][-1]
    assert "tokens per answer are expected, above the limit of 1" in result["warnings"][-1]


def test_unwritable_locations_are_reported_first(folder: Path) -> None:
    for output, reason in (
        (folder, "is a folder"),
        (folder / "no" / "x.json", "does not exist"),
    ):
        with pytest.raises(UsageError, match=reason):
            searched(study="one", output=output)
    (folder / "runs" / "two").write_text("no folder")
    with pytest.raises(UsageError, match="cannot create the folder runs/two: File exists"):
        searched(study="two")
    assert not list(folder.glob("runs/one/*.db"))


def test_a_damaged_database_is_reported_with_the_cause(folder: Path) -> None:
    searched(study="one", trials=2, finalists=0)
    database = folder / "runs" / "one" / "study.db"
    content = bytearray(database.read_bytes())
    third = len(content) // 3
    content[third : third + 9000] = b"x" * 9000
    database.write_bytes(content)
    with pytest.raises(StorageError, match="malformed"):
        searched(study="one", trials=2, finalists=0, resume=True)


def test_an_interrupted_search_keeps_finished_trials_and_continues(folder: Path) -> None:
    slow = {"version": 1, "name": "slow", "backend": "scripted", "delay_seconds": 0.2}
    (folder / "slow.json").write_text(json.dumps(slow))
    more = ["--model", "solver=./slow.json", "--study", "one", "--finalists", "0"]
    command = [sys.executable, "-m", "archon", *ARGUMENTS, *more]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    deadline = time.monotonic() + 60
    while not list(folder.glob("runs/one/trials/*/journal")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "to continue: archon resume runs/one" in stderr
    assert "Traceback" not in stderr
    assert main([*ARGUMENTS, *more, "--resume"]) == 0


@pytest.mark.parametrize("given", [False, True])
def test_the_winners_file_finds_its_models_from_its_own_folder(given: bool) -> None:
    card = {"version": 1, "name": "quick", "backend": "scripted", "accuracy": 0.9}
    Path("quick.json").write_text(json.dumps(card))
    if not given:
        Path("space.json").write_text(json.dumps({**SPACE, "models": {"solver": "quick.json"}}))
    models: dict[str, Any] = {"models": {"solver": "quick.json"}} if given else {}
    result = archon.search(
        "./space.json",
        "smoke",
        data="items.jsonl",
        trials=2,
        limit=5,
        finalists=0,
        study="one",
        **models,
    )
    assert archon.load(Path(result.output or "")).run("What is 2 + 3?").text
