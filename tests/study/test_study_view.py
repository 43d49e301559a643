"""Pages of studies: their data, small studies, and errors."""

from __future__ import annotations

import json
import re
import sqlite3
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from stored_studies import IDENTITY, SPACE, finals, finished, plenty, running, stored  # noqa: E402

from archon.cli import main  # noqa: E402
from archon.errors import UsageError  # noqa: E402
from archon.study.importance import MIN_TRIALS, importance  # noqa: E402
from archon.study.load_study import read_study  # noqa: E402
from archon.study.view.page import (  # noqa: E402
    SCRIPTS,
    STYLES,
    gather,
    html,
)

optuna.logging.set_verbosity(optuna.logging.ERROR)


def gathered(*trials: Any, **attributes: Any) -> dict[str, Any]:
    data = gather(stored(*trials, **attributes), Path("view.html"))
    json.dumps(data, allow_nan=False)
    return data


# -------------------------------------------------------------------------------- what is gathered


def test_every_finished_trial_has_its_values() -> None:
    data = gathered(*plenty(12), running(12, "elsewhere/1/0"))
    assert [trial["number"] for trial in data["trials"]] == list(range(12))
    whole, stopped, rejected = data["trials"][0], data["trials"][2], data["trials"][4]
    assert whole["num_items"] == 20
    assert whole["interval"][0] <= whole["accuracy"] <= whole["interval"][1]
    assert set(whole["sought"]) == {"accuracy", "tokens"}
    assert stopped["reason"] == "it was stopped"
    assert (rejected["accuracy"], rejected["sought"]) == (None, {})
    assert data["under_way"] == [{"number": 12, "point": {}, "is_gone": False}]
    assert data["num_trials"] == 10


def test_the_front_is_of_accuracy_and_tokens_for_any_objectives() -> None:
    data = gathered(*plenty(), identity=IDENTITY | {"objectives": ["accuracy"]})
    front = [trial for trial in data["trials"] if trial["is_on_front"]]
    whole = [trial for trial in data["trials"] if trial["outcome"] == "whole"]
    assert len({trial["tokens"] for trial in front}) == len(front) > 1
    for trial in front:
        better = (t for t in whole if t["tokens"] <= trial["tokens"])
        assert trial["accuracy"] == max(t["accuracy"] for t in better)


def test_architectures_are_shown_once_the_winner_first() -> None:
    data = gathered(*plenty(), finals_held=[finals(1)])
    drawn = data["architectures"]
    assert drawn[0]["trial"] == 1
    assert drawn[0]["file"]["version"] == 1
    assert drawn[0]["file"]["name"] == "tiny-best"
    trials = [one["trial"] for one in drawn]
    assert len(trials) == len(set(trials)) > 2
    assert all(one["file"]["nodes"] for one in drawn)


def test_finals_are_shown_last_first_with_counted_uses_of_the_test() -> None:
    data = gathered(*plenty(), finals_held=[finals(0), finals(1)])
    assert [entry["winner"] for entry in data["finals"]] == [1, 0]
    assert any("used 2 times" in warning for warning in data["finals"][0]["warnings"])
    assert not any("were used" in warning for warning in data["finals"][1]["warnings"])


def test_links_lead_to_the_pages_of_runs_that_have_one(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    (folder / "trials" / "0000").mkdir(parents=True)
    (folder / "trials" / "0001").mkdir()
    (folder / "trials" / "0001" / "view.html").touch()
    trials = [finished(n, run=f"runs/one/trials/{n:04d}") for n in range(3)]
    data = gather(stored(*trials, folder=folder), folder / "view.html")
    links = [trial["run"]["href"] for trial in data["trials"]]
    assert links == [None, "trials/0001/view.html", None]
    assert [trial["run"]["is_here"] for trial in data["trials"]] == [True, True, False]


# ----------------------------------------------------------------------------------- importance


def test_the_parameter_that_decides_is_the_most_important_and_conditional_ones_count() -> None:
    trials = [finished(n) for n in range(60)]
    values = [float(trial.params["samples"]) for trial in trials]
    found = importance(trials, values, is_higher_better=True)
    assert next(iter(found.shares)) == "samples"
    assert set(found.shares) == {"samples", "temperature", "check", "method"}
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.shares["samples"] > 0.5


def test_the_worst_trials_do_not_decide() -> None:
    trials = [finished(n) for n in range(60)]
    values = [-abs(trial.params["temperature"] - 0.25) for trial in trials]
    for sign in (1, -1):
        found = importance(trials, [sign * v for v in values], is_higher_better=sign > 0)
        assert next(iter(found.shares)) == "temperature"


def test_too_few_or_equal_trials_have_no_importances() -> None:
    few = importance([finished(n) for n in range(3)], [1.0, 2.0, 3.0], is_higher_better=True)
    assert few.why_not == f"at least {MIN_TRIALS} trials are needed, 3 so far"
    same = importance([finished(n) for n in range(25)], [1.0] * 25, is_higher_better=True)
    assert same.why_not == "all trials are equally good"


# -------------------------------------------------------------------------- where little is there


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [finished(0)],
        [finished(n, outcome) for n, outcome in enumerate(["failed", "rejected", "repeated"])],
        [finished(0, "stopped", is_feasible=False)],
        [running(0, "elsewhere/1/0")],
    ],
    ids=["none", "one", "nothing asked", "above a limit", "begun"],
)
def test_a_small_study_has_a_page(trials: list[Any]) -> None:
    data = gathered(*trials)
    assert all(entry["why_not"] for entry in data["importance"])
    assert "<!doctype html>" in html(data)


