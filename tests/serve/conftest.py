"""Server processes, shared by the tests that do not end them, and a client of an application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serve_doubles import client
from serve_process import Served, serving, slow_card

from archon.lm.scripted.lm import ScriptedLM, in_turn


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two architectures and a plain model, without weights."""
    folder = tmp_path_factory.mktemp("scripted")
    with serving(
        "single", "self-consistency", "scripted", "--model", "solver=scripted", log=folder / "log"
    ) as served:
        yield served


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, tiny_chat_file: Path) -> Iterator[Served]:
    """The engine with a tiny model, and an architecture of one node over it."""
    folder = tmp_path_factory.mktemp("tiny-served")
    card = {
        "name": "tiny",
        "backend": "local",
        "sources": [{"path": str(tiny_chat_file)}],
        "precision": "float32",
    }
    (folder / "tiny.json").write_text(json.dumps(card))
    arguments = ["single", folder / "tiny.json", "--model", f"solver={folder / 'tiny.json'}"]
    with serving(*arguments, log=folder / "log") as served:
        yield served


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., Any]:
    """``serving`` with a separate log for the test."""

    def start(*arguments: str | Path, **options: Any) -> Any:
        return serving(*arguments, **{"log": tmp_path / "log"} | options)

    return start


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """The card of a model that answers after a minute."""
    return slow_card(tmp_path / "patient.json", 60)


@pytest.fixture
def lm() -> ScriptedLM:
    """The model of ``http``."""
    return ScriptedLM(in_turn(["Hello there", "Good day to you"]))


@pytest.fixture
async def http(lm: ScriptedLM) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application in this process."""
    async with client(lm) as http:
        yield http
