"""Runs: what ``archon eval`` writes, and that a stored run is still read to the same results."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from contract_inputs import write_inputs
from golden_files import STORED_RUNS, as_json, check, masked, shape

import archon
from archon.cli import main

EVAL = ["terms.json", "--limit", "2", "--split", "test", "--seed", "5"]
STORED = ("1-judged", "2-three-votes")
"""Folders of a comparison: ``archon compare judged.json vote.json -b terms.json --limit 2 --split
test --seed 5 --output stored_runs``, without the locks."""

Command = Callable[..., Any]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command in a folder with the inputs; returns its output, read where it is JSON."""
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)

    def run(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main(list(arguments)) == code
        text = capsys.readouterr().out
        return json.loads(text) if "--json" in arguments else text

    return run


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A copy of the stored runs, as the command would have left them here."""
    return Path(shutil.copytree(STORED_RUNS, tmp_path / "stored_runs"))


def journal_of(folder: Path) -> list[list[Any]]:
    """The parts of every line of the journal, sorted by item; the form of lines is checked."""
    lines = []
    for line in (folder / "journal").read_text(encoding="utf-8").splitlines():
        found = re.fullmatch(r"(\d+) ([0-9a-f]{8}) (.*)", line)
        assert found, line[:100]
        assert len(found[3].encode()) == int(found[1])
        lines.append([json.loads(part) for part in found[3].split("\t")])
    return sorted(lines, key=lambda parts: parts[1]["item"])


def shortened(value: Any) -> Any:
    """The same with digests in the place of the texts of prompts."""
    if isinstance(value, dict):
        return {
            key: sha256(one.encode()).hexdigest()[:16]
            if key == "content" and isinstance(one, str)
            else shortened(one)
            for key, one in value.items()
        }
    return [shortened(one) for one in value] if isinstance(value, list) else value


class TestNewRun:
    def test_report(self, command: Command) -> None:
        report = command("eval", "judged.json", *EVAL, "--output", "run", "--json")
        check("new_runs/eval.json", masked(report))

    def test_files_of_the_folder(self, command: Command) -> None:
        report = command("eval", "judged.json", *EVAL, "--output", "run", "--json")
        files = {path.name: path for path in Path("run").iterdir()}
        assert sorted(files) == [".lock", "journal", "report.json", "run.json"]
        assert json.loads(files["report.json"].read_text()) == report
        description = json.loads(files["run.json"].read_text())
        for key in ("machine", "versions", "id"):
            description[key] = shape(description[key])
        assert description["command"].pop("folder") == str(Path.cwd())
        check("new_runs/run.json", masked(description))

    def test_journal(self, command: Command) -> None:
        command("eval", "judged.json", *EVAL, "--output", "run", "--json")
        journal = journal_of(Path("run"))
        assert len(journal) == 2
        check("new_runs/journal-first.json", masked(shortened(journal[0])))
        check("new_runs/journal-records.json", [masked(parts[1]) for parts in journal[1:]])

    def test_ablations(self, command: Command) -> None:
        arguments = ["vote.json", *EVAL, "--epochs", "2", "--ablate", "--output", "run", "--json"]
        report = command("eval", *arguments)
        files = [str(path) for path in sorted(Path("run").rglob("*")) if path.is_file()]
        check("new_runs/ablations.json", {"files": files, "shape": shape(report),
                                      "ablations": masked(report["ablations"]),
                                      "not_ablated": report["not_ablated"]})  # fmt: skip

    def test_comparison(self, command: Command) -> None:
        pair = ["judged.json", "vote.json", "-b"]
        found = command("compare", *pair, *EVAL, "--output", "both", "--json")
        check("new_runs/compare.json", masked(found, both="both/"))
        assert sorted(path.name for path in Path("both").iterdir()) == list(STORED)


WARNINGS = {
    "1-judged": "with 2 items the accuracy is uncertain by ±33 points; ±5 needs about 340 items",
    "2-three-votes": (
        "with 2 items the accuracy is uncertain by ±41 points; ±5 needs about 390 items"
    ),
}
"""Warnings of the stored runs in this version's words; their stored reports have earlier ones."""


class TestStoredRun:
    """``stored_runs/`` was written by an earlier version."""

    @pytest.mark.parametrize("name", STORED)
    def test_report(self, name: str, stored: Path) -> None:
        run = archon.read_run(stored / name)
        kept = json.loads((stored / name / "report.json").read_text())
        report = json.loads(json.dumps(run.report().to_json()))
        assert report | {"run": ""} == kept | {"run": "", "warnings": [WARNINGS[name]]}
        assert run.num_runs == 2

    def test_export(self, command: Command, stored: Path) -> None:
        for name, options in {
            "export.jsonl": [], "export.csv": ["--format", "csv"]
        }.items():  # fmt: skip
            check(f"stored/{name}", command("export", "stored_runs/1-judged", *options))

    def test_export_in_other_forms_holds_the_same(self, command: Command, stored: Path) -> None:
        lines = command("export", "stored_runs/1-judged").splitlines()
        rows = [json.loads(line) for line in lines]
        whole = command("export", "stored_runs/1-judged", "--json")
        assert whole == {"version": 1, "records": rows}
        command("export", "stored_runs/1-judged", "--output", "written.jsonl")
        assert Path("written.jsonl").read_text().splitlines() == lines
        traced = command("export", "stored_runs/1-judged", "--traces").splitlines()
        journal = journal_of(stored / "1-judged")
        for line, row, (_, _, trace) in zip(traced, rows, journal, strict=True):
            assert json.loads(line) == row | {"trace": trace}

    def test_resume_asks_nothing_and_reports_the_same(self, command: Command, stored: Path) -> None:
        before = (stored / "1-judged" / "journal").read_bytes()
        options = ["--output", "stored_runs/1-judged", "--resume", "--json"]
        report = command("eval", "judged.json", *EVAL, *options)
        kept = json.loads((STORED_RUNS / "1-judged" / "report.json").read_text())
        assert report | {"run": ""} == kept | {"run": "", "warnings": [WARNINGS["1-judged"]]}
        assert (stored / "1-judged" / "journal").read_bytes() == before

    def test_a_run_that_was_cut_short_is_completed_alike(
        self, command: Command, stored: Path
    ) -> None:
        journal = stored / "1-judged" / "journal"
        whole = journal_of(stored / "1-judged")
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:1]))
        options = ["--output", "stored_runs/1-judged", "--resume", "--json"]
        command("eval", "judged.json", *EVAL, *options)
        again = journal_of(stored / "1-judged")
        changing = frozenset({"sitting", "cached_tokens", "generated_tokens"})
        for part in (part for entry in again for part in entry):
            if isinstance(part, dict):
                part.pop("usage_by_model", None)  # newer than the stored run
        for old, new in zip(masked(whole), masked(again), strict=True):
            assert masked(old, changing) == masked(new, changing)

    def test_compare(self, command: Command, stored: Path) -> None:
        pair = ["judged.json", "vote.json", "-b"]
        options = ["--output", "stored_runs", "--resume", "--json"]
        check("stored/compare.json", command("compare", *pair, *EVAL, *options))

    def test_view(self, command: Command, stored: Path) -> None:
        found = command("view", "stored_runs/1-judged", "--output", "page.html", "--json")
        assert found == {"output": "page.html", "runs": 1, "num_items": 2}
        page = Path("page.html").read_text(encoding="utf-8")
        [summary] = re.findall(
            r'<script type="application/json" id="summary">(.*?)</script>', page, re.DOTALL
        )
        data = json.loads(summary)
        report = data["runs"][0].pop("report")
        assert report["accuracy"] is not None
        check("stored/view.json", data)
        assert page.count('<script type="application/x-archon-chunk"') >= 2

    def test_view_of_several(self, command: Command, stored: Path) -> None:
        folders = [f"stored_runs/{name}" for name in STORED]
        found = command("view", *folders, "--json")
        assert found == {"output": "compare.html", "runs": 2, "num_items": 2}

    def test_stored_runs_are_as_they_were(self, stored: Path) -> None:
        """Nobody has rewritten them by accident: they are worth something as they are old."""
        digests = {
            str(path.relative_to(stored)): sha256(path.read_bytes()).hexdigest()
            for path in sorted(stored.rglob("*"))
            if path.is_file()
        }
        check("stored/digests.json", as_json(digests))
