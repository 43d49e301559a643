"""The options ``--track``, ``--otel`` and ``--trace-content``."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cli_runner import SCRIPTED, Cli

from archon.tracing import provider, setup


@pytest.fixture
def ids(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Install a fake of wandb; return the ids of its runs."""
    found: list[str] = []

    def init(**arguments: Any) -> Any:
        found.append(arguments["id"])
        print("a message of the package")
        return SimpleNamespace(
            log=lambda metrics, step: None, summary={}, finish=lambda exit_code: None
        )

    module = ModuleType("wandb")
    vars(module).update(init=init, setup=lambda settings: None, Settings=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return found


def test_a_finished_run_is_recorded_again_when_it_is_resumed(
    cli: Cli, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(provider.CAPTURE_CONTENT, "false")
    evaluate = ["eval", "single", "gsm8k", "--data", "items.jsonl", "--limit", "2", *SCRIPTED]
    evaluate += ["--no-cache", "--output", "run", "--track", "wandb"]
    evaluate += ["--trace-content", "--log-level", "error"]
    assert cli.json(*evaluate)["num_items"] == 2
    assert cli.json(*evaluate, "--resume")["num_items"] == 2
    assert cli("resume", "run", "--json") == 0, cli.stderr
    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_an_unknown_tracker_is_refused_before_the_work(cli: Cli) -> None:
    assert cli("search", "small", "gsm8k", "--track", "tensorboard") == 2
    assert "there is no tracker 'tensorboard'" in cli.stderr


def test_options_of_tracing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []
    monkeypatch.setattr(
        setup, "start_tracing", lambda *, is_requested: started.append(is_requested)
    )
    monkeypatch.setenv(provider.CAPTURE_CONTENT, "false")
    ask = ["run", "single", "2 + 2", *SCRIPTED]
    assert cli(*ask) == 0
    assert not provider.captures_content()
    assert cli(*ask, "--otel", "--trace-content") == 0
    assert started == [False, True]
    assert os.environ[provider.CAPTURE_CONTENT] == "true"
