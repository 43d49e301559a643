"""Studies: what ``archon search`` prints and writes, with a fixed seed and the scripted model."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from contract_inputs import SPACE, write_inputs
from golden_files import check, masked, shape

from archon.cli import main

SEARCH = [
    "search", "space.json", "terms.json", "--trials", "6", "--limit", "6", "--final-limit", "6",
    "--finalists", "2", "--study", "fixed", "--seed", "3", "--warm-start", "known.json", "--json",
]  # fmt: skip
CHANGING = frozenset({"seconds", "end_time", "worker", "beat", "storage", "wall_seconds",
                      "tokens_per_second"})  # fmt: skip


@dataclass(frozen=True)
class Study:
    folder: Path
    result: dict[str, Any]
    tables: dict[str, list[str]]
    """Table to its columns."""
    trials: list[dict[str, Any]]
    """Of each trial: its parameters, its value, its attributes."""
    attributes: dict[str, Any]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("ARCHON_POOL", str(folder / "pool"))
        write_inputs(folder)
        (folder / "known.json").write_text(json.dumps(KNOWN))
        result = printed(SEARCH)
        database = folder / "runs" / "fixed" / "study.db"
        with closing(sqlite3.connect(database)) as connection:
            yield Study(folder, result, *read(connection))


KNOWN = {
    "version": 1,
    "name": "known",
    "models": {"solver": "scripted"},
    "nodes": {
        "draft": {"type": "generator", "model": "solver", "samples": 4,
                  "prompt": {"template": "cot", "shots": 0},
                  "sampling": {"temperature": 0.8, "max_tokens": 64}},
        "answer": {"type": "vote", "inputs": ["draft"]},
    },
    "output": "answer",
}  # fmt: skip


def printed(arguments: list[str]) -> dict[str, Any]:
    """The JSON that a command prints."""
    import contextlib
    import io

    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(arguments) == 0
    found: dict[str, Any] = json.loads(output.getvalue())
    return found


def read(
    connection: sqlite3.Connection,
) -> tuple[dict[str, list[str]], list[dict[str, Any]], dict[str, Any]]:
    """Tables, trials and attributes of a study in Optuna's database."""

    def rows(query: str) -> list[Any]:
        return connection.execute(query).fetchall()

    names = [name for (name,) in rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    tables = {name: [row[1] for row in rows(f"PRAGMA table_info({name})")] for name in names}
    trials = []
    for trial, number, state in rows("SELECT trial_id, number, state FROM trials ORDER BY number"):
        where = f"WHERE trial_id = {trial}"
        params = {}
        for name, index, kind in rows(
            f"SELECT param_name, param_value, distribution_json FROM trial_params {where}"
        ):
            params[name] = json.loads(kind)["attributes"]["choices"][int(index)]
        user = rows(f"SELECT key, value_json FROM trial_user_attributes {where}")
        system = rows(f"SELECT key FROM trial_system_attributes {where} ORDER BY key")
        values = rows(f"SELECT value FROM trial_values {where} ORDER BY objective")
        trials.append(
            {
                "number": number,
                "state": state,
                "params": params,
                "values": [value for (value,) in values],
                "user": {key: json.loads(text) for key, text in user},
                "system": [key for (key,) in system],
            }
        )
    found = rows("SELECT key, value_json FROM study_user_attributes")
    return tables, trials, {key: json.loads(text) for key, text in found}


def test_printed_result(study: Study) -> None:
    check("studies/result.json", masked(study.result, CHANGING))


def test_best_architecture(study: Study) -> None:
    best = json.loads((study.folder / "runs" / "fixed" / "best.json").read_text())
    assert best == study.result["best"]["architecture"]
    assert list(best) == list(study.result["best"]["architecture"])


def test_trials_and_their_attributes(study: Study) -> None:
    """Also which samples were reused: ``generated_tokens`` against ``completion_tokens``."""
    check("studies/trials.json", masked(study.trials, CHANGING))
    reused = [trial["user"].get("told", {}) for trial in study.trials]
    assert any(0 <= one["generated_tokens"] < one["completion_tokens"] for one in reused)


def test_attributes_of_the_study(study: Study) -> None:
    attributes = json.loads(json.dumps(study.attributes))
    assert attributes["archon"].pop("space") == SPACE
    check("studies/attributes.json", masked(attributes, CHANGING))


def test_tables_of_the_database(study: Study) -> None:
    """Optuna's own: an upgrade of Optuna may change them; what Archon adds is in attributes."""
    check("studies/tables.json", study.tables)


def test_files_of_the_folder(study: Study) -> None:
    root = study.folder / "runs" / "fixed"
    found = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    check("studies/files.json", found)


def test_resumed_study_runs_nothing_again(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study.folder)
    again = printed([*SEARCH, "--resume"])
    for key in ("best", "front", "num_trials", "test", "equal_cost"):
        assert again[key] == study.result[key]


def test_view(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    import re

    monkeypatch.chdir(study.folder)
    told = printed(["view", "runs/fixed", "--output", "study.html", "--json"])
    assert told == {"output": "study.html", "study": "fixed", "num_trials": 6}
    page = Path("study.html").read_text(encoding="utf-8")
    [data] = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL
    )
    check("studies/view-keys.json", shape(json.loads(data)))
