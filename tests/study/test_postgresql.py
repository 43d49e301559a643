"""A real PostgreSQL server and four workers, two of which are killed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from archon.study.finals_lease import leased
from archon.study.storage import opened_storage
from archon.study.workers import Worker

optuna = pytest.importorskip("optuna")
pytest.importorskip("psycopg")
optuna.logging.set_verbosity(optuna.logging.ERROR)

WORKER = Path(__file__).with_name("study_worker.py")
TRIALS = 24


def binaries() -> Path | None:
    """Find the server; Debian has a folder for each version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    path = shutil.which("initdb") or (str(found[-1]) if found else None)
    return None if path is None else Path(path).resolve().parent


def as_server(command: list[str | Path]) -> None:
    """Run a command as a user that the server accepts; it rejects root."""
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = {"user": "postgres", "group": "postgres", "extra_groups": []}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **account)


@pytest.fixture
def url() -> Iterator[str]:
    found = binaries()
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="archon-pg-"))
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    as_server([found / "initdb", "-D", data, "-U", "archon", "-A", "trust", "-N"])
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    log = folder / "log"
    as_server([found / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start"])
    try:
        yield f"postgresql+psycopg://archon@127.0.0.1:{port}/postgres"
    finally:
        as_server([found / "pg_ctl", "-D", data, "-m", "immediate", "stop"])
        shutil.rmtree(folder)


def start(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(WORKER), url, "study", str(TRIALS), "0.3"])


def trials(url: str) -> list[Any]:
    with opened_storage(url) as storage:
        try:
            return list(optuna.load_study(study_name="study", storage=storage).get_trials())
        except KeyError:  # not made yet
            return []


def test_simultaneous_workers_create_the_tables_once(url: str) -> None:
    together = threading.Barrier(8)

    def open_and_close(_: int) -> None:
        together.wait()
        with opened_storage(url):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_and_close, range(8)))


def test_of_simultaneous_workers_one_gets_the_lease(url: str) -> None:
    with opened_storage(url) as storage:
        optuna.create_study(study_name="study", storage=storage)
    together, done = threading.Barrier(6), threading.Barrier(6)

    def claim(_: int) -> bool:
        async def take() -> bool:
            async with leased(study, Worker(study, is_alone=False), url) as is_ours:
                await asyncio.to_thread(done.wait)
                return is_ours

        with opened_storage(url) as storage:
            study = optuna.load_study(study_name="study", storage=storage)
            together.wait()
            return asyncio.run(take())

    with (
        pytest.MonkeyPatch.context() as patch,
        ThreadPoolExecutor(6) as pool,
    ):
        patch.setattr("archon.study.finals_lease._POLL_SECONDS", 0.05)
        patch.setattr("archon.study.workers.BEAT_SECONDS", 0.1)
        assert sum(pool.map(claim, range(6))) == 1


def test_every_trial_is_finished_once_whoever_is_killed(url: str) -> None:
    workers = [start(url) for _ in range(4)]
    try:
        deadline = time.monotonic() + 120
        while sum(trial.state.is_finished() for trial in trials(url)) < 4:
            assert time.monotonic() < deadline, "the workers finished no trial"
            time.sleep(0.2)
        for worker in workers[:2]:
            worker.send_signal(signal.SIGKILL)
        assert [worker.wait(timeout=150) for worker in workers[2:]] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    found = trials(url)
    states = Counter(trial.state.name for trial in found)
    assert states["RUNNING"] == states["WAITING"] == 0
    asked = [
        trial
        for trial in found
        if trial.user_attrs.get("told", {}).get("outcome") in ("whole", "stopped")
    ]
    assert len(asked) >= TRIALS
    assert all(trial.state.name == "COMPLETE" for trial in asked)
    # What the killed had begun was failed, and tried again once by one of the others.
    retried = [t.user_attrs["retry_of"] for t in found if "retry_of" in t.user_attrs]
    lost = [trial.number for trial in found if trial.state.name == "FAIL"]
    assert sorted(retried) == sorted(lost)
    assert len(lost) <= 2
    assert len({t.user_attrs["beat"]["worker"] for t in asked}) >= 2
