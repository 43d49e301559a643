"""A folder of runs: what is found, the state of each run, and comparisons of stored runs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eval_doubles import CARD, SELECTION, FakeArchitecture, make_items

from archon.errors import UsageError
from archon.evals.benchmarks import Item
from archon.evals.collection.compare_runs import compare_runs
from archon.evals.collection.find_runs import find_runs, runs_of_comparison
from archon.evals.collection.index_page import index_data, write_index
from archon.evals.collection.item_marks import ItemMarks
from archon.evals.collection.remove_run import removable_run
from archon.evals.collection.run_list import RunList
from archon.evals.collection.run_row import run_row
from archon.evals.folder import RunFolder
from archon.evals.journal import read_entries
from archon.evals.runner import Evaluation, evaluate
from archon.evals.scorers import plain_scorer

Store = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Store a run whose answers to the first ``right`` items are right."""

    def stored(
        name: str,
        right: int = 3,
        *,
        items: list[Item] | None = None,
        asked: int | None = None,
        benchmark: str = "sums",
        **options: Any,
    ) -> Path:
        own = items or make_items(6)
        answers = {item.question: item.target for item in own[:right]}
        architecture = FakeArchitecture(lambda question, run: answers.get(question.text, "-1"))
        selection = replace(SELECTION, card=CARD.model_copy(update={"name": benchmark}))
        evaluation = Evaluation(
            architecture, own, plain_scorer("number-exact"), selection, **options
        )
        folder = RunFolder.create(tmp_path / name, name)
        asyncio.run(evaluate(evaluation, folder, num_items=asked))
        return folder.path

    return stored


def listed(folder: Path) -> RunList:
    return RunList(folder, "study.db", lambda path: {"path": str(path)})


def test_runs_are_found_in_subfolders(store: Store, tmp_path: Path) -> None:
    paths = [store("a"), store("deep/er/b"), store("both/1-x"), store("both/2-x")]
    (tmp_path / "study" / "trials" / "0000").mkdir(parents=True)
    (tmp_path / "study" / "study.db").touch()
    store("study/trials/0001")
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    (tmp_path / ".hidden").mkdir()
    found = find_runs(tmp_path, study_file="study.db")
    assert found.runs == [paths[0], paths[2], paths[3], paths[1]]
    assert found.comparisons == [tmp_path / "both"]
    assert found.studies == [tmp_path / "study"]
    inside = find_runs(tmp_path / "study", study_file="study.db")
    assert inside.runs == [tmp_path / "study" / "trials" / "0001"]
    assert find_runs(paths[0], study_file="study.db").runs == [paths[0]]
    with pytest.raises(UsageError, match="cannot read the folder"):
        find_runs(tmp_path / "nothing", study_file="study.db")


def test_numbered_folders_are_a_comparison_and_dated_ones_are_not(store: Store) -> None:
    store("dated/20260102-120000-x")
    path = store("dated/20260102-120001-y")
    assert runs_of_comparison(path.parent) == []
    first, second = store("both/1-y"), store("both/2-x")
    assert runs_of_comparison(first.parent) == [first, second]