# ----------------------------------------------------------------------------- nothing can run


def test_no_part_of_the_data_can_run() -> None:
    hostile = "</script><script>window.hacked = 1</script><!-- {{data}}"
    data = gathered(finished(0), identity=IDENTITY | {"space": SPACE | {"name": hostile}})
    page = html(data)
    assert page.count("<script>window.hacked") == 0
    assert len(re.findall(r"<script\b", page)) == 2
    assert len(re.findall(r"</script", page)) == 2


def test_nothing_is_fetched_and_no_markup_is_made_of_texts() -> None:
    static = files("archon.study.view").joinpath("static")
    assert {file.name for file in static.iterdir()} == {"study.html", *STYLES, *SCRIPTS}
    for name in (*STYLES, *SCRIPTS):
        text = static.joinpath(name).read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert not re.search(r"fetch\(|XMLHttp|import |@import|url\(|https?:", text)


# ------------------------------------------------------------------------------- what is named


def database(path: Path, *names: str, **attributes: Any) -> Path:
    for name in names:
        study = optuna.create_study(
            storage=f"sqlite:///{path}", study_name=name, directions=["maximize", "minimize"]
        )
        for key, value in attributes.items():
            study.set_user_attr(key, value)
        study.add_trials([finished(0), finished(1)])
    return path


def test_a_study_is_named_by_its_folder_its_file_or_a_url(tmp_path: Path) -> None:
    folder = tmp_path / "odd ?%# name"
    folder.mkdir()
    path = database(tmp_path / "study.db", "one", archon=IDENTITY).rename(folder / "study.db")
    for given in (str(folder), str(path)):
        found = read_study(given)
        assert (found.name, len(found.trials), found.folder) == ("one", 2, folder)
    plain = database(tmp_path / "plain.db", "one", archon=IDENTITY)
    assert read_study(f"sqlite:///{plain}", "one").folder is None


def test_reading_changes_nothing(tmp_path: Path) -> None:
    path = database(tmp_path / "study.db", "one", archon=IDENTITY)
    before = path.read_bytes()
    read_study(str(path))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE studies (x)")
    made.close()


@pytest.mark.parametrize(
    ("make", "name", "reason"),
    [
        (lambda path: None, None, "does not exist"),
        (lambda path: path.mkdir(), None, r"neither a run nor a study \(study.db\)"),
        (lambda path: path.write_text("not a database, but long enough"), None, "cannot open"),
        (lambda path: path.touch(), None, "Optuna's tables are missing"),
        (foreign, None, "Optuna's tables are missing"),
        (lambda path: database(path, "one"), None, "not made by archon search"),
        (lambda path: database(path, "one", "two", archon=IDENTITY), None, "contains 2 studies"),
        (lambda path: database(path, "one", archon=IDENTITY), "on", "no study 'on'.*mean 'one'"),
    ],
)
def test_a_missing_study_is_reported(
    make: Any, name: str | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "given"
    make(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=reason):
        read_study(str(path), name)
    assert sorted(tmp_path.iterdir()) == before


# --------------------------------------------------------------------------------- the command


def test_view_writes_a_page_into_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database(tmp_path / "study.db", "one", archon=IDENTITY)
    assert main(["view", str(tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"output": str(tmp_path / "view.html"), "study": "one", "num_trials": 2}
    assert "<!doctype html>" in (tmp_path / "view.html").read_text()


def test_a_study_is_viewed_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database(tmp_path / "study.db", "one", archon=IDENTITY)
    assert main(["view", str(tmp_path), "other"]) == 2
    assert "is a study, and a page can show only one study" in capsys.readouterr().err
    assert main(["view", str(tmp_path / "study.db"), "--study", "two"]) == 2
    assert "no study 'two'" in capsys.readouterr().err
    assert main(["view", "nosuch://here", "--study", "two"]) == 2
    assert "cannot open the storage" in capsys.readouterr().err
