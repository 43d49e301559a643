"""Limits that the platform lacks: the others apply, and a warning is logged."""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sandbox_doubles import SHORT

from archon.sandbox import Sandbox, worker_process
from archon.warn_once import warn_once

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="simulates other platforms")
ALL = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE")


@pytest.fixture(autouse=True)
def _fresh_warnings(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.WARNING, "archon")
    warn_once.cache_clear()
    yield
    warn_once.cache_clear()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def refusing(names: tuple[str, ...], error: type[Exception], bound: set[str]) -> Any:
    """Return the ``prlimit`` of a system that rejects some limits, and records the others."""
    numbers = {getattr(resource, name): name for name in ALL}

    def prlimit(pid: int, which: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
        if limits is not None and numbers[which] in names:
            raise error("refused")
        if limits is not None:
            bound.add(numbers[which])
        return (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

    return prlimit


@pytest.mark.parametrize("error", [ValueError, PermissionError])
@pytest.mark.parametrize("names", [("RLIMIT_AS",), ("RLIMIT_NOFILE", "RLIMIT_NPROC"), ALL])
async def test_a_limit_that_is_refused_is_reported_once_and_the_others_are_set(
    names: tuple[str, ...],
    error: type[Exception],
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bound = set[str]()
    monkeypatch.setattr(resource, "prlimit", refusing(names, error, bound))
    for _ in range(2):
        assert (await sandbox.run("6 * 7", limits=SHORT)).value == 42
    assert bound == set(ALL) - set(names)
    assert [text.split(",")[0] for text in warnings_of(caplog)] == [
        f"the sandbox runs programs without {name}" for name in names
    ]


@pytest.mark.parametrize("platform", ["darwin", "no resource"])
async def test_programs_run_where_no_process_can_limit_another(
    platform: str,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if platform == "darwin":
        monkeypatch.setattr(worker_process.sys, "platform", platform)  # type: ignore[attr-defined]
    else:
        monkeypatch.setitem(sys.modules, "resource", None)
    for _ in range(2):
        assert (await sandbox.run("6 * 7", limits=SHORT)).value == 42
    [text] = warnings_of(caplog)
    assert text.startswith("the sandbox runs programs without any limit of the system,")


def test_a_process_that_has_ended_causes_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    worker_process.limit_process(2**22 + 1, SHORT)
    worker_process._running.discard(2**22 + 1)
    assert not warnings_of(caplog)


async def test_a_stricter_limit_stays(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[int, int]]()

    def prlimit(pid: int, which: int, limits: tuple[int, int] | None = None) -> tuple[int, int]:
        asked.extend([limits] if limits and which == resource.RLIMIT_AS else [])
        return (5, 5)

    monkeypatch.setattr(resource, "prlimit", prlimit)
    await sandbox.run("6 * 7", limits=SHORT)
    assert asked == [(5, 5)]