def test_a_finished_run_is_listed_without_its_journal(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store("a", epochs=2)

    def refuse(_: Path) -> Any:
        raise AssertionError("the journal was read")

    monkeypatch.setattr("archon.evals.run.read_entries", refuse)
    row = run_row(path)
    assert (row.state, row.num_runs, row.num_asked, row.accuracy) == ("finished", 12, 12, 0.5)
    assert (row.architecture, row.benchmark, row.split) == ("fake", "sums", "select")


def test_a_report_that_does_not_cover_the_run_is_not_trusted(store: Store) -> None:
    path = store("a", asked=4)
    row = run_row(path)
    assert (row.state, row.num_runs, row.num_asked, row.accuracy) == ("interrupted", 4, 6, 0.75)
    report = path / "report.json"
    report.write_text(json.dumps(json.loads(report.read_text()) | {"accuracy": 0.1}))
    assert run_row(path).accuracy == 0.75
    for damaged in ("", "[]", "{}", '{"num_runs": "x"}'):
        report.write_text(damaged)
        assert run_row(path).accuracy == 0.75
    report.unlink()
    assert run_row(path).accuracy == 0.75


def test_failures_are_believed_only_in_a_report_younger_than_the_journal(tmp_path: Path) -> None:
    failing = FakeArchitecture(lambda question, run: RuntimeError("no"))
    evaluation = Evaluation(failing, make_items(2), plain_scorer("number-exact"), SELECTION)
    asyncio.run(evaluate(evaluation, RunFolder.create(tmp_path, "x"), max_errors=1.0))
    assert run_row(tmp_path).num_errors == 2
    report = tmp_path / "report.json"
    wrong = json.loads(report.read_text()) | {"num_errors": 1}
    report.write_text(json.dumps(wrong))
    old = time.time() - 100
    os.utime(report, (old, old))
    assert run_row(tmp_path).num_errors == 2


def test_a_run_that_a_process_is_writing_is_running(store: Store) -> None:
    path = store("a", asked=1)
    code = (
        "import sys; from pathlib import Path; from archon.storage.lock import locked\n"
        f"with locked(Path({str(path)!r}), 'run'): print('here', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert run_row(path).state == "running"
        with pytest.raises(UsageError, match="is being written"):
            removable_run(path)
        other.communicate()
    assert run_row(path).state == "interrupted"


def test_a_damaged_run_is_a_row_and_hides_no_other(store: Store, tmp_path: Path) -> None:
    store("a")
    (store("b") / "run.json").write_text("{")
    (store("c") / "journal").write_bytes(b"")
    rows = {Path(row["path"]).name: row for row in listed(tmp_path).read()["runs"]}
    assert rows["b"]["state"] == "damaged"
    assert "run.json is damaged" in rows["b"]["reason"]
    assert rows["a"]["state"] == "finished"


def test_a_list_reads_again_only_what_changed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = store("a", asked=2), store("b")
    runs = listed(tmp_path)
    assert [row["num_runs"] for row in runs.read()["runs"]] == [2, 6]
    read: list[Path] = []
    real = run_row
    monkeypatch.setattr(
        "archon.evals.collection.run_list.run_row", lambda each: read.append(each) or real(each)
    )
    runs.read()
    assert read == []
    with (path / "journal").open("ab") as journal:
        journal.write((other / "journal").read_bytes().splitlines(keepends=True)[5])
    assert [row["num_runs"] for row in runs.read()["runs"]] == [3, 6]
    assert read == [path]


def test_marks_of_items_pair_only_equal_items() -> None:
    marks = ItemMarks()
    assert marks.of({("a", "?", "1"): 1.0, ("b", "?", "1"): 0.0}) == "10"
    assert marks.of({("b", "?", "1"): 1.0, ("a", "?", "2"): 0.0}) == ".10"
    assert marks.of({("a", "?", "1"): 0.5}) == [0.5]
    assert marks.of({}) == ""


def test_the_index_has_links_marks_and_a_key(store: Store, tmp_path: Path) -> None:
    path = store("a b")
    store("c", asked=2)
    (path / "view.html").touch()
    first = write_index(listed(tmp_path), tmp_path / "index.html")
    rows = first.plain["runs"]
    assert [row["href"] for row in rows] == ["a%20b/view.html", None]
    assert [row["marks"] for row in rows] == ["111000", "11"]
    assert index_data(listed(tmp_path), lambda kind, path: None).key != first.key


class TestComparisonOfStoredRuns:
    def test_gives_the_result_of_a_comparison(self, store: Store) -> None:
        found = compare_runs([store("a", 4), store("b", 2)])
        assert [row["accuracy"] for row in found["rows"]] == [4 / 6, 2 / 6]
        [pair] = found["pairs"]
        assert pair["num_items"] == 6
        assert pair["difference"] == pytest.approx(2 / 6)
        assert found["equal_cost"] == []

    def test_refuses_other_benchmarks_by_name(self, store: Store) -> None:
        with pytest.raises(UsageError, match=r"(?s)a: sums \(select\).*b: terms \(select\)"):
            compare_runs([store("a"), store("b", benchmark="terms")])

    def test_refuses_other_items_under_the_same_ids(self, store: Store) -> None:
        moved = [replace(item, question="Another?") for item in make_items(6)]
        with pytest.raises(UsageError, match="'item-0' has another question or target"):
            compare_runs([store("a"), store("b", items=moved)])

    def test_refuses_the_same_run_twice(self, store: Store) -> None:
        path = store("a")
        with pytest.raises(UsageError, match="is given 2 times"):
            compare_runs([path, path / ".." / "a"])

    def test_names_what_else_differs(self, store: Store) -> None:
        warnings = compare_runs([store("a"), store("b", seed=1, epochs=2, asked=3)])["warnings"]
        text = "\n".join(warnings)
        assert "different seeds, so they share no samples: fake 0, fake (2) 1" in text
        assert "different numbers of epochs: fake 1, fake (2) 2" in text
        assert "fake (2) is not finished (6 of 12 answers)" in text


class TestRemoval:
    def test_deletes_the_whole_run(self, store: Store) -> None:
        path = store("a")
        (path / "view.html").touch()
        found = removable_run(path)
        assert found.num_bytes > 100
        found.remove()
        assert not path.exists()

    def test_refuses_other_folders_and_other_files(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="does not contain a run"):
            removable_run(tmp_path)
        path = store("a")
        (path / "notes.txt").touch()
        with pytest.raises(UsageError, match=r"notes\.txt"):
            removable_run(path)
        (path / "notes.txt").unlink()
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(UsageError, match="is a link"):
            removable_run(tmp_path / "link")
        assert list(read_entries(path / "journal"))

    def test_a_copy_of_a_run_has_the_same_figures(self, store: Store, tmp_path: Path) -> None:
        copy = shutil.copytree(store("a"), tmp_path / "copy", copy_function=shutil.copyfile)
        assert run_row(Path(copy)).accuracy == 0.5
