"""The lease of the finals: simultaneous and late workers, and workers that died."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from typing import Any

import pytest

from archon.study.finals_lease import LEASE, leased
from archon.study.workers import STALE_SECONDS, Worker

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)
URL = "sqlite:///none"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("archon.study.finals_lease._POLL_SECONDS", 0)
    return optuna.create_study()


def process_that_is_gone() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


async def test_the_lease_is_held_during_the_finals_and_released(study: Any) -> None:
    first, second = Worker(study, is_alone=False), Worker(study, is_alone=False)
    async with leased(study, first, URL) as is_ours:
        assert is_ours
        assert study.user_attrs[LEASE]["worker"] == first.name
    assert study.user_attrs[LEASE] is None
    async with leased(study, second, URL) as is_ours:
        assert is_ours


async def test_an_interrupted_lease_is_released(study: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        async with leased(study, Worker(study, is_alone=False), URL):
            raise KeyboardInterrupt
    assert study.user_attrs[LEASE] is None


async def test_the_lease_of_a_live_worker_is_respected(study: Any) -> None:
    counts = itertools.count()

    def clock() -> float:
        study.set_user_attr(LEASE, {"worker": "elsewhere/1/0", "count": next(counts)})
        return 0.0

    async with leased(study, Worker(study, False, clock), URL) as is_ours:
        assert not is_ours
    assert study.user_attrs[LEASE]["worker"] == "elsewhere/1/0"


async def test_a_lease_without_heartbeat_is_taken_over(study: Any) -> None:
    study.set_user_attr(LEASE, {"worker": "elsewhere/1/0", "count": 7})
    seconds = itertools.count(step=STALE_SECONDS / 4)
    async with leased(study, Worker(study, False, lambda: next(seconds)), URL) as is_ours:
        assert is_ours


async def test_the_lease_of_a_dead_process_is_taken_over_immediately(study: Any) -> None:
    worker = f"{socket.gethostname()}/{process_that_is_gone()}/0"
    study.set_user_attr(LEASE, {"worker": worker, "count": 0})
    async with leased(study, Worker(study, False, lambda: 0.0), URL) as is_ours:
        assert is_ours
