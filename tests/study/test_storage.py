from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from study_doubles import plan

from archon.errors import UsageError
from archon.study.storage import _identify, opened_study, public_url, sqlite_url
from archon.study.workers import STALE_SECONDS, Worker, give_back

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)
WORKER = Path(__file__).with_name("study_worker.py")


def opened(
    url: str, identity: Any = None, name: str = "study", resume: bool = True
) -> AbstractContextManager[Any]:
    return opened_study(url, name, identity or {"space": {"name": "a"}}, plan(resume=resume))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "study.db")


def test_a_study_is_continued_only_with_resume(url: str) -> None:
    with opened(url, resume=False):
        pass
    with (
        pytest.raises(UsageError, match=r"the study 'study' in .* already exists.*--resume"),
        opened(url, resume=False),
    ):
        pass
    with opened(url):
        pass
    with opened(url, name="other", resume=False):
        pass


def test_two_spaces_under_one_name_are_refused(url: str) -> None:
    with opened(url):
        pass
    differs = r"(?s)has other settings.*\$.space.name: 'a' stored, 'b' now"
    with pytest.raises(UsageError, match=differs), opened(url, {"space": {"name": "b"}}):
        pass


def test_the_study_of_another_program_is_refused(url: str) -> None:
    study = optuna.create_study(storage=url, study_name="study", directions=["maximize"])
    study.tell(study.ask(), 1.0)
    with pytest.raises(UsageError, match="not made by archon search"), opened(url):
        pass


def test_a_second_worker_is_kept_from_a_sqlite_file(url: str) -> None:
    refused = pytest.raises(UsageError, match=r"another process uses.*postgresql")
    with opened(url), refused, opened(url):
        pass


@pytest.mark.parametrize(
    ("storage", "reason"),
    [("nosuch://x", "nosuch"), ("sqlite:////proc/none/study.db", "cannot create the study's file")],
)
def test_an_unavailable_storage_is_reported(storage: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason), opened(storage):
        pass


def test_a_password_is_not_printed() -> None:
    with pytest.raises(UsageError) as caught, opened("nosuch://user:secret@host/x"):
        pass
    assert "secret" not in str(caught.value)
    assert "user@host" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///runs/a@b/study.db", "sqlite:///runs/a@b/study.db"),
        ("postgresql+psycopg://user@host/x?sslmode=require", None),
        ("postgresql+psycopg://user:secret@host/x", "postgresql+psycopg://user@host/x"),
        ("postgresql+psycopg://user:secret@host/x?a=b&password=secret", None),
        ("postgresql+psycopg://host/x?password=secret", "postgresql+psycopg://host/x"),
        ("postgresql://host/x?user=user&password=se@cret", None),
        ("postgresql://user:se@cret@host/x", "postgresql://user@host/x"),
        ("postgresql://user:se?cret@host/x", None),
        ("postgresql:user:secret@host/x", None),
    ],
)
def test_a_url_is_printed_without_its_password(url: str, expected: str | None) -> None:
    found = public_url(url)
    assert "secret" not in found
    assert "cret" not in found
    if expected is not None:
        assert found == expected
    elif "secret" not in url and "cret" not in url:
        assert found == url


def test_an_existing_study_is_reported_without_the_password() -> None:
    study, identity = optuna.create_study(), {"space": "a"}
    url = "postgresql+psycopg://user:secret@host/x"
    _identify(study, url, identity, resume=False)
    for other, reason in (
        (identity, "already exists"),
        ({"space": "b"}, "has other settings"),
    ):
        with pytest.raises(UsageError, match=reason) as caught:
            _identify(study, url, other, resume=False)
        assert "secret" not in str(caught.value)


def test_a_storage_that_is_not_a_url_is_reported_with_an_example() -> None:
    with (
        pytest.raises(UsageError, match=r"a\.db is not a URL; write it as sqlite:///FILE"),
        opened("a.db"),
    ):
        pass


def test_an_unescaped_at_sign_in_a_password_is_reported_without_the_password() -> None:
    refused = pytest.raises(
        UsageError, match=r'the password in .*user@host/x contains "@"; write it as %40'
    )
    with refused as caught, opened("postgresql+psycopg://user:sec@ret@host/x"):
        pass
    assert "ret@" not in str(caught.value)


def test_a_trial_without_heartbeat_is_taken_over() -> None:
    now = [0.0]
    study = optuna.create_study(directions=["maximize"])
    lost, alive = study.ask(), study.ask()
    lost.suggest_int("k", 1, 5)
    worker = Worker(study, is_alone=False, clock=lambda: now[0])
    for beat in range(10):
        now[0] = beat * STALE_SECONDS / 4
        alive.set_user_attr("beat", {"count": beat})
        taken = worker.take_over_stale()
        assert taken == ([lost.number] if beat == 4 else [])
    states = [trial.state.name for trial in study.get_trials()]
    assert states == ["FAIL", "RUNNING", "WAITING"]
    again = study.ask()
    assert again.suggest_int("k", 1, 5) == lost.params["k"]
    assert again.user_attrs["retry_of"] == lost.number


def test_only_one_of_two_workers_takes_a_trial_over() -> None:
    study = optuna.create_study(directions=["maximize"])
    trial = study.ask()
    assert give_back(study, trial)
    assert not give_back(study, trial)
    assert [t.state.name for t in study.get_trials()] == ["FAIL", "WAITING"]


def start(url: str, trials: int, *how: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, WORKER, url, "study", trials, *how]
    return subprocess.Popen(list(map(str, command)))


def wait_until_it_hangs(url: str, num_finished: int) -> None:
    """Wait until this many trials are finished and the next one runs."""
    path = url.removeprefix("sqlite:///")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        states = Counter[str]()
        with (
            contextlib.suppress(sqlite3.OperationalError),  # not made yet
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database,
        ):
            states.update(state for (state,) in database.execute("SELECT state FROM trials"))
        if states["RUNNING"] == 1 and states.total() == num_finished + 1:
            return
        time.sleep(0.1)
    raise AssertionError("the worker finished no trial")


def test_a_study_continues_after_its_worker_was_killed(url: str) -> None:
    killed = start(url, 12, 0.0, 3)
    try:
        wait_until_it_hangs(url, 3)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert start(url, 12, 0.0).wait(timeout=60) == 0
    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    states = Counter(trial.state.name for trial in trials)
    assert states["RUNNING"] == states["WAITING"] == 0
    outcomes = [t.user_attrs["told"]["outcome"] for t in trials if "told" in t.user_attrs]
    assert sum(outcome in ("whole", "stopped") for outcome in outcomes) == 12
    assert states["FAIL"] == sum("retry_of" in trial.user_attrs for trial in trials) == 1
