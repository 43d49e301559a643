"""A command line in an empty folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runner import Cli

ITEMS = [
    {"id": f"item-{a}", "question": f"What is {a} + 1?", "answer": str(a + 1)} for a in range(100)
]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    return Cli(capsys)
