"""Every notebook of the documentation runs without a download, and its stored outputs are clean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
CELL_SECONDS = 120
MOST_BYTES = 300_000
LONG = re.compile(r'"(steps|items|trials)": (\d+)')
MOST = {"steps": 20, "items": 120, "trials": 4}
"""Key of a training or search → its largest value in the tests."""
EPOCHS = re.compile(r"\bepochs=\d+")
FEW_ITEMS = "limit=40"
"""What the tests pass to an evaluation in place of epochs."""
PATH = re.compile(r"(?<![\w.<])/(home|root|tmp|usr|var|work|Users)/")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


@every_notebook
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = EPOCHS.sub(FEW_ITEMS, LONG.sub(reduced, cell.source))
    NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()


def reduced(setting: re.Match[str]) -> str:
    """Return a setting of a notebook with a number that a test can afford."""
    key, value = setting[1], int(setting[2])
    return f'"{key}": {min(value, MOST[key])}'


@every_notebook
def test_the_outputs_of_a_notebook_are_stored(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output.output_type for cell in cells for output in cell.outputs]
    streams = [output.get("name") for cell in cells for output in cell.outputs]
    assert "error" not in kinds
    assert "stderr" not in streams


@every_notebook
def test_a_notebook_is_small_and_names_no_path(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES
    assert not [text for text in texts(path) if PATH.search(text)]


def texts(path: Path) -> Iterator[str]:
    """Yield the source of every cell, and every output but images."""
    for cell in nbformat.read(path, as_version=4).cells:
        yield cell.source
        for output in cell.get("outputs", ()):
            yield output.get("text", "")
            yield from (
                data for kind, data in output.get("data", {}).items() if "image" not in kind
            )


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
