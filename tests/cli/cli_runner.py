"""Run commands in this process, and capture their output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from archon.cli import main

SCRIPTED = ["--model", "solver=scripted"]


class Cli:
    """Runs a command in an empty folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.stdout = self.stderr = ""

    def __call__(self, *arguments: str) -> int:
        self._capsys.readouterr()
        code = main(arguments)
        self.stdout, self.stderr = self._capsys.readouterr()
        return code

    def json(self, *arguments: str) -> Any:
        """Run a command that must succeed; return the JSON object on its standard output."""
        assert self(*arguments, "--json") == 0, self.stderr
        return json.loads(self.stdout)
